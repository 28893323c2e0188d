"""Lossless coding of motion: modes, vectors, splits. Integers only, so every machine decodes the
same vectors.

The 16x16 blocks of a field are coded in lattice passes, coarse to fine: first every 64th block in
both directions, then the centres of the squares that the known blocks form, then the middles of
their sides, and so on. A vector is predicted by the componentwise median of the four nearest known
vectors and a temporal hint; the spread of those, and how well the known neighbours were predicted
themselves, say which table codes the difference. Modes come before vectors (a vector that is not
used is not coded and takes its prediction), split flags and the 8x8 vectors of split blocks after
them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stcodec.codec.entropy import PRECISION, Coder, Tables
from stcodec.codec.motion import BI, FIRST, SECOND, Fields
from stcodec.codec.tree import Step
from stcodec.errors import DamagedFileError

COARSEST = 64
LIMIT = 1 << 13
SPREADS, ACTIVITIES, COUNTS, SIDES = 8, 3, 5, 3
RESIDUAL_BASE = 1
# Residual tables: by spread and activity; for dy, for dx where the residual of dy is zero, and
# where it is not; with a hint among the predictors, and without.
RESIDUAL_SET = SPREADS * ACTIVITIES
CHILD_BASE = RESIDUAL_BASE + 6 * RESIDUAL_SET
MODE_BASE = CHILD_BASE + SPREADS
SPLIT_BASE = MODE_BASE + COUNTS * SIDES
TABLE_COUNT = SPLIT_BASE + COUNTS * 3 - 1
VECTOR_SUPPORT = 160


@dataclass(frozen=True)
class FieldShape:
    """n frames, rows x columns blocks of 16x16 luma samples."""

    n: int
    rows: int
    columns: int


@dataclass
class VectorTables:
    """The frozen tables of this module, one `Tables` with `TABLE_COUNT` indices."""

    tables: Tables

    @functools.cached_property
    def mode_costs(self) -> np.ndarray:
        """Bits of each mode (BI, FIRST, SECOND), float32 [tables of modes, 3]."""
        rows = self.tables.counts[MODE_BASE - 1 : SPLIT_BASE - 1]
        return (PRECISION - np.log2(np.stack([row[:3] for row in rows]))).astype(np.float32)

    @functools.cached_property
    def costs(self) -> np.ndarray:
        """Bits of each magnitude, as `entropy.Tables.costs` has them."""
        return self.tables.costs()

    def pack(self) -> dict[str, np.ndarray]:
        """As int32 arrays, to be stored with the weights."""
        sizes = np.array([len(row) for row in self.tables.counts], dtype=np.int32)
        return {"sizes": sizes, "counts": np.concatenate(self.tables.counts).astype(np.int32)}

    @classmethod
    def unpack(cls, arrays: Mapping[str, np.ndarray]) -> VectorTables:
        """The inverse of `pack`; KeyError or ValueError on anything else."""
        sizes = arrays["sizes"].astype(np.int64)
        tables = Tables(np.split(arrays["counts"].astype(np.int64), np.cumsum(sizes)[:-1]))
        if len(tables) != TABLE_COUNT + 1:
            raise ValueError(f"{len(tables) - 1} vector tables where {TABLE_COUNT} are needed")
        return cls(tables)


def table_support(index: int) -> int:
    """The largest magnitude that table `index` codes without an escape."""
    return VECTOR_SUPPORT if index < MODE_BASE else 1


def default_tables() -> VectorTables:
    """Parametric tables for a model that has not been fitted: wider where neighbours disagree."""
    rows = []
    for index in range(1, TABLE_COUNT + 1):
        k = table_support(index)
        size = np.abs(np.arange(-k, k + 1)).astype(np.float64)
        if index < MODE_BASE:
            spread = (
                (index - CHILD_BASE)
                if index >= CHILD_BASE
                else (index - 1) % RESIDUAL_SET // ACTIVITIES
            )
            scale = 0.25 * 2.0 ** (0.75 * spread)
            row = np.exp(-size / scale) + 1e-5
        else:
            row = np.array([0.3, 0.4, 0.3]) if index < SPLIT_BASE else np.array([1e-4, 0.8, 0.2])
        rows.append(np.append(row, 1e-4))
    return VectorTables(Tables.from_probabilities(rows))


@functools.cache
def passes(rows: int, columns: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(positions [p], neighbours [4, p], at first [0, p]) of each pass, flat; a neighbour outside
    the grid is -1."""
    r, c = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    found: list[tuple[np.ndarray, np.ndarray]] = []

    def add(chosen: np.ndarray, offsets: Sequence[tuple[int, int]]) -> None:
        y, x = r[chosen], c[chosen]
        near = []
        for dy, dx in offsets:
            ny, nx = y + dy, x + dx
            inside = (ny >= 0) & (ny < rows) & (nx >= 0) & (nx < columns)
            near.append(np.where(inside, ny * columns + nx, -1))
        if y.size:
            found.append((y * columns + x, np.array(near, np.int64).reshape(len(offsets), y.size)))

    s = COARSEST
    add((r % s == 0) & (c % s == 0), [])
    while s > 1:
        h = s // 2
        add((r % s == h) & (c % s == h), [(-h, -h), (-h, h), (h, -h), (h, h)])
        odd_row, odd_column = (r % s == h) & (c % s == 0), (r % s == 0) & (c % s == h)
        add(odd_row | odd_column, [(-h, 0), (h, 0), (0, -h), (0, h)])
        s = h
    return found


