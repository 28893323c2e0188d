"""The encoder's choice of symbols: of the nearest integer, the one below it and zero, the cheapest
in squared error and bits (rate-distortion optimised quantisation). Nothing here is normative."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stcodec.codec.network import ModelConfig
from stcodec.codec.transform import transform_of
from stcodec.encoder import quantiser_kernels, tuning

_LARGEST = 1 << 19  # of a symbol; `entropy.MAX_SYMBOL` bounds what a decoder takes
_MIDDLE = 0.5  # the frequency at which a bit costs what its patch says


class RateDistortionQuantiser:
    """A `latents.Quantiser` for one frame: in a loop on a CPU, with tensors elsewhere.

    costs float32 [indices, magnitudes]: see `entropy.Tables.costs`; price: the squared error, in
    units of step**2, that is worth one bit: a positive number, or one for each patch [patches];
    factors: what it is multiplied by, float32 for each channel [C], or 1; empty: patches that have
    no symbols, bool [patches], or None.
    """

    def __init__(
        self,
        costs: Tensor,
        price: float | Tensor,
        factors: Tensor | None = None,
        empty: Tensor | None = None,
    ) -> None:
        self._costs, self._factors, self._empty = costs, factors, empty
        self._price = torch.as_tensor(price, device=costs.device)
        self._choose = in_loop if costs.device.type == "cpu" else with_tensors

    def __call__(
        self, scaled: Tensor, index: Tensor, at: Tensor, channels: slice
    ) -> tuple[Tensor, bool]:
        """See `latents.Quantiser`."""
        price = self._price[at] if self._price.ndim else self._price.expand(len(at))
        every = scaled.new_ones(scaled.shape[1])
        factors = every if self._factors is None else self._factors[channels]
        prices = price, factors
        if self._empty is not None:
            scaled = scaled.masked_fill(self._empty[at][:, None], 0.0)
        symbols, lost = self._choose(scaled, index, 0, self._costs, prices)
        raised = lost > tuning.FLOOR_BITS_PER_SYMBOL * index.numel() + tuning.FLOOR_BITS
        if raised:
            symbols, _ = self._choose(scaled, index, 1, self._costs, prices)
        return symbols, raised

    def divide(self, candidates: Sequence[Tensor], at: Tensor) -> Tensor:
        """See `latents.Quantiser`: where latents are large in fewest places."""
        bits = torch.stack([torch.log2(1 + c * c).sum(1) for c in candidates])
        bits[1:] += tuning.DIVISION_BITS
        return bits.argmin(0)


def frequency_factors(config: ModelConfig) -> Tensor:
    """What a bit costs in each channel, against what it costs in the middle, float32 [C].

    What is coarse lasts: motion compensation hands it on, while its interpolation blurs what is
    fine and the next symbols replace it. And structural similarity looks at several scales, on all
    of which errors of low frequency show.
    """
    frequency = transform_of(config.patch, config.transform).frequency
    return torch.exp(tuning.FREQUENCY_PRICE * (frequency - _MIDDLE))


def in_loop(
    scaled: Tensor, index: Tensor, least: int, costs: Tensor, prices: tuple[Tensor, Tensor]
) -> tuple[Tensor, float]:
    """As `with_tensors`, on a CPU."""
    symbols = torch.empty(scaled.shape, dtype=torch.int32)
    arrays = scaled.contiguous().numpy(), index.numpy()
    patch, channel = (t.to(torch.float32).contiguous().numpy() for t in prices)
    lost = quantiser_kernels.cheapest(
        *arrays, least, costs.numpy(), patch, channel, _LARGEST, symbols.numpy()
    )
    return symbols, lost


def with_tensors(
    scaled: Tensor, index: Tensor, least: int, costs: Tensor, prices: tuple[Tensor, Tensor]
) -> tuple[Tensor, float]:
    """Symbols int32 for latents [n, outputs] in units of the step under table indices uint8 that
    count as `least` at least; prices: of bits, one for each patch [n] times one for each channel
    [outputs].

    Also what index 0 costs, in bits: the squared error that another index would save, less the bits
    of coding it.
    """
    symbols = torch.zeros(scaled.shape, dtype=torch.int32, device=scaled.device)
    flat = scaled.reshape(-1)
    at = torch.nonzero(flat.abs() > 0.5)[:, 0]
    value, table = flat[at], index.reshape(-1)[at].long().clamp_(min=least)
    size, skipped = value.abs(), table == 0
    patch, channel = prices
    weight = patch[at // scaled.shape[1]] * channel[at % scaled.shape[1]]
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
