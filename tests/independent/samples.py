"""The samples of palette patches, as docs/format.md has them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .container import require
from .ranges import RangeDecoder

_WORD = (1 << 64) - 1
_ORDERS, _SETS = 8, 80
_MARGIN = 4  # how far contexts look


def mixed(a: int, b: int) -> int:
    """H of the page."""
    return ((a * 0x9E3779B97F4A7C15 + b + 1 & _WORD) * 0xD6E8FEB86659FD93) & _WORD


def pair(a: int, b: int) -> int:
    return (a << 16) + b


def _stretched(q: int) -> int:
    return round(min(max(256 * math.log((q + 0.5) / (4095.5 - q)), -2047), 2047))


STRETCH = [_stretched(q) for q in range(4096)]


def squash(x: int) -> int:
    return min(max(math.floor(4096 / (1 + math.exp(-x / 256))), 1), 4095)


class Mixer:
    """What has been learnt since the start of a segment."""

    def __init__(self) -> None:
        # Probability of a 1 and count by place; the others are at their start.
        self.places: list[dict[int, tuple[int, int]]] = [{} for _ in range(_ORDERS)]
        self.weights = [[16384] * _ORDERS for _ in range(_SETS)]
        self.marks: np.ndarray | None = None
        self.palettes: list[np.ndarray | None] = [None] * 3

    def decide(self, coder: RangeDecoder, contexts: list[int], node: int, chosen: int) -> int:
        weights = self.weights[chosen]
        found, logits, total = [], [], 0
        for own, context, weight in zip(self.places, contexts, weights, strict=True):
            place = ((context + node) * 0xD1B54A32D192ED03 & _WORD) >> 44
            p, n = own.get(place, (32768, 0))
            logit = STRETCH[p >> 4] if n else 0
            found.append((place, p, n))
            logits.append(logit)
            total += weight * logit
        guess = squash(min(max(total >> 16, -2047), 2047))
        one = coder.divide((coder.range >> 16) * 16 * guess)
        e = 8 * (4096 - guess) if one else -8 * guess
        for i, (place, p, n) in enumerate(found):
            moved = weights[i] + ((logits[i] * e + 32768) >> 16)
            weights[i] = min(max(moved, -(1 << 20)), 1 << 20)
            p += ((65536 * one - p) * (655360 // (10 * n + 13))) >> 16
            self.places[i][place] = min(max(p, 16), 65520), min(n + 1, 30)
        return one


@dataclass
class Samples:
    """marks [R, Q]: which patches are palette patches; their samples, 0 elsewhere, as integers of
    so many bits."""

    marks: np.ndarray
    planes: list[np.ndarray]
    bits: int

    def crc(self, before: int) -> int:
        crc = zlib.crc32(self.marks.astype("u1").tobytes(), before)
        for plane in self.planes:
            crc = zlib.crc32(plane.astype("<u2").tobytes(), crc)
        return crc


class SampleReader:
    """Reads the samples of the frames of a chunk."""

    def __init__(self, coder: RangeDecoder, mixer: Mixer) -> None:
        self.coder, self.mixer = coder, mixer

    def read(self, rows: int, columns: int, h: int, w: int) -> Samples | None:
        """Those of a frame with so many patches of h x w samples."""
        if not self.coder.raw(1):
            return None
        bits = 10 if self.coder.raw(1) else 8
        before = self.mixer.marks
        marks = self.marks(np.zeros((rows, columns), np.int64) if before is None else before)
        self.mixer.marks = marks
        planes: list[np.ndarray] = []
        for number in range(3):
            high, wide = (h, w) if number == 0 else (h // 2, w // 2)
            told = np.zeros((1, 1 << bits), np.int64)
            earlier = self.mixer.palettes[number]
            if earlier is not None:
                shared = min(told.shape[1], earlier.shape[1])
                told[:, :shared] = earlier[:, :shared]
            palette = self.marks(told)
            require(bool(palette.any()), "an empty palette")
            self.mixer.palettes[number] = palette
            coded = np.kron(marks, np.ones((high, wide), np.int64))
            planes.append(self.plane(coded, palette[0], bits, planes))
        return Samples(marks, planes, bits)

    def marks(self, before: np.ndarray) -> np.ndarray:
        rows, columns = before.shape
        x = np.zeros((rows + 1, columns + 2), np.int64).tolist()
        for r in range(1, rows + 1):
            for c in range(1, columns + 1):
                near = 2 * x[r][c - 1] + x[r - 1][c]
                corners = 2 * x[r - 1][c - 1] + x[r - 1][c + 1]
                t = int(before[r - 1, c - 1])
                contexts = [mixed(near, 32)] * _ORDERS
                contexts[1] = mixed(mixed(near, corners), 33)
                contexts[2] = mixed(mixed(near, t), 34)
                contexts[3] = mixed(mixed(mixed(near, corners), t), 35)
                x[r][c] = self.mixer.decide(self.coder, contexts, 3003, 79)
        return np.array(x)[1:, 1:-1]

    def plane(
        self, coded: np.ndarray, palette: np.ndarray, bits: int, before: list[np.ndarray]
    ) -> np.ndarray:
        """coded: where samples are; before: planes of the frame that have been read."""
        rows, columns = coded.shape
        k = _MARGIN
        x = np.zeros((rows + k, columns + 2 * k), np.int64).tolist()
        others = [np.pad(p, 2 * k).tolist() for p in before]
        # Values of the palette below each value.
        counts = [0, *np.cumsum(palette).tolist()]
        for r in range(rows):
            for c in range(columns):
                if coded[r, c]:
                    y, at = r + k, c + k
                    contexts = chroma(x, y, at, others, r, c) if others else luma(x, y, at)
                    x[y][at] = self.sample(x, y, at, contexts, counts, bits)
        return np.array(x)[k:, k : k + columns]

    def sample(
        self,
        x: list[list[int]],
        r: int,
        c: int,
        contexts: list[int],
        counts: list[int],
        bits: int,
    ) -> int:
        def decide(node: int, chosen: int) -> int:
            return self.mixer.decide(self.coder, contexts, node, chosen)

        left, above = x[r][c - 1], x[r - 1][c]
        e = (left == above) + 2 * (left == x[r - 1][c - 1]) + 4 * (above == x[r - 1][c + 1])
        e += 8 * (left == x[r][c - 2]) + 16 * (above == x[r - 2][c])
        if decide(3001, e):
            return left
        if above != left and decide(3002, 32 + e):
            return above
        low, size, depth = 0, 1 << bits, 0
        while size > 1:
            size //= 2
            if counts[low + size] == counts[low]:
                bit = 1
            elif counts[low + 2 * size] == counts[low + size]:
                bit = 0
            else:
                bit = decide((1 << depth) + (low >> (bits - depth)), 64 + depth)
            low += bit * size
            depth += 1
        return low


def _around(x: list[list[int]], r: int, c: int) -> Callable[[int, int], int]:
    return lambda a, b: x[r + a][c + b]


def luma(plane: list[list[int]], r: int, c: int) -> list[int]:
    """Contexts of a sample of luma."""
    x = _around(plane, r, c)
    left, above = x(0, -1), x(-1, 0)
    first = mixed(pair(left, above), 0)
    second = mixed(mixed(first, pair(x(-1, -1), x(-1, 1))), 1)
    third = mixed(mixed(second, pair(x(0, -2), x(-2, 0))), 2)
    t = mixed(third, pair(x(-1, 2), x(-1, -2)))
    t = mixed(t, pair(x(-2, 1), x(-2, -1)))
    t = mixed(t, x(0, -3))
    m = mixed(t, x(0, -4))
    for j in (1, 2, 3):
        for i in range(-4, 5):
            m = mixed(m, x(-j, i))
    coarse = pair(x(-1, -1) >> 5, x(-1, 1) >> 5)
    return [
        first,
        second,
        third,
        t,
        mixed(mixed(pair(above, x(-2, 0)), x(-1, 1)), 4),
        mixed(mixed(pair(left, x(0, -2)), x(0, -3)), 5),
        m,
        mixed(mixed(pair(left >> 4, above >> 4), coarse), 7),
    ]


def chroma(
    plane: list[list[int]], r: int, c: int, others: list[list[list[int]]], row: int, column: int
) -> list[int]:
    """Contexts of a sample of chroma; others: luma, and U for V, with a margin of zeros."""
    x = _around(plane, r, c)
    y = _around(others[0], 2 * row + 2 * _MARGIN, 2 * column + 2 * _MARGIN)
    u = others[1][row + 2 * _MARGIN][column + 2 * _MARGIN] if len(others) > 1 else 0
    left, above = x(0, -1), x(-1, 0)
    d = mixed(pair(left, above), 16)
    b = mixed(pair(y(0, 0), y(0, 1)), pair(y(1, 0), y(1, 1)))
    a = mixed(mixed(b, pair(y(0, -1), y(0, 2))), pair(y(-1, 0), y(2, 0)))
    line = mixed(pair(y(0, 0), y(0, 1)), pair(y(0, -1), y(0, 2)))
    return [
        mixed(d, u),
        mixed(b, mixed(u, 17)),
        mixed(b, mixed(d, u)),
        mixed(a, mixed(u, 18)),
        mixed(mixed(d, pair(x(-1, -1), x(-1, 1))), 19),
        mixed(line, mixed(left, 20)),
        mixed(a, mixed(d, mixed(u, 21))),
        mixed(mixed(pair(left >> 3, above >> 3), y(0, 0) >> 4), 22),
    ]
