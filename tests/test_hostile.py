"""Files that are whole, with values that no encoder would write: refused in a line, and cheaply."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import zstandard

from stcodec.common.files import Overwrite
from stcodec.common.values import Attachment, Chapter, Extras, MasteringDisplay, VideoInfo
from stcodec.container.extras import pack_extras, unpack_extras, video_info
from stcodec.container.joining import Split, concat
from stcodec.container.records import VideoChunk, pack_json, pack_packet, stream_to_json
from stcodec.container.stp import SIGNATURE, Reader, Writer
from stcodec.errors import DamagedFileError, StcodecError
from stcodec.flows.inspect import info
from tests.test_container import AUDIO, HEADER, ITEMS, section, taken_apart, write

Change = Callable[[list[bytes]], list[bytes]]


def changed(tag: bytes, body: bytes) -> bytes:
    """The usual file, with another body in the first section of this tag."""
    sections = taken_apart(write())
    at = next(i for i, s in enumerate(sections) if s.startswith(tag))
    sections[at] = section(tag, body)
    return SIGNATURE + b"".join(sections)


def with_blob(name: str, value: object) -> bytes:
    """The usual file, with JSON in a blob."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    packed = zstandard.ZstdCompressor().compress(text)
    return changed(b"blob", bytes([len(name)]) + name.encode() + packed)


def refused(data: bytes, tmp_path: Path) -> None:
    """DamagedFileError from everything that reads a file and decodes nothing."""
    path = tmp_path / "hostile.stp"
    path.write_bytes(data)
    out = str(tmp_path / "out-%d.stp")

    def split() -> None:
        with Split(str(path), out, 0.01) as parts:
            parts.write()

    for read in (
        lambda: info(path),
        lambda: concat([str(path), str(path)], str(tmp_path / "out.stp"), Overwrite.NO),
        split,
    ):
        with pytest.raises(DamagedFileError, match=r"hostile\.stp"):
            read()
    assert [p.name for p in tmp_path.iterdir()] == ["hostile.stp"]


STREAM = stream_to_json(AUDIO)
LONE = "\ud800"
NUMBERS = [1e999, float("nan"), -1, 1 << 63, 1.5, "1", None, True, [], {}]


@pytest.mark.parametrize(
    "change",
    [
        *({"time_base": [1, n]} for n in NUMBERS),
        *({"time_base": [n, 1]} for n in (*NUMBERS, 0)),
        *({"time_base": v} for v in ([1], [1, 2, 3], 1, "12", {"0": 1, "1": 1})),
        *({"kind": v} for v in ("video", 1, None, ["audio"], LONE)),
        *({"codec": v} for v in (1, None, LONE)),
        *({"extradata": v} for v in ("x", 1, None, LONE)),
        *({"parameters": {"sample_rate": v}} for v in (1e999, 1 << 63, 1.5, None, True, [], LONE)),
        *({"parameters": v} for v in (None, [], [["a", 1]], "")),
        *({"metadata": v} for v in ({"a": 1}, {"a": LONE}, {LONE: "a"}, [], None)),
        *({"disposition": v} for v in (1, "default", [1], [LONE], None)),
    ],
    ids=str,
)
def test_values_of_streams(change: dict[str, Any], tmp_path: Path) -> None:
    refused(changed(b"STRM", pack_table([{**STREAM, **change}])), tmp_path)


def pack_table(value: object) -> bytes:
    """Packed JSON that may say what a writer would not."""
    return zstandard.ZstdCompressor().compress(json.dumps(value).encode())


@pytest.mark.parametrize("value", [{}, 1, "x", None, [1], [[]], [None], [STREAM | {"kind": 1}]])
def test_tables_of_other_types(value: object, tmp_path: Path) -> None:
    refused(changed(b"STRM", pack_table(value)), tmp_path)


@pytest.mark.parametrize("value", [[], 1, None, {"a": 1}, {"a": None}, {"a": [1]}, {"a": LONE}])
def test_values_of_metadata(value: object, tmp_path: Path) -> None:
    refused(changed(b"meta", pack_table(value)), tmp_path)


CHAPTER = {"start": [0, 1], "end": [1, 1], "metadata": {}}


@pytest.mark.parametrize(
    "value",
    [
        *([{**CHAPTER, "end": [1, n]}] for n in (0, *NUMBERS)),
        *([{**CHAPTER, "end": [n, 1]}] for n in NUMBERS),
        *([{**CHAPTER, "start": [n, 1]}] for n in (2, (1 << 31) + 1, -(1 << 31) - 1)),
        *([{**CHAPTER, "metadata": v}] for v in (None, [], {"title": 1}, {"title": LONE})),
        *({"a": 1}, 1, None, [1], [{}]),
    ],
    ids=str,
)
def test_values_of_chapters(value: object, tmp_path: Path) -> None:
    refused(with_blob("chapters", value), tmp_path)


@pytest.mark.parametrize("member", ["name", "mimetype", "blob", "cover"])
@pytest.mark.parametrize("value", [None, 1, [], {}, LONE], ids=str)
def test_values_of_attachments(member: str, value: object) -> None:
    good = {"name": "x", "mimetype": "y", "blob": "attachments", "cover": False}
    blobs = {"attachments": json.dumps([{**good, member: value}]).encode()}
    with pytest.raises(DamagedFileError):
        unpack_extras(blobs)
    with pytest.raises(DamagedFileError):
        unpack_extras({"attachments": json.dumps([good, good]).encode()})