def _spread_class(spread: np.ndarray) -> np.ndarray:
    """0, 1, 2-3, 4-7, ... -> 0..SPREADS-1."""
    edges = np.array([1, 2, 4, 8, 16, 32, 64])
    return np.searchsorted(edges, spread, side="right").astype(np.uint8)


def code_fields(
    coder: Coder,
    fields: Fields | None,
    shape: FieldShape,
    available: np.ndarray,
    hints: np.ndarray | None,
    tables: VectorTables,
) -> Fields:
    """Code the motion of one step; the same call writes (`fields` given) and reads (None).

    available: bool [n, 2], which references exist (at least one per frame). hints: int [n, 2, 2,
    rows, columns], expected vectors of the 16x16 blocks, or None. Returns what a decoder has:
    unused vectors take their prediction. DamagedFileError if decoded vectors are out of range.
    """
    wanted_modes = wanted = wanted_fine = None
    if fields is not None:
        fine = fields.vectors.cpu().numpy().astype(np.int32)
        wanted_fine = fine.reshape(shape.n, 2, 2, shape.rows, 2, shape.columns, 2)
        wanted = np.ascontiguousarray(wanted_fine[..., 0, :, 0])
        wanted_modes = fields.modes.cpu().numpy().astype(np.int32)
    modes = _code_modes(coder, wanted_modes, shape, available, tables.tables)
    used = np.stack([modes != SECOND, modes != FIRST], axis=1) & available[:, :, None, None]
    vectors, spreads = _code_vectors(coder, wanted, shape, used, hints, tables.tables)
    fine = _code_children(coder, wanted_fine, vectors, spreads, used, tables.tables)
    if np.abs(fine).max(initial=0) > LIMIT:
        raise DamagedFileError("a decoded motion vector is out of range")
    flat = fine.reshape(shape.n, 2, 2, shape.rows * 2, shape.columns * 2)
    return Fields(torch.from_numpy(flat.astype(np.int16)), torch.from_numpy(modes.astype(np.uint8)))


def _code_modes(
    coder: Coder,
    wanted: np.ndarray | None,
    shape: FieldShape,
    available: np.ndarray,
    tables: Tables,
) -> np.ndarray:
    cells = shape.rows * shape.columns
    modes = np.zeros((shape.n, cells + 1), dtype=np.int32)  # the last cell stands for "outside"
    modes[:, -1] = -1
    both = available.all(1)
    for positions, near in passes(shape.rows, shape.columns):
        index = mode_index(modes[both], near)
        symbols = None
        if wanted is not None:
            symbols = (
                wanted.reshape(shape.n, cells)[both][:, positions].reshape(-1).astype(np.int32) - 1
            )
        coded = coder.code(symbols, index.reshape(-1), tables).reshape(index.shape) + 1
        if coded.size and (coded.min() < 0 or coded.max() > 2):
            raise DamagedFileError("a decoded motion mode is out of range")
        rows = np.flatnonzero(both)
        modes[rows[:, None], positions[None, :]] = coded
    known = modes[:, :-1].reshape(shape.n, shape.rows, shape.columns)
    known[~available[:, 1]] = FIRST
    known[~available[:, 0]] = SECOND
    return known


