"""The encoder's choice of symbols: of the nearest integer, the one below it and zero, the cheapest
in squared error and bits (rate-distortion optimised quantisation). Nothing here is normative."""

from __future__ import annotations

import torch
from torch import Tensor

from stcodec.encoder import tuning

_LARGEST = 1 << 19  # of a symbol; `entropy.MAX_SYMBOL` bounds what a decoder takes


class RateDistortionQuantiser:
    """A `latents.Quantiser` for one frame.

    costs float32 [indices, magnitudes]: see `entropy.Tables.costs`; price: the squared error, in
    units of step**2, that is worth one bit: a positive number, or one for each patch [patches].
    """

    def __init__(self, costs: Tensor, price: float | Tensor) -> None:
        self._costs = costs
        self._price = torch.as_tensor(price, device=costs.device)

    def __call__(self, scaled: Tensor, index: Tensor, at: Tensor) -> tuple[Tensor, bool]:
        """See `latents.Quantiser`."""
        price = self._price[at] if self._price.ndim else self._price.expand(len(at))
        symbols, loss = self._cheapest(scaled, index, price)
        raised = loss > tuning.FLOOR_BITS_PER_SYMBOL * index.numel() + tuning.FLOOR_BITS
        if raised:
            symbols, _ = self._cheapest(scaled, index.clamp(min=1), price)
        return symbols, raised

    def _cheapest(self, x: Tensor, index: Tensor, price: Tensor) -> tuple[Tensor, float]:
        """Symbols int32 for latents [n, outputs] in units of the step, whose bits have the price
        [n].

        Also what index 0 costs, in bits: the squared error that another index would save, less the
        bits of coding it.
        """
        symbols = torch.zeros(x.shape, dtype=torch.int32, device=x.device)
        flat = x.reshape(-1)
        at = torch.nonzero(flat.abs() > 0.5)[:, 0]
        value, table = flat[at], index.view(-1)[at].long()
        size, skipped = value.abs(), table == 0
        weight = price[at // x.shape[1]]
        nearest = size.round().clamp_(max=_LARGEST)
        best, best_cost = torch.zeros_like(nearest), size * size + weight * self._costs[table, 0]
        last = self._costs.shape[1] - 1
        table = table.clamp_(min=1)
        lost = 0.0
        for candidate in (nearest, nearest - 1):
            bits = self._costs[table, candidate.long().clamp_(max=last)]
            cost = (size - candidate) ** 2 + weight * bits
            if candidate is nearest and bool(skipped.any()):
                lost = float(((best_cost - cost) / weight)[skipped].clamp_(min=0).sum())
            better = (cost < best_cost) & (candidate > 0) & ~skipped
            best = torch.where(better, candidate, best)
            best_cost = torch.where(better, cost, best_cost)
        symbols.view(-1)[at] = (best * value.sign()).to(torch.int32)
        return symbols, lost
