"""Frozen probability tables and the ANS coder: integers in, bytes out.

Every symbol comes with the index of a table. Tables hold integer probabilities out of 2**24, so
that two machines can never disagree about them. The coder is the streaming range-ANS coder of the
library constriction (Bamler, "Understanding Entropy Coding With Asymmetric Numeral Systems", 2022)
in loops of our own (`ans_kernels`), since calls of a few symbols each take a library longer than
the symbols do: 64-bit state, 32-bit words, 24-bit probabilities. The symbols of one call are coded
grouped by table index, in increasing order of index and, within a group, in the order given.

A `SymbolWriter` and a `SymbolReader` have the same `code` method, so one function can be both
encoder and decoder.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from stcodec.codec import ans_kernels
from stcodec.codec.ans_kernels import PRECISION
from stcodec.errors import DamagedFileError

TOTAL = 1 << PRECISION
MAX_SYMBOL = 1 << 20


class Tables:
    """Frozen symmetric-alphabet tables, one per index.

    `counts[i]` holds the integer probabilities (sum 2**24, each >= 1) of the values -K..K and,
    last, of the escape, so its length is 2K + 2. Index 0 has no table: such a symbol is not coded
    and is zero.
    """

    def __init__(self, counts: Sequence[np.ndarray]) -> None:
        self.counts: list[np.ndarray] = []
        self.supports = np.zeros(len(counts) + 1, dtype=np.int32)
        for index, row in enumerate(counts, start=1):
            row = np.asarray(row, dtype=np.int64)
            if row.size < 4 or row.size % 2 or row.min() < 1 or row.sum() != TOTAL:
                raise ValueError(
                    f"table {index}: probabilities must be positive integers with the sum 2**24"
                )
            self.counts.append(row)
            self.supports[index] = (row.size - 2) // 2

    @functools.cached_property
    def alphabets(self) -> ans_kernels.Alphabets:
        """The same for the coder's loops."""
        return ans_kernels.alphabets(self.counts, self.supports)

    def __len__(self) -> int:
        """Number of indices, index 0 included."""
        return len(self.counts) + 1

    @classmethod
    def from_probabilities(cls, rows: Sequence[np.ndarray]) -> Tables:
        """Quantise float rows (-K..K, escape) to integer probabilities."""
        return cls([quantise_probabilities(row) for row in rows])

    def costs(self) -> np.ndarray:
        """Bits of the magnitude m at each index, float32 [len(self), M + 2]; the last column stands
        for an escape.

        Index 0 costs nothing for m = 0 and 1e9 for anything else.
        """
        largest = int(self.supports.max())
        bits = np.zeros((len(self), largest + 2), dtype=np.float32)
        bits[0, 1:] = 1e9
        for index, row in enumerate(self.counts, start=1):
            k = int(self.supports[index])
            exact = PRECISION - np.log2(row)
            bits[index, : k + 1] = exact[k : 2 * k + 1]
            bits[index, k + 1 :] = exact[-1] + 6 + 2 * np.log2(1.0 + np.arange(1, largest + 2 - k))
        return bits


def quantise_probabilities(row: np.ndarray) -> np.ndarray:
    """Float probabilities -> integers >= 1 with the sum 2**24 (the largest entry absorbs the
    rounding)."""
    row = np.asarray(row, dtype=np.float64)
    counts = np.maximum(1, np.round(row / row.sum() * TOTAL)).astype(np.int64)
    counts[np.argmax(counts)] += TOTAL - counts.sum()
    return counts


class Coder(Protocol):
    """What encoder and decoder share: `code` returns the symbols, whichever side they come from.

    `bits`: ideal size of what has been written so far; of a reader 0.
    """

    @property
    def bits(self) -> float:
        """See above."""
        ...

    def code(self, symbols: np.ndarray | None, index: np.ndarray, tables: Tables) -> np.ndarray:
        """Code int32 [n] symbols (None when reading) under the tables `index` (uint8 [n]); returns
        int32 [n]."""
        ...

    def branch(self) -> Coder:
        """A coder for work beside this one's: what it codes has its place where it is joined."""
        ...

    def join(self, branch: Coder) -> None:
        """Take everything that a branch has coded, after what is here."""
        ...


class SymbolWriter:
    """Collects symbols and writes them as ANS words."""

    def __init__(self) -> None:
        self._items: list[np.ndarray] = []
        self._checked: list[bytes] = []

    @property
    def bits(self) -> float:
        """The ideal size of what has been taken."""
        sizes = [items[:, 1] for items in self._items]
        return float(sum(PRECISION * len(n) - np.log2(n).sum() for n in sizes))

    @property
    def crc(self) -> int:
        """CRC-32 of all symbols so far, as little-endian int32."""
        return zlib.crc32(b"".join(self._checked))

    def code(self, symbols: np.ndarray | None, index: np.ndarray, tables: Tables) -> np.ndarray:
        """Take `symbols` (int32 [n], |s| < 2**20; 0 wherever the index is 0); see `Coder.code`."""
        assert symbols is not None
        values, items = ans_kernels.places(symbols, index, tables.alphabets)
        self._checked.append(values.astype("<i4").tobytes())
        self._items.append(items)
        return symbols

    def branch(self) -> SymbolWriter:
        """An empty writer; see `Coder.branch`."""
        return SymbolWriter()

    def join(self, branch: Coder) -> None:
        """Take everything that another writer has collected, after what is here."""
        assert isinstance(branch, SymbolWriter)
        self._items += branch._items
        self._checked += branch._checked

    def _all(self) -> np.ndarray:
        return np.concatenate([np.empty((0, 2), np.int32), *self._items])

    def finish(self) -> bytes:
        """The words as little-endian uint32, to be read from the end (ANS is a stack)."""
        return ans_kernels.write(self._all()).astype("<u4").tobytes()

    def check(self, words: bytes) -> None:
        """DamagedFileError unless `words` give back what was taken, under the same tables."""
        if not ans_kernels.are(_stack(words), self._all()):
            raise DamagedFileError("the words are not those of the symbols")


def _stack(data: bytes) -> ans_kernels.Stack:
    """The words that were written. DamagedFileError where they cannot be."""
    if len(data) % 4:
        raise DamagedFileError("the entropy-coded data has a wrong length")
    try:
        return ans_kernels.stack(np.frombuffer(data, dtype="<u4").astype(np.uint32))
    except ValueError as error:
        raise DamagedFileError("the entropy-coded data has an invalid end") from error


class SymbolReader:
    """Reads what a `SymbolWriter` wrote, given the same indices in the same order."""

    def __init__(self, data: bytes) -> None:
        self._stack = _stack(data)
        self.bits, self.crc = 0.0, 0

    def branch(self) -> SymbolReader:
        """This reader itself: what is read comes in the order in which it was joined."""
        return self

    def join(self, branch: Coder) -> None:
        """Nothing: a branch has read from this reader."""

    def code(self, symbols: np.ndarray | None, index: np.ndarray, tables: Tables) -> np.ndarray:
        """Decode one symbol per index; see `Coder.code`."""
        decoded = np.zeros(index.size, dtype=np.int32)
        values = ans_kernels.read(self._stack, index, tables.alphabets, MAX_SYMBOL, decoded)
        if len(values) < np.count_nonzero(index):
            raise DamagedFileError("a decoded symbol is out of range")
        self.crc = zlib.crc32(values.astype("<i4").tobytes(), self.crc)
        return decoded

    def finish(self) -> None:
        """Raise DamagedFileError unless every word has been used."""
        if self._stack.left[0] or self._stack.state[0]:
            raise DamagedFileError("entropy-coded data is left over")
