"""Motion-compensated prediction of a plane in compiled loops: one block after the other, so that
its samples stay in the cache. `compensation` says what is computed, and does the same with tensors.

Blocks overlap as in `compensation`; at the picture's edges, where a block has no neighbour, its
weight is one up to the edge, which is what a neighbour with the same motion would come to.
"""

from __future__ import annotations

import numpy as np
from numba import float32, uint64

from stcodec.common.compiled import compiled, inlined, inner

# A block is worked on in rows so far apart, of which loops of a fixed length take the first part:
# such loops become vector instructions.
STRIDE = 40
ROOM = 48 * STRIDE


@inner
def _window(
    reference: np.ndarray,
    size: tuple[int, int],
    top: int,
    left: int,
    height: int,
    width: int,
    out: np.ndarray,
) -> None:
    """Samples of a flat plane of that size from (top, left) on into rows of `out`, STRIDE samples
    apart; beyond the edges the nearest ones."""
    rows, columns = size
    inside = left >= 0 and left + STRIDE <= columns
    for y in range(height):
        source, to = uint64(min(max(top + y, 0), rows - 1) * columns), uint64(y * STRIDE)
        if inside:
            source += uint64(left)
            for x in range(STRIDE):
                out[to + uint64(x)] = reference[source + uint64(x)]
        else:
            for x in range(width):
                column = uint64(min(max(left + x, 0), columns - 1))
                out[to + uint64(x)] = reference[source + column]


@inlined
def _filter8(a: np.ndarray, p: int, d: int, t: np.ndarray, out: np.ndarray, q: int) -> None:
    """Filter 32 samples by 8 taps: out[q + i] = sum of t[k] a[p + i + k d]."""
    t0, t1, t2, t3, t4, t5, t6, t7 = t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]
    for i in range(32):
        x = p + uint64(i)
        first = t0 * a[x] + t1 * a[x + d] + t2 * a[x + 2 * d] + t3 * a[x + 3 * d]
        x += 4 * d
        last = t4 * a[x] + t5 * a[x + d] + t6 * a[x + 2 * d] + t7 * a[x + 3 * d]
        out[q + uint64(i)] = first + last


@inlined
def _filter4(a: np.ndarray, p: int, d: int, t: np.ndarray, out: np.ndarray, q: int) -> None:
    """Filter 16 samples by 4 taps: out[q + i] = sum of t[k] a[p + i + k d]."""
    t0, t1, t2, t3 = t[0], t[1], t[2], t[3]
    for i in range(16):
        x = p + uint64(i)
        out[q + uint64(i)] = t0 * a[x] + t1 * a[x + d] + t2 * a[x + 2 * d] + t3 * a[x + 3 * d]


@inner
def _filter(
    samples: np.ndarray, height: int, apart: int, taps: np.ndarray, out: np.ndarray
) -> None:
    """Filter rows of samples along a row (`apart` 1) or down the columns (`apart` STRIDE) into rows
    of `out`, of which the first 32 (8 taps) or 16 (4 taps) samples count."""
    d = uint64(apart)
    for y in range(height):
        p = uint64(y * STRIDE)
        if len(taps) == 8:
            _filter8(samples, p, d, taps, out, p)
        else:
            _filter4(samples, p, d, taps, out, p)


@inner
def _tile(
    out: np.ndarray,
    reference: np.ndarray,
    plane: tuple[int, int],
    top: int,
    left: int,
    size: int,
    vy: int,
    vx: int,
    weight: float,
    ramp: np.ndarray,
    filters: np.ndarray,
    room: np.ndarray,
) -> None:
    """Add the share of a block of size x size samples at (top, left), moved by (vy, vx), to a flat
    plane.

    ramp float32 [2 overlap]: weights where blocks blend; filters float32 [phases, taps]; room:
    float32 [4, ROOM].
    """
    window, lines, moved, across = room[0], room[1], room[2], room[3]
    rows, columns = plane
    phases, taps = filters.shape
    overlap, before = len(ramp) // 2, taps // 2 - 1
    y0, y1 = max(top - overlap, 0), min(top + size + overlap, rows)
    x0, x1 = max(left - overlap, 0), min(left + size + overlap, columns)
    height, width = y1 - y0, x1 - x0
    whole_y, whole_x = vy // phases, vx // phases
    part_y, part_x = vy - whole_y * phases, vx - whole_x * phases
    high, wide = height + taps - 1, width + taps - 1
    _window(reference, plane, y0 + whole_y - before, x0 + whole_x - before, high, wide, window)
    total, start = window, before * STRIDE
    if part_x == 0:
        start += before
    else:
        _filter(window, high, 1, filters[part_x], lines)
        total = lines
    if part_y != 0:
        # Where nothing moves across, the columns that count begin further on.
        skipped = start - before * STRIDE
        _filter(total[skipped:], height, STRIDE, filters[part_y], moved)
        total, start = moved, 0
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
        p, q = uint64(start + y * STRIDE), uint64((y0 + y) * columns + x0)
        for i in range(width):
            x = uint64(i)
            out[q + x] += here * across[x] * total[p + x]


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
    plane, flat, source = out.shape, out.reshape(-1), reference.reshape(-1)
    room = np.zeros((4, ROOM), np.float32)
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
                    _tile(flat, source, plane, top, left, size, vy, vx, weight, ramp, filters, room)
