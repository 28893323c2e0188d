"""The encoder's last word on motion: modes, splits and vectors, each block's the cheapest of what the search found and what the decoder
expects.

The search (`motion_search`) goes by absolute differences of source pictures, and estimates the bits of a vector from its neighbours on all
sides. Only in the order of coding is it known what a vector is predicted by, which table codes the difference, and what the decoded
references look like. Here blocks are gone through in that order, and priced by what their residuals cost once transformed and
quantised (rate-distortion optimised decisions, Sullivan and Wiegand 1998). Nothing here is normative.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stcodec.motion import BI, FIRST, LUMA_PHASES, LUMA_TAPS, SECOND, Fields, filter_taps
from stcodec.patches import dct_matrix
from stcodec.vectors import (
    CHILD_BASE,
    MODE_BASE,
    RESIDUAL_SET,
    VectorTables,
    mode_index,
    passes,
    predict,
    split_index,
)

if TYPE_CHECKING:
    from stcodec import motion_rate

_BLOCK, _TRANSFORM = 16, 8
# What a coefficient as large as x steps costs in bits, where it is coded at all: _FIRST_BITS + 2 log2(x).
_FIRST_BITS = 5.0
_FULL = os.environ.get("JFULL", "1") == "1"
_MU = float(os.environ.get("JMU", "1"))
_CH = float(os.environ.get("JCH", "1"))


@functools.cache
def _rate() -> ModuleType:
    """The compiled loops. Only who encodes waits for the compiler's library."""
    from stcodec import motion_rate

    return motion_rate


def _coefficient_costs(rate_weight: float) -> np.ndarray:
    """Costs float32 of coefficients by size, `TABLE_RESOLUTION` entries per step: squared error left out, or bits of coding it."""
    x = np.arange(128 * _rate().TABLE_RESOLUTION, dtype=np.float64) / _rate().TABLE_RESOLUTION
    coded = 0.1 + rate_weight * (_FIRST_BITS + 2 * np.log2(np.maximum(x, 1.0)))
    return np.minimum(x * x, coded).astype(np.float32)


@dataclass(frozen=True)
class Prices:
    """What is spent on the frames of a kind: `bit` in units of step**2, the transform with its steps, the tables of vectors."""

    bit: float
    transform: motion_rate.Transform
    tables: VectorTables

    @classmethod
    def of(cls, steps: Tensor, bit: float, tables: VectorTables) -> Prices:
        """steps [h, w]: quantisation steps of the luma coefficients of a patch, in sample units of [0, 1]; bit: squared error, in units
        of step**2, that is worth one bit."""
        h, w = steps.shape
        row, column = torch.arange(_TRANSFORM) * h // _TRANSFORM, torch.arange(_TRANSFORM) * w // _TRANSFORM
        inverse = _rate().TABLE_RESOLUTION / (255.0 * steps[row][:, column].cpu().numpy())
        basis = dct_matrix(_TRANSFORM).astype(np.float32)
        filters = filter_taps(LUMA_TAPS, LUMA_PHASES).numpy()
        return cls(
            bit, _rate().Transform(basis, inverse.astype(np.float32), _coefficient_costs(bit), filters), tables
        )


def _in_bytes(plane: Tensor) -> np.ndarray:
    return (plane * 255.0 + 0.5).clamp_(0, 255).to(torch.uint8).cpu().numpy()


def choose_fields(
    current: Tensor,
    references: tuple[Tensor | None, Tensor | None],
    found: Fields,
    hints: np.ndarray | None,
    prices: Prices,
) -> Fields:
    """The motion to code for one frame.

    current: source luma [H, W] in [0, 1]; references: decoded luma, at least one; found: what the search found, batch size 1; hints: int
    [1, 2, 2, rows, columns] of `vectors.step_hints`.
    """
    return _Choice(current, references, found, hints, prices).fields()


