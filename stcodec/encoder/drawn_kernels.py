"""Loops that look for what was drawn rather than filmed: few values, and exact repetition."""

from __future__ import annotations

import numpy as np
from numba import int64, uint64

from stcodec.common.compiled import compiled, inner

SIDE = 8  # samples of a block
_FACTORS = (np.arange(1, SIDE + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)
_SLOTS = 1 << 16


@inner
def _contrast(luma: np.ndarray, top: int, left: int) -> int:
    """How far apart the samples of a block are at most."""
    low, high = int64(255), int64(0)
    for y in range(top, top + SIDE):
        for x in range(left, left + SIDE):
            value = int64(luma[y, x])
            low, high = min(low, value), max(high, value)
    return int(high - low)


@compiled
def count_drawn(luma: np.ndarray, contrast: int, alike: int, every: int) -> tuple[int, int]:
    """How many 8x8 blocks of luma bytes [H, W], of which `every`-th rows and columns are looked at,
    have samples at least `contrast` apart, and in how many of these at least `alike` are equal."""
    textured, drawn = 0, 0
    counts = np.zeros(256, np.int32)
    for top in range(0, luma.shape[0] - SIDE + 1, every * SIDE):
        for left in range(0, luma.shape[1] - SIDE + 1, every * SIDE):
            if _contrast(luma, top, left) < contrast:
                continue
            most = int64(0)
            for y in range(top, top + SIDE):
                for x in range(left, left + SIDE):
                    counts[int64(luma[y, x])] += 1
                    most = max(most, int64(counts[int64(luma[y, x])]))
            for y in range(top, top + SIDE):
                for x in range(left, left + SIDE):
                    counts[int64(luma[y, x])] = 0
            textured += 1
            drawn += 1 if most >= alike else 0
    return textured, drawn


@compiled
def block_hashes(luma: np.ndarray, every: int) -> np.ndarray:
    """Hashes uint64 of the 8x8 blocks of luma bytes [H, W] in every so many-th row and column."""
    height, width = luma.shape
    places = width - SIDE + 1
    lines, sums = np.zeros((SIDE, places), np.uint64), np.zeros(places, np.uint64)
    out = np.zeros(((height - SIDE) // every + 1, (places - 1) // every + 1), np.uint64)
    for y in range(height):
        line = lines[y % SIDE]
        line[:] = uint64(0)
        for i in range(SIDE):
            for x in range(places):
                line[x] += uint64(luma[y, x + i]) * _FACTORS[i]
        for x in range(places):
            line[x] ^= line[x] >> uint64(29)
        top = y - SIDE + 1
        if top < 0 or top % every:
            continue
        sums[:] = uint64(0)
        for i in range(SIDE):
            for x in range(places):
                sums[x] += lines[(top + i) % SIDE, x] * _FACTORS[i]
        for x in range(0, places, every):
            out[top // every, x // every] = sums[x]
    return out


@compiled
def repetitions(
    luma: np.ndarray, contrast: int, own: np.ndarray, others: np.ndarray, moved: np.ndarray
) -> int:
    """Where blocks are found again as they are in another picture: how often, at most as often as
    there is room in `moved` int32 [n, 2], which takes by how many samples, down and to the right.

    Blocks of luma bytes [H, W] are looked for if their samples are at least `contrast` apart, if
    they have not stayed where they were, and if there is none like them in their picture. own,
    others: hashes of one block in 8 rows and columns, and of all blocks of the other picture."""
    mask, rows, columns = uint64(_SLOTS - 1), luma.shape[0] // SIDE, luma.shape[1] // SIDE
    keys, at = np.zeros(_SLOTS, np.uint64), np.full(_SLOTS, -1, np.int32)
    several, wanted, found = rows * columns, 0, 0
    for r in range(rows):
        for c in range(columns):
            key = own[r, c]
            if others[r * SIDE, c * SIDE] == key or _contrast(luma, r * SIDE, c * SIDE) < contrast:
                continue
            slot = int64((key >> uint64(40)) & mask)
            if at[slot] >= 0 and keys[slot] == key:
                at[slot] = several
            elif at[slot] < 0:
                keys[slot], at[slot] = key, r * columns + c
                wanted += 1
    for y in range(others.shape[0] if wanted else 0):
        for x in range(others.shape[1]):
            slot = int64((others[y, x] >> uint64(40)) & mask)
            n = int64(at[slot])
            if n < 0 or n == several or keys[slot] != others[y, x] or found == len(moved):
                continue
            moved[found, 0], moved[found, 1] = y - n // columns * SIDE, x - n % columns * SIDE
            found += 1
    return found
