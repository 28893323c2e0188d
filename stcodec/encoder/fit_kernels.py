"""What filters of a plane would come to, in a compiled loop; `filter_fit` says what it is for."""

from __future__ import annotations

import numpy as np
from numba import float32

from stcodec.codec.loop_filter_classes import (
    BLOCK,
    CASES,
    DIRECTION,
    DIRECTIONS,
    MARGIN,
    OFFSETS,
    TAPS,
    TURNED,
    TURNS,
    WAYS,
)
from stcodec.codec.loop_filter_kernels import classify, filter_row, room
from stcodec.common.compiled import compiled, inner

_PAIRS = TAPS * (TAPS + 1) // 2


@inner
def _features(
    padded: np.ndarray, source: np.ndarray, top: int, features: np.ndarray, errors: np.ndarray
) -> None:
    """Of the samples of a row of blocks: what lies around them, less what they are, [TAPS, BLOCK,
    W], and what they lack, [BLOCK, W]; in units of 1 / 255."""
    width = source.shape[1]
    for y in range(BLOCK):
        row, line, wanted = top + y + MARGIN, errors[y], source[top + y]
        own = padded[row, MARGIN : MARGIN + width]
        for x in range(width):
            line[x] = float32(255) * (wanted[x] - own[x])
        for k in range(TAPS):
            dy, dx, out = OFFSETS[k, 0], OFFSETS[k, 1], features[k, y]
            one = padded[row + dy, MARGIN + dx : MARGIN + dx + width]
            other = padded[row - dy, MARGIN - dx : MARGIN - dx + width]
            for x in range(width):
                out[x] = float32(255) * (one[x] + other[x] - own[x] - own[x])


@inner
def _product(one: np.ndarray, other: np.ndarray, room: np.ndarray, out: np.ndarray) -> None:
    """Sums [B] over blocks of products of samples [BLOCK, W]; room [W]."""
    room[:] = 0
    for y in range(BLOCK):
        a, b = one[y], other[y]
        for x in range(len(room)):
            room[x] += a[x] * b[x]
    for block in range(len(out)):
        x = BLOCK * block
        out[block] = room[x] + room[x + 1] + (room[x + 2] + room[x + 3])


