"""The range-ANS decoder, tables, escapes and calls of docs/format.md."""

from __future__ import annotations

import zlib
from bisect import bisect_right

import numpy as np

from .container import require


class Table:
    """A frozen table: K and running sums of its letters' probabilities."""

    def __init__(self, counts: np.ndarray) -> None:
        require(len(counts) >= 4 and len(counts) % 2 == 0, "size of a table")
        require(int(counts.min()) >= 1 and int(counts.sum()) == 1 << 24, "probabilities")
        self.k = (len(counts) - 2) // 2
        self.sums = [0, *np.cumsum(counts.astype(np.int64)).tolist()]


def tables(sizes: np.ndarray, counts: np.ndarray) -> list[Table | None]:
    """Tables by index; there is none at 0."""
    ends = np.cumsum(sizes.astype(np.int64))
    starts = ends - sizes
    return [None, *(Table(counts[a:b]) for a, b in zip(starts, ends, strict=True))]


class Reader:
    """The words of a payload, as a stack, and the CRC of what has been read."""

    def __init__(self, data: bytes) -> None:
        require(len(data) % 4 == 0, "length of the words")
        self.words = np.frombuffer(data, "<u4").tolist()
        self.state = 0
        self.crc = 0
        if self.words:
            require(self.words[-1] != 0, "the last word")
            self.state = self.words.pop()
            if self.words:
                self.state = (self.state << 32) + self.words.pop()

    def _advance(self, start: int, size: int) -> None:
        q = self.state & 0xFFFFFF
        self.state = (self.state >> 24) * size + q - start
        if self.state < 1 << 32 and self.words:
            self.state = (self.state << 32) + self.words.pop()

    def letter(self, table: Table) -> int:
        q = self.state & 0xFFFFFF
        found = bisect_right(table.sums, q) - 1
        self._advance(table.sums[found], table.sums[found + 1] - table.sums[found])
        return found

    def raw(self, bits: int) -> int:
        if bits == 0:
            return 0
        found = (self.state & 0xFFFFFF) >> (24 - bits)
        self._advance(found << (24 - bits), 1 << (24 - bits))
        return found

    def _escaped(self, k: int) -> int:
        u = self.raw(6)
        n = u // 2
        low = self.raw(min(n, 16))
        r = (1 << n) + low + (self.raw(max(0, n - 16)) << 16)
        require(r + k <= 1 << 20, "an escaped value")
        return -(r + k) if u % 2 else r + k

    def call(self, index: np.ndarray, among: list[Table | None]) -> np.ndarray:
        """One value for each index, in the same shape."""
        flat = index.reshape(-1)
        values = np.zeros(len(flat), np.int64)
        order = [int(i) for i in np.argsort(flat, kind="stable") if flat[i]]
        start = 0
        while start < len(order):
            table = among[flat[order[start]]]
            assert table is not None
            end = start
            while end < len(order) and flat[order[end]] == flat[order[start]]:
                end += 1
            group = order[start:end]
            letters = [self.letter(table) for _ in group]
            for position, letter in zip(group, letters, strict=True):
                escape = letter == 2 * table.k + 1
                values[position] = self._escaped(table.k) if escape else letter - table.k
            start = end
        self.crc = zlib.crc32(values[order].astype("<i4").tobytes(), self.crc)
        return values.reshape(index.shape)

    def finish(self, crc: int) -> None:
        """crc: what that of all symbols must be."""
        require(not self.words and self.state == 0, "words are left")
        require(self.crc == crc, "CRC of symbols")
