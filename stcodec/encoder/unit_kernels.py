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


class Transform(NamedTuple):
    """basis float32 [8, 8] of the orthonormal DCT, and `across`, its transpose; inverse float32 [8,
    8]: one by the steps, by vertical and horizontal frequency; lines float32 [6]: what coding takes
    is the least of three lines, each (at zero, slope), over the size in steps; filters float32 [4,
    8]: luma at quarter samples."""

    basis: np.ndarray
    across: np.ndarray
    inverse: np.ndarray
    lines: np.ndarray
    filters: np.ndarray


class Pictures(NamedTuple):
    """current: bytes [H, W]; first and second reference: bytes [H + 2 MARGIN + 7, W + 2 MARGIN +
    7]."""

    current: np.ndarray
    first: np.ndarray
    second: np.ndarray


class Work(NamedTuple):
    """Of the units of a block of 64x64: own float32 [UNITS, 16, 16], their samples; moved float32
    [2, UNITS, n, 16, 16], what either reference predicts by the vectors `moved_by` int64 [2, UNITS,
    n, 2], of which there are `moved_count` int64 [2, UNITS]; costs float32 [UNITS, m] of the motion
    `priced` int64 [UNITS, m, 5] (mode and both vectors), which are `whole` or only so much at
    least, in number `priced_count` int64 [UNITS]. Then room: line [23, 16], half [8, 16], sums [8],
    residual [16, 16], parts [2, 16, 16]."""

    own: np.ndarray
    moved: np.ndarray
    moved_by: np.ndarray
    moved_count: np.ndarray
    costs: np.ndarray
    priced: np.ndarray
    whole: np.ndarray
    priced_count: np.ndarray
    line: np.ndarray
    half: np.ndarray
    sums: np.ndarray
    residual: np.ndarray
    parts: np.ndarray


def work() -> Work:
    """An empty one."""
    return Work(
        np.empty((UNITS, 16, 16), np.float32),
        np.empty((2, UNITS, _MOVED, 16, 16), np.float32),
        np.empty((2, UNITS, _MOVED, 2), np.int64),
        np.zeros((2, UNITS), np.int64),
        np.empty((UNITS, _PRICED), np.float32),
        np.empty((UNITS, _PRICED, 5), np.int64),
        np.empty((UNITS, _PRICED), np.bool_),
        np.zeros(UNITS, np.int64),
        np.empty((23, 16), np.float32),
        np.empty((8, 16), np.float32),
        np.empty(8, np.float32),
        np.empty((16, 16), np.float32),
        np.empty((2, 16, 16), np.float32),
    )


@inner
def begin(w: Work, current: np.ndarray, unit: int, top: int, left: int) -> None:
    """Take the samples of a unit at (top, left), and forget what another one has left."""
    own = w.own[unit]
    for y in range(16):
        for x in range(16):
            own[y, x] = current[top + y, left + x]
    w.moved_count[0, unit] = w.moved_count[1, unit] = w.priced_count[unit] = 0


@inner
def _move(
    padded: np.ndarray,
    top: int,
    left: int,
    vy: int,
    vx: int,
    size: int,
    filters: np.ndarray,
    line: np.ndarray,
    out: np.ndarray,
) -> None:
    """size x size samples at (top, left) of a reference, moved by a vector in quarter samples, into
    the corner of `out`."""
    height, width = padded.shape[0] - 7, padded.shape[1] - 7
    y0 = min(max(top + (vy >> 2) + MARGIN, 0), height - size)
    x0 = min(max(left + (vx >> 2) + MARGIN, 0), width - size)
    t = filters[vx & 3]
    for y in range(size + 7):
        row = padded[y0 + y, x0 : x0 + size + 7]
        for x in range(size):
            line[y, x] = (
                t[0] * row[x] + t[1] * row[x + 1] + t[2] * row[x + 2] + t[3] * row[x + 3]
                + t[4] * row[x + 4] + t[5] * row[x + 5] + t[6] * row[x + 6] + t[7] * row[x + 7]
            )  # fmt: skip
    t = filters[vy & 3]
    for y in range(size):
        for x in range(size):
            out[y, x] = (
                t[0] * line[y, x] + t[1] * line[y + 1, x]
                + t[2] * line[y + 2, x] + t[3] * line[y + 3, x]
                + t[4] * line[y + 4, x] + t[5] * line[y + 5, x]
                + t[6] * line[y + 6, x] + t[7] * line[y + 7, x]
            )  # fmt: skip


