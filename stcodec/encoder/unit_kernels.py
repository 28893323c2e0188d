"""Compiled loops for the choice of motion: what 16x16 units of a picture cost under it.

The residual of a unit is priced by its transform: a coefficient, in units of its quantisation
step, costs the smaller of what is lost without it and what coding it takes. Costs are in units of
step**2. What was worked out for a unit is kept, since its neighbours and larger blocks ask for it
again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import float32

from stcodec.codec.motion import BI, FIRST, SECOND
from stcodec.common.compiled import inner
from stcodec.encoder.sample_kernels import MARGIN

_MOVED, _PRICED = 16, 48  # kept of a unit
UNITS = 16  # in a block of 64x64
# Samples of a unit lie in rows so far apart; the last 8 of a row are anything. Loops over the whole
# of it, or over a row of it, have lengths and indices that a compiler makes vector instructions of,
# on every CPU; it unrolls shorter ones, and takes one sample at a time then.
_ROW = 24
_AREA = 16 * _ROW
BEYOND = 15  # samples that a reference has on the right of its margin: 7 for taps, 8 for such a row


class Transform(NamedTuple):
    """basis float32 [8, 8] of the orthonormal DCT; inverse float32 [256]: one by the steps, for
    coefficients as `_transformed` leaves them; lines float32 [6]: what coding takes is the least of
    three lines, each (at zero, slope), over the size in steps; filters float32 [4, 8]: luma at
    quarter samples."""

    basis: np.ndarray
    inverse: np.ndarray
    lines: np.ndarray
    filters: np.ndarray


class Pictures(NamedTuple):
    """current: bytes [H, W]; first and second reference: float32 in 0..255 [H + 2 MARGIN + 7, W + 2
    MARGIN + BEYOND]."""

    current: np.ndarray
    first: np.ndarray
    second: np.ndarray


class Work(NamedTuple):
    """Of the units of a block of 64x64: own float32 [UNITS, _AREA], their samples; moved float32
    [2, UNITS, n, _AREA], what either reference predicts by the vectors `moved_by` int64 [2, UNITS,
    n, 2], of which there are `moved_count` int64 [2, UNITS]; costs float32 [UNITS, m] of the motion
    `priced` int64 [UNITS, m, 5] (mode and both vectors), in number `priced_count` int64 [UNITS].
    Then room: lines [23 _ROW], part [_AREA], residual [_AREA], both [2, _AREA], half [_AREA],
    turned [256]."""

    own: np.ndarray
    moved: np.ndarray
    moved_by: np.ndarray
    moved_count: np.ndarray
    costs: np.ndarray
    priced: np.ndarray
    priced_count: np.ndarray
    lines: np.ndarray
    part: np.ndarray
    residual: np.ndarray
    both: np.ndarray
    half: np.ndarray
    turned: np.ndarray


def work() -> Work:
    """An empty one."""
    return Work(
        np.zeros((UNITS, _AREA), np.float32),
        np.zeros((2, UNITS, _MOVED, _AREA), np.float32),
        np.empty((2, UNITS, _MOVED, 2), np.int64),
        np.zeros((2, UNITS), np.int64),
        np.empty((UNITS, _PRICED), np.float32),
        np.empty((UNITS, _PRICED, 5), np.int64),
        np.zeros(UNITS, np.int64),
        np.zeros(23 * _ROW, np.float32),
        np.zeros(_AREA, np.float32),
        np.zeros(_AREA, np.float32),
        np.zeros((2, _AREA), np.float32),
        np.zeros(_AREA, np.float32),
        np.zeros(256, np.float32),
    )


def in_order(steps: np.ndarray) -> np.ndarray:
    """Values [8, 8] by vertical and horizontal frequency, for the coefficients of a unit as
    `_transformed` leaves them, [256]."""
    return np.ascontiguousarray(np.tile(steps.T, (1, 4)).reshape(-1))


@inner
def begin(w: Work, current: np.ndarray, unit: int, top: int, left: int) -> None:
    """Take the samples of a unit at (top, left), and forget what another one has left."""
    own = w.own[unit]
    for y in range(16):
        for x in range(16):
            own[y * _ROW + x] = current[top + y, left + x]
    w.moved_count[0, unit] = w.moved_count[1, unit] = w.priced_count[unit] = 0


@inner
def _across(
    plane: np.ndarray, top: int, left: int, high: int, t: np.ndarray, out: np.ndarray
) -> None:
    """Filter rows of a plane from (top, left) on along the rows."""
    t0, t1, t2, t3, t4, t5, t6, t7 = t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]
    for y in range(high):
        row = plane[top + y, left : left + _ROW + 7]
        for x in range(_ROW):
            first = t0 * row[x] + t1 * row[x + 1] + t2 * row[x + 2] + t3 * row[x + 3]
            last = t4 * row[x + 4] + t5 * row[x + 5] + t6 * row[x + 6] + t7 * row[x + 7]
            out[y * _ROW + x] = first + last


@inner
def _down(a: np.ndarray, t: np.ndarray, out: np.ndarray) -> None:
    """Filter rows of samples down the columns."""
    t0, t1, t2, t3, t4, t5, t6, t7 = t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]
    for n in range(_AREA):
        first = t0 * a[n] + t1 * a[n + _ROW] + t2 * a[n + 2 * _ROW] + t3 * a[n + 3 * _ROW]
        n += 4 * _ROW
        last = t4 * a[n] + t5 * a[n + _ROW] + t6 * a[n + 2 * _ROW] + t7 * a[n + 3 * _ROW]
        out[n - 4 * _ROW] = first + last


@inner
def _move(
    padded: np.ndarray,
    top: int,
    left: int,
    vy: int,
    vx: int,
    size: int,
    filters: np.ndarray,
    lines: np.ndarray,
    out: np.ndarray,
) -> None:
    """size x size samples at (top, left) of a reference, moved by a vector in quarter samples, into
    the first rows of `out`."""
    height, width = padded.shape[0] - 7, padded.shape[1] - BEYOND
    y0 = min(max(top + (vy >> 2) + MARGIN, 0), height - size)
    x0 = min(max(left + (vx >> 2) + MARGIN, 0), width - size)
    if vy & 3:
        _across(padded, y0, x0, size + 7, filters[vx & 3], lines)
        _down(lines, filters[vy & 3], out)
    else:
        _across(padded, y0 + 3, x0, size, filters[vx & 3], out)


@inner
def _transform(a: np.ndarray, basis: np.ndarray, out: np.ndarray) -> None:
    """The vertical transform of a unit."""
    for block in range(0, _AREA, _AREA // 2):
        for u in range(8):
            t0, t1, t2, t3 = basis[u, 0], basis[u, 1], basis[u, 2], basis[u, 3]
            t4, t5, t6, t7 = basis[u, 4], basis[u, 5], basis[u, 6], basis[u, 7]
            for i in range(_ROW):
                n = block + i
                first = t0 * a[n] + t1 * a[n + _ROW] + t2 * a[n + 2 * _ROW] + t3 * a[n + 3 * _ROW]
                n += 4 * _ROW
                last = t4 * a[n] + t5 * a[n + _ROW] + t6 * a[n + 2 * _ROW] + t7 * a[n + 3 * _ROW]
                out[block + u * _ROW + i] = first + last


@inner
def _transformed(w: Work, basis: np.ndarray) -> None:
    """The coefficients of w.residual, [256] in w.half: by horizontal frequency, the four blocks
    beside each other (left, upper and lower, right, upper and lower), by vertical frequency."""
    half, turned = w.half, w.turned
    _transform(w.residual, basis, half)
    for side in range(2):
        for y in range(16):
            for x in range(8):
                turned[x * 32 + side * 16 + y] = half[y * _ROW + side * 8 + x]
    for u in range(8):
        t0, t1, t2, t3 = basis[u, 0], basis[u, 1], basis[u, 2], basis[u, 3]
        t4, t5, t6, t7 = basis[u, 4], basis[u, 5], basis[u, 6], basis[u, 7]
        for i in range(32):
            first = t0 * turned[i] + t1 * turned[32 + i] + t2 * turned[64 + i] + t3 * turned[96 + i]
            last = t4 * turned[128 + i] + t5 * turned[160 + i]
            half[u * 32 + i] = first + (last + (t6 * turned[192 + i] + t7 * turned[224 + i]))


@inner
def _residual_cost(w: Work, transform: Transform) -> float:
    """Cost of w.residual."""
    _transformed(w, transform.basis)
    half, costs, inverse, lines = w.half, w.turned, transform.inverse, transform.lines
    a0, a1, b0, b1, c0, c1 = lines[0], lines[1], lines[2], lines[3], lines[4], lines[5]
    for n in range(256):
        c = inverse[n] * abs(half[n])
        costs[n] = min(min(c * c, a0 + a1 * c), min(b0 + b1 * c, c0 + c1 * c))
    for n in range(128):
        half[n] = costs[n] + costs[n + 128]
    for n in range(64):
        half[n] += half[n + 64]
    total = float32(0)
    for n in range(64):
        total += half[n]
    return float(total)


@inner
def _moved(
    w: Work,
    padded: np.ndarray,
    side: int,
    place: tuple[int, int, int],
    vy: int,
    vx: int,
    filters: np.ndarray,
) -> int:
    """Which of the kept ones are the 16x16 samples that a reference predicts for a unit by one
    vector."""
    unit, top, left = place
    keys, count = w.moved_by, w.moved_count[side, unit]
    for i in range(min(count, _MOVED)):
        if keys[side, unit, i, 0] == vy and keys[side, unit, i, 1] == vx:
            return i
    i = count % _MOVED
    keys[side, unit, i, 0], keys[side, unit, i, 1] = vy, vx
    w.moved_count[side, unit] = count + 1
    _move(padded, top, left, vy, vx, 16, filters, w.lines, w.moved[side, unit, i])
    return i


@inner
def unit_cost(
    w: Work,
    pictures: Pictures,
    transform: Transform,
    place: tuple[int, int, int],
    block: np.ndarray,
) -> float:
    """What the residual of a unit costs under a motion int64 [BLOCK_COLUMNS] whose parts are alike;
    place: its number and corner."""
    unit = place[0]
    keys, count = w.priced[unit], w.priced_count[unit]
    y0, x0, y1, x1 = block[1], block[2], block[9], block[10]
    mode = block[0]
    if mode == FIRST:
        y1, x1 = 0, 0
    elif mode != BI:
        y0, x0 = 0, 0
    for i in range(min(count, _PRICED)):
        if (
            keys[i, 0] == mode
            and keys[i, 1] == y0
            and keys[i, 2] == x0
            and keys[i, 3] == y1
            and keys[i, 4] == x1
        ):
            return float(w.costs[unit, i])
    filters, one, two = transform.filters, 0, 0
    if mode != SECOND:
        one = _moved(w, pictures.first, 0, place, y0, x0, filters)
    if mode != FIRST:
        two = _moved(w, pictures.second, 1, place, y1, x1, filters)
    first = w.moved[0, unit, one] if mode != SECOND else w.moved[1, unit, two]
    second = w.moved[1, unit, two] if mode != FIRST else w.moved[0, unit, one]
    _mean_residual(w.own[unit], first, second, w.residual)
    at = count % _PRICED
    w.priced_count[unit] = count + 1
    keys[at, 0], keys[at, 1], keys[at, 2], keys[at, 3], keys[at, 4] = mode, y0, x0, y1, x1
    w.costs[unit, at] = _residual_cost(w, transform)
    return float(w.costs[unit, at])


@inner
def parts_cost(
    w: Work,
    pictures: Pictures,
    transform: Transform,
    place: tuple[int, int, int],
    block: np.ndarray,
) -> float:
    """As `unit_cost`, of four parts that move differently."""
    unit, top, left = place
    mode = block[0]
    for side in range(2):
        if mode == BI or mode == 1 + side:
            padded = pictures.first if side == 0 else pictures.second
            out = w.both[side]
            for q in range(4):
                y, x = (q >> 1) * 8, (q & 1) * 8
                at = 1 + 8 * side + 2 * q
                vy, vx = block[at], block[at + 1]
                _move(padded, top + y, left + x, vy, vx, 8, transform.filters, w.lines, w.part)
                for i in range(8):
                    for j in range(8):
                        out[(y + i) * _ROW + x + j] = w.part[i * _ROW + j]
    first = 0 if mode != 2 else 1
    second = 1 if mode != 1 else 0
    _mean_residual(w.own[unit], w.both[first], w.both[second], w.residual)
    return _residual_cost(w, transform)


@inner
def _mean_residual(own: np.ndarray, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """What a unit has beyond the mean of two predictions."""
    for n in range(_AREA):
        out[n] = own[n] - float32(0.5) * (a[n] + b[n])
