"""Compiled loops for the choice of vectors: what blocks cost under each of several candidates, residual and motion.

The residual of a 16x16 block is priced by its transform: a coefficient, in units of its quantisation step, costs the smaller of what is
lost without it and what coding it takes, by a table. Everything here is in units of step**2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import float32, int32

from stcodec.motion_samples import MARGIN, compiled

CANDIDATES = 4
TABLE_RESOLUTION = 16  # entries per step of a table of costs


class Transform(NamedTuple):
    """basis float32 [8, 8] of the orthonormal DCT; inverse float32 [8, 8]: table entries per unit of a coefficient, rows downwards; table
    float32 [T]: costs; filters float32 [4, 8]: luma at quarter samples."""

    basis: np.ndarray
    inverse: np.ndarray
    table: np.ndarray
    filters: np.ndarray


class Blocks(NamedTuple):
    """n blocks of one picture and what may become of them.

    corner int64 [2, n]; count int64 [n, 2]: candidates of each reference; vectors int32 [n, 2, CANDIDATES, 4, 2]: by reference,
    candidate and 8x8 block; costs float32: modes [n, 3], vectors [n, 2, CANDIDATES], children [n, 2, CANDIDATES], and of [n, 2]
    blocks that are not split and those that are.
    """

    corner: np.ndarray
    count: np.ndarray
    vectors: np.ndarray
    mode_cost: np.ndarray
    vector_cost: np.ndarray
    child_cost: np.ndarray
    split_cost: np.ndarray


@compiled
def _whole(v: np.ndarray) -> bool:
    """Whether the four 8x8 blocks [4, 2] have one vector."""
    for q in range(1, 4):
        if v[q, 0] != v[0, 0] or v[q, 1] != v[0, 1]:
            return False
    return True


@compiled
def _move(
    padded: np.ndarray, top: int, left: int, vector: np.ndarray, size: int, filters: np.ndarray, line: np.ndarray, out: np.ndarray
) -> None:
    """size x size samples at (top, left) of a reference, moved by a vector in quarter samples, into the corner of `out`."""
    height, width = padded.shape[0] - 7, padded.shape[1] - 7
    y0 = min(max(top + (vector[0] >> 2) + MARGIN, 0), height - size)
    x0 = min(max(left + (vector[1] >> 2) + MARGIN, 0), width - size)
    t = filters[vector[1] & 3]
    for y in range(size + 7):
        row = padded[y0 + y, x0 : x0 + size + 7]
        for x in range(size):
            line[y, x] = (
                t[0] * row[x] + t[1] * row[x + 1] + t[2] * row[x + 2] + t[3] * row[x + 3]
                + t[4] * row[x + 4] + t[5] * row[x + 5] + t[6] * row[x + 6] + t[7] * row[x + 7]
            )  # fmt: skip
    t = filters[vector[0] & 3]
    for y in range(size):
        for x in range(size):
            out[y, x] = (
                t[0] * line[y, x] + t[1] * line[y + 1, x] + t[2] * line[y + 2, x] + t[3] * line[y + 3, x]
                + t[4] * line[y + 4, x] + t[5] * line[y + 5, x] + t[6] * line[y + 6, x] + t[7] * line[y + 7, x]
            )  # fmt: skip


@compiled
def _predict(
    padded: np.ndarray, top: int, left: int, vectors: np.ndarray, filters: np.ndarray, line: np.ndarray, out: np.ndarray
) -> None:
    """The 16x16 samples that a reference predicts for a block with the vectors [4, 2]."""
    if _whole(vectors):
        _move(padded, top, left, vectors[0], 16, filters, line, out)
        return
    for q in range(4):
        y, x = (q >> 1) * 8, (q & 1) * 8
        _move(padded, top + y, left + x, vectors[q], 8, filters, line, out[y : y + 8, x : x + 8])


@compiled
def _residual_cost(residual: np.ndarray, transform: Transform, half: np.ndarray, most: float) -> float:
    """Cost of a residual [16, 16]; where it is more than `most`, perhaps not the whole."""
    total = float32(0)
    table, basis, inverse = transform.table, transform.basis, transform.inverse
    last = float32(len(table) - 1)
    for y in range(0, 16, 8):
        for x in range(0, 16, 8):
            for u in range(8):
                for i in range(8):
                    half[u, i] = basis[u, 0] * residual[y, x + i]
                for j in range(1, 8):
                    w = basis[u, j]
                    for i in range(8):
                        half[u, i] += w * residual[y + j, x + i]
            for u in range(8):
                for v in range(8):
                    c = float32(0)
                    for i in range(8):
                        c += half[u, i] * basis[v, i]
                    total += table[int32(min(abs(c) * inverse[u, v], last))]
            if total > most:
                return total
    return total


@compiled
def choose(
    current: np.ndarray, first: np.ndarray, second: np.ndarray, blocks: Blocks, transform: Transform
) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest mode (0 both, 1 first, 2 second) int64 [n] and candidates int64 [n, 2] of each block.

    current: bytes [H, W]; first, second: references, bytes [H + 2 MARGIN + 7, W + 2 MARGIN + 7].
    """
    n = len(blocks.count)
    mode, pick = np.zeros(n, np.int64), np.zeros((n, 2), np.int64)
    line, half = np.empty((23, 16), np.float32), np.empty((8, 8), np.float32)
    moved = np.empty((2, CANDIDATES, 16, 16), np.float32)
    residual = np.empty((16, 16), np.float32)
    for i in range(n):
        top, left = blocks.corner[0, i], blocks.corner[1, i]
        best = float32(1e30)
        ready = np.zeros((2, CANDIDATES), np.bool_)
        split = np.zeros((2, CANDIDATES), np.bool_)
        for side in range(2):
            for k in range(blocks.count[i, side]):
                split[side, k] = not _whole(blocks.vectors[i, side, k])
        # The last candidates are the cheap ones.
        for m in range(3):
            for a in range(blocks.count[i, 0] - 1, -1, -1) if m != 2 else range(0, 1):
                for b in range(blocks.count[i, 1] - 1, -1, -1) if m != 1 else range(0, 1):
                    if (m != 2 and blocks.count[i, 0] == 0) or (m != 1 and blocks.count[i, 1] == 0):
                        continue
                    fine = (m != 2 and split[0, a]) or (m != 1 and split[1, b])
                    cost = blocks.mode_cost[i, m] + blocks.split_cost[i, int32(fine)]
                    if m != 2:
                        cost += blocks.vector_cost[i, 0, a]
                        if fine:
                            cost += blocks.child_cost[i, 0, a]
                    if m != 1:
                        cost += blocks.vector_cost[i, 1, b]
                        if fine:
                            cost += blocks.child_cost[i, 1, b]
                    if cost >= best:
                        continue
                    if m != 2 and not ready[0, a]:
                        _predict(first, top, left, blocks.vectors[i, 0, a], transform.filters, line, moved[0, a])
                        ready[0, a] = True
                    if m != 1 and not ready[1, b]:
                        _predict(second, top, left, blocks.vectors[i, 1, b], transform.filters, line, moved[1, b])
                        ready[1, b] = True
                    for y in range(16):
                        for x in range(16):
                            if m == 0:
                                p = float32(0.5) * (moved[0, a, y, x] + moved[1, b, y, x])
                            elif m == 1:
                                p = moved[0, a, y, x]
                            else:
                                p = moved[1, b, y, x]
                            residual[y, x] = float32(current[top + y, left + x]) - p
                    cost += _residual_cost(residual, transform, half, best - cost)
                    if cost < best:
                        best, mode[i], pick[i, 0], pick[i, 1] = cost, m, a, b
    return mode, pick