@inner
def _residual_cost(
    residual: np.ndarray, transform: Transform, half: np.ndarray, sums: np.ndarray, most: float
) -> float:
    """Cost of a residual [16, 16]; where it is more than `most`, perhaps not all of it. half [8,
    16], sums [8]: room."""
    total = float32(0)
    basis, across, inverse, lines = (
        transform.basis,
        transform.across,
        transform.inverse,
        transform.lines,
    )
    for v in range(8):
        sums[v] = 0
    # Lengths that a compiler does not know: it would unroll shorter loops instead of working on
    # vectors.
    width, size = residual.shape[1], len(basis)
    for y in range(0, 16, 8):
        for u in range(8):
            t = basis[u]
            for i in range(width):
                half[u, i] = (
                    t[0] * residual[y, i] + t[1] * residual[y + 1, i]
                    + t[2] * residual[y + 2, i] + t[3] * residual[y + 3, i]
                    + t[4] * residual[y + 4, i] + t[5] * residual[y + 5, i]
                    + t[6] * residual[y + 6, i] + t[7] * residual[y + 7, i]
                )  # fmt: skip
        for x in range(0, 16, 8):
            for u in range(8):
                t = half[u, x : x + 8]
                for v in range(size):
                    c = inverse[u, v] * abs(
                        t[0] * across[0, v] + t[1] * across[1, v]
                        + t[2] * across[2, v] + t[3] * across[3, v]
                        + t[4] * across[4, v] + t[5] * across[5, v]
                        + t[6] * across[6, v] + t[7] * across[7, v]
                    )  # fmt: skip
                    low = min(c * c, lines[0] + lines[1] * c)
                    high = min(lines[2] + lines[3] * c, lines[4] + lines[5] * c)
                    sums[v] += min(low, high)
            total = float32(0)
            for v in range(8):
                total += sums[v]
            if total > most:
                return float(total)
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
    _move(padded, top, left, vy, vx, 16, filters, w.line, w.moved[side, unit, i])
    return i


@inner
def unit_cost(
    w: Work,
    pictures: Pictures,
    transform: Transform,
    place: tuple[int, int, int],
    block: np.ndarray,
    most: float,
) -> float:
    """What the residual of a unit costs under a motion int64 [BLOCK_COLUMNS] whose parts are alike;
    place: its number and corner. Where it is more than `most`, perhaps not all of it."""
    unit = place[0]
    keys, count = w.priced[unit], w.priced_count[unit]
    y0, x0, y1, x1 = block[1], block[2], block[9], block[10]
    mode = block[0]
    if mode == FIRST:
        y1, x1 = 0, 0
    elif mode != BI:
        y0, x0 = 0, 0
    at = min(count, _PRICED)
    for i in range(at):
        if (
            keys[i, 0] == mode
            and keys[i, 1] == y0
            and keys[i, 2] == x0
            and keys[i, 3] == y1
            and keys[i, 4] == x1
        ):
            if w.whole[unit, i] or w.costs[unit, i] > most:
                return float(w.costs[unit, i])
            at = i
            break
    filters, one, two = transform.filters, 0, 0
    if mode != SECOND:
        one = _moved(w, pictures.first, 0, place, y0, x0, filters)
    if mode != FIRST:
        two = _moved(w, pictures.second, 1, place, y1, x1, filters)
    first = w.moved[0, unit, one] if mode != SECOND else w.moved[1, unit, two]
    second = w.moved[1, unit, two] if mode != FIRST else w.moved[0, unit, one]
    _mean_residual(w.own[unit], first, second, w.residual)
    cost = _residual_cost(w.residual, transform, w.half, w.sums, most)
    if at == min(count, _PRICED):
        at = count % _PRICED
        w.priced_count[unit] = count + 1
    keys[at, 0], keys[at, 1], keys[at, 2], keys[at, 3], keys[at, 4] = mode, y0, x0, y1, x1
    w.costs[unit, at], w.whole[unit, at] = cost, cost <= most
    return cost


@inner
def parts_cost(
    w: Work,
    pictures: Pictures,
    transform: Transform,
    place: tuple[int, int, int],
    block: np.ndarray,
    most: float,
) -> float:
    """As `unit_cost`, of four parts that move differently."""
    unit, top, left = place
    mode = block[0]
    for side in range(2):
        if mode == BI or mode == 1 + side:
            padded = pictures.first if side == 0 else pictures.second
            for q in range(4):
                y, x = (q >> 1) * 8, (q & 1) * 8
                out, at = w.parts[side, y : y + 8, x : x + 8], 1 + 8 * side + 2 * q
                vy, vx = block[at], block[at + 1]
                _move(padded, top + y, left + x, vy, vx, 8, transform.filters, w.line, out)
    first = 0 if mode != 2 else 1
    second = 1 if mode != 1 else 0
    _mean_residual(w.own[unit], w.parts[first], w.parts[second], w.residual)
    return _residual_cost(w.residual, transform, w.half, w.sums, most)


@inner
def _mean_residual(own: np.ndarray, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """What a unit has beyond the mean of two predictions."""
    for y in range(16):
        for x in range(16):
            out[y, x] = own[y, x] - float32(0.5) * (a[y, x] + b[y, x])
