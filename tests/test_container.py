"""The container: what is written is read, and what is damaged is said to be damaged."""

from __future__ import annotations

import dataclasses
import io
import itertools
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stcodec.common.files import Overwrite
from stcodec.common.values import Packet, StreamInfo
from stcodec.container.joining import Split, concat
from stcodec.container.records import (
    SECTION,
    VERSION,
    Footer,
    Header,
    OtherSection,
    VideoChunk,
    pack_chunk,
    pack_fields,
    pack_json,
    unpack_chunk,
)
from stcodec.container.stp import SIGNATURE, Reader, Writer
from stcodec.errors import DamagedFileError, StcodecError, UnsupportedFileError

HEADER = Header(
    VERSION, 32, 8, 64, 48, 1, 1000, 25, 1, 1, 1, 90, 1, 1, 1, 1, 1, 8, bytes(range(32)), "dct"
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


def write(extra: OtherSection | None = None) -> bytes:
    stream = io.BytesIO()
    writer = Writer(stream, HEADER, [AUDIO], {"title": "täst"}, {"cover.jpg": b"\xff\xd8" * 50})
    for item in ITEMS:
        if isinstance(item, VideoChunk):
            writer.write_chunk(item)
        else:
            writer.write_packet(item)
    if extra is not None:
        writer.write_other(extra)
    assert writer.close() == len(stream.getvalue())
    return stream.getvalue()


def taken_apart(data: bytes) -> list[bytes]:
    """The sections of a file, heads included."""
    found, at = [], len(SIGNATURE)
    while at < len(data):
        size = SECTION.size + SECTION.unpack_from(data, at)[1]
        found.append(data[at : at + size])
        at += size
    return found


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
    newt = OtherSection(b"newt", b"?")
    assert list(Reader(io.BytesIO(write(newt)))) == ITEMS
    assert list(Reader(io.BytesIO(write(newt))).sections()) == [*ITEMS, newt]
    for tag in (b"NEWT", b"foot", b"CHNK"):
        with pytest.raises(ValueError, match="unknown"):
            write(OtherSection(tag, b"?"))
    sections = taken_apart(write())
    sections.insert(-2, section(b"NEWT", b"?"))
    with pytest.raises(UnsupportedFileError):
        list(Reader(io.BytesIO(SIGNATURE + b"".join(sections))))


def test_unknown_sections_survive_concat_and_split(tmp_path: Path) -> None:
    newts = [OtherSection(b"newt", bytes([n])) for n in range(4)]
    plain, twice = tmp_path / "plain.stp", tmp_path / "twice.stp"
    with open(plain, "wb") as stream:
        writer = Writer(stream, HEADER)
        writer.write_other(newts[0])
        for number in range(3):
            times = 0 + 40 * number, 20 + 40 * number
            writer.write_chunk(VideoChunk(True, times, (20, 20), b"\2\40"))
            writer.write_other(newts[number + 1])
        writer.close()
    concat([str(plain), str(plain)], str(twice), Overwrite.NO)
    with Split(str(plain), str(tmp_path / "%d.stp"), 0.08) as split:
        parts = split.write()
    assert len(parts) == 2

    def others(path: Path | str) -> list[OtherSection]:
        with open(path, "rb") as stream:
            return [s for s in Reader(stream).sections() if isinstance(s, OtherSection)]

    assert others(plain) == newts
    assert others(twice) == newts * 2
    assert [others(p.target) for p in parts] == [newts[:3], newts[3:]]


def test_a_section_that_is_lost_or_doubled_is_noticed() -> None:
    sections = taken_apart(write())
    first = next(n for n, s in enumerate(sections) if s.startswith(b"CHNK"))
    for number in range(first, len(sections)):
        for copies in (0, 2):
            changed = [*sections[:number], *[sections[number]] * copies, *sections[number + 1 :]]
            if copies == 2 and number == len(sections) - 1:
                continue  # what follows the footer is no part of the file
            with pytest.raises(DamagedFileError, match="byte"):
                list(Reader(io.BytesIO(SIGNATURE + b"".join(changed))))


def test_chunks_in_another_order_are_noticed() -> None:
    sections = taken_apart(write())
    chunks = [n for n, s in enumerate(sections) if s.startswith(b"CHNK")]
    for a, b in itertools.combinations(chunks, 2):
        changed = list(sections)
        changed[a], changed[b] = changed[b], changed[a]
        with pytest.raises(DamagedFileError, match=r"chunk . at byte .* not later"):
            list(Reader(io.BytesIO(SIGNATURE + b"".join(changed))))


def test_a_part_of_a_file_is_compared_with_its_index() -> None:
    sections = taken_apart(write())
    last = max(n for n, s in enumerate(sections) if s.startswith(b"CHNK"))
    reader = Reader(io.BytesIO(write()))
    index = reader.read_index()
    assert index is not None
    reader.seek(index.segments[1][0])
    assert list(reader) == ITEMS[3:]
    # The last chunk once more, later: the index and the footer are those of the file without it.
    later = section(b"CHNK", pack_chunk(VideoChunk(False, (300,), (40,), b"fourth")))
    sections.insert(last + 1, later)
    foot = Footer(index.footer.index_offset + len(later), 6, 3, index.footer.video_bytes)
    sections[-1] = section(b"foot", pack_fields(foot))
    reader = Reader(io.BytesIO(SIGNATURE + b"".join(sections)))
    index = reader.read_index()
    assert index is not None
    reader.seek(index.segments[1][0])
    with pytest.raises(DamagedFileError, match="7 pictures, not 6"):
        list(reader)


@pytest.mark.parametrize("frames", [0, 5, 256 * 3, (1 << 64) - 1])
def test_a_footer_with_impossible_totals_is_refused(frames: int) -> None:
    sections = taken_apart(write())
    index = Reader(io.BytesIO(write())).read_index()
    assert index is not None
    sections[-1] = section(b"foot", pack_fields(dataclasses.replace(index.footer, frames=frames)))
    reader = Reader(io.BytesIO(SIGNATURE + b"".join(sections)))
    with pytest.raises(DamagedFileError):
        reader.read_index()
    with pytest.raises(DamagedFileError):
        list(reader)


@pytest.mark.parametrize(
    "value", [float("inf"), 1e999, -1, 1 << 63, "1", None, True, [1], {"a": 1}], ids=str
)
def test_an_index_with_impossible_values_is_refused(value: object) -> None:
    sections = taken_apart(write())
    for entries in ([[value, 0, 0]], [[1, 0, value]], value, [value]):
        sections[-2] = section(b"indx", pack_json({"segments": entries, "streams": [0]}))
        reader = Reader(io.BytesIO(SIGNATURE + b"".join(sections)))
        with pytest.raises(DamagedFileError):
            reader.read_index()
        with pytest.raises(DamagedFileError):
            list(reader)


@pytest.mark.parametrize(
    ("version", "line"),
    [
        (1, "format version 1 is read by stcodec 0.1, not by later ones"),
        (3, "format version 3 needs a newer stcodec: this one reads version 2"),
        (65535, "format version 65535 needs a newer stcodec: this one reads version 2"),
    ],
)
def test_another_version_is_refused(version: int, line: str) -> None:
    body = struct.pack("<H", version) + bytes(200)
    with pytest.raises(UnsupportedFileError, match=f"{line}$"):
        Reader(io.BytesIO(SIGNATURE + section(b"HEAD", body)))


def test_there_is_no_version_0() -> None:
    with pytest.raises(DamagedFileError, match="version"):
        Reader(io.BytesIO(SIGNATURE + section(b"HEAD", bytes(200))))


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "a\\b", "c:x", "", "..", "x.safetensors", "a\nb", "a\0b"]
)
def test_a_model_is_named_by_its_id_alone(name: str) -> None:
    stream = io.BytesIO()
    Writer(stream, dataclasses.replace(HEADER, model_id=name)).close()
    stream.seek(0)
    with pytest.raises(DamagedFileError, match="not the id of a model"):
        Reader(stream)


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
