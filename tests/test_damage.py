"""Chunks that no encoder would write: the decoder refuses them, or shows pictures; nothing else."""

from __future__ import annotations

import functools
import struct
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stcodec.codec.decoder import ChunkDecoder
from stcodec.codec.entropy import MAX_SYMBOL, SymbolReader, SymbolWriter, Tables
from stcodec.codec.model_files import load_model
from stcodec.codec.palette import PaletteStream
from stcodec.codec.patches import planes_from_frames
from stcodec.codec.payload import Parts, pack, unpack
from stcodec.codec.range_kernels import left
from stcodec.codec.tree import CASCADES, TREES, tree_length
from stcodec.codec.vectors import MotionStream
from stcodec.container.records import VideoChunk
from stcodec.container.stp import Reader
from stcodec.errors import DamagedFileError

WIDTH, HEIGHT, DEPTH = 48, 32, 10
HEADER = struct.Struct("<BBBI")  # pictures, quality, tree and flag, CRC: see docs/format.md
VECTORS, SAMPLES = 0x80, 8


model = functools.cache(load_model)


def chunk_payloads(path: Path) -> list[bytes]:
    with open(path, "rb") as file:
        return [item.payload for item in Reader(file) if isinstance(item, VideoChunk)]


def new_decoder(name: str) -> ChunkDecoder:
    return ChunkDecoder(model(name), WIDTH, HEIGHT, DEPTH)


def some_motion(rng: np.random.Generator) -> bytes:
    """Bytes that read as motion, whatever they are: most decisions are what is usual."""
    data = rng.integers(0, 256, int(rng.integers(0, 128)), dtype=np.uint8)
    data[rng.random(len(data)) < rng.choice([0, 0.5, 0.9])] = 0
    return data.tobytes()


def invented(
    decoder: ChunkDecoder, rng: np.random.Generator, wild: float, first: bool
) -> tuple[bytes, bool]:
    """A payload of random symbols and random bytes of motion that is whole in itself, words and
    CRC; and whether its symbols are within their ranges.

    wild: how many symbols are anything up to `MAX_SYMBOL`; the others come from their tables.
    """
    writer = SymbolWriter()
    streams: dict[type, MotionStream | PaletteStream] = {}

    def keep(stream: MotionStream | PaletteStream) -> None:
        streams[type(stream)] = stream

    def invent(
        self: SymbolReader, symbols: np.ndarray | None, index: np.ndarray, tables: Tables
    ) -> np.ndarray:
        support = tables.supports[index]
        spread = np.minimum(support, rng.choice([0, 1, 1 << 20], index.shape, p=[0.5, 0.3, 0.2]))
        some = rng.integers(-spread, spread + 1)
        any_value = rng.integers(1 - MAX_SYMBOL, MAX_SYMBOL, index.shape)
        # The floor of a call can be nothing but 0 or 1.
        some = rng.integers(0, 2, index.shape) if index.size == 1 else some
        made = np.where(rng.random(index.shape) < wild, any_value, some)
        return writer.code(np.where(index, made, 0).astype(np.int32), index, tables)

    tree = int(rng.integers(0, len(TREES)))
    count = int(rng.integers(1, tree_length(tree) + 1))
    cascade, vectors = int(rng.integers(0, len(CASCADES))), rng.random() < 0.8
    told = rng.random() < 0.4
    flags = tree | cascade << 4 | (VECTORS if vectors else 0) | (SAMPLES if told else 0)
    head = count, int(rng.integers(0, 64)), flags
    motion = some_motion(rng) if vectors else b""
    samples = (rng.bytes(1) + some_motion(rng))[:127] if told else b""
    parts = Parts(motion, samples, b"")
    with (
        mock.patch.object(SymbolReader, "code", invent),
        mock.patch.object(SymbolReader, "finish"),
        mock.patch.object(MotionStream, "check_end", keep),
        mock.patch.object(PaletteStream, "check_end", keep),
        pytest.raises(DamagedFileError) as refused,
    ):
        decoder.check(packed(head, 0xDEAD, parts), first)
    within = "not those that were encoded" in str(refused.value)  # the CRC is all that was wrong
    crc = writer.crc
    for stream in streams.values():
        crc ^= stream.crc
    read = [
        part[: len(part) - left(streams[of]._stream)] if of in streams else part
        for part, of in ((motion, MotionStream), (samples, PaletteStream))
    ]
    return packed(head, crc, Parts(*read, writer.finish())), within


