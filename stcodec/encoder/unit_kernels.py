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
from stcodec.common.simd_kernels import (
    filter_8,
    filter_16,
    multiply_4_by_16,
    multiply_8_by_8,
    sum_by_16,
)
from stcodec.encoder.sample_kernels import MARGIN

_MOVED, _PRICED = 16, 48  # kept of a unit
UNITS = 16  # in a block of 64x64
_ROW, _AREA = 16, 256  # samples of a unit


class Transform(NamedTuple):
    """basis float32 [64] of the orthonormal DCT, vector by vector, and turned: sample by sample;
    inverse float32 [256]: one by the steps, for each coefficient of a unit; lines float32 [6]: what
    coding takes is the least of three lines, each (at zero, slope), over the size in steps; filters
    float32 [32]: luma at quarter samples, 8 taps each."""

    basis: np.ndarray
    turned: np.ndarray
    inverse: np.ndarray
    lines: np.ndarray
    filters: np.ndarray


class Padded(NamedTuple):
    """Samples float32 in 0..255 of H + 2 MARGIN + 7 rows and W + 2 MARGIN + 7 columns, flat: to
    flatten them for each unit would take as long as some of its rows."""

    samples: np.ndarray
    rows: int
    columns: int


class Pictures(NamedTuple):
    """current: bytes [H, W]; first and second reference."""

    current: np.ndarray
    first: Padded
    second: Padded


class Work(NamedTuple):
    """Of the units of a block of 64x64: own float32 [UNITS, _AREA], their samples; moved float32
    [2, UNITS, n, _AREA], what either reference predicts by the vectors `moved_by` int64 [2, UNITS,
    n, 2], of which there are `moved_count` int64 [2, UNITS]; costs float32 [UNITS, m] of the motion
    `priced` int64 [UNITS, m, 5] (mode and both vectors), in number `priced_count` int64 [UNITS].
    Then room: lines [23 _ROW], residual [_AREA], both [2, _AREA], half [_AREA]; and zeros [16]."""

    own: np.ndarray
    moved: np.ndarray
    moved_by: np.ndarray
    moved_count: np.ndarray
    costs: np.ndarray
    priced: np.ndarray
    priced_count: np.ndarray
    lines: np.ndarray
    residual: np.ndarray
    both: np.ndarray
    half: np.ndarray
    zeros: np.ndarray


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
        np.zeros((2, _AREA), np.float32),
        np.zeros(_AREA, np.float32),
        np.zeros(16, np.float32),
    )


def transform(
    basis: np.ndarray, steps: np.ndarray, lines: np.ndarray, filters: np.ndarray
) -> Transform:
    """The transform of units by a basis float32 [8, 8] of lines, for steps [8, 8] by vertical and
    horizontal frequency; lines and filters: see `Transform`, filters [4, 8]."""
    inverse = np.tile(1.0 / steps, (2, 2)).astype(np.float32)
    by_vector, by_sample = basis.reshape(-1), np.ascontiguousarray(basis.T).reshape(-1)
    return Transform(by_vector, by_sample, inverse.reshape(-1), lines, filters.reshape(-1))


@inner
def begin(w: Work, current: np.ndarray, unit: int, top: int, left: int) -> None:
    """Take the samples of a unit at (top, left), and forget what another one has left."""
    own = w.own[unit]
    for y in range(16):
        for x in range(16):
            own[y * _ROW + x] = current[top + y, left + x]
    w.moved_count[0, unit] = w.moved_count[1, unit] = w.priced_count[unit] = 0


@inner
def _corner(padded: Padded, top: int, left: int, vy: int, vx: int, size: int) -> tuple[int, int]:
    """Where the window is in a reference that size x size samples at (top, left), moved by a vector
    in quarter samples, are filtered from: three samples above and to the left of them."""
    height, width = padded.rows - 7, padded.columns - 7
    y = min(max(top + (vy >> 2) + MARGIN, 0), height - size)
    x = min(max(left + (vx >> 2) + MARGIN, 0), width - size)
    return y, x


