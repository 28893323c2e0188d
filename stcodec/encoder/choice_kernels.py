"""Compiled loops for the choice of vectors: what blocks cost under each of several candidates,
residual and motion.

The residual of a 16x16 block is priced by its transform: a coefficient, in units of its
quantisation step, costs the smaller of what is lost without it and what coding it takes. Costs are
in units of step**2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import float32, int32

from stcodec.common.compiled import compiled
from stcodec.encoder.sample_kernels import MARGIN

CANDIDATES = 7  # at most: searched, their median, four neighbours', expected


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


class Pass(NamedTuple):
    """The p blocks of a pass over a frame of `cells` blocks, and what is known before it.

    positions int64 [p], near int64 [k, p] (-1: outside): as in `vectors.passes`, with `columns`
    blocks in a row; found int32 [cells, 2, 4, 2]: the searched vectors, by reference, 8x8 block and
    component; decided int32 [2, 2, cells]: vectors of the passes before, by reference and
    component; expected int32 [p, 2, 2]: predicted vectors.
    """

    positions: np.ndarray
    near: np.ndarray
    columns: int
    found: np.ndarray
    decided: np.ndarray
    expected: np.ndarray


class Bits(NamedTuple):
    """What choices cost, float32: each mode [p, 3], not to split and to split [p, 2]; and, of
    `costs` [tables, sizes], the tables int64 of the residuals of dy [p, 2] (those of dx are
    `across` and twice `across` further), and of the vectors of 8x8 blocks [p]."""

    mode: np.ndarray
    split: np.ndarray
    costs: np.ndarray
    residual: np.ndarray
    across: int
    child: np.ndarray


@compiled
def _whole(v: np.ndarray) -> bool:
    """Whether the four 8x8 blocks [4, 2] have one vector."""
    same = True
    for q in range(1, 4):
        same = same and v[q, 0] == v[0, 0] and v[q, 1] == v[0, 1]
    return same


@compiled
def _move(
    padded: np.ndarray,
    top: int,
    left: int,
    vector: np.ndarray,
    size: int,
    filters: np.ndarray,
    line: np.ndarray,
    out: np.ndarray,
) -> None:
    """size x size samples at (top, left) of a reference, moved by a vector in quarter samples, into
    the corner of `out`."""
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
                t[0] * line[y, x] + t[1] * line[y + 1, x]
                + t[2] * line[y + 2, x] + t[3] * line[y + 3, x]
                + t[4] * line[y + 4, x] + t[5] * line[y + 5, x]
                + t[6] * line[y + 6, x] + t[7] * line[y + 7, x]
            )  # fmt: skip


@compiled
def _predict(
    padded: np.ndarray,
    top: int,
    left: int,
    vectors: np.ndarray,
    filters: np.ndarray,
    line: np.ndarray,
    out: np.ndarray,
) -> None:
    """The 16x16 samples that a reference predicts for a block with the vectors [4, 2]."""
    if _whole(vectors):
        _move(padded, top, left, vectors[0], 16, filters, line, out)
        return
    for q in range(4):
        y, x = (q >> 1) * 8, (q & 1) * 8
        _move(padded, top + y, left + x, vectors[q], 8, filters, line, out[y : y + 8, x : x + 8])


@compiled
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


@compiled
def _candidates(these: Pass, i: int, side: int, out: np.ndarray) -> int:
    """Write what the vectors [4, 2] of block i may become into `out` [CANDIDATES, 4, 2], and return
    how many there are.

    They are: the searched ones; if those differ, their median; the neighbours' vectors; and, always
    and last, the expected one.
    """
    n = 0
    found, expected = these.found[these.positions[i], side], these.expected[i, side]
    split = not _whole(found)
    if split or found[0, 0] != expected[0] or found[0, 1] != expected[1]:
        out[0] = found
        n = 1
        tried = len(these.near) + int(split)
        for k in range(tried):
            if k < len(these.near):
                where = these.near[k, i]
                if where < 0:
                    continue
                vy, vx = these.decided[side, 0, where], these.decided[side, 1, where]
            else:
                vy, vx = _middle(found[:, 0]), _middle(found[:, 1])
            new = vy != expected[0] or vx != expected[1]
            for j in range(int(split), n):
                new = new and (vy != out[j, 0, 0] or vx != out[j, 0, 1])
            if new:
                out[n, :, 0], out[n, :, 1] = vy, vx
                n += 1
    out[n, :, 0], out[n, :, 1] = expected[0], expected[1]
    return n + 1


@compiled
def _middle(v: np.ndarray) -> int:
    """The median of four, halves downwards."""
    total = v[0] + v[1] + v[2] + v[3]
    return (total - v.min() - v.max()) >> 1


@compiled
def choose(
    current: np.ndarray,
    references: tuple[np.ndarray, np.ndarray],
    available: tuple[bool, bool],
    these: Pass,
    bits: Bits,
    price: np.float32,
    transform: Transform,
) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest mode (0 both, 1 first, 2 second) uint8 [p] and vectors int32 [p, 2, 4, 2] of
    each block; vectors that a mode does not use are those expected.

    current: bytes [H, W]; references: bytes [H + 2 MARGIN + 7, W + 2 MARGIN + 7], of which some are
    `available`. price: of a bit.
    """
    first, second = references
    n = len(these.positions)
    chosen_mode, chosen = np.zeros(n, np.uint8), np.empty((n, 2, 4, 2), np.int32)
    line, half, sums = (
        np.empty((23, 16), np.float32),
        np.empty((8, 16), np.float32),
        np.empty(8, np.float32),
    )
    moved = np.empty((2, CANDIDATES, 16, 16), np.float32)
    own, residual = np.empty((16, 16), np.float32), np.empty((16, 16), np.float32)
    vectors = np.empty((2, CANDIDATES, 4, 2), np.int32)
    count = np.zeros(2, np.int64)
    ready, split = np.empty((2, CANDIDATES), np.bool_), np.empty((2, CANDIDATES), np.bool_)
    vector_cost, child_cost = (
        np.empty((2, CANDIDATES), np.float32),
        np.empty((2, CANDIDATES), np.float32),
    )
    most = bits.costs.shape[1] - 1
    for i in range(n):
        top, left = (
            these.positions[i] // these.columns * 16,
            these.positions[i] % these.columns * 16,
        )
        for y in range(16):
            for x in range(16):
                own[y, x] = current[top + y, left + x]
        for side in range(2):
            count[side] = _candidates(these, i, side, vectors[side]) if available[side] else 0
            expected, table = these.expected[i, side], bits.residual[i, side]
            for k in range(count[side]):
                v = vectors[side, k]
                ready[side, k], split[side, k] = False, not _whole(v)
                dy, dx = (
                    min(abs(v[0, 0] - expected[0]), most),
                    min(abs(v[0, 1] - expected[1]), most),
                )
                here = bits.costs[table, dy] + bits.costs[table + bits.across * (1 + (dy != 0)), dx]
                vector_cost[side, k] = price * here
                here = float32(0)
                for q in range(1, 4):
                    for c in range(2):
                        here += bits.costs[bits.child[i], min(abs(v[q, c] - v[0, c]), most)]
                child_cost[side, k] = price * here
        best, mode, first_pick, second_pick = float32(1e30), 0, 0, 0
        # The last candidates are the cheapest, so the others have less to beat.
        for m in range(3):
            if (m != 2 and not available[0]) or (m != 1 and not available[1]):
                continue
            for a in range(count[0] - 1 if m != 2 else 0, -1, -1):
                for b in range(count[1] - 1 if m != 1 else 0, -1, -1):
                    fine = (m != 2 and split[0, a]) or (m != 1 and split[1, b])
                    cost = price * (bits.mode[i, m] + bits.split[i, int32(fine)])
                    if m != 2:
                        cost += vector_cost[0, a] + (child_cost[0, a] if fine else float32(0))
                    if m != 1:
                        cost += vector_cost[1, b] + (child_cost[1, b] if fine else float32(0))
                    if cost >= best:
                        continue
                    if m != 2 and not ready[0, a]:
                        _predict(
                            first, top, left, vectors[0, a], transform.filters, line, moved[0, a]
                        )
                        ready[0, a] = True
                    if m != 1 and not ready[1, b]:
                        _predict(
                            second, top, left, vectors[1, b], transform.filters, line, moved[1, b]
                        )
                        ready[1, b] = True
                    if m == 0:
                        for y in range(16):
                            for x in range(16):
                                residual[y, x] = own[y, x] - float32(0.5) * (
                                    moved[0, a, y, x] + moved[1, b, y, x]
                                )
                    else:
                        prediction = moved[0, a] if m == 1 else moved[1, b]
                        for y in range(16):
                            for x in range(16):
                                residual[y, x] = own[y, x] - prediction[y, x]
                    cost += _residual_cost(residual, transform, half, sums, best - cost)
                    if cost < best:
                        best, mode, first_pick, second_pick = cost, m, a, b
        chosen_mode[i] = mode
        for side in range(2):
            if mode == 2 - side:
                chosen[i, side, :, 0], chosen[i, side, :, 1] = (
                    these.expected[i, side, 0],
                    these.expected[i, side, 1],
                )
            else:
                chosen[i, side] = vectors[side, second_pick if side else first_pick]
    return chosen_mode, chosen
