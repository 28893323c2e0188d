"""The transform of a picture by lines, in compiled loops: `transform_kernels`, for which bases are
laid out."""

from __future__ import annotations

import itertools
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stcodec.codec import kernels
from stcodec.codec.patches import Frames, PatchSize
from stcodec.codec.transform import LINES, Transform

if TYPE_CHECKING:
    from stcodec.codec import transform_kernels

_SIDE = 8
_CLOSE = 1e-5


class Separable:
    """What the transform of patches of 8x8 is on a CPU, of one picture at a time and without
    gradients."""

    def __init__(self, patch: PatchSize, name: str, transform: Transform) -> None:
        self._name, self._transform = name, transform
        self._some = patch.h == patch.w == _SIDE
        self._own = False  # whether the basis last checked is that of this transform
        self._checked: tuple[int, int] | None = None
        self._laid_out: tuple[transform_kernels.Lines, transform_kernels.Order] | None = None

    def fits(self, samples: Tensor, count: int, rows: int, columns: int, basis: Tensor) -> bool:
        """Whether there are loops for this: so many pictures of a grid of patches, from `samples`
        or coefficients, by a model's own `basis` [C, C]."""
        on_cpu = samples.device.type == "cpu" and samples.dtype == torch.float32
        whole = count == 1 and rows % 2 == 0 and columns % 2 == 0
        if not (self._some and on_cpu and whole) or torch.is_grad_enabled():
            return False
        now = basis.data_ptr(), basis._version
        if self._checked != now:
            self._own = torch.allclose(basis, self._transform.matrix, rtol=0.0, atol=_CLOSE)
            self._checked = now
        return self._own and kernels.loops() is not None

    def coefficients(self, frames: Frames) -> Tensor:
        """The coefficients [1, C, rows, columns] of a picture that fits."""
        high, wide = (size // _SIDE for size in frames.y.shape[2:])
        out = np.empty((high * wide, _SIDE * _SIDE * 3 // 2), np.float32)
        loops = _loops()
        planes = loops.Planes(*(plane[0, 0].contiguous().numpy() for plane in frames))
        loops.transform(planes, *self._lay_out(), loops.room(wide), out)
        return torch.from_numpy(out).view(1, high, wide, -1).permute(0, 3, 1, 2)

    def pictures(self, coefficients: Tensor) -> Frames:
        """The inverse of `coefficients`."""
        _, channels, high, wide = coefficients.shape
        rows = coefficients.permute(0, 2, 3, 1).reshape(-1, channels).contiguous().numpy()
        side, half, loops = _SIDE, _SIDE // 2, _loops()
        sizes = (high * side, wide * side), *((high * half, wide * half),) * 2
        planes = loops.Planes(*(np.empty(size, np.float32) for size in sizes))
        loops.restore(rows, *self._lay_out(), loops.room(wide), planes)
        return Frames(*(torch.from_numpy(plane)[None, None] for plane in planes))

    def _lay_out(self) -> tuple[transform_kernels.Lines, transform_kernels.Order]:
        if self._laid_out is None:
            loops = _loops()
            luma, short = (LINES[self._name](size)[0] for size in (_SIDE, _SIDE // 2))
            chroma = np.kron(np.eye(2), short)
            bases = (luma, chroma, luma.T, chroma.T)
            flat = (np.ascontiguousarray(b, np.float32).reshape(-1) for b in bases)
            order, size = self._transform.order.numpy(), _SIDE * _SIDE
            ends = 0, size, size + size // 4, size + size // 2
            y, u, v = (
                np.flatnonzero((order >= start) & (order < end))
                for start, end in itertools.pairwise(ends)
            )
            row, column = np.divmod(order[u] - size, _SIDE // 2)
            places = loops.Order(y, u, v, order[y], row * _SIDE + column)
            self._laid_out = loops.Lines(*flat), places
        return self._laid_out


def _loops() -> ModuleType:
    found = kernels.loops()
    assert found is not None
    return found.transform
