"""What the networks are built of: layers that work patch by patch, blocks, memory.

All work at one resolution, one vector per patch, on tensors [N, C, rows, columns] whose vectors lie
in one piece in memory (torch's channels_last). Every residual branch ends in a zero-initialised
layer.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from stcodec.codec.scales import FRAME_KINDS

QUALITY_LEVELS = 64
QUALITY_KNOTS = 8
_BAND_PATCHES = 4096  # see `by_bands`


def concatenate(parts: list[Tensor]) -> Tensor:
    """Parts [N, C_i, rows, columns] along the channels: [N, sum of C_i, rows, columns], whose
    vectors lie in one piece whatever the parts' layout is."""
    return torch.cat([part.permute(0, 2, 3, 1) for part in parts], dim=-1).permute(0, 3, 1, 2)


def by_bands(work: Callable[..., Tensor], *grids: Tensor) -> Tensor:
    """`work(*grids)` of grids [N, C, rows, columns], where that goes patch by patch.

    On a CPU some rows at a time: what is made in between is small then.
    """
    rows, columns = grids[0].shape[2:]
    height = max(1, _BAND_PATCHES // columns)
    if rows <= height or torch.is_grad_enabled() or grids[0].device.type != "cpu":
        return work(*grids)
    out: Tensor | None = None
    for top in range(0, rows, height):
        band = work(*(grid[:, :, top : top + height] for grid in grids))
        if out is None:
            shape = *band.shape[:2], rows, columns
            out = torch.empty(shape, dtype=band.dtype, memory_format=torch.channels_last)
        out[:, :, top : top + height] = band
    assert out is not None
    return out


class Pointwise(nn.Conv2d):
    """A 1x1 convolution, as one product of matrices."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, rows, columns] -> [N, outputs, rows, columns]."""
        return self.part(x, 0, self.out_channels)

    def part(self, x: Tensor, start: int, end: int) -> Tensor:
        """The outputs from `start` up to `end` alone."""
        weight, bias = self.weight[start:end, :, 0, 0], self.bias
        bias = None if bias is None else bias[start:end]
        return nn.functional.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)

    def lay_out(self) -> None:
        """Keep the weights by inputs, which a CPU multiplies by faster; nothing else changes."""
        matrix = self.weight.detach()[:, :, 0, 0]
        self.weight.data = matrix.t().contiguous().t()[:, :, None, None]


def zeroed(layer: Pointwise) -> Pointwise:
    """A layer that says nothing yet."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class FeedForward(nn.Module):
    """What ends a block: what it saw around a patch is added, then a gated feed-forward residual.
    REACH: how many patches around a patch the block looks at."""

    REACH = 0

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = zeroed(Pointwise(width, width))
        self.gate = Pointwise(width, 2 * width)
        self.merge = zeroed(Pointwise(width, width))

    def after(self, seen: Tensor, x: Tensor) -> Tensor:
        """x and what was seen around its patches, each [N, width, rows, columns]."""
        return by_bands(self._pointwise, seen, x)

    def _pointwise(self, seen: Tensor, x: Tensor) -> Tensor:
        x = self.project(seen).add_(x)
        width = self.merge.in_channels
        value, gate = self.gate.part(x, 0, width), self.gate.part(x, width, 2 * width)
        if torch.is_grad_enabled():
            value = value * gate.clamp(0.0, 1.0)
        else:
            value.mul_(gate.clamp_(0.0, 1.0))
        return self.merge(value).add_(x)


class ConvolutionBlock(FeedForward):
    """Depthwise residual, then a gated feed-forward residual; about 5 width**2 MAC per patch."""

    REACH = 1

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.expand = Pointwise(width, width)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, width, rows, columns] -> the same shape."""
        wide = self.depthwise(nn.functional.leaky_relu(self.expand(x), 0.1, inplace=True))
        return self.after(wide, x)


def rows_of(grid: Tensor) -> Tensor:
    """[1, C, rows, columns] -> [rows * columns, C]."""
    _, channels, rows, columns = grid.shape
    return grid.permute(0, 2, 3, 1).reshape(rows * columns, channels)


def between_knots(knots: Tensor, quality: Tensor) -> Tensor:
    """Vectors [N, W] at quality float [N], piecewise linear between those of `knots` [8, W], evenly
    spaced over 0..63."""
    position = quality.clamp(0, QUALITY_LEVELS - 1) * ((QUALITY_KNOTS - 1) / (QUALITY_LEVELS - 1))
    low = position.floor().clamp(max=QUALITY_KNOTS - 2).long()
    part = (position - low)[:, None]
    return knots[low] * (1 - part) + knots[low + 1] * part


class Condition(nn.Module):
    """Per-channel scale and shift from quality (piecewise linear over 8 knots) and kind of
    frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.quality = nn.Parameter(torch.zeros(QUALITY_KNOTS, 2 * width))
        self.kind = nn.Parameter(torch.zeros(FRAME_KINDS, 2 * width))

    def forward(self, x: Tensor, quality: Tensor, kind: Tensor) -> Tensor:
        """x [N, W, ...]; quality float [N] in 0..63; kind int64 [N]."""
        scale, shift = self.of(quality, kind)
        return x * scale[:, :, None, None] + shift[:, :, None, None]

    def of(self, quality: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:
        """By what features are multiplied, and what is added to them, each [N, W]."""
        vector = between_knots(self.quality, quality) + self.kind[kind]
        scale, shift = vector.chunk(2, dim=1)
        return 1 + scale, shift


class Memory(nn.Module):
    """Gated recurrent state [1, M, rows, columns] over the key frames of a segment; starts from a
    learned null."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.null = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gate = Pointwise(width + channels, 2 * channels)

    def start(self, n: int, rows: int, columns: int) -> Tensor:
        """The null memory, [n, channels, rows, columns]."""
        return self.null.expand(n, -1, rows, columns)

    def forward(self, state: Tensor, features: Tensor) -> Tensor:
        """The state after a key frame with the filter's features [N, width, rows, columns]."""
        gate, candidate = self.gate(concatenate([features, state])).chunk(2, dim=1)
        gate = torch.clamp(0.5 + 0.25 * gate, 0.0, 1.0)
        return state + gate * (candidate.clamp(-4.0, 4.0) - state)