@pytest.mark.parametrize(
    "value",
    [
        *({"display_matrix": v} for v in ([1] * 8, [1 << 31] * 9, [1e999] * 9, 1, ["1"] * 9)),
        *({"field_order": v} for v in ("x", 1, None, [])),
        *({"content_light": v} for v in ([1], [1, 1 << 16], [-1, 0], [1e999, 0], [0.5, 1], "ab")),
        *({"mastering_display": {"luminance": [[n, 1], [1, 1]]}} for n in NUMBERS),
        *({"mastering_display": {"luminance": [[1, n], [1, 1]]}} for n in (0, *NUMBERS)),
        *({"mastering_display": v} for v in (1, [], {"primaries": [[1, 1]]}, {"primaries": None})),
        *({"metadata": v} for v in (None, [], {"a": 1}, {"a": LONE})),
        *({"disposition": v} for v in (None, 1, "x", [1], [LONE])),
        *([], 1, None),
    ],
    ids=str,
)
def test_values_of_the_video(value: object) -> None:
    with pytest.raises(DamagedFileError):
        video_info(HEADER, {"video": json.dumps(value).encode()})


def test_what_stands_twice(tmp_path: Path) -> None:
    for tag in (b"STRM", b"meta", b"blob"):
        sections = taken_apart(write())
        at = next(i for i, s in enumerate(sections) if s.startswith(tag))
        sections.insert(at, sections[at])
        refused(SIGNATURE + b"".join(sections), tmp_path)
    refused(changed(b"indx", pack_json({"segments": [], "streams": [0, 0]})), tmp_path)


@pytest.mark.parametrize("field", ["time_base", "frame_rate", "sample_aspect"])
def test_ratios_of_the_header(field: str) -> None:
    for end in ("num", "den"):
        body = bytearray(taken_apart(write())[0][12:])
        at = {"time_base": 12, "frame_rate": 20, "sample_aspect": 28}[field] + 4 * (end == "den")
        body[at : at + 4] = b"\xff\xff\xff\xff"
        with pytest.raises(DamagedFileError, match=f"{field}_{end}"):
            Reader(io.BytesIO(changed(b"HEAD", bytes(body))))


@pytest.mark.parametrize("time", [1 << 62, -(1 << 62), (1 << 31) * 1000 + 1])
def test_times_out_of_range_are_neither_read_nor_written(time: int) -> None:
    chunk, packet = ITEMS[0], ITEMS[1]
    assert isinstance(chunk, VideoChunk) and not isinstance(packet, VideoChunk)
    writer = Writer(io.BytesIO(), HEADER, [AUDIO])
    with pytest.raises(DamagedFileError, match="impossible times"):
        writer.write_chunk(VideoChunk(True, (time,), (1,), b""))
    if abs(time) < 1 << 50:
        return
    late = type(packet)(0, time, None, 0, True, b"")
    with pytest.raises(DamagedFileError, match="impossible times"):
        writer.write_packet(late)
    with pytest.raises(DamagedFileError, match="impossible times"):
        list(Reader(io.BytesIO(changed(b"PCKT", pack_packet(late)))))


def peak_of(read: Callable[[], object]) -> int:
    """Bytes that Python objects take at most while something is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(DamagedFileError):
            read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("tag", [b"STRM", b"meta", b"indx"])
@pytest.mark.parametrize(
    "text",
    [b"[" + b"[]," * (1 << 21) + b"[]]", b'{"a":"' + b" " * (48 << 20) + b'"}', b"[" * (1 << 20)],
    ids=["values", "text", "depth"],
)
def test_bombs_of_json_cost_little(tag: bytes, text: bytes) -> None:
    data = changed(tag, zstandard.ZstdCompressor().compress(text))
    assert len(data) < 30_000
    assert peak_of(lambda: list(Reader(io.BytesIO(data)))) < 32 << 20


def test_bombs_of_blobs_cost_little() -> None:
    packed = zstandard.ZstdCompressor().compress(bytes(8 << 20))
    sections = taken_apart(write())
    sections[2:3] = [section(b"blob", bytes([2]) + b"%02d" % i + packed) for i in range(40)]
    data = SIGNATURE + b"".join(sections)
    assert len(data) < 40_000
    assert peak_of(lambda: Reader(io.BytesIO(data))) < 40 << 20
    with pytest.raises(StcodecError, match="too large"):
        Writer(io.BytesIO(), HEADER, blobs={"zeros": bytes(17 << 20)})
    Writer(io.BytesIO(), HEADER, blobs={"zeros": bytes(15 << 20)})
    with pytest.raises(StcodecError, match="too large"):
        Writer(io.BytesIO(), HEADER, metadata={"title": "x" * (9 << 20)})


def test_what_sources_say_and_no_reader_takes_is_left_out() -> None:
    plain = video_info(HEADER)
    odd = MasteringDisplay(None, (Fraction(-1), Fraction(1 << 40)))
    said = VideoInfo(**{**vars(plain), "content_light": (1 << 20, 1), "mastering_display": odd})
    marks = (
        Chapter(Fraction(1), Fraction(0), {"title": "without an end"}),
        Chapter(Fraction(1, 3**39), Fraction(2), {}),
        Chapter(Fraction(1 << 40), Fraction(1 << 41), {}),
    )
    blobs = pack_extras(said, Extras(marks, (Attachment("a", "b", b"c"),)))
    assert video_info(HEADER, blobs) == plain
    kept = unpack_extras(blobs)
    assert [(c.start, c.end) for c in kept.chapters] == [(1, 1), (0, 2)]
    assert kept.attachments == (Attachment("a", "b", b"c"),)