@inner
def _spread(share: np.ndarray, products: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Add products [PAIRS + TAPS, B] of blocks to those of the cases that have a share [CASES, B]
    in them: a [CASES, CASES, PAIRS], b [CASES, TAPS]."""
    for block in range(share.shape[1]):
        for c in range(CASES):
            one = share[c, block]
            if one == 0:
                continue
            for k in range(TAPS):
                b[c, k] += one * products[block, _PAIRS + k]
            for d in range(c, CASES):
                weight = one * share[d, block]
                if weight != 0:
                    for k in range(_PAIRS):
                        a[c, d, k] += weight * products[block, k]


@compiled
def normal(
    padded: np.ndarray,
    source: np.ndarray,
    skipped: np.ndarray,
    stride: int,
    a: np.ndarray,
    b: np.ndarray,
) -> None:
    """Add to the normal equations a [N, N] and b [N] of the weights that bring a plane nearest to
    its source, float64, N = CLASSES TAPS, by every stride-th row of blocks; in units of 1 / 255.

    padded float32 [H + 2 MARGIN, W + 2 MARGIN]; source [H, W]; skipped: bool [H / 4, W / 4], blocks
    that do not count, of no size where all do.
    """
    height, width = source.shape
    r, blocks = room(width), width // BLOCK
    features = np.empty((TAPS, BLOCK, width), np.float32)
    errors = np.empty((BLOCK, width), np.float32)
    line, sums = np.empty(width, np.float32), np.empty(blocks, np.float32)
    products = np.empty((blocks, _PAIRS + TAPS), np.float32)
    squares, crossed = np.zeros((CASES, CASES, _PAIRS)), np.zeros((CASES, TAPS))
    for top in range(0, height, BLOCK * stride):
        classify(padded, top, r)
        _features(padded, source, top, features, errors)
        pair = 0
        for k in range(TAPS):
            for m in range(k, TAPS):
                _product(features[k], features[m], line, sums)
                products[:, pair] = sums
                pair += 1
        for k in range(TAPS):
            _product(features[k], errors, line, sums)
            products[:, _PAIRS + k] = sums
        for block in range(blocks if skipped.size else 0):
            if skipped[top // BLOCK, block]:
                products[block] = 0
        _spread(r.share, products, squares, crossed)
    for c in range(CASES):
        for d in range(c, CASES):
            _add(squares, c, d, a)
        for k in range(TAPS):
            b[_weight(c, k)] += crossed[c, k]


@inner
def _weight(case: int, tap: int) -> int:
    """Which weight of a set a tap of a case has."""
    node, way = case // WAYS, case % WAYS
    return (node * DIRECTIONS + DIRECTION[way]) * TAPS + TURNED[TURNS[way], tap]


@inner
def _add(squares: np.ndarray, c: int, d: int, a: np.ndarray) -> None:
    """Add what two cases have come to to the normal equations [N, N]."""
    for k in range(TAPS):
        for m in range(TAPS):
            low, high = min(k, m), max(k, m)
            more = squares[c, d, low * TAPS - low * (low - 1) // 2 + high - low]
            one, other = _weight(c, k), _weight(d, m)
            a[one, other] += more
            if c != d:
                a[other, one] += more


@compiled
def errors(
    padded: np.ndarray, source: np.ndarray, skipped: np.ndarray, filters: np.ndarray, stride: int
) -> tuple[float, float]:
    """The squared error before and after filters, as in `loop_filter_kernels.filtered`, in every
    stride-th row of blocks, of which `normal` sees few; padded, source and skipped as there."""
    width = source.shape[1]
    r, out = room(width), np.empty((BLOCK, width), np.float32)
    before = after = 0.0
    for top in range(BLOCK, source.shape[0], BLOCK * stride):
        filter_row(padded, top, filters, r, out)
        for y in range(BLOCK):
            line, wanted, own = out[y], source[top + y], padded[top + y + MARGIN]
            for x in range(width):
                if skipped.size and skipped[top // BLOCK, x // BLOCK]:
                    continue
                before += (wanted[x] - own[MARGIN + x]) ** 2
                after += (wanted[x] - line[x]) ** 2
    return before, after


@compiled
def solve(a: np.ndarray, b: np.ndarray, x: np.ndarray) -> None:
    """x [N] with a x = b, by Cholesky's way, which overwrites a [N, N], symmetric and positive;
    float64. NumPy's solver has threads that wait by spinning, which took a fifth of an encode
    of small pictures, and torch's takes 150 MB."""
    count = len(b)
    for i in range(count):
        for j in range(i + 1):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            a[i, j] = total / a[j, j] if i > j else np.sqrt(max(total, 1e-12))
    for i in range(count):
        total = b[i]
        for k in range(i):
            total -= a[i, k] * x[k]
        x[i] = total / a[i, i]
    for i in range(count - 1, -1, -1):
        total = x[i]
        for k in range(i + 1, count):
            total -= a[k, i] * x[k]
        x[i] = total / a[i, i]


@compiled
def refine(
    a: np.ndarray, b: np.ndarray, start: np.ndarray, kept: np.ndarray, costs: np.ndarray, bit: float
) -> None:
    """Whole weights that are worth their bits, in place of `start` int64 [N]: each in turn is moved
    nearer to `kept` [N], or one further, where squared error and bits come to less.

    a, b: the whole normal equations in these units; costs [sizes]: bits of a change; bit: what one
    costs.
    """
    count = len(b)
    slope = np.empty(count)
    for k in range(count):
        total = -b[k]
        for m in range(count):
            total += a[k, m] * start[m]
        slope[k] = 2 * total
    last = len(costs) - 1
    for _ in range(3):
        for k in range(count):
            change = start[k] - kept[k]
            best, best_cost = change, bit * costs[min(abs(change), last)]
            for option in (0, change - 1, change + 1):
                step = option - change
                cost = step * slope[k] + step * step * a[k, k] + bit * costs[min(abs(option), last)]
                if cost < best_cost:
                    best, best_cost = option, cost
            step = best - change
            if step:
                start[k] += step
                for m in range(count):
                    slope[m] += 2 * step * a[m, k]
