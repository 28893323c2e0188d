"""The loop that chooses samples of palette patches by squared error and bits, as they are coded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64

from stcodec.codec import palette_kernels, range_kernels
from stcodec.codec.palette_kernels import MARGIN, Mixer, Plane, Scratch
from stcodec.codec.range_kernels import Stream
from stcodec.common.compiled import compiled, inner

_BIT = range_kernels.PRICE


@inner
def _price(m: Mixer, room: Scratch, node: int, group: int, value: int) -> int:
    """What a decision costs, in units of 1 / PRICE bits."""
    p = palette_kernels.predict(m, room, node, group) << 4
    return range_kernels.price(p, value)


@inner
def _new_price(m: Mixer, room: Scratch, plane: Plane, value: int) -> int:
    """What the bits of a value cost."""
    low: Any = int64(0)
    size: Any = int64(1) << plane.bits
    depth, total = 0, 0
    while size > 1:
        size >>= 1
        middle, bit = plane.below[low + size], 1 if value >= low + size else 0
        if middle > plane.below[low] and plane.below[low + 2 * size] > middle:
            node: Any = (int64(1) << depth) + (low >> (plane.bits - depth))
            total += _price(m, room, node, palette_kernels.BITS + depth, bit)
        low += size if bit else 0
        depth += 1
    return total


@inner
def _choose(
    m: Mixer, room: Scratch, plane: Plane, y: int, z: int, source: int, nearest: int, weight: float
) -> int:
    """The nearest value, that of the left or that of the upper neighbour, or of a colour next to
    the nearest: which is cheapest, where a squared error of 1 is worth `weight` units."""
    x = plane.samples
    w, n = int64(x[y, z - 1]), int64(x[y - 1, z])
    if nearest == w:
        return w
    same = palette_kernels.alike(x, y, z)
    first, second = palette_kernels.FIRST, palette_kernels.SECOND
    best, cost = w, weight * float((source - w) ** 2) + _price(m, room, first, same, 1)
    other = float(_price(m, room, first, same, 0))
    if n != w:
        own = weight * float((source - n) ** 2) + other + _price(m, room, second, 32 + same, 1)
        if own < cost:
            best, cost = n, own
        if nearest == n:
            return best
        other += _price(m, room, second, 32 + same, 0)
    own = weight * float((source - nearest) ** 2) + other
    if own < cost:
        own += _new_price(m, room, plane, nearest)
        if own < cost:
            best = nearest
    return best


@compiled
def choose_plane(
    s: Stream,
    m: Mixer,
    room: Scratch,
    plane: Plane,
    luma: np.ndarray,
    other: np.ndarray,
    source: np.ndarray,
    weight: float,
    nearest: np.ndarray,
) -> None:
    """Code a plane as `palette_kernels.code_plane` does, with samples that are chosen.

    source uint16 [H, W]; weight: bits that a squared error of 1 is worth; nearest uint16: for each
    value that of the palette which stands for it."""
    high, wide, weight = plane.height, plane.width, weight * _BIT
    for r in range(plane.chosen.shape[0] * high):
        for k in range(plane.chosen.shape[1]):
            if not plane.chosen[r // high, k]:
                continue
            for c in range(k * wide, (k + 1) * wide):
                y, z = r + MARGIN, c + MARGIN
                palette_kernels.find_contexts(plane.samples, luma, other, y, z, room)
                own = int64(source[r, c])
                value = _choose(m, room, plane, y, z, own, int64(nearest[own]), weight)
                plane.samples[y, z] = palette_kernels.sample(s, m, room, plane, y, z, value)
