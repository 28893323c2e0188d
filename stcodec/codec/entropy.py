"""Frozen probability tables and the ANS coder: integers in, bytes out.

Every symbol comes with the index of a table. Tables hold integer probabilities out of 2**24, so
that two machines can never disagree about them. The coder is the streaming range-ANS coder of
`constriction` (Bamler, "Understanding Entropy Coding With Asymmetric Numeral Systems", 2022):
64-bit state, 32-bit words, 24-bit probabilities. The symbols of one call are coded grouped by table
index, in increasing order of index and, within a group, in the order given.

A `SymbolWriter` and a `SymbolReader` have the same `code` method, so one function can be both
encoder and decoder.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from stcodec.codec import kernels
from stcodec.errors import DamagedFileError

PRECISION = 24
TOTAL = 1 << PRECISION
MAX_SYMBOL = 1 << 20
_RAW_BITS = 16


@functools.cache
def _stream() -> Any:
    """The library's streaming coders, imported when symbols are written or read: training does
    neither."""
    import constriction

    return constriction.stream


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
        # Ideal bits of every letter of every table, one after the other, and where each table
        # starts.
        self.bits = np.concatenate([PRECISION - np.log2(row) for row in self.counts]).astype(
            np.float32
        )
        self.starts = np.cumsum([0, 0] + [row.size for row in self.counts])[:-1].astype(np.int32)

    @functools.cached_property
    def models(self) -> list[object]:
        """The library's model of every table; None at index 0."""
        categorical = _stream().model.Categorical
        # The library gives every value one count and shares out the rest in proportion, so this is
        # exact.
        return [
            None,
            *(categorical((row - 1).astype(np.float64), perfect=False) for row in self.counts),
        ]

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

    bits: float

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


