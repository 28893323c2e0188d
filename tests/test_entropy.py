"""The coder against an independent reading of its specification, and its behaviour on damaged
input."""

from __future__ import annotations

import numpy as np
import pytest

from stcodec.codec.entropy import PRECISION, SymbolReader, SymbolWriter, Tables
from stcodec.errors import DamagedFileError


def laplace_tables(scales: list[float]) -> Tables:
    rows = []
    for scale in scales:
        k = max(1, int(np.ceil(4 * scale)))
        values = np.abs(np.arange(-k, k + 1))
        rows.append(np.append(np.exp(-values / scale), 1e-4))
    return Tables.from_probabilities(rows)


def sample(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Tables]:
    rng = np.random.default_rng(seed)
    scales = [0.2, 0.5, 1.0, 4.0, 30.0]
    index = rng.integers(0, len(scales) + 1, n).astype(np.uint8)
    symbols = np.round(rng.laplace(size=n) * np.array([0.0, *scales])[index]).astype(np.int32)
    symbols[index == 5] *= np.where(rng.random((index == 5).sum()) < 0.01, 700, 1).astype(np.int32)
    return symbols, index, laplace_tables(scales)


def test_round_trip_with_escapes_and_skipped_symbols() -> None:
    symbols, index, tables = sample(20_000)
    writer = SymbolWriter()
    writer.code(symbols, index, tables)
    writer.code(symbols[::-1].copy(), index[::-1].copy(), tables)
    data = writer.finish()
    reader = SymbolReader(data)
    assert (reader.code(None, index, tables) == symbols).all()
    assert (reader.code(None, index[::-1].copy(), tables) == symbols[::-1]).all()
    reader.finish()
    assert reader.crc == writer.crc
    assert len(data) * 8 <= writer.bits * 1.001 + 64


def test_words_follow_the_documented_coder() -> None:
    """A plain Python range-ANS decoder, written from docs/format.md, reads the same symbols."""
    rng = np.random.default_rng(3)
    tables = laplace_tables([0.7, 3.0])
    index = rng.integers(1, 3, 500).astype(np.uint8)
    symbols = np.clip(np.round(rng.laplace(size=500) * index), -2, 2).astype(np.int32)
    writer = SymbolWriter()
    writer.code(symbols, index, tables)
    words = list(np.frombuffer(writer.finish(), dtype="<u4"))
    state = 0
    for _ in range(2):
        if words:
            state = (state << 32) | int(words.pop())
    decoded = np.zeros(500, dtype=np.int32)
    for i in (1, 2):
        counts = tables.counts[i - 1]
        ends = np.cumsum(counts)
        for at in np.flatnonzero(index == i):
            quantile = state & ((1 << PRECISION) - 1)
            letter = int(np.searchsorted(ends, quantile, side="right"))
            start = int(ends[letter] - counts[letter])
            state = (state >> PRECISION) * int(counts[letter]) + quantile - start
            if state < 1 << 32 and words:
                state = (state << 32) | int(words.pop())
            decoded[at] = letter - int(tables.supports[i])
    assert (decoded == symbols).all()


def test_words_are_those_of_the_library() -> None:
    """constriction reads them, and writes the same."""
    stream = pytest.importorskip("constriction").stream
    tables = laplace_tables([0.3, 2.0, 20.0])
    index = np.repeat([1, 2, 3], 400).astype(np.uint8)
    rng = np.random.default_rng(1)
    most = tables.supports[index]
    symbols = np.clip(np.rint(rng.laplace(size=1200) * most / 4), -most, most).astype(np.int32)
    writer = SymbolWriter()
    writer.code(symbols, index, tables)
    words = writer.finish()
    models = [
        # The library gives every value one count and shares out the rest in proportion.
        stream.model.Categorical((row - 1).astype(np.float64), perfect=False)
        for row in tables.counts
    ]
    reader = stream.stack.AnsCoder(np.frombuffer(words, "<u4").astype(np.uint32))
    letters = np.concatenate([reader.decode(model, 400) for model in models])
    assert np.array_equal(letters - most, symbols)
    assert reader.is_empty()
    coder = stream.stack.AnsCoder()
    for i in (2, 1, 0):
        coder.encode_reverse(letters[400 * i : 400 * (i + 1)], models[i])
    assert coder.get_compressed().astype("<u4").tobytes() == words


def test_damage_is_reported() -> None:
    symbols, index, tables = sample(2_000)
    writer = SymbolWriter()
    writer.code(symbols, index, tables)
    data = writer.finish()
    with pytest.raises(DamagedFileError):
        SymbolReader(data[:-3])
    reader = SymbolReader(data)
    reader.code(None, index[:1500], tables)
    with pytest.raises(DamagedFileError):
        reader.finish()


def test_tables_reject_probabilities_that_do_not_sum_up() -> None:
    with pytest.raises(ValueError, match="sum"):
        Tables([np.array([1, 2, 3, 4])])