class _Choice:
    def __init__(
        self,
        current: Tensor,
        references: tuple[Tensor | None, Tensor | None],
        found: Fields,
        hints: np.ndarray | None,
        prices: Prices,
    ) -> None:
        self._prices = prices
        self._current = _in_bytes(current)
        before = _rate().MARGIN + LUMA_TAPS // 2 - 1
        self._references = [
            np.zeros((1, 1), np.uint8) if r is None else np.pad(_in_bytes(r), (before, before + 1), mode="edge")
            for r in references
        ]
        self._available = [r is not None for r in references]
        self._rows, self._columns = found.modes.shape[1:]
        cells = self._rows * self._columns
        fine = found.vectors[0].cpu().numpy().astype(np.int32)
        fine = fine.reshape(2, 2, self._rows, 2, self._columns, 2).transpose(2, 4, 0, 3, 5, 1)
        self._found = fine.reshape(cells, 2, 4, 2)  # block, reference, 8x8 block, component
        self._found_modes = found.modes[0].cpu().numpy().reshape(cells)
        self._hints = None if hints is None else np.clip(hints, -8192, 8192).reshape(1, 2, 2, cells)
        # What is decided, as `vectors.code_fields` keeps it.
        self._modes = np.zeros((1, cells + 1), np.int32)
        self._modes[:, -1] = -1
        self._flags = np.zeros((1, cells + 1), np.int32)
        self._vectors = np.zeros((1, 2, 2, cells), np.int32)
        self._sizes = np.zeros((1, 2, cells + 1), np.int32)
        self._fine = np.zeros((cells, 2, 4, 2), np.int32)

    def fields(self) -> Fields:
        """Go through the blocks in the order of coding."""
        for positions, near in passes(self._rows, self._columns):
            self._decide(positions, near)
        fine = self._fine.reshape(self._rows, self._columns, 2, 2, 2, 2).transpose(2, 5, 0, 3, 1, 4)
        vectors = fine.reshape(1, 2, 2, 2 * self._rows, 2 * self._columns).astype(np.int16)
        modes = self._modes[:, :-1].reshape(1, self._rows, self._columns).astype(np.uint8)
        return Fields(torch.from_numpy(vectors), torch.from_numpy(modes))

    def _decide(self, positions: np.ndarray, near: np.ndarray) -> None:
        hint = None if self._hints is None else self._hints[..., positions]
        prediction, level, base = predict(self._vectors, self._sizes, positions, near, hint)
        expected = prediction[0].transpose(2, 0, 1)  # [p, reference, component]
        spread = level[0].max(0)
        candidates, count = self._candidates(positions, expected)
        bit = np.float32(self._prices.bit * _MU)
        vector_bits, child_bits = self._bits(candidates, expected, base[0], spread)
        split_table = split_index(self._flags, near, spread[None])[0].astype(np.int64)
        blocks = _rate().Blocks(
            np.stack(np.divmod(positions, self._columns)) * _BLOCK,
            count,
            candidates,
            bit * self._mode_bits(positions, near),
            bit * vector_bits,
            bit * child_bits * np.float32(_CH),
            bit * self._prices.tables.costs[split_table, :2],
        )
        mode, pick = _rate().choose(self._current, *self._references, blocks, self._prices.transform)
        number = np.arange(len(positions))
        chosen = candidates[number[:, None], [0, 1], pick]  # [p, reference, 8x8 block, component]
        used = np.stack([mode != SECOND, mode != FIRST], axis=1) & np.array(self._available)
        chosen = np.where(used[:, :, None, None], chosen, expected[:, :, None, :])
        residual = chosen[:, :, 0] - expected
        self._modes[0, positions] = mode
        self._flags[0, positions] = (chosen != chosen[:, :, :1]).any(axis=(1, 2, 3))
        self._vectors[0][..., positions] = chosen[:, :, 0].transpose(1, 2, 0)
        self._sizes[0][:, positions] = np.abs(residual).sum(2).T
        self._fine[positions] = chosen

    def _candidates(self, positions: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Candidates int32 [p, 2, CANDIDATES, 4, 2] of both references, and how many there are [p, 2]; the last is what is expected."""
        n = len(positions)
        found = self._found[positions]
        split = (found != found[:, :, :1]).any(axis=(2, 3))
        new = split | (found[:, :, 0] != expected).any(2)
        candidates = np.zeros((n, 2, _rate().CANDIDATES, 4, 2), np.int32)
        count = np.zeros((n, 2), np.int64)

        def add(where: np.ndarray, vectors: np.ndarray) -> None:
            block, side = np.nonzero(where)
            candidates[block, side, count[block, side]] = vectors[block, side]
            count[block, side] += 1

        add(new, found)
        if _FULL:
            ordered = np.sort(found, axis=2)
            middle = (ordered[:, :, 1] + ordered[:, :, 2]) >> 1
            add(split, np.repeat(middle[:, :, None], 4, axis=2))
        add(np.ones_like(new), np.repeat(expected[:, :, None], 4, axis=2))
        count[:, ~np.array(self._available)] = 0
        return candidates, count

    def _mode_bits(self, positions: np.ndarray, near: np.ndarray) -> np.ndarray:
        """Bits float32 [p, 3] of each mode."""
        if not all(self._available):
            return np.where([False, self._available[0], self._available[1]], np.zeros((len(positions), 3)), 1e9).astype(
                np.float32
            )
        table = mode_index(self._modes, near)[0].astype(np.int64) - MODE_BASE
        bits = self._prices.tables.mode_costs[table].copy()
        if not _FULL:
            bits[np.arange(3)[None] != self._found_modes[positions][:, None]] = 1e9
        return bits

    def _bits(
        self, candidates: np.ndarray, expected: np.ndarray, base: np.ndarray, spread: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Bits float32 [p, 2, CANDIDATES] of the candidates' first vectors, and of the other three if the block is split."""
        costs = self._prices.tables.costs
        most = costs.shape[1] - 1
        residual = np.minimum(np.abs(candidates[:, :, :, 0] - expected[:, :, None]), most)
        table = base.T.astype(np.int64)[:, :, None]
        across = table + RESIDUAL_SET * (1 + (residual[..., 0] != 0))
        vector = costs[table, residual[..., 0]] + costs[across, residual[..., 1]]
        off = np.minimum(np.abs(candidates[:, :, :, 1:] - candidates[:, :, :, :1]), most)
        child = costs[(CHILD_BASE + spread.astype(np.int64))[:, None, None, None, None], off].sum(axis=(3, 4))
        return vector, child
