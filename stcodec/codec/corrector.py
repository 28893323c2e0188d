"""A trunk and the layer that leaves it in compiled loops: `network_kernels`, for which weights are
laid out."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stcodec.codec.blocks import ConvolutionBlock, Pointwise, rows_of
from stcodec.codec.products import lay_out, plain
from stcodec.codec.trunk import Trunk

if TYPE_CHECKING:
    from stcodec.codec import network_kernels


class Corrector:
    """What a trunk says of coefficients on a CPU, one picture at a time, without gradients. Weights
    that change are laid out anew."""

    def __init__(self, trunk: Trunk, leave: Pointwise) -> None:
        self._trunk, self._leave = trunk, leave
        self._parameters = [*trunk.parameters(), *leave.parameters()]
        self._laid_out: tuple[list[tuple[int, int]], network_kernels.Layers] | None = None

    @property
    def fits(self) -> bool:
        """Whether there are loops for what the trunk is built of."""
        return all(type(block) is ConvolutionBlock for block in self._trunk.blocks)

    def __call__(
        self,
        loops: ModuleType,
        coefficients: Sequence[Tensor | None],
        state: Tensor | None,
        flat: int,
        step: Tensor,
        condition: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Coefficients [1, C, rows, columns] as they are corrected, and features [1, W, rows,
        columns].

        loops: `network_kernels`; coefficients: those, and two grids, if there are these, of which
        the trunk sees how far they are from them; state [1, M, rows, columns]; flat: of how many
        channels contrasts are seen; step [1, C, 1, 1]; condition: of `Condition.of`.
        """
        own = coefficients[0]
        assert own is not None
        rows, columns = own.shape[2:]
        patches, layers = rows * columns, self._layers(loops)
        values = _rows(own)
        none = np.zeros((0, values.shape[1]), np.float32)
        mean, predicted = (none if t is None else _rows(t) for t in coefficients[1:])
        more = np.zeros((patches, 0), np.float32) if state is None else _rows(state)
        sizes = step.view(-1).numpy()
        seen = loops.Seen(values, mean, predicted, more, 1 / sizes, flat)
        width = layers.expand.outputs
        around = np.zeros((2, width), np.float32)
        for row, vector in zip(around, condition, strict=True):
            row[: vector.shape[1]] = vector[0].numpy()
        features = np.empty((patches + loops.TILE - 1, width), np.float32)
        out = np.empty_like(values)
        loops.correct(seen, columns, layers, around, sizes, features, out)
        found = features[:patches, : self._leave.in_channels]
        return _grid(out, rows, columns), _grid(found, rows, columns)

    def _layers(self, loops: ModuleType) -> network_kernels.Layers:
        """The weights, laid out."""
        now = [(p.data_ptr(), p._version) for p in self._parameters]
        if self._laid_out is None or self._laid_out[0] != now:
            self._laid_out = now, self._lay_out(loops)
        return self._laid_out[1]

    def _lay_out(self, loops: ModuleType) -> network_kernels.Layers:
        blocks = [b for b in self._trunk.blocks if isinstance(b, ConvolutionBlock)]
        width, lanes = self._leave.in_channels, loops.LANES
        wide = -(-width // lanes) * lanes
        around = np.zeros((len(blocks), 10, wide), np.float32)
        for weights, block in zip(around, blocks, strict=True):
            assert block.depthwise.bias is not None
            weights[:9, :width] = plain(block.depthwise.weight).reshape(width, 9).T
            weights[9, :width] = plain(block.depthwise.bias)

        def layer(*layers: Pointwise, inputs: int = wide, parts: int = 1) -> network_kernels.Layer:
            matrices = [(one.weight[:, :, 0, 0], one.bias) for one in layers]
            return lay_out(loops, matrices, inputs, parts)

        made: network_kernels.Layers = loops.Layers(
            layer(self._trunk.enter, inputs=self._trunk.enter.in_channels),
            layer(*(block.expand for block in blocks)),
            around.reshape(len(blocks), -1),
            layer(*(block.project for block in blocks)),
            layer(*(block.gate for block in blocks), parts=2),
            layer(*(block.merge for block in blocks)),
            layer(self._leave),
        )
        return made


def _rows(grid: Tensor) -> np.ndarray:
    """What `rows_of` gives, in one piece of memory; without a copy where it lies so."""
    rows: np.ndarray = rows_of(grid).contiguous().numpy()
    return rows


def _grid(rows: np.ndarray, high: int, columns: int) -> Tensor:
    """The inverse of `_rows`."""
    return torch.from_numpy(rows).view(1, high, columns, -1).permute(0, 3, 1, 2)
