"""The encoder's last word on vectors: a block takes the vector that the decoder expects where its own gains less than it costs.

The search (`motion_search`) estimates the bits of a vector from its neighbours on all sides; only in the order of coding is it
known what a vector is predicted by, and which table codes the difference. Nothing here is normative.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from stcodec.motion import BI, Fields, Step
from stcodec.motion_search import MovedDifferences
from stcodec.vectors import RESIDUAL_SET, VectorTables

_BLOCK = 16
# What a difference in one of two references that are averaged counts.
_HALF = 0.8


class VectorChooser:
    """Chooses the vectors of the frames of a step, by their absolute differences on source pictures.

    luma: source pictures [N, 1, H, W] in [0, 1] by number of frame, -1 being the one before the chunk; fields: what the search found.
    bit_cost: absolute difference, summed over samples in [0, 1], that is worth one bit.
    """

    def __init__(
        self, step: Step, luma: Mapping[int, Tensor], fields: Fields, tables: VectorTables, bit_cost: float
    ) -> None:
        references = sorted({r for pair in step.references for r in pair if r is not None})
        number = {r: i for i, r in enumerate(references)}
        self._picture = np.array([[number.get(r, 0) if r is not None else 0 for r in pair] for pair in step.references])
        self._columns = fields.modes.shape[2]
        pictures = [luma[frame][0, 0] for frame in step.frames]
        self._differences = MovedDifferences(pictures, [luma[r][0, 0] for r in references])
        self._weight = np.where(fields.modes.cpu().numpy() == BI, _HALF, 1.0).reshape(len(step.frames), -1)
        self._costs, self._bit_cost = tables.costs, bit_cost * 255.0

    def choose(
        self, positions: np.ndarray, wanted: np.ndarray, predicted: np.ndarray, index: np.ndarray, free: np.ndarray
    ) -> np.ndarray:
        """See `vectors.Chooser`."""
        residual = np.abs(wanted - predicted)
        frame, side, at = np.nonzero(free & residual.any(2))
        if not len(at):
            return wanted
        own, other = wanted[frame, side, :, at], predicted[frame, side, :, at]
        saved = self._bits(index[frame, side, at], residual[frame, side, :, at])
        cell = positions[at]
        lost = self._difference(frame, side, cell, other) - self._difference(frame, side, cell, own)
        take = lost * self._weight[frame, cell] < self._bit_cost * saved
        chosen = wanted.copy()
        chosen[frame[take], side[take], :, at[take]] = other[take]
        return chosen

    def _bits(self, index: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """How many bits residuals [n, 2] cost more than none."""
        dy, dx = np.minimum(residual, self._costs.shape[1] - 1).T
        table = index.astype(np.int64)
        across = table + RESIDUAL_SET * (1 + (dy != 0))
        zero = self._costs[table, 0] + self._costs[table + RESIDUAL_SET, 0]
        return self._costs[table, dy] + self._costs[across, dx] - zero

    def _difference(self, frame: np.ndarray, side: np.ndarray, cell: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        corner = np.stack(np.divmod(cell, self._columns)) * _BLOCK
        return self._differences.of(self._picture[frame, side], frame, corner, np.ascontiguousarray(vectors.T))
