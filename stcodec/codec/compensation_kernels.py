"""Motion-compensated prediction of a plane in compiled loops: one block after the other, so that its
samples stay in the cache. `compensation` says what is computed, and does the same with tensors.

Blocks overlap as in `compensation`; at the picture's edges, where a block has no neighbour, its
weight is one up to the edge, which is what a neighbour with the same motion would come to.
"""

from __future__ import annotations

import numpy as np
from numba import float32

from stcodec.common.compiled import compiled


@compiled
def _window(
    reference: np.ndarray, top: int, left: int, height: int, width: int, out: np.ndarray
) -> None:
    """Samples of a plane from (top, left) on into the corner of `out`; beyond the edges the nearest
    ones."""
    rows, columns = reference.shape
    inside = left >= 0 and left + width <= columns
    for y in range(height):
        source, row = reference[min(max(top + y, 0), rows - 1)], out[y]
        if inside:
            part = source[left : left + width]
            for x in range(width):
                row[x] = part[x]
        else:
            for x in range(width):
                row[x] = source[min(max(left + x, 0), columns - 1)]


@compiled
def _across(row: np.ndarray, t: np.ndarray, width: int, out: np.ndarray) -> None:
    """Filter a row of samples by 8 or 4 taps t: out[x] = sum of t[k] row[x + k]."""
    if len(t) == 8:
        for x in range(width):
            out[x] = (
                t[0] * row[x] + t[1] * row[x + 1] + t[2] * row[x + 2] + t[3] * row[x + 3]
                + t[4] * row[x + 4] + t[5] * row[x + 5] + t[6] * row[x + 6] + t[7] * row[x + 7]
            )  # fmt: skip
    else:
        for x in range(width):
            out[x] = t[0] * row[x] + t[1] * row[x + 1] + t[2] * row[x + 2] + t[3] * row[x + 3]


@compiled
def _down(lines: np.ndarray, y: int, t: np.ndarray, width: int, out: np.ndarray) -> None:
    """Filter columns of lines from y on by 8 or 4 taps t: out[x] = sum of t[k] lines[y + k, x]."""
    a, b, c, d = lines[y], lines[y + 1], lines[y + 2], lines[y + 3]
    if len(t) == 8:
        e, f, g, h = lines[y + 4], lines[y + 5], lines[y + 6], lines[y + 7]
        for x in range(width):
            out[x] = (
                t[0] * a[x] + t[1] * b[x] + t[2] * c[x] + t[3] * d[x]
                + t[4] * e[x] + t[5] * f[x] + t[6] * g[x] + t[7] * h[x]
            )  # fmt: skip
    else:
        for x in range(width):
            out[x] = t[0] * a[x] + t[1] * b[x] + t[2] * c[x] + t[3] * d[x]


@compiled
def _tile(
    out: np.ndarray,
    reference: np.ndarray,
    top: int,
    left: int,
    size: int,
    overlap: int,
    vy: int,
    vx: int,
    weight: float,
    ramp: np.ndarray,
    filters: np.ndarray,
    room: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Add the share of a block of size x size samples at (top, left), moved by (vy, vx), to a plane.

    ramp float32 [2 overlap]: weights where blocks blend; filters float32 [phases, taps]; room:
    float32 [32, 32] twice and [2, 32].
    """
    window, lines, both = room
    rows, columns = out.shape
    phases, taps = filters.shape
    before = taps // 2 - 1
    y0, y1 = max(top - overlap, 0), min(top + size + overlap, rows)
    x0, x1 = max(left - overlap, 0), min(left + size + overlap, columns)
    height, width = y1 - y0, x1 - x0
    whole_y, whole_x = vy // phases, vx // phases
    part_y, part_x = vy - whole_y * phases, vx - whole_x * phases
    high, wide = height + taps - 1, width + taps - 1
    _window(reference, y0 + whole_y - before, x0 + whole_x - before, high, wide, window)
    for y in range(high):
        if part_x == 0:
            row, line = window[y, before:], lines[y]
            for x in range(width):
                line[x] = row[x]
        else:
            _across(window[y], filters[part_x], width, lines[y])
    across, total = both[0], both[1]
    for x in range(width):
        across[x] = weight
    for i in range(2 * overlap):
        if left > 0:
            across[i] = weight * ramp[i]
        if left + size < columns:
            across[width - 1 - i] = weight * ramp[i]
    for y in range(height):
        if part_y == 0:
            total = lines[y + before]
        else:
            _down(lines, y, filters[part_y], width, both[1])
            total = both[1]
        here = float32(1)
        if y < 2 * overlap and top > 0:
            here = ramp[y]
        elif height - 1 - y < 2 * overlap and top + size < rows:
            here = ramp[height - 1 - y]
        row = out[y0 + y, x0:x1]
        for x in range(width):
            row[x] += here * across[x] * total[x]


@compiled
def add_prediction(
    out: np.ndarray,
    reference: np.ndarray,
    vectors: np.ndarray,
    weights: np.ndarray,
    block: int,
    ramp: np.ndarray,
    filters: np.ndarray,
) -> None:
    """Add what a reference predicts to a plane float32 [H, W].

    reference float32 [H, W]; vectors int16 [2, gh, gw], (dy, dx) of blocks of `block` x `block`
    samples in 1 / phases of a sample; weights float32 [gh / 2, gw / 2]: the share of this reference
    in 2 x 2 blocks, which are taken whole where their vectors are equal; ramp and filters as in
    `_tile`.
    """
    overlap = len(ramp) // 2
    rows, columns = weights.shape
    room = (
        np.empty((32, 32), np.float32),
        np.empty((32, 32), np.float32),
        np.empty((2, 32), np.float32),
    )
    for i in range(rows):
        for j in range(columns):
            weight = weights[i, j]
            if weight == 0:
                continue
            vy, vx = vectors[0, 2 * i, 2 * j], vectors[1, 2 * i, 2 * j]
            whole = True
            for a in range(2):
                for b in range(2):
                    same = vectors[0, 2 * i + a, 2 * j + b] == vy
                    whole = whole and same and vectors[1, 2 * i + a, 2 * j + b] == vx
            if whole:
                top, left = 2 * i * block, 2 * j * block
                _tile(
                    out,
                    reference,
                    top,
                    left,
                    2 * block,
                    overlap,
                    vy,
                    vx,
                    weight,
                    ramp,
                    filters,
                    room,
                )
                continue
            for a in range(2):
                for b in range(2):
                    y, x = 2 * i + a, 2 * j + b
                    vy, vx = vectors[0, y, x], vectors[1, y, x]
                    top, left = y * block, x * block
                    _tile(
                        out,
                        reference,
                        top,
                        left,
                        block,
                        overlap,
                        vy,
                        vx,
                        weight,
                        ramp,
                        filters,
                        room,
                    )
