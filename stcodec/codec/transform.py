"""The orthonormal transform of a patch's luma and chroma blocks, and the order of its coefficients.

A model names the basis of a line of samples; rows and columns of a block are transformed by it, one
after the other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stcodec.codec.dct import cosines
from stcodec.codec.dwt import wavelets
from stcodec.codec.patches import PatchSize

Line = Callable[[int], tuple[np.ndarray, np.ndarray]]
LINES: dict[str, Line] = {"dct": cosines, "dwt": wavelets}
"""By name, of a line of n samples: an orthonormal basis float64 [n, n], row by row, and the
frequency of each row in half cycles per line, float64 [n], 0 of the constant row alone, which comes
first, and never decreasing."""


@dataclass(frozen=True)
class Transform:
    """A patch's transform, as one orthonormal matrix.

    matrix: float32 [C, C]; row i is a basis picture of luma, U or V. frequency: float32 [C], of
    each row in cycles per luma sample times two (0 = DC, about 1.4 = the corner of luma); rows of
    the three planes are interleaved in its order, so that channel slices are frequency groups.
    order: int64 [C], which number each row has where luma, U and V come one after the other, each
    by vertical, then by horizontal frequency. luma: bool [C], which rows are luma's. luma_grid:
    int64 [h, w], the row that each luma coefficient is, by vertical and horizontal frequency.
    """

    matrix: Tensor
    frequency: Tensor
    order: Tensor
    luma: Tensor
    luma_grid: Tensor


@functools.lru_cache(maxsize=8)
def transform_of(patch: PatchSize, name: str = "dct") -> Transform:
    """The transform of a patch whose lines have the basis of that name."""
    blocks, frequencies = [], []
    for h, w, density in ((patch.h, patch.w, 1.0), *(((patch.h // 2), (patch.w // 2), 0.5),) * 2):
        (down, down_frequency), (across, across_frequency) = LINES[name](h), LINES[name](w)
        blocks.append(np.kron(down, across))
        fy, fx = down_frequency[:, None] / h, across_frequency[None, :] / w
        frequencies.append((np.hypot(fy, fx) * density).ravel())
    size, luma = patch.channels, patch.h * patch.w
    matrix = np.zeros((size, size))
    start = 0
    for block in blocks:
        matrix[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    frequency = np.concatenate(frequencies)
    order = np.argsort(frequency, kind="stable")
    return Transform(
        torch.tensor(matrix[order], dtype=torch.float32),
        torch.tensor(frequency[order], dtype=torch.float32),
        torch.from_numpy(order),
        torch.from_numpy(order < luma),
        torch.from_numpy(order.argsort()[:luma].reshape(patch.h, patch.w)),
    )
