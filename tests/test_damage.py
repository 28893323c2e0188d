"""Chunks that no encoder would write: the decoder refuses them, or shows pictures; nothing else."""

from __future__ import annotations

import functools
import struct
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stcodec.codec.decoder import ChunkDecoder
from stcodec.codec.entropy import MAX_SYMBOL, SymbolReader, SymbolWriter, Tables
from stcodec.codec.model_files import load_model
from stcodec.codec.patches import planes_from_frames
from stcodec.codec.vectors import SPLIT_BASE, TABLE_COUNT
from stcodec.errors import DamagedFileError

WIDTH, HEIGHT, DEPTH = 48, 32, 10
HEADER = struct.Struct("<BBBI")  # pictures, quality, tree and flag, CRC: see docs/format.md
VECTORS = 0x80


model = functools.cache(load_model)


def new_decoder(name: str) -> ChunkDecoder:
    return ChunkDecoder(model(name), WIDTH, HEIGHT, DEPTH)


def is_flag(index: np.ndarray, tables: Tables) -> np.ndarray:
    """Where a symbol can be nothing but 0 or 1: split flags, and the floor of a call."""
    if len(tables) == TABLE_COUNT + 1:
        return index >= SPLIT_BASE
    return np.full(index.shape, index.size == 1)


def invented(
    decoder: ChunkDecoder, rng: np.random.Generator, wild: float, first: bool
) -> tuple[bytes, bool]:
    """A payload of random symbols that is whole in itself, words and CRC; and whether its symbols
    are within their ranges.

    wild: how many symbols are anything up to `MAX_SYMBOL`; the others come from their tables.
    """
    writer = SymbolWriter()

    def invent(
        self: SymbolReader, symbols: np.ndarray | None, index: np.ndarray, tables: Tables
    ) -> np.ndarray:
        support = tables.supports[index]
        spread = np.minimum(support, rng.choice([0, 1, 1 << 20], index.shape, p=[0.5, 0.3, 0.2]))
        some = rng.integers(-spread, spread + 1)
        any_value = rng.integers(1 - MAX_SYMBOL, MAX_SYMBOL, index.shape)
        flag = rng.integers(0, 2, index.shape)
        some = np.where(is_flag(index, tables), flag, some)
        made = np.where(rng.random(index.shape) < wild, any_value, some)
        return writer.code(np.where(index, made, 0).astype(np.int32), index, tables)

    count, quality, tree = (int(rng.integers(*r)) for r in ((1, 9), (0, 64), (0, 3)))
    head = count, quality, tree | (VECTORS if rng.random() < 0.8 else 0)
    with mock.patch.object(SymbolReader, "code", invent):
        with mock.patch.object(SymbolReader, "finish"):
            with pytest.raises(DamagedFileError) as refused:
                decoder.check(HEADER.pack(*head, 0xDEAD), first)
    within = "not those that were encoded" in str(refused.value)  # the CRC is all that was wrong
    return HEADER.pack(*head, writer.crc) + writer.finish(), within


@pytest.mark.parametrize("name", ["dct", "stc-1"])
@settings(max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), wild=st.sampled_from([0.0, 1e-4, 0.02]))
def test_random_symbols_are_refused_or_shown(name: str, seed: int, wild: float) -> None:
    rng = np.random.default_rng(seed)
    decoder, twin = new_decoder(name), new_decoder(name)
    for first in (True, False):
        payload, within = invented(twin, rng, wild, first)
        if not within:
            with pytest.raises(DamagedFileError, match="out of range"):
                decoder.decode(payload, first)
            return
        symbols = decoder.read(payload, first)
        frames = decoder.frames(symbols)
        assert len(frames.y) == payload[0]
        assert all(bool(torch.isfinite(plane).all()) for plane in frames)
        for planes in planes_from_frames(frames, HEIGHT, WIDTH, DEPTH):
            assert [p.shape for p in planes] == [(HEIGHT, WIDTH)] + [(HEIGHT // 2, WIDTH // 2)] * 2
            assert max(int(p.max()) for p in planes) < 1 << DEPTH
        twin.read(payload, first)  # which, unlike what it refused, the next chunk may refer to


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    words=st.integers(0, 400),
    head=st.tuples(
        st.integers(1, 8), st.integers(0, 63), st.sampled_from([0, 1, 2, 128, 129, 130])
    ),
)
def test_random_words_are_refused(seed: int, words: int, head: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(seed)
    coded = rng.integers(0, 2**32, words, dtype=np.uint32).astype("<u4").tobytes()
    with pytest.raises(DamagedFileError):
        new_decoder("dct").decode(HEADER.pack(*head, int(rng.integers(2**32))) + coded, True)


@settings(max_examples=50)
@given(payload=st.binary(max_size=64))
def test_random_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(DamagedFileError):
        new_decoder("dct").decode(payload, True)
