"""The loops that code samples of palette patches one after the other, under what is mixed from
several predictions (the idea of PAQ: Mahoney, Adaptive Weighing of Context Models, 2005).

A sample is told by decisions. Each has `ORDERS` contexts, from two neighbours to a surrounding of
forty samples, which finds again what has been drawn before; a context is a place in a table, found
by a hash, with the probability of a 1 and how much is known of it. A mixer weighs them by how well
they have done. All of it is integers: both sides stay alike on every machine.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stcodec.codec import range_kernels
from stcodec.codec.range_kernels import Stream
from stcodec.common.compiled import compiled, inner

ORDERS = 8
PLACES = 1 << 20
SETS = 80  # of the mixer's weights
MARGIN = 4  # samples around a plane, on all sides
START = 1 << 14  # a quarter, since weights count in units of 2**-16
_HEAVIEST = 1 << 20
_RATE = 8
_PATIENCE = 30
_ONE, _LEAST = 1 << 16, 16
_NEW = _ONE // 2 << 8  # a probability of a half, of which nothing is known
_FIRST, _SECOND = 3001, 3002  # nodes of the two decisions before the bits of a value
_MARK = 3003
_BITS = 64  # number of the first set of the bits of a value


def _squash() -> np.ndarray:
    """Probabilities in units of 2**-12 of logits in units of 1/256, from -2048 on."""
    logits = np.arange(-2048, 2048) / 256.0
    return np.clip(np.floor(4096 / (1 + np.exp(-logits))), 1, 4095).astype(np.int32)


def _stretch() -> np.ndarray:
    """The inverse."""
    p = np.arange(4096) + 0.5
    return np.clip(np.rint(256 * np.log(p / (4096 - p))), -2047, 2047).astype(np.int32)


_SQUASH, _STRETCH = _squash(), _stretch()
_RATES = 10 * _ONE // (10 * np.arange(_PATIENCE + 1) + 13)


class Mixer(NamedTuple):
    """What has been learnt in a segment: tables int32 [ORDERS, PLACES], 256 times the probability
    of a 1 in units of 2**-16, plus how much is known of it, xor `_NEW`, so that places that nobody
    has used take no memory; weights int32 [SETS, ORDERS]."""

    tables: np.ndarray
    weights: np.ndarray


class Scratch(NamedTuple):
    """Of one decision: its contexts uint64, places int64 and logits int64, [ORDERS] each."""

    contexts: np.ndarray
    places: np.ndarray
    logits: np.ndarray


class Plane(NamedTuple):
    """A plane that is coded. samples uint16 [H + 2 MARGIN, W + 2 MARGIN]: zero where nothing is
    known; up to[2**bits + 1] int32: how many values of the palette are below each; bits per sample;
    chosen uint8 [rows, columns]: which patches are coded, of height x width samples."""

    samples: np.ndarray
    below: np.ndarray
    bits: int
    chosen: np.ndarray
    height: int
    width: int


def new_mixer() -> Mixer:
    """Nothing is known yet."""
    tables = np.zeros((ORDERS, PLACES), np.int32)
    return Mixer(tables, np.full((SETS, ORDERS), START, np.int32))


def scratch() -> Scratch:
    """Room for one decision."""
    return Scratch(
        np.zeros(ORDERS, np.uint64), np.zeros(ORDERS, np.int64), np.zeros(ORDERS, np.int64)
    )


@inner
def _join(a: Any, b: Any) -> Any:
    """A hash of two numbers of 64 bits."""
    mixed = np.uint64(np.uint64(a) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(b) + np.uint64(1))
    return np.uint64(mixed * np.uint64(0xD6E8FEB86659FD93))


@inner
def _predict(m: Mixer, room: Scratch, node: int, group: int) -> int:
    """The probability of a 1, in units of 2**-12, of the decision `node` under the contexts at
    hand, with a set of weights; places and logits stay in `room`."""
    total: Any = np.int64(0)
    for i in range(ORDERS):
        mixed = (room.contexts[i] + np.uint64(node)) * np.uint64(0xD1B54A32D192ED03)
        place = np.int64(mixed >> np.uint64(44))
        state = m.tables[i, place] ^ _NEW
        logit = np.int64(_STRETCH[state >> 12]) if state & 255 else np.int64(0)
        room.places[i], room.logits[i] = place, logit
        total += np.int64(m.weights[group, i]) * logit
    return int(_SQUASH[min(max(total >> 16, -2047), 2047) + 2048])


@inner
def _learn(m: Mixer, room: Scratch, group: int, p: int, value: int) -> None:
    """Move the contexts and weights of `_predict` towards the outcome of what it gave p."""
    error = ((value << 12) - p) * _RATE
    for i in range(ORDERS):
        weight: Any = m.weights[group, i] + ((room.logits[i] * error + 0x8000) >> 16)
        m.weights[group, i] = min(max(weight, -_HEAVIEST), _HEAVIEST)
        place = room.places[i]
        state: Any = np.int64(m.tables[i, place] ^ _NEW)
        one, known = state >> 8, state & 255
        one += (((_ONE if value else 0) - one) * _RATES[known]) >> 16
        one = min(max(one, _LEAST), _ONE - _LEAST)
        m.tables[i, place] = (one << 8 | min(known + 1, _PATIENCE)) ^ _NEW


@inner
def _decide(s: Stream, m: Mixer, room: Scratch, node: int, group: int, value: int) -> int:
    """A decision 0 or 1: what was read, or `value`."""
    p = _predict(m, room, node, group)
    value = range_kernels.outcome(s, p << 4, value)
    _learn(m, room, group, p, value)
    return value


@inner
def _luma_contexts(x: np.ndarray, r: int, c: int, room: Scratch) -> None:
    """Of the sample in row r and column c of a plane with margins."""
    w, n = np.uint64(x[r, c - 1]), np.uint64(x[r - 1, c])
    nw, ne = np.uint64(x[r - 1, c - 1]), np.uint64(x[r - 1, c + 1])
    ww, nn = np.uint64(x[r, c - 2]), np.uint64(x[r - 2, c])
    out = room.contexts
    out[0] = _join(w << np.uint64(16) | n, 0)
    four = _join(_join(out[0], nw << np.uint64(16) | ne), 1)
    out[1] = four
    out[2] = _join(_join(four, ww << np.uint64(16) | nn), 2)
    ten = _join(out[2], np.uint64(x[r - 1, c + 2]) << np.uint64(16) | np.uint64(x[r - 1, c - 2]))
    ten = _join(ten, np.uint64(x[r - 2, c + 1]) << np.uint64(16) | np.uint64(x[r - 2, c - 1]))
    ten = _join(ten, np.uint64(x[r, c - 3]))
    out[3] = ten
    out[4] = _join(_join(n << np.uint64(16) | nn, ne), 4)
    out[5] = _join(_join(w << np.uint64(16) | ww, np.uint64(x[r, c - 3])), 5)
    many = _join(ten, np.uint64(x[r, c - 4]))
    for j in range(1, 4):
        for i in range(-4, 5):
            many = _join(many, np.uint64(x[r - j, c + i]))
    out[6] = many
    coarse = (w >> np.uint64(4)) << np.uint64(16) | (n >> np.uint64(4))
    out[7] = _join(_join(coarse, (nw >> np.uint64(5)) << np.uint64(16) | (ne >> np.uint64(5))), 7)


@inner
def _chroma_contexts(
    x: np.ndarray, luma: np.ndarray, other: np.ndarray, r: int, c: int, room: Scratch
) -> None:
    """The same for chroma, which knows luma, and V, which knows U (`other`; of U itself zeros)."""
    w, n = np.uint64(x[r, c - 1]), np.uint64(x[r - 1, c])
    nw, ne = np.uint64(x[r - 1, c - 1]), np.uint64(x[r - 1, c + 1])
    y, z = 2 * (r - MARGIN) + MARGIN, 2 * (c - MARGIN) + MARGIN
    upper = np.uint64(luma[y, z]) << np.uint64(16) | np.uint64(luma[y, z + 1])
    lower = np.uint64(luma[y + 1, z]) << np.uint64(16) | np.uint64(luma[y + 1, z + 1])
    sides = np.uint64(luma[y, z - 1]) << np.uint64(16) | np.uint64(luma[y, z + 2])
    ends = np.uint64(luma[y - 1, z]) << np.uint64(16) | np.uint64(luma[y + 2, z])
    u, near = np.uint64(other[r, c]), _join(w << np.uint64(16) | n, 16)
    under = _join(upper, lower)
    around = _join(_join(under, sides), ends)
    out = room.contexts
    out[0] = _join(near, u)
    out[1] = _join(under, _join(u, 17))
    out[2] = _join(under, _join(near, u))
    out[3] = _join(around, _join(u, 18))
    out[4] = _join(_join(near, nw << np.uint64(16) | ne), 19)
    out[5] = _join(_join(upper, sides), _join(w, 20))
    out[6] = _join(around, _join(near, _join(u, 21)))
    coarse = (w >> np.uint64(3)) << np.uint64(16) | (n >> np.uint64(3))
    out[7] = _join(_join(coarse, np.uint64(luma[y, z]) >> np.uint64(4)), 22)


@inner
def _value(s: Stream, m: Mixer, room: Scratch, plane: Plane, value: int) -> int:
    """The bits of a value, the highest first, but for those of which the palette leaves no
    choice."""
    low: Any = np.int64(0)
    size: Any = np.int64(1) << plane.bits
    depth = 0
    while size > 1:
        size >>= 1
        middle = plane.below[low + size]
        bit = 1 if middle == plane.below[low] else 0
        if not bit and plane.below[low + 2 * size] > middle:
            node: Any = (np.int64(1) << depth) + (low >> (plane.bits - depth))
            bit = _decide(s, m, room, node, _BITS + depth, 1 if value >= low + size else 0)
        low += size if bit else 0
        depth += 1
    return int(low)


@inner
def _sample(s: Stream, m: Mixer, room: Scratch, plane: Plane, r: int, c: int, value: int) -> int:
    """A sample under the contexts at hand: like its left neighbour, like its upper one, or new."""
    x = plane.samples
    w, n = int(x[r, c - 1]), int(x[r - 1, c])
    same = (w == n) + 2 * (w == x[r - 1, c - 1]) + 4 * (n == x[r - 1, c + 1])
    same += 8 * (w == x[r, c - 2]) + 16 * (n == x[r - 2, c])
    if _decide(s, m, room, _FIRST, same, 1 if value == w else 0):
        return w
    if n != w and _decide(s, m, room, _SECOND, 32 + same, 1 if value == n else 0):
        return n
    return _value(s, m, room, plane, value)


@compiled
def code_plane(
    s: Stream,
    m: Mixer,
    room: Scratch,
    plane: Plane,
    luma: np.ndarray,
    other: np.ndarray,
    wanted: np.ndarray,
    spent: np.ndarray,
) -> None:
    """Code the samples of the chosen patches into `plane`, row by row of the picture.

    luma, other: planes with margins, of no size where this is luma; wanted uint16 [H, W]: of no
    size where samples are read; spent int64 [rows, columns] takes what patches cost, of no size
    where nobody asks."""
    columns, high, wide = plane.chosen.shape[1], plane.height, plane.width
    known, asked = wanted.size > 0, spent.size > 0
    for r in range(plane.chosen.shape[0] * high):
        for k in range(columns):
            if not plane.chosen[r // high, k]:
                continue
            before = s.state[range_kernels.SPENT]
            for c in range(k * wide, (k + 1) * wide):
                y, z = r + MARGIN, c + MARGIN
                if luma.size == 0:
                    _luma_contexts(plane.samples, y, z, room)
                else:
                    _chroma_contexts(plane.samples, luma, other, y, z, room)
                value: Any = np.int64(wanted[r, c]) if known else np.int64(0)
                plane.samples[y, z] = _sample(s, m, room, plane, y, z, value)
            if asked:
                spent[r // high, k] += s.state[range_kernels.SPENT] - before


@compiled
def code_marks(s: Stream, m: Mixer, room: Scratch, marks: np.ndarray, before: np.ndarray) -> None:
    """Code marks 0 or 1, uint8 [rows + 1, columns + 2] with a margin of zeros above and at the
    sides; before: those of the frame before, of the same shape."""
    for r in range(1, marks.shape[0]):
        for c in range(1, marks.shape[1] - 1):
            near = np.uint64(marks[r, c - 1]) << np.uint64(1) | np.uint64(marks[r - 1, c])
            corners = np.uint64(marks[r - 1, c - 1]) << np.uint64(1) | np.uint64(
                marks[r - 1, c + 1]
            )
            then = np.uint64(before[r, c])
            for i in range(ORDERS):
                room.contexts[i] = _join(near, 32)
            room.contexts[1] = _join(_join(near, corners), 33)
            room.contexts[2] = _join(_join(near, then), 34)
            room.contexts[3] = _join(_join(_join(near, corners), then), 35)
            marks[r, c] = _decide(s, m, room, _MARK, SETS - 1, int(marks[r, c]))
