"""The adaptive loop filter of a plane in compiled loops; `loop_filter` says what is computed, and
does the same with tensors. Loops go along a whole row of samples or blocks, without branches, and
become vector instructions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import float32

from stcodec.codec.loop_filter_classes import (
    BLOCK,
    CASES,
    EVEN,
    FIRST_NODE,
    LEAST,
    MARGIN,
    NODE_DISTANCE,
    NODES,
    OFFSETS,
    RING,
    SHARPNESS,
    TAPS,
    WAYS,
)
from stcodec.common.compiled import compiled, inner

_FRACTION, _FRACTIONS, _BIAS = 23, (1 << 23) - 1, 127
_SCALE = np.float32(255.0 / (BLOCK + 2 * RING) ** 2)


class Room(NamedTuple):
    """What a row of B blocks and W samples is worked on in, float32. sums [4, W + 2]; sides [4, B];
    size [B], and the same as int32; place, straight, slanted [B]; share [CASES, B]; taps [TAPS +
    1, B]; wide [TAPS + 1, W]."""

    sums: np.ndarray
    sides: np.ndarray
    size: np.ndarray
    bits: np.ndarray
    place: np.ndarray
    straight: np.ndarray
    slanted: np.ndarray
    share: np.ndarray
    taps: np.ndarray
    wide: np.ndarray


@compiled
def room(width: int) -> Room:
    """For planes of a width."""
    blocks = width // BLOCK
    size = np.empty(blocks, np.float32)
    return Room(
        np.empty((4, width + 2 * RING), np.float32),
        np.empty((4, blocks), np.float32),
        size,
        size.view(np.int32),
        np.empty(blocks, np.float32),
        np.empty(blocks, np.float32),
        np.empty(blocks, np.float32),
        np.empty((CASES, blocks), np.float32),
        np.empty((TAPS + 1, blocks), np.float32),
        np.empty((TAPS + 1, width), np.float32),
    )


@inner
def _gradients(padded: np.ndarray, top: int, sums: np.ndarray) -> None:
    """Sums [4, W + 2] over the rows of a block that begins in row `top`, and its ring, of second
    differences across, down and along both diagonals."""
    sums[:] = 0
    across, down, falling, rising = sums[0], sums[1], sums[2], sums[3]
    width, left = len(across), MARGIN - RING
    for row in range(top + MARGIN - RING, top + MARGIN + BLOCK + RING):
        a, b, c = padded[row - 1], padded[row], padded[row + 1]
        for x in range(width):
            i = left + x
            across[x] += abs(b[i] + b[i] - b[i - 1] - b[i + 1])
        for x in range(width):
            i = left + x
            down[x] += abs(b[i] + b[i] - a[i] - c[i])
        for x in range(width):
            i = left + x
            falling[x] += abs(b[i] + b[i] - a[i - 1] - c[i + 1])
        for x in range(width):
            i = left + x
            rising[x] += abs(b[i] + b[i] - a[i + 1] - c[i - 1])


@inner
def _strengths(one: np.ndarray, other: np.ndarray, out: np.ndarray) -> None:
    """How much larger one of two sides is than the other, 0..1."""
    for i in range(len(out)):
        strength = abs(one[i] - other[i]) * float32(SHARPNESS)
        out[i] = min(strength / (one[i] + other[i] + float32(EVEN)), float32(1))


@inner
def classify(padded: np.ndarray, top: int, r: Room) -> None:
    """What share each case has in each block of the row that begins in row `top`, into r.share;
    padded float32 [H + 2 MARGIN, W + 2 MARGIN]."""
    _gradients(padded, top, r.sums)
    blocks = len(r.size)
    for side in range(4):
        sums, out = r.sums[side], r.sides[side]
        for block in range(blocks):
            total = float32(0)
            for i in range(BLOCK + 2 * RING):
                total += sums[block * BLOCK + i]
            out[block] = total * _SCALE
    across, down, falling, rising = r.sides[0], r.sides[1], r.sides[2], r.sides[3]
    size, bits, place, straight, slanted = r.size, r.bits, r.place, r.straight, r.slanted
    for i in range(blocks):
        size[i] = across[i] + down[i] + float32(LEAST)
    # The exponent, and the fraction as it is: a logarithm to base 2 in straight pieces.
    for i in range(blocks):
        fraction = float32(bits[i] & _FRACTIONS) * float32(1 / (_FRACTIONS + 1))
        logarithm = float32((bits[i] >> _FRACTION) - _BIAS) + fraction
        at = (logarithm - float32(FIRST_NODE)) * float32(1 / NODE_DISTANCE)
        place[i] = min(max(at, float32(0)), float32(NODES - 1))
    _strengths(across, down, straight)
    _strengths(falling, rising, slanted)
    for i in range(blocks):
        size[i] = float32(1) / max(straight[i] + slanted[i], float32(1))
    for i in range(blocks):
        straight[i] *= size[i]
    for i in range(blocks):
        slanted[i] *= size[i]
    for node in range(NODES):
        for i in range(blocks):
            size[i] = max(float32(1) - abs(place[i] - float32(node)), float32(0))
        none, own = r.share[WAYS * node], r.share[WAYS * node + 1]
        turned, other = r.share[WAYS * node + 2], r.share[WAYS * node + 3]
        mirrored = r.share[WAYS * node + 4]
        for i in range(blocks):
            none[i] = size[i] * (float32(1) - straight[i] - slanted[i])
        for i in range(blocks):
            own[i] = float32(0) if down[i] > across[i] else size[i] * straight[i]
        for i in range(blocks):
            turned[i] = size[i] * straight[i] if down[i] > across[i] else float32(0)
        for i in range(blocks):
            other[i] = float32(0) if rising[i] > falling[i] else size[i] * slanted[i]
        for i in range(blocks):
            mirrored[i] = size[i] * slanted[i] if rising[i] > falling[i] else float32(0)


@inner
def filter_row(padded: np.ndarray, top: int, filters: np.ndarray, r: Room, out: np.ndarray) -> None:
    """Filter a row of blocks that begins in row `top` into out float32 [BLOCK, W]; filters as in
    `filtered`."""
    width = out.shape[1]
    classify(padded, top, r)
    r.taps[:] = 0
    for case in range(CASES):
        share = r.share[case]
        for k in range(TAPS + 1):
            taps, weight = r.taps[k], filters[case, k]
            for block in range(len(share)):
                taps[block] += share[block] * weight
    for k in range(TAPS + 1):
        taps, wide = r.taps[k], r.wide[k]
        for block in range(len(taps)):
            for i in range(BLOCK):
                wide[BLOCK * block + i] = taps[block]
    for y in range(BLOCK):
        row, line, middle = top + y + MARGIN, out[y], r.wide[TAPS]
        own = padded[row, MARGIN : MARGIN + width]
        for x in range(width):
            line[x] = middle[x] * own[x]
        for k in range(TAPS):
            dy, dx, weights = OFFSETS[k, 0], OFFSETS[k, 1], r.wide[k]
            one = padded[row + dy, MARGIN + dx : MARGIN + dx + width]
            other = padded[row - dy, MARGIN - dx : MARGIN - dx + width]
            for x in range(width):
                line[x] += weights[x] * (one[x] + other[x])
        for x in range(width):
            line[x] = min(max(line[x], float32(0)), float32(1))


@compiled
def filtered(padded: np.ndarray, filters: np.ndarray, out: np.ndarray) -> None:
    """A filtered plane float32 [H, W], both multiples of BLOCK.

    padded: the plane and MARGIN samples around it, float32 [H + 2 MARGIN, W + 2 MARGIN], all in
    [0, 1]; filters float32 [CASES, TAPS + 1], see `loop_filter.by_case`.
    """
    r = room(out.shape[1])
    for top in range(0, out.shape[0], BLOCK):
        filter_row(padded, top, filters, r, out[top : top + BLOCK])
