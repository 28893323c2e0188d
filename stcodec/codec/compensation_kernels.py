"""Motion-compensated prediction of a plane in compiled loops: one block after the other, so that
its samples stay in the cache. `compensation` says what is computed, and does the same with tensors.

Blocks overlap as in `compensation`; at the picture's edges, where a block has no neighbour, its
weight is one up to the edge, which is what a neighbour with the same motion would come to.
"""

from __future__ import annotations

import numpy as np
from numba import float32

from stcodec.common.compiled import compiled, inner

# Rows and columns of the room in which a block is worked on.
ROWS, COLUMNS = 32, 40
# How many samples of a row are worked on: loops whose length and whose indices a compiler knows
# become vector instructions, whatever the CPU; others may become slower ones than plain loops.
_WIDE, _NARROW = 24, 16


@inner
def _edge(plane: np.ndarray, y: int, left: int, out: np.ndarray) -> None:
    """COLUMNS samples of a plane in row y from `left` on, of which some lie beyond its edges: the
    nearest ones instead of those."""
    most = plane.shape[1] - 1
    for x in range(COLUMNS):
        out[x] = plane[y, min(max(left + x, 0), most)]


@inner
def _across8(row: np.ndarray, t: np.ndarray, out: np.ndarray, y: int, width: int) -> None:
    """Filter a row by 8 taps into row y of `out`."""
    t0, t1, t2, t3, t4, t5, t6, t7 = t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]
    if width <= _NARROW:
        for x in range(_NARROW):
            first = t0 * row[x] + t1 * row[x + 1] + t2 * row[x + 2] + t3 * row[x + 3]
            last = t4 * row[x + 4] + t5 * row[x + 5] + t6 * row[x + 6] + t7 * row[x + 7]
            out[y, x] = first + last
    else:
        for x in range(_WIDE):
            first = t0 * row[x] + t1 * row[x + 1] + t2 * row[x + 2] + t3 * row[x + 3]
            last = t4 * row[x + 4] + t5 * row[x + 5] + t6 * row[x + 6] + t7 * row[x + 7]
            out[y, x] = first + last


@inner
def _across4(row: np.ndarray, t: np.ndarray, out: np.ndarray, y: int) -> None:
    """Filter a row by 4 taps into row y of `out`."""
    t0, t1, t2, t3 = t[0], t[1], t[2], t[3]
    for x in range(_NARROW):
        out[y, x] = t0 * row[x] + t1 * row[x + 1] + t2 * row[x + 2] + t3 * row[x + 3]


@inner
def _down8(a: np.ndarray, height: int, t: np.ndarray, out: np.ndarray, width: int) -> None:
    """Filter columns by 8 taps."""
    t0, t1, t2, t3, t4, t5, t6, t7 = t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]
    for y in range(height):
        if width <= _NARROW:
            for x in range(_NARROW):
                first = t0 * a[y, x] + t1 * a[y + 1, x] + t2 * a[y + 2, x] + t3 * a[y + 3, x]
                last = t4 * a[y + 4, x] + t5 * a[y + 5, x] + t6 * a[y + 6, x] + t7 * a[y + 7, x]
                out[y, x] = first + last
        else:
            for x in range(_WIDE):
                first = t0 * a[y, x] + t1 * a[y + 1, x] + t2 * a[y + 2, x] + t3 * a[y + 3, x]
                last = t4 * a[y + 4, x] + t5 * a[y + 5, x] + t6 * a[y + 6, x] + t7 * a[y + 7, x]
                out[y, x] = first + last


@inner
def _down4(a: np.ndarray, height: int, t: np.ndarray, out: np.ndarray) -> None:
    """Filter columns by 4 taps."""
    t0, t1, t2, t3 = t[0], t[1], t[2], t[3]
    for y in range(height):
        for x in range(_NARROW):
            out[y, x] = t0 * a[y, x] + t1 * a[y + 1, x] + t2 * a[y + 2, x] + t3 * a[y + 3, x]