@inner
def _move_unit(
    padded: Padded,
    place: tuple[int, int],
    vy: int,
    vx: int,
    filters: np.ndarray,
    lines: np.ndarray,
    out: np.ndarray,
) -> None:
    """16x16 samples at (top, left) of a reference, moved by a vector, into `out`."""
    y, x = _corner(padded, place[0], place[1], vy, vx, 16)
    plane, wide = padded.samples, padded.columns
    down, across = 8 * (vy & 3), 8 * (vx & 3)
    if down and across:
        filter_16(lines, 0, _ROW, plane, y * wide + x, wide, 1, filters, across, 23)
        filter_16(out, 0, _ROW, lines, 0, _ROW, _ROW, filters, down, 16)
    elif down:
        filter_16(out, 0, _ROW, plane, y * wide + x + 3, wide, wide, filters, down, 16)
    else:
        filter_16(out, 0, _ROW, plane, (y + 3) * wide + x, wide, 1, filters, across, 16)


@inner
def _move_part(
    padded: Padded,
    place: tuple[int, int],
    vy: int,
    vx: int,
    filters: np.ndarray,
    lines: np.ndarray,
    out: np.ndarray,
    to: int,
) -> None:
    """8x8 samples at (top, left) of a reference, moved by a vector, into those of a unit from the
    place `to` on."""
    y, x = _corner(padded, place[0], place[1], vy, vx, 8)
    plane, wide = padded.samples, padded.columns
    down, across = 8 * (vy & 3), 8 * (vx & 3)
    if down and across:
        filter_8(lines, 0, _ROW, plane, y * wide + x, wide, 1, filters, across, 15)
        filter_8(out, to, _ROW, lines, 0, _ROW, _ROW, filters, down, 8)
    elif down:
        filter_8(out, to, _ROW, plane, y * wide + x + 3, wide, wide, filters, down, 8)
    else:
        filter_8(out, to, _ROW, plane, (y + 3) * wide + x, wide, 1, filters, across, 8)


@inner
def _residual_cost(w: Work, t: Transform) -> float:
    """Cost of w.residual: that of the coefficients of its four blocks of 8x8."""
    half, costs = w.half, w.residual
    for n in range(4):
        at = 8 * (n & 1) + 8 * _ROW * (n >> 1)
        multiply_8_by_8(half, at, _ROW, w.residual, at, _ROW, t.turned, 0, w.zeros, 0, 8)
    for n in range(4):
        block = 8 * _ROW * (n >> 1)
        at = block + 4 * _ROW * (n & 1)
        multiply_4_by_16(costs, at, _ROW, t.basis, 32 * (n & 1), 8, half, block, w.zeros, 0, 8)
    lines, inverse = t.lines, t.inverse
    a0, a1, b0, b1, c0, c1 = lines[0], lines[1], lines[2], lines[3], lines[4], lines[5]
    for n in range(_AREA):
        c = inverse[n] * abs(costs[n])
        half[n] = min(min(c * c, a0 + a1 * c), min(b0 + b1 * c, c0 + c1 * c))
    return float(sum_by_16(half, 0, _AREA))


@inner
def _moved(
    w: Work,
    padded: Padded,
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
    _move_unit(padded, (top, left), vy, vx, filters, w.lines, w.moved[side, unit, i])
    return i


@inner
def unit_cost(
    w: Work,
    pictures: Pictures,
    t: Transform,
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
    filters, one, two = t.filters, 0, 0
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
    w.costs[unit, at] = _residual_cost(w, t)
    return float(w.costs[unit, at])


@inner
def parts_cost(
    w: Work,
    pictures: Pictures,
    t: Transform,
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
                at = y * _ROW + x
                _move_part(padded, (top + y, left + x), vy, vx, t.filters, w.lines, out, at)
    first = 0 if mode != 2 else 1
    second = 1 if mode != 1 else 0
    _mean_residual(w.own[unit], w.both[first], w.both[second], w.residual)
    return _residual_cost(w, t)


@inner
def _mean_residual(own: np.ndarray, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """What a unit has beyond the mean of two predictions."""
    for n in range(_AREA):
        out[n] = own[n] - float32(0.5) * (a[n] + b[n])
