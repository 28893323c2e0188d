"""Motion in compiled loops: what is known of a frame's motion, and what a block may do in the light
of that. `vector_kernels` codes it.

Positions and sizes count units of 16x16 luma samples. Records are rows of integers, whose columns
have names: a compiler takes long over more.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stcodec.codec.motion import BI, FIRST, SECOND
from stcodec.common.compiled import inner

LARGEST = 4  # units in a row of a block
# Row and column of the units of a block, in the order of a quadtree.
Z_ORDER = np.array([(i // 8 * 2 + i // 2 % 2, i // 4 % 2 * 2 + i % 2) for i in range(16)])
CANDIDATES = 6  # at most
PREDICTORS = 3  # at most
LIMIT = 1 << 13  # of a component, in quarter samples

# Columns of a unit: mode, size of its block, whether that was merged; then, as in all records of
# motion, its vectors by reference (8 columns), 8x8 part (2) and component.
UNIT_MODE, UNIT_SIZE, UNIT_MERGED, VECTORS = 0, 1, 2, 3
UNIT_COLUMNS = VECTORS + 16
# Sizes: not known yet, in four parts, whole, two units wide, four wide.
UNKNOWN, IN_PARTS = 0, 1
# A motion is a mode and vectors: columns of a block.
BLOCK_COLUMNS = 17
# Rows of candidates: a mode and one vector by each reference; how many there are, how many more
# spoke for the first, how many predictors each reference has; those predictors.
COUNTS = CANDIDATES
PREDICTED = COUNTS + 1
CANDIDATE_ROWS = PREDICTED + 2 * PREDICTORS


class Field(NamedTuple):
    """The motion of a frame as far as it is known.

    units int32 [rows, columns, UNIT_COLUMNS]; hints int32 [h, rows, columns, 4]: expected vectors,
    of h kinds, by reference and component; references: 1 the first alone, 2 the second alone, 3
    both are there.
    """

    units: np.ndarray
    hints: np.ndarray
    references: int


def room() -> tuple[np.ndarray, np.ndarray]:
    """Room for the candidates int64 [CANDIDATE_ROWS, 5] and the motion of a block."""
    return np.zeros((CANDIDATE_ROWS, 5), np.int64), np.zeros(BLOCK_COLUMNS, np.int64)


@inner
def used(mode: int, side: int) -> bool:
    """Whether a mode takes a reference."""
    return mode == BI or mode == 1 + side


@inner
def _add(c: np.ndarray, mode: int, y0: int, x0: int, y1: int, x1: int) -> None:
    """Add a candidate, or one more vote for the first, and the predictors that it makes: a mode and
    a vector by either reference."""
    n = c[COUNTS, 0]
    for i in range(n):
        if (
            c[i, 0] == mode
            and (mode == SECOND or (c[i, 1] == y0 and c[i, 2] == x0))
            and (mode == FIRST or (c[i, 3] == y1 and c[i, 4] == x1))
        ):
            if i == 0:
                c[COUNTS, 1] += 1
            return
    if n < CANDIDATES:
        c[n, 0], c[n, 1], c[n, 2], c[n, 3], c[n, 4] = mode, y0, x0, y1, x1
        c[COUNTS, 0] = n + 1
    if mode != SECOND:
        add_predictor(c, 0, y0, x0)
    if mode != FIRST:
        add_predictor(c, 1, y1, x1)


@inner
def add_predictor(c: np.ndarray, side: int, y: int, x: int) -> None:
    """Add a predictor of the vectors of a reference, if it is none yet."""
    n = c[COUNTS, 2 + side]
    first = PREDICTED + PREDICTORS * side
    for i in range(n):
        if c[first + i, 0] == y and c[first + i, 1] == x:
            return
    if n < PREDICTORS:
        c[first + n, 0], c[first + n, 1] = y, x
        c[COUNTS, 2 + side] = n + 1


@inner
def gather(f: Field, r: int, k: int, size: int, c: np.ndarray) -> None:
    """The candidates int64 [CANDIDATE_ROWS, 5] of the block of `size` units at (r, k): the blocks
    to its left and above, the expected motion, its corners, what else is expected, and none."""
    rows, columns = f.units.shape[0], f.units.shape[1]
    for i in range(5):
        c[COUNTS, i] = 0
    last_r, last_k = r + size - 1, k + size - 1
    whole = BI if f.references == 3 else (FIRST if f.references == 1 else SECOND)
    y, x = min(r + size // 2, rows - 1), min(k + size // 2, columns - 1)
    for i in range(6 + len(f.hints)):
        part, ny, nx = 0, r - 1, k - 1
        if i == 0:
            part, ny = 3, last_r
        elif i == 1:
            part, nx = 3, last_k
        elif i == 3:
            part, nx = 2, last_k + 1
        elif i == 4:
            part, ny = 1, last_r + 1
        elif i == 5:
            part = 3
        elif i == 2 or i > 5:
            hint = 0 if i == 2 else i - 5
            if hint < len(f.hints):
                h = f.hints[hint, y, x]
                _add(c, whole, h[0], h[1], h[2], h[3])
            continue
        if ny < 0 or nx < 0 or ny >= rows or nx >= columns:
            continue
        unit, at = f.units[ny, nx], VECTORS + 2 * part
        if unit[UNIT_SIZE] != UNKNOWN:
            _add(c, unit[UNIT_MODE], unit[at], unit[at + 1], unit[at + 8], unit[at + 9])
    still = f.units[0, 0, UNIT_MODE] * 0
    _add(c, whole, still, still, still, still)
    for side in range(2):
        add_predictor(c, side, still, still)


@inner
def take(c: np.ndarray, i: int, block: np.ndarray) -> None:
    """Give a block the motion of a candidate."""
    block[0] = c[i, 0]
    for side in range(2):
        fill(block, side, c[i, 1 + 2 * side], c[i, 2 + 2 * side])


@inner
def fill(block: np.ndarray, side: int, y: int, x: int) -> None:
    """Give all parts of a block one vector of a reference."""
    for at in range(1 + 8 * side, 9 + 8 * side, 2):
        block[at], block[at + 1] = y, x


@inner
def in_parts(block: np.ndarray, side: int) -> bool:
    """Whether the parts of a block move differently from a reference."""
    first = 1 + 8 * side
    for at in range(first + 2, first + 8, 2):
        if block[at] != block[first] or block[at + 1] != block[first + 1]:
            return True
    return False


@inner
def around(f: Field, column: int, r: int, k: int, value: int) -> int:
    """How many of the units to the left and above have a value, 0..2."""
    count = 0
    if k > 0 and f.units[r, k - 1, column] == value:
        count += 1
    if r > 0 and f.units[r - 1, k, column] == value:
        count += 1
    return count


@inner
def keep(f: Field, r: int, k: int, size: int, merged: int, block: np.ndarray) -> None:
    """Keep the motion of a block, so that later ones see it."""
    label = IN_PARTS if in_parts(block, 0) or in_parts(block, 1) else 2 + size // 2
    for i in range(r, r + size):
        for j in range(k, k + size):
            f.units[i, j, UNIT_MODE], f.units[i, j, UNIT_SIZE] = block[0], label
            f.units[i, j, UNIT_MERGED] = merged
            for n in range(16):
                f.units[i, j, VECTORS + n] = block[1 + n]


@inner
def forget(f: Field, r: int, k: int, size: int) -> None:
    """Forget the motion of a block."""
    for i in range(r, r + size):
        for j in range(k, k + size):
            f.units[i, j, UNIT_SIZE] = UNKNOWN