def packed(head: tuple[int, int, int], crc: int, parts: Parts) -> bytes:
    """A payload with these first three bytes."""
    motion, samples = (
        bytes([len(part)]) + part if head[2] & flag else b""
        for part, flag in ((parts.motion, VECTORS), (parts.samples, SAMPLES))
    )
    return HEADER.pack(*head, crc) + motion + samples + parts.words


@pytest.mark.parametrize("name", ["dct", "stc-1"])
@settings(max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), wild=st.sampled_from([0.0, 1e-4, 0.02]))
def test_random_symbols_are_refused_or_shown(name: str, seed: int, wild: float) -> None:
    rng = np.random.default_rng(seed)
    decoder = new_decoder(name)
    before: list[bytes] = []
    for first in (True, False):
        twin = new_decoder(name)
        for payload in before:
            twin.read(payload, True)
        payload, within = invented(twin, rng, wild, first)
        if not within:
            with pytest.raises(DamagedFileError, match=r"out of range|no values"):
                decoder.decode(payload, first)
            return
        symbols = decoder.read(payload, first)
        frames = decoder.frames(symbols)
        assert len(frames.y) == payload[0]
        assert all(bool(torch.isfinite(plane).all()) for plane in frames)
        for planes in planes_from_frames(frames, HEIGHT, WIDTH, DEPTH):
            assert [p.shape for p in planes] == [(HEIGHT, WIDTH)] + [(HEIGHT // 2, WIDTH // 2)] * 2
            assert max(int(p.max()) for p in planes) < 1 << DEPTH
        before.append(payload)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    words=st.integers(0, 400),
    head=st.tuples(
        st.integers(1, 8), st.integers(0, 63), st.sampled_from([0, 1, 2, 67, 128, 129, 147, 131])
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


@pytest.mark.parametrize(
    ("head", "rest", "line"),
    [
        ((1, 20, SAMPLES), b"", "no length"),
        ((1, 20, SAMPLES), b"\x05" + bytes(4), "cut off"),
        ((1, 20, SAMPLES), b"\x04" + b"\xff" * 4, "samples of a chunk start as none do"),
        ((1, 20, 0x60), b"", "a cascade that there is not"),
        ((9, 20, 0), b"", "impossible values"),
        ((17, 20, 3), b"", "impossible values"),
        ((0, 20, 3), b"", "impossible values"),
        ((1, 64, 3), b"", "impossible values"),
        ((1, 20, VECTORS), b"", "no length"),
        ((1, 20, VECTORS), b"\x80" * 4, "no length"),
        ((1, 20, VECTORS), b"\x80" * 5 + b"\0", "no length"),
        ((1, 20, VECTORS), b"\xff" * 4 + b"\x7f", "cut off"),
        ((1, 20, VECTORS), b"\x05" + bytes(4), "cut off"),
        ((1, 20, VECTORS), b"\x04" + b"\xff" * 4, "starts as none does"),
    ],
)
def test_heads_that_there_are_not(head: tuple[int, int, int], rest: bytes, line: str) -> None:
    with pytest.raises(DamagedFileError, match=line):
        new_decoder("dct").decode(HEADER.pack(*head, 0) + rest, True)


def test_motion_that_is_longer_than_what_is_read_of_it(bee_stp: Path) -> None:
    payload = chunk_payloads(bee_stp)[0]
    decoder = ChunkDecoder(model("stc-1"), 160, 90, 8)
    decoder.read(payload, True)
    plan, crc, parts = unpack(payload, True)
    assert plan.vectors and payload == pack(plan, crc, parts)
    longer = pack(plan, crc, parts._replace(motion=parts.motion + bytes(20)))
    with pytest.raises(DamagedFileError, match="left over"):
        decoder.read(longer, True)


def test_no_chunk_follows_one_that_was_refused(bee_stp: Path) -> None:
    first, second = chunk_payloads(bee_stp)[:2]
    decoder = ChunkDecoder(model("stc-1"), 160, 90, 8)
    decoder.read(first, True)
    with pytest.raises(DamagedFileError):
        decoder.read(second[:-4], False)
    with pytest.raises(DamagedFileError, match="its first chunk"):
        decoder.read(second, False)
    decoder.read(first, True)
    decoder.read(second, False)
