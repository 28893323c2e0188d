"""Compiled loops for the temporal filter: each 8x8 block of a picture, mixed with what other
pictures show of it.

Samples are float32 in [0, 255], whatever their depth. Vectors count quarter luma samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import float32, int64, uint64

from stcodec.common.compiled import compiled, inner
from stcodec.common.simd_kernels import filter_8, squares_of_8

BLOCK = 8
_CANDIDATES = 8
# Samples from row to row of a block that is worked on. Loops over all its rows, with indices that a
# compiler knows, become vector instructions on every CPU; loops over one row of 8 do not.
_ROW = 16
_LEAST = 0.02  # a smaller weight of a whole block is none
_GOOD = 0.15  # an error that leaves so much of a block's weight is not improved upon, in e-ths
_FARTHEST = np.float32(255)


class Plane(NamedTuple):
    """Samples float32, flat, in rows of `columns`: to flatten them for each block takes as long as
    some of its rows."""

    samples: np.ndarray
    rows: int
    columns: int


class Planes(NamedTuple):
    """A picture: y of H x W samples, u and v of ceil(H / 2) x ceil(W / 2)."""

    y: Plane
    u: Plane
    v: Plane


class Weights(NamedTuple):
    """What a sample of another picture counts, against one of this picture: `most`, times `alike`
    float32 [256] by its difference, times what the block's mean squared error leaves of it, one
    e-th for `error`."""

    most: float
    alike: np.ndarray
    error: float


class Taps(NamedTuple):
    """Interpolation filters: luma float32 [32], 8 taps each, chroma float32 [8, 4]."""

    luma: np.ndarray
    chroma: np.ndarray


class Room(NamedTuple):
    """Room for a block: vectors int64 [_CANDIDATES, 2] that are tried; in rows of _ROW, float32:
    window and lines [16 * _ROW], moved [8 * _ROW], and the best so far."""

    tried: np.ndarray
    window: np.ndarray
    lines: np.ndarray
    moved: np.ndarray
    best: np.ndarray


def room() -> Room:
    """An empty one."""
    lengths = 16 * _ROW, 16 * _ROW, BLOCK * _ROW, BLOCK * _ROW
    return Room(np.zeros((_CANDIDATES, 2), np.int64), *(np.zeros(n, np.float32) for n in lengths))


@inner
def _window(plane: Plane, top: int, left: int, size: int, out: np.ndarray) -> None:
    """size x size samples of a plane from (top, left) on into rows of `out`; beyond the edges the
    nearest ones."""
    rows, columns = plane.rows, plane.columns
    inside = left >= 0 and left + _ROW <= columns
    for y in range(size):
        at = min(max(top + y, 0), rows - 1)
        if inside:
            row = plane.samples[at * columns + left : at * columns + left + _ROW]
            for x in range(_ROW):
                out[y * _ROW + x] = row[x]
        else:
            for x in range(size):
                near = min(max(left + x, 0), columns - 1)
                out[y * _ROW + x] = plane.samples[at * columns + near]


@inner
def _luma(plane: Plane, top: int, left: int, vy: int, vx: int, taps: np.ndarray, w: Room) -> None:
    """8x8 samples of luma at (top, left), moved by a vector, into w.moved."""
    y, x = top + (vy >> 2) - 3, left + (vx >> 2) - 3
    rows, wide = plane.rows, plane.columns
    down, across = 8 * (vy & 3), 8 * (vx & 3)
    if min(y, x) >= 0 and y + 15 <= rows and x + 15 <= wide:
        flat, at = plane.samples, y * wide + x
    else:
        _window(plane, y, x, 15, w.window)
        flat, at, wide = w.window, 0, _ROW
    if down and across:
        filter_8(w.lines, 0, _ROW, flat, at, wide, 1, taps, across, 15)
        filter_8(w.moved, 0, _ROW, w.lines, 0, _ROW, _ROW, taps, down, 8)
    elif down:
        filter_8(w.moved, 0, _ROW, flat, at + 3, wide, wide, taps, down, 8)
    else:
        filter_8(w.moved, 0, _ROW, flat, at + 3 * wide, wide, 1, taps, across, 8)


@inner
def _chroma(plane: Plane, top: int, left: int, vy: int, vx: int, taps: np.ndarray, w: Room) -> None:
    """4x4 samples of chroma at (top, left), moved by a vector, into w.moved."""
    a, lines, out = w.window, w.lines, w.moved
    _window(plane, top + (vy >> 3) - 1, left + (vx >> 3) - 1, 7, a)
    t = taps[vx & 7]
    t0, t1, t2, t3 = t[0], t[1], t[2], t[3]
    for n in range(7 * _ROW):
        lines[n] = t0 * a[n] + t1 * a[n + 1] + t2 * a[n + 2] + t3 * a[n + 3]
    t = taps[vy & 7]
    t0, t1, t2, t3 = t[0], t[1], t[2], t[3]
    for n in range(BLOCK // 2 * _ROW):
        first = t0 * lines[n] + t1 * lines[n + _ROW]
        out[n] = first + (t2 * lines[n + 2 * _ROW] + t3 * lines[n + 3 * _ROW])


@inner
def _add(w: Room, n: int, vy: int, vx: int) -> int:
    """Add a vector to the n that are tried, if it is a new one; how many there are then."""
    for i in range(n):
        if w.tried[i, 0] == vy and w.tried[i, 1] == vx:
            return n
    w.tried[n, 0], w.tried[n, 1] = vy, vx
    return n + 1


@inner
def _candidates(vectors: np.ndarray, r: int, k: int, w: Room) -> int:
    """Write where the block in row r and column k may be in a picture whose blocks have moved
    here by `vectors` int [2, rows, columns]: as many as the result says."""
    rows, columns = vectors.shape[1], vectors.shape[2]
    # The block that has come here lies where this one's own vector points back to.
    y, x = r, k
    for _ in range(2):
        vy, vx = int64(vectors[0, y, x]), int64(vectors[1, y, x])
        y = min(max(r - ((vy + 16) >> 5), 0), rows - 1)
        x = min(max(k - ((vx + 16) >> 5), 0), columns - 1)
    n = _add(w, 0, -int64(vectors[0, y, x]), -int64(vectors[1, y, x]))
    n = _add(w, n, -int64(vectors[0, r, k]), -int64(vectors[1, r, k]))
    for side in range(4):
        i = min(max(y + (side == 0) - (side == 1), 0), rows - 1)
        j = min(max(x + (side == 2) - (side == 3), 0), columns - 1)
        n = _add(w, n, -int64(vectors[0, i, j]), -int64(vectors[1, i, j]))
    return _add(w, n, 0, 0)


@inner
def _error(own: Plane, top: int, left: int, moved: np.ndarray) -> float:
    """Mean squared difference of a block of luma from what has moved here."""
    high, wide = min(BLOCK, own.rows - top), min(BLOCK, own.columns - left)
    at = top * own.columns + left
    if wide == BLOCK:
        whole = squares_of_8(own.samples, at, own.columns, moved, 0, _ROW, high)
        return float(whole / float32(high * wide))
    total = float32(0)
    for y in range(high):
        row = own.samples[at + y * own.columns : at + y * own.columns + wide]
        for x in range(wide):
            d = moved[y * _ROW + x] - row[x]
            total += d * d
    return float(total / float32(high * wide))


@inner
def _find(
    own: Plane, other: Plane, place: tuple[int, int], count: int, good: float,
    taps: np.ndarray, w: Room,
) -> tuple[float, int]:  # fmt: skip
    """Of `count` vectors the best, or one with an error of no more than `good`; its samples are in
    w.best. Its mean squared error, and its number."""
    top, left = place
    least, best = 1e30, 0
    for i in range(count):
        _luma(other, top, left, w.tried[i, 0], w.tried[i, 1], taps, w)
        error = _error(own, top, left, w.moved)
        if error < least:
            least, best = error, i
            for n in range(BLOCK * _ROW):
                w.best[n] = w.moved[n]
        if least <= good:
            break
    return least, best


@inner
def _mix(
    own: Plane, moved: np.ndarray, place: tuple[int, int], size: int, most: float,
    alike: np.ndarray, total: Plane, weight: Plane,
) -> None:  # fmt: skip
    """Add the samples of a block, moved here, to `total`, and what they count to `weight`."""
    columns, scale = own.columns, float32(most)
    flat, totals, counts = own.samples, total.samples, weight.samples
    top, left = place
    wide = min(size, columns - left)
    for y in range(min(size, own.rows - top)):
        p, q = uint64((top + y) * columns + left), uint64(y * _ROW)
        for x in range(wide):
            sample, at = moved[q + uint64(x)], p + uint64(x)
            d = abs(sample - flat[at]) + float32(0.5)
            share = scale * alike[uint64(min(d, _FARTHEST))]
            totals[at] += share * sample
            counts[at] += share


@compiled
def mix(
    own: Planes, other: Planes, vectors: np.ndarray, weights: Weights, taps: Taps, totals: Planes,
    counts: Planes, w: Room,
) -> None:  # fmt: skip
    """Add to weighted sums of samples, and to the sums of their weights, what another picture shows
    of each block of this one.

    vectors: int16 [2, H / 8, W / 8], by which the blocks of the other picture have moved to where
    they are in this one.
    """
    half, good = BLOCK // 2, _GOOD * weights.error
    alike = weights.alike
    for r in range(-(-own.y.rows // BLOCK)):
        for k in range(-(-own.y.columns // BLOCK)):
            place = BLOCK * r, BLOCK * k
            count = _candidates(vectors, r, k, w)
            error, best = _find(own.y, other.y, place, count, good, taps.luma, w)
            most = weights.most * np.exp(-error / weights.error)
            if most < _LEAST:
                continue
            _mix(own.y, w.best, place, BLOCK, most, alike, totals.y, counts.y)
            top, left = half * r, half * k
            if top >= own.u.rows or left >= own.u.columns:
                continue
            place = top, left
            vy, vx = w.tried[best, 0], w.tried[best, 1]
            _chroma(other.u, top, left, vy, vx, taps.chroma, w)
            _mix(own.u, w.moved, place, half, most, alike, totals.u, counts.u)
            _chroma(other.v, top, left, vy, vx, taps.chroma, w)
            _mix(own.v, w.moved, place, half, most, alike, totals.v, counts.v)