def mode_index(modes: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The tables uint8 [n, p] of modes, given those of the passes before, [n, cells + 1] (-1
    outside)."""
    around = modes[:, near] if len(near) else np.full((len(modes), 1, near.shape[-1]), -1)
    average = (around == BI).sum(1)
    side = 1 + np.sign((around == SECOND).sum(1) - (around == FIRST).sum(1))
    return (MODE_BASE + average * SIDES + side).astype(np.uint8)


def _code_vectors(
    coder: Coder,
    wanted: np.ndarray | None,
    shape: FieldShape,
    used: np.ndarray,
    hints: np.ndarray | None,
    tables: Tables,
) -> tuple[np.ndarray, np.ndarray]:
    """The 16x16 vectors [n, 2, 2, rows, columns] and, per block, the spread class of their
    predictors [n, rows, columns]."""
    n, cells = shape.n, shape.rows * shape.columns
    vectors = np.zeros((n, 2, 2, cells), dtype=np.int32)
    spreads = np.zeros((n, 2, cells), dtype=np.int32)
    sizes = np.zeros(
        (n, 2, cells + 1), dtype=np.int32
    )  # |residual|, both components; the last cell is "outside"
    hint_all = None if hints is None else np.clip(hints, -LIMIT, LIMIT).reshape(n, 2, 2, cells)
    target = None if wanted is None else wanted.reshape(n, 2, 2, cells)
    coded_here = used.reshape(n, 2, cells)
    for positions, near in passes(shape.rows, shape.columns):
        hint = None if hint_all is None else hint_all[..., positions]
        prediction, level, base = predict(vectors, sizes, positions, near, hint)
        here = coded_here[:, :, positions]
        residual = np.zeros_like(prediction)
        for component in (0, 1):
            index = base
            if component:
                index = base + RESIDUAL_SET * (1 + (residual[:, :, 0] != 0))
            index = np.where(here, index, 0).astype(np.uint8)
            symbols = None
            if target is not None:
                difference = target[:, :, component, positions] - prediction[:, :, component]
                symbols = np.where(here, difference, 0).astype(np.int32).reshape(-1)
            residual[:, :, component] = coder.code(symbols, index.reshape(-1), tables).reshape(
                here.shape
            )
        vectors[..., positions] = prediction + residual
        sizes[:, :, positions] = np.abs(residual).sum(2)
        spreads[..., positions] = level
    return vectors.reshape(n, 2, 2, shape.rows, shape.columns), spreads.max(1).reshape(
        n, shape.rows, shape.columns
    )


def predict(
    vectors: np.ndarray,
    sizes: np.ndarray,
    positions: np.ndarray,
    near: np.ndarray,
    hint: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prediction [n, 2, 2, p] of the vectors at `positions`; and, [n, 2, p], the class of how far
    their predictors lie apart, and the table of dy's residual.

    vectors [n, 2, 2, cells], sizes of residuals [n, 2, cells + 1]: of the passes before.
    """
    if len(near):
        prediction, spread = _median(vectors, near, hint)
    else:
        prediction = np.zeros_like(vectors[..., positions]) if hint is None else hint
        spread = np.full((*prediction.shape[:2], len(positions)), 64 if hint is None else 4)
    level = _spread_class(spread)
    around = sizes[:, :, near].sum(2) if len(near) else np.zeros_like(spread)
    base = RESIDUAL_BASE + level * ACTIVITIES + np.minimum(2, (around + 2) // 3)
    return prediction, level, base + 3 * RESIDUAL_SET * (not len(near) or hint is None)


def _median(
    vectors: np.ndarray, near: np.ndarray, hint: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The median [n, 2, 2, p] of neighbours and hint, and how far they lie apart [n, 2, p]."""
    stack = np.stack([vectors[..., where] for where in near])
    # A missing neighbour repeats the mean of the ones there are, so that the median stays among
    # them.
    weight = (near >= 0).astype(np.int64)[:, None, None, None, :]
    mean = (stack * weight).sum(0) // np.maximum(1, weight.sum(0))
    stack = np.where(weight > 0, stack, mean)
    if hint is not None:
        stack = np.concatenate([stack, hint[None]])
    ordered = np.sort(stack, axis=0)
    m = len(ordered)
    prediction = ordered[m // 2] if m % 2 else (ordered[m // 2 - 1] + ordered[m // 2]) >> 1
    return prediction, (ordered[-1] - ordered[0]).max(2)


def _code_children(
    coder: Coder,
    wanted: np.ndarray | None,
    vectors: np.ndarray,
    spreads: np.ndarray,
    used: np.ndarray,
    tables: Tables,
) -> np.ndarray:
    """Split flags, and the differences of three 8x8 vectors from the first one; [n, 2, 2, rows, 2,
    columns, 2]."""
    n, _, _, rows, columns = vectors.shape
    cells = rows * columns
    flags = np.zeros((n, cells + 1), dtype=np.int32)
    target = difference = None
    fine = np.repeat(np.repeat(vectors[:, :, :, :, None, :, None], 2, axis=4), 2, axis=6)
    if wanted is not None:
        difference = np.where(used[:, :, None, :, None, :, None], wanted - fine, 0)
        target = difference.any(axis=(1, 2, 4, 6)).reshape(n, cells).astype(np.int32)
    for positions, near in passes(rows, columns):
        index = split_index(flags, near, spreads.reshape(n, cells)[:, positions])
        symbols = None if target is None else target[:, positions].reshape(-1)
        coded = coder.code(symbols, index.reshape(-1), tables).reshape(index.shape)
        if coded.size and (coded.min() < 0 or coded.max() > 1):
            raise DamagedFileError("a decoded split flag is out of range")
        flags[:, positions] = coded
    split = flags[:, :-1].reshape(n, rows, columns).astype(bool)
    index = np.broadcast_to(
        (spreads + CHILD_BASE)[:, None, None, :, None, :, None], fine.shape
    ).copy()
    index[~np.broadcast_to((split[:, None] & used)[:, :, None, :, None, :, None], fine.shape)] = 0
    index[..., 0, :, 0] = 0
    symbols = (
        None
        if difference is None
        else np.where(index > 0, difference, 0).astype(np.int32).reshape(-1)
    )
    residual = coder.code(symbols, index.reshape(-1).astype(np.uint8), tables)
    return fine + residual.reshape(fine.shape)


def split_index(flags: np.ndarray, near: np.ndarray, spreads: np.ndarray) -> np.ndarray:
    """The tables uint8 [n, p] of split flags, given those of the passes before, [n, cells + 1] (0
    outside), and the classes of spread [n, p]."""
    count = flags[:, near].sum(1) if len(near) else np.zeros(spreads.shape, dtype=np.int64)
    return (SPLIT_BASE + count * 3 + np.minimum(2, spreads // 2)).astype(np.uint8)


@dataclass(frozen=True)
class CodedField:
    """Vectors [2, 2, H/8, W/8] of a coded frame, where it and its references lie in time (frames of
    the chunk)."""

    vectors: np.ndarray
    frame: int
    references: tuple[int | None, int | None]


def step_hints(step: Step, coded: Mapping[int, CodedField], shape: FieldShape) -> np.ndarray | None:
    """Expected vectors of the frames of a step: those of a frame coded before, scaled by the
    distance in time.

    The first reference of a frame that has motion itself is taken, and of its vectors those along
    the way to the other reference if there are any. A key takes the motion of the key before. None
    if no frame of the step has a hint.
    """
    hints = np.zeros((shape.n, 2, 2, shape.rows, shape.columns), dtype=np.int32)
    found = False
    for i, (frame, pair) in enumerate(zip(step.frames, step.references, strict=True)):
        parents = [coded[r] for r in (pair[1], pair[0]) if r is not None and r in coded]
        if not parents:
            continue
        parent = next((p for p in parents if set(p.references) & set(pair) - {None}), parents[0])
        sides = [k for k in (0, 1) if parent.references[k] is not None]
        if not sides:
            continue
        side = next((k for k in sides if parent.references[k] in pair), sides[0])
        along = parent.references[side]
        assert along is not None
        span = along - parent.frame
        field = parent.vectors[side][:, ::2, ::2].astype(np.int32) * (1 if span > 0 else -1)
        for k, reference in enumerate(pair):
            if reference is not None:
                scaled = 2 * field * (reference - frame) + abs(span)
                hints[i, k] = scaled // (2 * abs(span))
                found = True
    return hints if found else None
