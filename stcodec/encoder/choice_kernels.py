"""Compiled loops for the choice of motion: block by block in the order of coding, the cheapest of
what the search found and of what a decoder expects, from 16x16 units up to blocks of 64x64."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stcodec.codec.candidate_kernels import (
    BLOCK_COLUMNS,
    CANDIDATE_ROWS,
    CANDIDATES,
    IN_PARTS,
    LARGEST,
    UNIT_COLUMNS,
    VECTORS,
    Z_ORDER,
    Field,
    fill,
    forget,
    gather,
    in_parts,
    keep,
    take,
    used,
)
from stcodec.codec.motion import BI, FIRST, SECOND
from stcodec.codec.range_kernels import SPENT, Stream
from stcodec.codec.vector_kernels import code_block, code_split
from stcodec.common.compiled import compiled, inner
from stcodec.encoder.unit_kernels import (
    Pictures,
    Transform,
    Work,
    begin,
    parts_cost,
    unit_cost,
)

_WORST = 1e30
_MODE, _SIZE = 0, 1  # columns of a unit
SIZES = np.array([1, 2, LARGEST])  # of blocks, in units; constants would be compiled one by one


class Task(NamedTuple):
    """What is to be done for a frame: its `pictures`; found int64 [rows, columns, 16]: the searched
    vectors of each unit; price of a bit as the `counter` counts it; `transform`; the `field` that
    is decided."""

    pictures: Pictures
    found: np.ndarray
    price: float
    transform: Transform
    counter: Stream
    field: Field


class Room(NamedTuple):
    """Room for a block: candidates; motion that is tried, the best so far and one more, int64 [3,
    BLOCK_COLUMNS]; units before, int32 [2, LARGEST, LARGEST, UNIT_COLUMNS]."""

    work: Work
    candidates: np.ndarray
    motion: np.ndarray
    before: np.ndarray


def room(work: Work) -> Room:
    """An empty one."""
    return Room(
        work,
        np.zeros((CANDIDATE_ROWS, 5), np.int64),
        np.zeros((3, BLOCK_COLUMNS), np.int64),
        np.zeros((2, LARGEST, LARGEST, UNIT_COLUMNS), np.int32),
    )


@inner
def _split_cost(t: Task, r: int, k: int, size: int, value: int) -> float:
    """What it costs to divide a block, or not to."""
    t.counter.state[SPENT] = 0
    code_split(t.counter, t.field, r, k, size, value)
    return t.price * t.counter.state[SPENT]


@inner
def _attempt(t: Task, r: int, k: int, size: int, w: Room, best: float) -> float:
    """Try the motion w.motion[0] for a block: the lower of its cost and `best`; it is kept as the
    best one where it is better."""
    tried = w.motion[0]
    t.counter.state[SPENT] = 0
    code_block(t.counter, t.field, r, k, size, w.candidates, tried)
    cost = t.price * t.counter.state[SPENT]
    parts = size == 1 and (in_parts(tried, 0) or in_parts(tried, 1))
    for n in range(size * size):
        if cost >= best:
            return best
        i, j = r + n // size, k + n % size
        place = (i & 3) * 4 + (j & 3), 16 * i, 16 * j
        if parts:
            cost += parts_cost(w.work, t.pictures, t.transform, place, tried)
        else:
            cost += unit_cost(w.work, t.pictures, t.transform, place, tried)
    if cost < best:
        for n in range(BLOCK_COLUMNS):
            w.motion[1, n] = tried[n]
        return cost
    return best


@inner
def _try(t: Task, r: int, k: int, size: int, w: Room, best: float) -> float:
    """Try what a decoder expects, and then, of a unit what the search found, of a larger block what
    its units do. The lowest cost, or `best`."""
    expected = w.candidates[CANDIDATES, 0]
    # Searched: each reference alone, both, each with the best so far; whole and in parts.
    more = 10 if size == 1 else size * size
    for n in range(expected + more):
        i = n - expected
        if i < 0:
            take(w.candidates, n, w.motion[0])
        elif size == 1:
            if not _searched(t, t.found[r, k], i, w):
                continue
        elif not _of_unit(w.before[size // LARGEST], i, size, w):
            continue
        best = _attempt(t, r, k, size, w, best)
    return best


@inner
def _searched(t: Task, found: np.ndarray, i: int, w: Room) -> bool:
    """Write try number i of what the search found of a unit, [16]; False where there is none."""
    tried, best = w.motion[0], w.motion[1]
    parts, i = i >= 5, i % 5
    mode = FIRST if i == 0 else (SECOND if i == 1 else BI)
    if t.field.references != 3 and mode != t.field.references:
        return False
    tried[0] = mode
    some = False
    for side in range(2):
        if not used(mode, side):
            continue
        v = found[8 * side : 8 * side + 8]
        if i == 3 + side:
            if not used(best[0], side):
                return False
            fill(tried, side, best[1 + 8 * side], best[2 + 8 * side])
            continue
        for n in range(8):
            tried[1 + 8 * side + n] = v[n]
        if in_parts(tried, side):
            some = True
            if not parts:
                fill(tried, side, _middle(v, 0), _middle(v, 1))
    return some or not parts


@inner
def _middle(v: np.ndarray, c: int) -> int:
    """The median of a component of four vectors [8], halves downwards."""
    total = v[c] + v[2 + c] + v[4 + c] + v[6 + c]
    low = min(min(v[c], v[2 + c]), min(v[4 + c], v[6 + c]))
    high = max(max(v[c], v[2 + c]), max(v[4 + c], v[6 + c]))
    return (total - low - high) >> 1


@inner
def _of_unit(before: np.ndarray, i: int, size: int, w: Room) -> bool:
    """Write the motion of unit i of a block; False where it is in parts, or was tried."""
    unit = before[i // size, i % size]
    if unit[_SIZE] == IN_PARTS:
        return False
    for j in range(i):
        other = before[j // size, j % size]
        same = other[_SIZE] != IN_PARTS and other[_MODE] == unit[_MODE]
        for n in (0, 1, 8, 9):
            same = same and other[VECTORS + n] == unit[VECTORS + n]
        if same:
            return False
    w.motion[0, 0] = unit[_MODE]
    for n in range(16):
        w.motion[0, 1 + n] = unit[VECTORS + n]
    return True


@inner
def _choose_block(t: Task, r: int, k: int, size: int, w: Room, most: float) -> float:
    """Decide on a block, if that costs less than `most`; the lower cost."""
    gather(t.field, r, k, size, w.candidates)
    best = _try(t, r, k, size, w, most)
    if best < most:
        merged = code_block(t.counter, t.field, r, k, size, w.candidates, w.motion[1])
        keep(t.field, r, k, size, merged, w.motion[1])
    return best


@inner
def _copy_units(
    source: np.ndarray, r: int, k: int, target: np.ndarray, row: int, column: int, size: int
) -> None:
    """Copy the units of a block."""
    for n in range(size * size):
        i, j = n // size, n % size
        for c in range(UNIT_COLUMNS):
            target[row + i, column + j, c] = source[r + i, k + j, c]


@inner
def _join(t: Task, r: int, k: int, size: int, w: Room, divided: float) -> float:
    """Take a block as one where that is cheaper than in four, which cost `divided`; the lower
    cost."""
    units = t.field.units
    if r + size > units.shape[0] or k + size > units.shape[1]:
        return divided
    whole = _split_cost(t, r, k, size, 0)
    divided += _split_cost(t, r, k, size, 1)
    before = w.before[size // LARGEST]
    _copy_units(units, r, k, before, 0, 0, size)
    forget(t.field, r, k, size)
    cost = whole + _choose_block(t, r, k, size, w, divided - whole)
    if cost < divided:
        return cost
    _copy_units(before, 0, 0, units, r, k, size)
    return divided


@compiled
def choose(t: Task, w: Room) -> None:
    """Decide on the motion of a frame."""
    rows, columns = t.field.units.shape[0], t.field.units.shape[1]
    for n in range(-(-rows // LARGEST) * -(-columns // LARGEST)):
        wide = -(-columns // LARGEST)
        r4, k4 = n // wide * LARGEST, n % wide * LARGEST
        total = pair = 0.0
        for i in range(LARGEST * LARGEST):
            r, k = r4 + Z_ORDER[i, 0], k4 + Z_ORDER[i, 1]
            if r < rows and k < columns:
                begin(w.work, t.pictures.current, (r & 3) * 4 + (k & 3), 16 * r, 16 * k)
                pair += _choose_block(t, r, k, SIZES[0], w, _WORST)
            if i & 3 == 3:
                total += _join(t, r - 1, k - 1, SIZES[1], w, pair)
                pair = 0.0
        _join(t, r4, k4, SIZES[2], w, total)
