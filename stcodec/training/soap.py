"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al., arXiv 2409.11321).

Written from the paper's algorithm. Every matrix-shaped gradient G (a convolution's weight counts as
[out, rest]) keeps moving averages of G G' and G' G; Adam's moments live in their eigenvectors,
which are renewed every few steps by one power iteration and a QR decomposition. Sides longer than
`largest` keep the identity. Other parameters get plain Adam.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Soap(torch.optim.Optimizer):
    """betas: of Adam's moments; shampoo_beta: of the preconditioners; every: steps between renewals
    of the eigenbasis."""

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.95, 0.95),
        shampoo_beta: float = 0.95,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        every: int = 10,
        largest: int = 1024,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "shampoo_beta": shampoo_beta,
            "eps": eps,
            "weight_decay": weight_decay,
            "every": every,
            "largest": largest,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; see `torch.optim.Optimizer`."""
        value = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, group, self.state[p])
        return value

    def _update(self, p: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        gradient = p.grad
        assert gradient is not None
        matrix = gradient.reshape(len(gradient), -1) if gradient.dim() > 1 else gradient[:, None]
        if not state:
            state["step"] = 0
            state["first"] = torch.zeros_like(matrix)
            state["second"] = torch.zeros_like(matrix)
            for side in (0, 1):
                size = matrix.shape[side]
                if gradient.dim() > 1 and 1 < size <= group["largest"]:
                    outer = matrix @ matrix.T if side == 0 else matrix.T @ matrix
                    state[f"outer{side}"] = outer
                    state[f"basis{side}"] = torch.linalg.eigh(
                        outer + 1e-12 * torch.eye(size, device=p.device)
                    )[1]
            # The first step only starts the preconditioner.
            return
        state["step"] += 1
        turned = self._turn(matrix, state)
        first, second = state["first"], state["second"]
        a, b = group["betas"]
        first.lerp_(matrix, 1 - a)
        second.lerp_(turned.square(), 1 - b)
        corrected = (1 - b ** state["step"]) ** 0.5 / (1 - a ** state["step"])
        update = self._turn(first, state) / (second.sqrt() + group["eps"]) * corrected
        update = self._back(update, state).view_as(p)
        p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])
        self._renew(matrix, state, group)

    def _turn(self, matrix: Tensor, state: dict[str, Any]) -> Tensor:
        if "basis0" in state:
            matrix = state["basis0"].T @ matrix
        return matrix @ state["basis1"] if "basis1" in state else matrix

    def _back(self, matrix: Tensor, state: dict[str, Any]) -> Tensor:
        if "basis0" in state:
            matrix = state["basis0"] @ matrix
        return matrix @ state["basis1"].T if "basis1" in state else matrix

    def _renew(self, matrix: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        for side in (0, 1):
            if f"outer{side}" not in state:
                continue
            outer, basis = state[f"outer{side}"], state[f"basis{side}"]
            outer.lerp_(
                matrix @ matrix.T if side == 0 else matrix.T @ matrix, 1 - group["shampoo_beta"]
            )
            if state["step"] % group["every"] == 0:
                # The second moments keep their order: that of the eigenvalues as the old basis sees
                # them.
                values = (basis * (outer @ basis)).sum(0)
                order = values.argsort(descending=True)
                state["second"] = state["second"].index_select(side, order)
                state[f"basis{side}"] = torch.linalg.qr(outer @ basis[:, order])[0]
