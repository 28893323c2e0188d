"""A trainable twin of the integer scale network: floating-point weights that are rounded, straight
through, on every use."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stcodec.codec import scales
from stcodec.codec.entropy import Tables
from stcodec.codec.scales import GroupNetwork

# Bits of a symbol under index 0, which cannot code it, beyond those of index 1.
_SKIP_PENALTY = 24.0
# Integers per unit of the twin's weights and biases, and how large an integer may be.
_UNITS = (16.0, 512.0, 16.0, 512.0)
_LIMITS = (127, 1 << 20, 127, 1 << 20)
# The slope of an inactive unit, for its gradient alone.
_LEAK = 0.01


def straight_through(rounded: Tensor, value: Tensor) -> Tensor:
    """The value of `rounded` with the gradient of `value`."""
    return value + (rounded - value).detach()


def index_costs(tables: Tables) -> Tensor:
    """Bits [64, M] of each magnitude under each index; index 0 takes what it cannot code for
    costly, not for impossible."""
    costs = torch.from_numpy(tables.costs()).clone()
    costs[0, 1:] = _SKIP_PENALTY + costs[1, 1:]
    return costs


def code_length(index: Tensor, magnitudes: Tensor, costs: Tensor) -> Tensor:
    """Bits, of the shape of `index`, at real-valued indices, between those of the two nearest
    tables. costs [64, M]."""
    # The floor of the codec makes index i stand for [i, i + 1); its middle is i + 0.5.
    position = (index - 0.5).clamp(0, scales.SCALE_COUNT - 1.001)
    low = position.detach().floor()
    part = position - low
    flat = low.long() * costs.shape[1] + magnitudes
    return torch.take(costs, flat) * (1 - part) + torch.take(costs, flat + costs.shape[1]) * part


class ScaleTwin(nn.Module):
    """One frequency group; `outputs` coefficients. Parameters in units of the integer weights: w1,
    b1, w2, b2."""

    def __init__(self, inputs: int, hidden: int, outputs: int, classes: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.w1 = nn.Parameter(torch.randn(inputs, hidden) * 0.25)
        self.b1 = nn.Parameter(torch.full((classes, hidden), 2.0))
        self.w2 = nn.Parameter(torch.randn(hidden, outputs) * 0.1)
        self.b2 = nn.Parameter(torch.full((classes, outputs), 5.0))

    @classmethod
    def of(cls, start: GroupNetwork) -> ScaleTwin:
        """The twin of an integer network."""
        twin = cls(start.w1.shape[0], start.w1.shape[1], start.w2.shape[1], len(start.b1))
        with torch.no_grad():
            for name, unit in zip(("w1", "b1", "w2", "b2"), _UNITS, strict=True):
                getattr(twin, name).copy_(getattr(start, name) / unit)
        return twin

    def quantised(self) -> tuple[Tensor, ...]:
        """The integers, with gradients."""
        values = []
        for t, unit, limit in zip(
            (self.w1, self.b1, self.w2, self.b2), _UNITS, _LIMITS, strict=True
        ):
            scaled = t * unit
            values.append(straight_through(scaled.round().clamp(-limit, limit), scaled))
        return tuple(values)

    def forward(self, x: Tensor, context: int | Tensor, own: Tensor | None = None) -> Tensor:
        """Real-valued index [..., outputs], before the last floor; inputs as in
        `GroupNetwork.indices`.

        `context`: one class, or one per row of `x`.
        """
        w1, b1, w2, b2 = self.quantised()
        hidden = x @ w1[-x.shape[-1] :] + b1[context]
        if own is not None:
            hidden = hidden + own @ w1[: own.shape[-1]]
        hidden = hidden * 2.0**-scales.SHIFT_1
        leaky = nn.functional.leaky_relu(hidden, _LEAK).clamp(max=scales.HIDDEN_MAX)
        hidden = straight_through(hidden.floor().clamp(0, scales.HIDDEN_MAX), leaky)
        return (hidden @ w2 + b2[context]) * 2.0**-scales.SHIFT_2

    def integers(self) -> GroupNetwork:
        """The integer network."""
        with torch.no_grad():
            w1, b1, w2, b2 = (t.round().clone() for t in self.quantised())
            return GroupNetwork(w1, b1, w2, b2)