def in_order(index: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the coded symbols sorted by index (stable), and how many there are of each
    index."""
    loops = kernels.loops()
    if loops is not None:
        counts = np.zeros(count, np.int64)
        return loops.symbols.order(index, counts), counts
    coded = np.flatnonzero(index)
    order = coded[np.argsort(index[coded], kind="stable")]
    return order, np.bincount(index[coded], minlength=count)


class SymbolWriter:
    """Collects symbols and writes them as ANS words."""

    def __init__(self) -> None:
        self._calls: list[tuple[np.ndarray, object]] = []
        self._checked: list[bytes] = []
        self.bits = 0.0

    @property
    def crc(self) -> int:
        """CRC-32 of all symbols so far, as little-endian int32."""
        return zlib.crc32(b"".join(self._checked))

    def code(self, symbols: np.ndarray | None, index: np.ndarray, tables: Tables) -> np.ndarray:
        """Take `symbols` (int32 [n], |s| < 2**20; 0 wherever the index is 0); see `Coder.code`."""
        assert symbols is not None
        order, counts = in_order(index, len(tables))
        values = symbols[order].astype(np.int32)
        self._checked.append(values.astype("<i4").tobytes())
        of = index[order]
        supports = tables.supports[of]
        letters = values + supports
        escaped = np.abs(values) > supports
        any_escaped = bool(escaped.any())
        if any_escaped:
            letters[escaped] = 2 * supports[escaped] + 1
        self.bits += float(tables.bits[tables.starts[of] + letters].sum(dtype=np.float64))
        start = 0
        for i in np.flatnonzero(counts):
            end = start + int(counts[i])
            self._calls.append((letters[start:end], tables.models[i]))
            if any_escaped:
                for value in values[start:end][escaped[start:end]]:
                    self._escape(int(value), int(tables.supports[i]))
            start = end
        return symbols

    def _escape(self, value: int, k: int) -> None:
        """Sign and bit length as one of 64 equally likely values, then the bits below the leading
        one."""
        rest = abs(value) - k
        length = rest.bit_length() - 1
        self._uniform(2 * length + (value < 0), 64)
        for shift in range(0, length, _RAW_BITS):
            size = min(_RAW_BITS, length - shift)
            self._uniform((rest >> shift) & ((1 << size) - 1), 1 << size)

    def _uniform(self, value: int, size: int) -> None:
        self._calls.append((np.array([value], dtype=np.int32), _stream().model.Uniform(size)))
        self.bits += float(np.log2(size))

    def branch(self) -> SymbolWriter:
        """An empty writer; see `Coder.branch`."""
        return SymbolWriter()

    def join(self, branch: Coder) -> None:
        """Take everything that another writer has collected, after what is here."""
        assert isinstance(branch, SymbolWriter)
        self._calls += branch._calls
        self._checked += branch._checked
        self.bits += branch.bits

    def finish(self) -> bytes:
        """The words as little-endian uint32, to be read from the end (ANS is a stack)."""
        coder = _stream().stack.AnsCoder()
        for letters, model in reversed(self._calls):
            coder.encode_reverse(letters, model)
        return coder.get_compressed().astype("<u4").tobytes()

    def check(self, words: bytes) -> None:
        """DamagedFileError unless `words` give back what was taken, under the same tables."""
        reader = SymbolReader(words)
        found = [reader.letters(model, len(letters)) for letters, model in self._calls]
        wanted = [letters for letters, _ in self._calls]
        if wanted and not np.array_equal(np.concatenate(found), np.concatenate(wanted)):
            raise DamagedFileError("the words are not those of the symbols")
        reader.finish()


class SymbolReader:
    """Reads what a `SymbolWriter` wrote, given the same indices in the same order."""

    def __init__(self, data: bytes) -> None:
        if len(data) % 4:
            raise DamagedFileError("the entropy-coded data has a wrong length")
        words = np.frombuffer(data, dtype="<u4").astype(np.uint32)
        try:
            self._coder = _stream().stack.AnsCoder(words)
        except ValueError as error:
            raise DamagedFileError("the entropy-coded data has an invalid end") from error
        self.crc = 0
        self.bits = 0.0

    def branch(self) -> SymbolReader:
        """This reader itself: what is read comes in the order in which it was joined."""
        return self

    def join(self, branch: Coder) -> None:
        """Nothing: a branch has read from this reader."""

    def code(self, symbols: np.ndarray | None, index: np.ndarray, tables: Tables) -> np.ndarray:
        """Decode one symbol per index; see `Coder.code`."""
        order, counts = in_order(index, len(tables))
        values = np.empty(order.size, dtype=np.int32)
        start = 0
        supports, models, sizes = tables.supports.tolist(), tables.models, counts.tolist()
        for i in np.flatnonzero(counts).tolist():
            k = supports[i]
            group = self._coder.decode(models[i], sizes[i]) - k
            if group.max() > k:
                for at in np.flatnonzero(group == k + 1):
                    group[at] = self._escape(k)
            values[start : start + sizes[i]] = group
            start += sizes[i]
        self.crc = zlib.crc32(values.astype("<i4").tobytes(), self.crc)
        decoded = np.zeros(index.size, dtype=np.int32)
        decoded[order] = values
        return decoded

    def _escape(self, k: int) -> int:
        length, negative = divmod(int(self._coder.decode(_stream().model.Uniform(64))), 2)
        rest = 1 << length
        for shift in range(0, length, _RAW_BITS):
            rest |= (
                int(
                    self._coder.decode(_stream().model.Uniform(1 << min(_RAW_BITS, length - shift)))
                )
                << shift
            )
        if rest + k > MAX_SYMBOL:
            raise DamagedFileError("a decoded symbol is out of range")
        return -(rest + k) if negative else rest + k

    def letters(self, model: object, count: int) -> np.ndarray:
        """The next `count` letters, int32, under one model of the library."""
        letters: np.ndarray = self._coder.decode(model, count)
        return letters

    def finish(self) -> None:
        """Raise DamagedFileError unless every word has been used."""
        if not self._coder.is_empty():
            raise DamagedFileError("entropy-coded data is left over")
