"""The container: what is written is read, and what is damaged is said to be damaged."""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stcodec.common.values import Packet, StreamInfo
from stcodec.container.records import Header, VideoChunk, pack_chunk, unpack_chunk
from stcodec.container.stp import SECTION, SIGNATURE, Reader, Writer
from stcodec.errors import DamagedFileError, StcodecError, UnsupportedFileError

HEADER = Header(
    1, 32, 8, 64, 48, 1, 1000, 25, 1, 1, 1, 90, 1, 1, 1, 1, 1, 8, bytes(range(32)), "dct"
)
AUDIO = StreamInfo(
    "audio", "aac", Fraction(1, 44100), b"\x12\x08", {"sample_rate": 44100}, {"language": "de"}
)
ITEMS = [
    VideoChunk(True, (0, 40, 80), (40, 40, 40), b"first"),
    Packet(0, None, -5, 7, True, b"sound"),
    VideoChunk(False, (120, 170), (50, 30), b"second"),
    VideoChunk(True, (200,), (40,), b"third"),
]


def write(extra: bytes = b"") -> bytes:
    stream = io.BytesIO()
    writer = Writer(stream, HEADER, [AUDIO], {"title": "täst"}, {"cover.jpg": b"\xff\xd8" * 50})
    for item in ITEMS:
        if isinstance(item, VideoChunk):
            writer.write_chunk(item)
        else:
            writer.write_packet(item)
    stream.write(extra)
    assert writer.close() == len(stream.getvalue()) - len(extra)
    return stream.getvalue()


def section(tag: bytes, body: bytes) -> bytes:
    return SECTION.pack(tag, len(body), zlib.crc32(body, zlib.crc32(tag))) + body


class Pipe(io.RawIOBase):
    """A stream that can only be read forward, a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 7))


def test_everything_comes_back() -> None:
    data = write()
    for stream in (io.BytesIO(data), Pipe(data)):
        reader = Reader(stream)  # type: ignore[arg-type]
        assert reader.header == HEADER
        assert reader.streams == (AUDIO,)
        assert reader.metadata == {"title": "täst"}
        assert reader.blobs == {"cover.jpg": b"\xff\xd8" * 50}
        assert list(reader) == ITEMS
        assert reader.complete


def test_index_leads_to_each_segment() -> None:
    reader = Reader(io.BytesIO(write()))
    index = reader.read_index()
    assert index is not None
    assert (index.footer.frames, index.footer.chunks) == (6, 3)
    assert [s[1:] for s in index.segments] == [(0, 0), (200, 5)]
    reader.seek(index.segments[1][0])
    assert next(iter(reader)) == ITEMS[3]


def test_a_file_cut_off_anywhere_loses_only_what_is_after_the_cut() -> None:
    data = write()
    whole = len(list(Reader(io.BytesIO(data))))
    most = 0
    for size in range(len(data)):
        found: list[object] = []
        with pytest.raises(DamagedFileError):
            found.extend(Reader(io.BytesIO(data[:size])))
        assert found == ITEMS[: len(found)]
        assert len(found) >= most
        most = len(found)
    assert most == whole


def test_a_changed_byte_is_noticed_or_harmless() -> None:
    data = write()
    for at in range(len(data)):
        for flip in (0x01, 0x80):
            damaged = bytearray(data)
            damaged[at] ^= flip
            try:
                found = list(Reader(io.BytesIO(bytes(damaged))))
            except StcodecError:
                continue
            assert found == ITEMS


def test_unknown_sections() -> None:
    assert list(Reader(io.BytesIO(write(section(b"newt", b"?"))))) == ITEMS
    with pytest.raises(UnsupportedFileError):
        list(Reader(io.BytesIO(write(section(b"NEWT", b"?")))))


def test_a_newer_version_is_refused() -> None:
    body = struct.pack("<H", 2) + bytes(200)
    with pytest.raises(UnsupportedFileError, match="version 2"):
        Reader(io.BytesIO(SIGNATURE + section(b"HEAD", body)))


def test_huge_lengths_cost_nothing() -> None:
    for length in (1 << 29, (1 << 32) - 1):
        with pytest.raises(DamagedFileError):
            Reader(io.BytesIO(SIGNATURE + SECTION.pack(b"HEAD", length, 0) + b"x"))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(-(2**62), 2**61),
    st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), min_size=1, max_size=8),
    st.booleans(),
    st.binary(max_size=40),
)
def test_any_time_stamps_survive(
    first: int, steps: list[tuple[int, int]], starts: bool, payload: bytes
) -> None:
    pts = [first]
    for step, _ in steps[1:]:
        pts.append(pts[-1] + step)
    chunk = VideoChunk(starts, tuple(pts), tuple(d for _, d in steps), payload)
    assert unpack_chunk(pack_chunk(chunk)) == chunk


def test_impossible_header_values_are_refused() -> None:
    with pytest.raises(ValueError, match="quality"):
        Writer(io.BytesIO(), dataclasses.replace(HEADER, quality=64))