@inner
def _tile(
    out: np.ndarray,
    reference: np.ndarray,
    top: int,
    left: int,
    size: int,
    vy: int,
    vx: int,
    weight: float,
    ramp: np.ndarray,
    filters: np.ndarray,
    room: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Add the share of a block of size x size samples at (top, left), moved by (vy, vx), to a
    plane.

    ramp float32 [2 overlap]: weights where blocks blend; filters float32 [phases, taps]; room: two
    of float32 [ROWS, COLUMNS], two of [COLUMNS].
    """
    lines, moved, edge, across = room
    rows, columns = out.shape
    phases, taps = filters.shape
    overlap, before = len(ramp) // 2, taps // 2 - 1
    y0, y1 = max(top - overlap, 0), min(top + size + overlap, rows)
    x0, x1 = max(left - overlap, 0), min(left + size + overlap, columns)
    height, width = y1 - y0, x1 - x0
    whole_y, whole_x = vy // phases, vx // phases
    part_y, part_x = vy - whole_y * phases, vx - whole_x * phases
    # Where nothing moves down, no lines above and below are wanted.
    above, high = (before, height + taps - 1) if part_y else (0, height)
    start = x0 + whole_x - before
    inside = start >= 0 and start + COLUMNS <= columns
    for y in range(high):
        at = min(max(y0 + whole_y - above + y, 0), rows - 1)
        row = edge
        if inside:
            row = reference[at, start : start + COLUMNS]
        else:
            _edge(reference, at, start, edge)
        if part_x == 0:
            if before == 1:
                for x in range(_NARROW):
                    lines[y, x] = row[x + 1]
            else:
                for x in range(_WIDE):
                    lines[y, x] = row[x + 3]
        elif taps == 8:
            _across8(row, filters[part_x], lines, y, width)
        else:
            _across4(row, filters[part_x], lines, y)
    total = lines
    if part_y:
        total = moved
        if taps == 8:
            _down8(lines, height, filters[part_y], moved, width)
        else:
            _down4(lines, height, filters[part_y], moved)
    for x in range(width):
        across[x] = weight
    for i in range(2 * overlap):
        if left > 0:
            across[i] = weight * ramp[i]
        if left + size < columns:
            across[width - 1 - i] = weight * ramp[i]
    for y in range(height):
        here = float32(1)
        if y < 2 * overlap and top > 0:
            here = ramp[y]
        elif height - 1 - y < 2 * overlap and top + size < rows:
            here = ramp[height - 1 - y]
        row, line = out[y0 + y, x0:x1], total[y]
        for x in range(width):
            row[x] += here * across[x] * line[x]


@compiled
def add_prediction(
    out: np.ndarray,
    reference: np.ndarray,
    vectors: np.ndarray,
    weights: np.ndarray,
    block: int,
    ramp: np.ndarray,
    filters: np.ndarray,
) -> None:
    """Add what a reference predicts to a plane float32 [H, W].

    reference float32 [H, W]; vectors int16 [2, gh, gw], (dy, dx) of blocks of `block` x `block`
    samples in 1 / phases of a sample; weights float32 [gh / 2, gw / 2]: the share of this reference
    in 2 x 2 blocks, which are taken whole where their vectors are equal; ramp and filters as in
    `_tile`.
    """
    rows, columns = weights.shape
    lines, moved = np.zeros((ROWS, COLUMNS), np.float32), np.zeros((ROWS, COLUMNS), np.float32)
    room = lines, moved, np.zeros(COLUMNS, np.float32), np.zeros(COLUMNS, np.float32)
    for i in range(rows):
        for j in range(columns):
            weight = weights[i, j]
            if weight == 0:
                continue
            vy, vx = vectors[0, 2 * i, 2 * j], vectors[1, 2 * i, 2 * j]
            whole = True
            for a in range(2):
                for b in range(2):
                    same = vectors[0, 2 * i + a, 2 * j + b] == vy
                    whole = whole and same and vectors[1, 2 * i + a, 2 * j + b] == vx
            parts = 1 if whole else 2
            size = 2 * block // parts
            for a in range(parts):
                for b in range(parts):
                    y, x = 2 * i + a, 2 * j + b
                    vy, vx = vectors[0, y, x], vectors[1, y, x]
                    top, left = y * block, x * block
                    _tile(out, reference, top, left, size, vy, vx, weight, ramp, filters, room)
