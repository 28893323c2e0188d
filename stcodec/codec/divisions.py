"""Patches by content: what is coded of a patch may be divided, where that takes fewer bits.

A patch names one of several orthonormal bases: its own transform, that of its quarters, or that of
their quarters. Only its symbols know: they are turned into coefficients of the whole patch at once,
so that predictions, means, networks and other patches never see a divided one. A patch without
symbols names nothing.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
import torch
from torch import Tensor

from stcodec.codec.entropy import Coder, Tables
from stcodec.codec.patches import PatchSize
from stcodec.codec.scales import SCALE_COUNT
from stcodec.codec.transform import LINES, transform_of
from stcodec.codec.tree import INTRA
from stcodec.errors import DamagedFileError

_MOST_NEIGHBOURS = 2  # that are divided; more count as so many
TABLES = 2 * (_MOST_NEIGHBOURS + 1)
"""Tables that name divisions, after those of latents: of intra frames, then of others, each by how
many neighbours are divided."""


@functools.lru_cache(maxsize=4)
def turns(patch: PatchSize, transform: str, count: int) -> list[Tensor]:
    """Of each division but the first, in which a patch is whole: what makes its coefficients of
    those of the whole patch, orthonormal float32 [C, C].

    A division has the planes of its channels in common with the whole, and the order within a
    plane is that of frequency; among equals, that of the blocks row by row.
    """
    whole = transform_of(patch, transform)
    matrix = whole.matrix.double().numpy()
    ends = np.cumsum([0, patch.h * patch.w, *(patch.h * patch.w // 4,) * 2])
    planes = np.stack([np.abs(matrix[:, a:b]).sum(1) > 0 for a, b in itertools.pairwise(ends)])
    found = []
    for division in range(1, count):
        divided = np.zeros_like(matrix)
        for plane, (start, end), by in zip(
            planes, itertools.pairwise(ends), (1, 2, 2), strict=True
        ):
            rows = _block(patch.h // by, patch.w // by, transform, division)
            divided[np.flatnonzero(plane), start:end] = rows
        found.append(torch.from_numpy(divided @ matrix.T).float())
    return found


def _block(h: int, w: int, transform: str, division: int) -> np.ndarray:
    """The basis of a block of h x w samples that is divided so many times, by frequency."""
    parts, lines = 1 << division, []
    for size in (h, w):
        basis, frequency = LINES[transform](size // parts)
        lines.append((np.kron(np.eye(parts), basis), np.tile(frequency * parts / size, parts)))
    (down, fy), (across, fx) = lines
    order = np.argsort(np.hypot(fy[:, None], fx[None, :]).ravel(), kind="stable")
    rows: np.ndarray = np.kron(down, across)[order]
    return rows


class FrameDivisions:
    """The divisions of the patches of a frame of `kind`, as they are coded.

    turns: of `turns`; step [C]: quantisation steps.
    """

    def __init__(self, turns: list[Tensor], step: Tensor, kind: int, patches: int) -> None:
        self._turns, self._step = turns, step
        self._first = SCALE_COUNT + (0 if kind == INTRA else _MOST_NEIGHBOURS + 1)
        # One row more than there are patches: what lies outside the picture is whole.
        self._divided = torch.zeros(patches + 1, dtype=torch.bool)

    def candidates(self, rest: Tensor) -> list[Tensor]:
        """Latents less their means [p, C] of whole patches, under each division."""
        return [rest, *(rest @ turn.T for turn in self._turns)]

    def tables(self, near: Tensor | None, rows: Tensor) -> np.ndarray:
        """Under which table each of the patches `rows` [r] of a pass with the neighbours `near`
        [4 p] names its division, uint8 [r]."""
        if near is None:
            return np.full(len(rows), self._first, np.uint8)
        count = self._divided[near.view(-1, 4)[rows]].sum(1).clamp_(max=_MOST_NEIGHBOURS)
        return (count + self._first).to(torch.uint8).numpy()

    def code(
        self, coder: Coder, tables: Tables, index: np.ndarray, chosen: Tensor | None
    ) -> Tensor:
        """Write the divisions int64 [r] of patches (None: read them) under the tables `index`;
        DamagedFileError for one that there is not."""
        symbols = None if chosen is None else chosen.to(torch.int32).numpy()
        found = coder.code(symbols, index, tables)
        if len(found) and not 0 <= found.min() <= found.max() <= len(self._turns):
            raise DamagedFileError("a decoded division is out of range")
        return torch.from_numpy(found.astype(np.int64))

    def whole(self, values: Tensor, at: Tensor, chosen: Tensor) -> Tensor:
        """Dequantised symbols [r, C] of the patches `at` [r], in units of the step, as what they
        are of whole patches. Later patches know that these are divided."""
        self._divided[at] = chosen > 0
        found = values.clone()
        for division, turn in enumerate(self._turns, start=1):
            rows = torch.nonzero(chosen == division)[:, 0]
            found[rows] = ((values[rows] * self._step) @ turn) / self._step
        return found
