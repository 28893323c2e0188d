"""The loops of the encoder's block search, compiled by numba: one block after the other, so that
its samples stay in the cache.

Pictures are bytes. References have a margin on all sides, in which their edges are repeated; a
block that lies outside by more than the margin looks the same wherever it lies. Vectors int32 [2,
rows, columns] are (dy, dx); those of a level count its own samples, at the last level quarter
samples. Costs are sums of absolute differences plus `price` for a bit of motion.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import float32, int32, int64, uint64

from stcodec.codec.motion import BI, FIRST, SECOND
from stcodec.common.compiled import compiled, inner
from stcodec.common.simd_kernels import differences_of_4, differences_of_8, differences_of_16
from stcodec.encoder import tuning
from stcodec.encoder.sample_kernels import MARGIN


class Reference(NamedTuple):
    """A picture with its margins, flat: `phases` x `phases` planes of height x width bytes."""

    planes: np.ndarray
    height: int
    width: int
    phases: int


class Rate(NamedTuple):
    """What vectors cost: estimated bits by the size of a difference in quarter samples, a bit's
    price, quarter samples per unit."""

    table: np.ndarray
    price: np.float32
    unit: int


class Block(NamedTuple):
    """Where a block of size x size samples at (y, x) of a flat picture is, with `stride` from row
    to row; and its predicted vector."""

    samples: np.ndarray
    stride: int
    y: int
    x: int
    size: int
    py: int
    px: int


# A component of a difference of vectors beyond this costs as much as this.
_MOST = 4095
_WORST = np.float32(1e30)


def bit_table() -> np.ndarray:
    """Estimated bits of a component of a difference of vectors, float32, by its size in quarter
    samples."""
    size = tuning.VECTOR_UNIT * np.arange(_MOST + 1) + 1.0
    return (tuning.VECTOR_BITS * np.log2(size)).astype(np.float32)


@inner
def _difference(
    reference: np.ndarray, p: int, width: int, current: np.ndarray, q: int, stride: int, size: int
) -> int:
    """Sum of absolute differences of size x size samples (16, 8 or 4) at the offsets p and q of two
    flat pictures. It is not left early: to foresee where would take longer than the rest."""
    total = int32(0)
    if size == 16:
        for y in range(16):
            total += differences_of_16(
                reference, uint64(p + y * width), current, uint64(q + y * stride)
            )
    elif size == 8:
        for y in range(8):
            total += differences_of_8(
                reference, uint64(p + y * width), current, uint64(q + y * stride)
            )
    else:
        for y in range(4):
            total += differences_of_4(
                reference, uint64(p + y * width), current, uint64(q + y * stride)
            )
    return total


@inner
def _bits(rate: Rate, dy: int, dx: int) -> float:
    """Estimated bits of a difference of vectors."""
    return rate.table[min(abs(dy) * rate.unit, _MOST)] + rate.table[min(abs(dx) * rate.unit, _MOST)]


@inner
def _median3(a: int, b: int, c: int) -> int:
    return max(min(a, b), min(max(a, b), c))


@inner
def _median5(a: int, b: int, c: int, d: int, e: int) -> int:
    low = max(min(a, b), min(c, d))
    high = min(max(a, b), max(c, d))
    return _median3(low, high, e)


@inner
def _median_before(component: np.ndarray, y: int, x: int) -> int:
    """The median of the three neighbours [rows, columns] that come before an element."""
    before = component[y, max(x - 1, 0)]
    if y == 0:
        return before
    ahead = component[y - 1, min(x + 1, component.shape[1] - 1)]
    return _median3(component[y - 1, x], before, ahead)


@inner
def _median_around(component: np.ndarray, y: int, x: int) -> int:
    """The median of an element [rows, columns] and its four neighbours."""
    up, down = component[max(y - 1, 0), x], component[min(y + 1, component.shape[0] - 1), x]
    before, after = component[y, max(x - 1, 0)], component[y, min(x + 1, component.shape[1] - 1)]
    return _median5(up, down, before, after, component[y, x])


@inner
def _within(i: int, count: int) -> int:
    """How many of a row or column of `count` and of those beside it there are."""
    return 1 + (i > 0) + (i < count - 1)


@compiled
def full_search(
    current: np.ndarray, reference: np.ndarray, reach: int, price: np.float32
) -> np.ndarray:
    """Vectors int32 [2, rows, columns] of blocks of 2x2 samples, by trying all within `reach`.

    current [H, W]; reference [H + 2 MARGIN, W + 2 MARGIN]. A block is compared over itself and its
    surroundings, 6x6 samples, since its own say little.
    """
    height, width = current.shape
    rows, columns = height // 2, width // 2
    best = np.full((rows, columns), np.float32(1e30))
    which = np.zeros((rows, columns), np.int32)
    own = np.zeros((rows + 2, columns + 2), np.int32)
    row, high = np.empty(width, np.int32), np.empty(columns + 2, np.int32)
    cost, wide = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for x in range(columns):
        wide[x] = _within(x, columns)
    count = 2 * reach + 1
    for n in range(count * count):
        dy, dx = n // count - reach, n % count - reach
        rate = np.float32(np.log2(1.0 + np.hypot(float32(dy), float32(dx)))) * price / float32(32)
        left = uint64(dx + MARGIN)
        for y in range(rows):
            top = 2 * y + dy + MARGIN
            for x in range(width):
                a = int32(reference[top, left + uint64(x)])
                b = int32(reference[top + 1, left + uint64(x)])
                upper = int32(abs(int32(a - int32(current[2 * y, x]))))
                row[x] = upper + int32(abs(int32(b - int32(current[2 * y + 1, x]))))
            for x in range(columns):
                own[y + 1, x + 1] = row[2 * x] + row[2 * x + 1]
        for y in range(rows):
            for x in range(columns + 2):
                high[x] = own[y, x] + own[y + 1, x] + own[y + 2, x]
            inside = float32(4 * _within(y, rows))
            for x in range(columns):
                total = float32(int32(int32(high[x] + high[x + 1]) + high[x + 2]))
                here = float32(own[y + 1, x + 1]) * float32(0.25)
                # Not `/`, which looks for zeros, one after the other.
                cost[x] = np.divide(total, inside * wide[x]) + here + rate
            for x in range(columns):
                which[y, x] = int32(n) if cost[x] < best[y, x] else which[y, x]
            for x in range(columns):
                best[y, x] = min(best[y, x], cost[x])
    vectors = np.empty((2, rows, columns), np.int32)
    for y in range(rows):
        for x in range(columns):
            vectors[0, y, x] = which[y, x] // count - reach
            vectors[1, y, x] = which[y, x] % count - reach
    return vectors


@inner
def _start(reference: Reference, y: int, x: int, vy: int, vx: int, size: int) -> int:
    """Where the samples of a block of size x size at (y, x), moved by a vector, start in the flat
    planes of a reference."""
    bits = 2 if reference.phases == 4 else 0
    iy, ix = vy >> bits, vx >> bits
    phase = (vy - (iy << bits)) * reference.phases + (vx - (ix << bits))
    top = min(max(y + iy + MARGIN, 0), reference.height - size)
    left = min(max(x + ix + MARGIN, 0), reference.width - size)
    return (phase * reference.height + top) * reference.width + left


@inner
def _cost(reference: Reference, block: Block, rate: Rate, vy: int, vx: int, best: float) -> float:
    """Cost of a vector; `best` or more where it is no better."""
    price = rate.price * _bits(rate, vy - block.py, vx - block.px)
    if price >= best:
        return best
    p = _start(reference, block.y, block.x, vy, vx, block.size)
    q = block.y * block.stride + block.x
    own = block.samples, q, block.stride, block.size
    return float32(_difference(reference.planes, p, reference.width, *own)) + price


@inner
def _refine(
    reference: Reference,
    block: Block,
    rate: Rate,
    vy: int,
    vx: int,
    best: float,
    steps: np.ndarray,
    rounds: int,
) -> tuple[float, int, int]:
    """The cost and the vector of the best around a vector of the cost `best`: at each distance of
    `steps`, up to `rounds` moves."""
    for step in steps:
        for _ in range(rounds):
            my, mx = vy, vx
            for k in range(9):
                cy, cx = my + (k // 3 - 1) * step, mx + (k % 3 - 1) * step
                if k != 4:
                    cost = _cost(reference, block, rate, cy, cx, best)
                    if cost < best:
                        best, vy, vx = cost, cy, cx
            if vy == my and vx == mx:
                break
    return best, vy, vx


@compiled
def sweep(
    reference: Reference,
    current: np.ndarray,
    size: int,
    vectors: np.ndarray,
    costs: np.ndarray,
    rate: Rate,
    steps: np.ndarray,
    offers: np.ndarray,
    least: np.float32,
    backwards: bool,
    causal: bool,
) -> None:
    """Better `vectors` [2, rows, columns] in place, with their `costs`: block by block, try the
    neighbours' and `offers` int32 [n, 2], then those around the best at the distances
    `steps`, as long as they help.

    Blocks with a cost below `least` take what their neighbours offer, but go no further. causal:
    predict a vector by the median of the three before it, else by that of all four around it and
    itself.
    """
    rows, columns = vectors.shape[1], vectors.shape[2]
    flat, stride = current.reshape(-1), current.shape[1]
    for i in range(rows * columns):
        n = rows * columns - 1 - i if backwards else i
        y, x = n // columns, n % columns
        up, down = max(y - 1, 0), min(y + 1, rows - 1)
        before, after = max(x - 1, 0), min(x + 1, columns - 1)
        oy, ox = vectors[0, y, x], vectors[1, y, x]
        if causal:
            py, px = _median_before(vectors[0], y, x), _median_before(vectors[1], y, x)
        else:
            py, px = _median_around(vectors[0], y, x), _median_around(vectors[1], y, x)
        block = Block(flat, stride, y * size, x * size, size, py, px)
        by, bx = oy, ox
        best = _cost(reference, block, rate, by, bx, _WORST)
        for k in range(5 + offers.shape[0]):
            if k == 0:
                cy, cx = py, px
            elif k == 1:
                cy, cx = vectors[0, up, x], vectors[1, up, x]
            elif k == 2:
                cy, cx = vectors[0, y, before], vectors[1, y, before]
            elif k == 3:
                cy, cx = vectors[0, down, x], vectors[1, down, x]
            elif k == 4:
                cy, cx = vectors[0, y, after], vectors[1, y, after]
            else:
                cy, cx = offers[k - 5, 0], offers[k - 5, 1]
            if (
                (cy == by and cx == bx)
                or (cy == oy and cx == ox)
                or (k > 0 and cy == py and cx == px)
            ):
                continue
            cost = _cost(reference, block, rate, cy, cx, best)
            if cost < best:
                best, by, bx = cost, cy, cx
        if best >= least:
            best, by, bx = _refine(reference, block, rate, by, bx, best, steps, 3)
        vectors[0, y, x], vectors[1, y, x], costs[y, x] = by, bx, best


@compiled
def split(
    reference: Reference,
    current: np.ndarray,
    vectors: np.ndarray,
    costs: np.ndarray,
    rate: Rate,
    steps: np.ndarray,
) -> np.ndarray:
    """Vectors [2, 2 rows, 2 columns] of 8x8 blocks: those of their 16x16 block, or their own where
    that saves more than it costs."""
    rows, columns = vectors.shape[1], vectors.shape[2]
    flat, stride = current.reshape(-1), current.shape[1]
    fine = np.empty((2, 2 * rows, 2 * columns), np.int32)
    for y in range(2 * rows):
        for x in range(2 * columns):
            fine[0, y, x] = vectors[0, y // 2, x // 2]
            fine[1, y, x] = vectors[1, y // 2, x // 2]
    own = np.empty((2, 4), np.int32)
    for y in range(rows):
        for x in range(columns):
            # Where the whole difference is worth less than a split's bits there is nothing to gain.
            if costs[y, x] <= 16 * rate.price:
                continue
            py, px = vectors[0, y, x], vectors[1, y, x]
            gain = float32(0)
            for k in range(4):
                v, u = 2 * y + k // 2, 2 * x + k % 2
                block = Block(flat, stride, v * 8, u * 8, 8, py, px)
                base = _cost(reference, block, rate, py, px, _WORST)
                best, by, bx = base, py, px
                for side in range(4):
                    ny = min(max(v + (side == 0) - (side == 1), 0), 2 * rows - 1)
                    nx = min(max(u + (side == 2) - (side == 3), 0), 2 * columns - 1)
                    cy, cx = fine[0, ny, nx], fine[1, ny, nx]
                    if (cy == by and cx == bx) or (cy == py and cx == px):
                        continue
                    cost = _cost(reference, block, rate, cy, cx, best)
                    if cost < best:
                        best, by, bx = cost, cy, cx
                best, by, bx = _refine(reference, block, rate, by, bx, best, steps, 1)
                own[0, k], own[1, k] = by, bx
                gain += base - best
            if gain > tuning.SPLIT_BITS * rate.price:
                for k in range(4):
                    fine[0, 2 * y + k // 2, 2 * x + k % 2] = own[0, k]
                    fine[1, 2 * y + k // 2, 2 * x + k % 2] = own[1, k]
    return fine


@inner
def _differences(
    first: Reference, second: Reference, current: np.ndarray, vectors: np.ndarray, v: int, u: int
) -> tuple[int, int, int]:
    """Sums of absolute differences of the 8x8 block in row v and column u: of twice the block from
    the sum of both references, and of the block from the first and from the second."""
    both, one, two = int64(0), int64(0), int64(0)
    p = _start(first, v * 8, u * 8, vectors[0, 0, v, u], vectors[0, 1, v, u], 8)
    r = _start(second, v * 8, u * 8, vectors[1, 0, v, u], vectors[1, 1, v, u], 8)
    for j in range(8):
        for i in range(8):
            a = int32(first.planes[p + j * first.width + i])
            b = int32(second.planes[r + j * first.width + i])
            c = int32(current[v * 8 + j, u * 8 + i])
            both += abs(a + b - 2 * c)
            one += abs(a - c)
            two += abs(b - c)
    return both, one, two


@compiled
def modes(
    first: Reference, second: Reference, current: np.ndarray, vectors: np.ndarray, rate: Rate
) -> np.ndarray:
    """Modes uint8 [rows, columns] of 16x16 blocks: both references, or the one that is so much
    better that the other's vectors are not worth their bits. vectors: int32 [2, 2, 2 rows, 2
    columns], both references'."""
    rows, columns = vectors.shape[2] // 2, vectors.shape[3] // 2
    chosen = np.full((rows, columns), BI, np.uint8)
    rates = np.empty(2, np.float32)
    for y in range(rows):
        for x in range(columns):
            both, one, two = int64(0), int64(0), int64(0)
            for k in range(4):
                v, u = 2 * y + k // 2, 2 * x + k % 2
                parts = _differences(first, second, current, vectors, v, u)
                both, one, two = both + parts[0], one + parts[1], two + parts[2]
            for side in range(2):
                dy = vectors[side, 0, 2 * y, 2 * x] - _median_around(vectors[side, 0], 2 * y, 2 * x)
                dx = vectors[side, 1, 2 * y, 2 * x] - _median_around(vectors[side, 1], 2 * y, 2 * x)
                rates[side] = rate.price * _bits(rate, dy, dx)
            average = 0.5 * both + rates[0] + rates[1]
            alone_one = one + rates[0] + tuning.ALONE_BITS * rate.price
            alone_two = two + rates[1] + tuning.ALONE_BITS * rate.price
            if alone_one < average and alone_one <= alone_two:
                chosen[y, x] = FIRST
            elif alone_two < average:
                chosen[y, x] = SECOND
    return chosen
