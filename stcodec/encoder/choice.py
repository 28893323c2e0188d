"""The encoder's last word on motion: modes, splits and vectors, each block's the cheapest of what
the search found and what the decoder expects.

The search (`search`) goes by absolute differences of source pictures, and estimates the bits
of a vector from its neighbours on all sides. Only in the order of coding is it known what a vector
is predicted by, which table codes the difference, and what the decoded references look like. Here
blocks are gone through in that order, and priced by what their residuals cost once transformed and
quantised (rate-distortion optimised decisions, Sullivan and Wiegand 1998). Nothing here is
normative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stcodec.codec import kernels
from stcodec.codec.compensation import LUMA_PHASES, LUMA_TAPS, filter_taps
from stcodec.codec.motion import Fields
from stcodec.codec.transform import dct_matrix
from stcodec.codec.vectors import (
    CHILD_BASE,
    LIMIT,
    MODE_BASE,
    RESIDUAL_SET,
    VectorTables,
    default_tables,
    mode_index,
    passes,
    predict,
    split_index,
)
from stcodec.common import compiled as compiled_loops
from stcodec.encoder import choice_kernels, sample_kernels, search, search_kernels, tuning
from stcodec.encoder.search import in_bytes

_TRANSFORM = 8


def cache_folder() -> Path | None:
    """Where compiled loops are kept; None where they cannot be."""
    return compiled_loops.cache_folder(choice_kernels.choose)


def compiled() -> bool:
    """Whether this machine has compiled the loops of search and choice before, and those of the
    codec; if not, the first chunk takes longer."""
    functions = search_kernels.sweep, choice_kernels.choose
    return kernels.cached() and all(compiled_loops.is_cached(f) for f in functions)


def compile_apart() -> None:
    """Compile the loops in a process of its own. Where the result cannot be kept, do nothing: the
    first chunk compiles."""
    if cache_folder() is not None:
        compiled_loops.run_apart("from stcodec.encoder.choice import warm_up; warm_up()")


def warm_up() -> None:
    """Compile the loops, or load what was compiled before, which the first chunk would do."""
    kernels.warm_up()
    pictures = torch.zeros(2, 1, 16, 16)
    found = search.search(pictures, [(1, 0, 0)], search.SearchSettings(1.0))[0]
    choose_fields(
        in_bytes(pictures[1, 0]),
        (pictures[0, 0], None),
        found,
        None,
        Prices.of(torch.ones(8, 8), 1.0, default_tables()),
    )


def _coding_costs(bit: float) -> np.ndarray:
    """Tangents (at zero, slope) [6] to what coding a coefficient of x steps costs: the rounding
    error and its bits."""
    x = np.array(tuning.TANGENTS)
    slope = bit * tuning.BITS_PER_OCTAVE / (math.log(2) * x)
    cost = tuning.ROUNDING_ERROR + bit * (tuning.FIRST_BITS + tuning.BITS_PER_OCTAVE * np.log2(x))
    return np.stack([cost - slope * x, slope], axis=1).reshape(-1).astype(np.float32)


@dataclass(frozen=True)
class Prices:
    """What is spent on the frames of a kind: `bit` in units of step**2, the transform with its
    steps, the tables of vectors."""

    bit: float
    transform: choice_kernels.Transform
    tables: VectorTables

    @classmethod
    def of(cls, steps: Tensor, bit: float, tables: VectorTables) -> Prices:
        """steps [h, w]: quantisation steps of the luma coefficients of a patch, in sample units of
        [0, 1]; bit: squared error, in units of step**2, that is worth one bit."""
        h, w = steps.shape
        row, column = (
            torch.arange(_TRANSFORM) * h // _TRANSFORM,
            torch.arange(_TRANSFORM) * w // _TRANSFORM,
        )
        inverse = 1.0 / (255.0 * steps[row][:, column].cpu().numpy())
        basis = dct_matrix(_TRANSFORM).astype(np.float32)
        filters = filter_taps(LUMA_TAPS, LUMA_PHASES).numpy()
        across = np.ascontiguousarray(basis.T)
        costs = _coding_costs(bit)
        return cls(
            bit,
            choice_kernels.Transform(basis, across, inverse.astype(np.float32), costs, filters),
            tables,
        )


def choose_fields(
    current: np.ndarray,
    references: tuple[Tensor | None, Tensor | None],
    found: Fields,
    hints: np.ndarray | None,
    prices: Prices,
) -> Fields:
    """The motion to code for one frame.

    current: source luma, uint8 [H, W]; references: decoded luma, at least one; found: what the
    search found, batch size 1, of which modes do not matter; hints: int [1, 2, 2, rows, columns] of
    `vectors.step_hints`.
    """
    return _Choice(current, references, found, hints, prices).fields()


class _Choice:
    def __init__(
        self,
        current: np.ndarray,
        references: tuple[Tensor | None, Tensor | None],
        found: Fields,
        hints: np.ndarray | None,
        prices: Prices,
    ) -> None:
        self._prices = prices
        self._current = current
        before = sample_kernels.MARGIN + LUMA_TAPS // 2 - 1
        padded = [
            np.zeros((1, 1), np.uint8)
            if r is None
            else np.pad(in_bytes(r), (before, before + 1), mode="edge")
            for r in references
        ]
        self._references = padded[0], padded[1]
        self._available = references[0] is not None, references[1] is not None
        self._rows, self._columns = found.modes.shape[1:]
        cells = self._rows * self._columns
        fine = found.vectors[0].cpu().numpy().astype(np.int32)
        fine = fine.reshape(2, 2, self._rows, 2, self._columns, 2).transpose(2, 4, 0, 3, 5, 1)
        self._found = np.ascontiguousarray(
            fine.reshape(cells, 2, 4, 2)
        )  # block, reference, 8x8 block, component
        self._hints = (
            None if hints is None else np.clip(hints, -LIMIT, LIMIT).reshape(1, 2, 2, cells)
        )
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
        prediction, level, residual_table = predict(
            self._vectors, self._sizes, positions, near, hint
        )
        expected = np.ascontiguousarray(
            prediction[0].transpose(2, 0, 1), np.int32
        )  # [p, reference, component]
        spread = level[0].max(0)
        loops, tables = choice_kernels, self._prices.tables
        split_table = split_index(self._flags, near, spread[None])[0].astype(np.int64)
        bits = loops.Bits(
            self._mode_bits(positions, near),
            np.ascontiguousarray(tables.costs[split_table, :2]),
            tables.costs,
            np.ascontiguousarray(residual_table[0].T, np.int64),
            RESIDUAL_SET,
            spread.astype(np.int64) + CHILD_BASE,
        )
        these = loops.Pass(positions, near, self._columns, self._found, self._vectors[0], expected)
        pictures = self._current, self._references, self._available
        mode, chosen = loops.choose(
            *pictures, these, bits, np.float32(self._prices.bit), self._prices.transform
        )
        self._modes[0, positions] = mode
        self._flags[0, positions] = (chosen != chosen[:, :, :1]).any(axis=(1, 2, 3))
        self._vectors[0][..., positions] = chosen[:, :, 0].transpose(1, 2, 0)
        self._sizes[0][:, positions] = np.abs(chosen[:, :, 0] - expected).sum(2).T
        self._fine[positions] = chosen

    def _mode_bits(self, positions: np.ndarray, near: np.ndarray) -> np.ndarray:
        """Bits float32 [p, 3] of each mode; none where there is no choice."""
        if not all(self._available):
            return np.zeros((len(positions), 3), np.float32)
        table = mode_index(self._modes, near)[0].astype(np.int64) - MODE_BASE
        return self._prices.tables.mode_costs[table]
