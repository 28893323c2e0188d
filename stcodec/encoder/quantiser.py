"""The encoder's choice of symbols: of the nearest integer, the one below it and zero, the cheapest
in squared error and bits (rate-distortion optimised quantisation). Nothing here is normative."""

from __future__ import annotations

import torch
from torch import Tensor

from stcodec.encoder import quantiser_kernels, tuning

_LARGEST = 1 << 19  # of a symbol; `entropy.MAX_SYMBOL` bounds what a decoder takes


class RateDistortionQuantiser:
    """A `latents.Quantiser` for one frame: in a loop on a CPU, with tensors elsewhere.

    costs float32 [indices, magnitudes]: see `entropy.Tables.costs`; price: the squared error, in
    units of step**2, that is worth one bit: a positive number, or one for each patch [patches].
    """

    def __init__(self, costs: Tensor, price: float | Tensor) -> None:
        self._costs = costs
        self._price = torch.as_tensor(price, device=costs.device)
        self._choose = in_loop if costs.device.type == "cpu" else with_tensors

    def __call__(self, scaled: Tensor, index: Tensor, at: Tensor) -> tuple[Tensor, bool]:
        """See `latents.Quantiser`."""
        price = self._price[at] if self._price.ndim else self._price.expand(len(at))
        symbols, lost = self._choose(scaled, index, 0, self._costs, price)
        raised = lost > tuning.FLOOR_BITS_PER_SYMBOL * index.numel() + tuning.FLOOR_BITS
        if raised:
            symbols, _ = self._choose(scaled, index, 1, self._costs, price)
        return symbols, raised


def in_loop(
    scaled: Tensor, index: Tensor, least: int, costs: Tensor, price: Tensor
) -> tuple[Tensor, float]:
    """As `with_tensors`, on a CPU."""
    symbols = torch.empty(scaled.shape, dtype=torch.int32)
    arrays = scaled.contiguous().numpy(), index.numpy()
    prices = price.to(torch.float32).contiguous().numpy()
    lost = quantiser_kernels.cheapest(
        *arrays, least, costs.numpy(), prices, _LARGEST, symbols.numpy()
    )
    return symbols, lost


def with_tensors(
    scaled: Tensor, index: Tensor, least: int, costs: Tensor, price: Tensor
) -> tuple[Tensor, float]:
    """Symbols int32 for latents [n, outputs] in units of the step, whose bits have the price [n],
    under table indices uint8 that count as `least` at least.

    Also what index 0 costs, in bits: the squared error that another index would save, less the bits
    of coding it.
    """
    symbols = torch.zeros(scaled.shape, dtype=torch.int32, device=scaled.device)
    flat = scaled.reshape(-1)
    at = torch.nonzero(flat.abs() > 0.5)[:, 0]
    value, table = flat[at], index.reshape(-1)[at].long().clamp_(min=least)
    size, skipped = value.abs(), table == 0
    weight = price[at // scaled.shape[1]]
    nearest = size.round().clamp_(max=_LARGEST)
    best, best_cost = torch.zeros_like(nearest), size * size + weight * costs[table, 0]
    last = costs.shape[1] - 1
    table = table.clamp_(min=1)
    lost = 0.0
    for candidate in (nearest, nearest - 1):
        bits = costs[table, candidate.long().clamp_(max=last)]
        cost = (size - candidate) ** 2 + weight * bits
        if candidate is nearest and bool(skipped.any()):
            lost = float(((best_cost - cost) / weight)[skipped].clamp_(min=0).sum())
        better = (cost < best_cost) & (candidate > 0) & ~skipped
        best = torch.where(better, candidate, best)
        best_cost = torch.where(better, cost, best_cost)
    symbols.view(-1)[at] = (best * value.sign()).to(torch.int32)
    return symbols, lost
