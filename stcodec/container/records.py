"""What the sections of a `.stp` file hold: plain values <-> the bytes of a section's body. See
docs/format.md."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import zstandard

from stcodec.common.values import Packet, StreamInfo
from stcodec.container import checks
from stcodec.container.checks import MAX_TERM, MAX_TEXT, MAX_UNPACKED, MAX_VALUES, parse_json
from stcodec.errors import DamagedFileError, UnsupportedFileError

VERSION = 2
SECTION = struct.Struct("<4sII")
"""The head of a section: tag, length and CRC-32 of its body."""
MAX_PICTURES = 255
"""Of a chunk, by the size of its field."""
MAX_STREAMS = 1 << 16
"""By the size of the field of a packet."""
# What an id of a model does not hold: parts of paths, and what is not printed.
_PATH = re.compile(r"[/\\:\x00-\x1f\x7f]|\.safetensors$")
# With its ending it is the name of a file.
_LONGEST_ID = 255 - len(".safetensors")
# Of earlier versions of the format, which stcodec reads them.
_READERS = {1: "0.1"}
STREAM_KINDS = ("audio", "subtitle", "data")
T = TypeVar("T")


def _field(code: str, doc: str, low: int = 0, high: int | None = None) -> Any:
    """One field of a fixed record: its struct code, meaning and range, declared once for write,
    read and check."""
    if high is None:
        high = (1 << (8 * struct.calcsize("<" + code) - (code.islower()))) - 1
    return dataclasses.field(metadata={"code": code, "doc": doc, "low": low, "high": high})


def _plain(code: str, doc: str) -> Any:
    """A field without a range; without a code it is not of fixed size."""
    return dataclasses.field(metadata={"code": code, "doc": doc} if code else {"doc": doc})


@dataclass(frozen=True)
class Header:
    """Body of the HEAD section; `model_id` (UTF-8, at most 243 bytes) follows the fixed fields."""

    version: int = _field("H", "format version, 2", 2)
    quality: int = _field("B", "quality of the first chunk, 0..63", 0, 63)
    bit_depth: int = _field("B", "bits per sample, 8 or 10", 8, 10)
    width: int = _field("I", "luma samples per row", 1, 1 << 16)
    height: int = _field("I", "luma rows", 1, 1 << 16)
    time_base_num: int = _field("I", "seconds per unit of time stamps: numerator", 1, MAX_TERM)
    time_base_den: int = _field("I", "and denominator", 1, MAX_TERM)
    frame_rate_num: int = _field(
        "I", "nominal frames per second: numerator, 0 = not known", 0, MAX_TERM
    )
    frame_rate_den: int = _field("I", "and denominator", 1, MAX_TERM)
    sample_aspect_num: int = _field("I", "sample aspect ratio: numerator", 1, MAX_TERM)
    sample_aspect_den: int = _field("I", "and denominator", 1, MAX_TERM)
    rotation: int = _field(
        "H", "clockwise degrees by which a player turns the picture, 0..359", 0, 359
    )
    color_range: int = _field("B", "0 unknown, 1 limited, 2 full", 0, 2)
    color_primaries: int = _field("B", "code point of ITU-T H.273, 2 = unspecified")
    color_transfer: int = _field("B", "the same")
    color_matrix: int = _field("B", "the same")
    chroma_location: int = _field(
        "B", "0 unknown, 1 left, 2 centre, 3 top left, 4 top, 5 bottom left, 6 bottom", 0, 6
    )
    patch_width: int = _field("B", "luma samples per patch of the model", 2)
    model_sha256: bytes = _plain("32s", "SHA-256 of the model's file")
    model_id: str = _plain("", "name of the model")


@dataclass(frozen=True)
class Footer:
    """Body of the foot section, the last of a file."""

    index_offset: int = _field("Q", "offset of the indx section from the start of the file")
    frames: int = _field("Q", "pictures in the file")
    chunks: int = _field("Q", "video chunks in the file")
    video_bytes: int = _field("Q", "bytes of all CHNK sections, their heads included")


@dataclass(frozen=True)
class VideoChunk:
    """A coded chunk: `first` starts a segment; pts and durations per picture in units of the
    header's time base."""

    first: bool
    pts: tuple[int, ...]
    durations: tuple[int, ...]
    payload: bytes


@dataclass(frozen=True)
class OtherSection:
    """A section that readers need not know: an ancillary one between chunks and packets, as it
    is."""

    tag: bytes
    body: bytes


@dataclass(frozen=True)
class Index:
    """What the end of a complete file says: totals, bytes per carried stream, and where each
    segment starts: (offset of its first CHNK section, pts of its first picture, number of that
    picture)."""

    footer: Footer
    stream_bytes: tuple[int, ...]
    segments: tuple[tuple[int, int, int], ...]


def fixed_fields(record: type) -> list[dataclasses.Field[Any]]:
    """The fixed-size fields of a record class, in the order of the file."""
    return [f for f in dataclasses.fields(record) if "code" in f.metadata]


def layout(record: type) -> struct.Struct:
    """How the fixed fields of a record class are packed."""
    return struct.Struct("<" + "".join(f.metadata["code"] for f in fixed_fields(record)))


def pack_fields(record: Any) -> bytes:
    """The fixed fields of a record; ValueError where one is out of its range."""
    values = []
    for f in fixed_fields(type(record)):
        value = getattr(record, f.name)
        if "low" in f.metadata and not f.metadata["low"] <= value <= f.metadata["high"]:
            low, high = f.metadata["low"], f.metadata["high"]
            raise ValueError(f"{f.name} {value} is not from {low} to {high}")
        values.append(value)
    return layout(type(record)).pack(*values)


def unpack_fields(record: type[T], body: bytes, **more: Any) -> T:
    """The inverse of `pack_fields`, with the fields that are not fixed given; DamagedFileError on
    impossible values."""
    form = layout(record)
    if len(body) < form.size:
        raise DamagedFileError(f"the {record.__name__.lower()} is too short")
    values = dict(zip([f.name for f in fixed_fields(record)], form.unpack_from(body), strict=True))
    for f in fixed_fields(record):
        if "low" in f.metadata and not f.metadata["low"] <= values[f.name] <= f.metadata["high"]:
            raise DamagedFileError(f"the {record.__name__.lower()} has an impossible {f.name}")
    return record(**values, **more)


def unpack_header(body: bytes) -> Header:
    """Body of the HEAD section. UnsupportedFileError for another version, DamagedFileError for
    impossible values."""
    version = struct.unpack_from("<H", body)[0] if len(body) >= 2 else 0
    if version > VERSION:
        raise UnsupportedFileError(
            f"format version {version} needs a newer stcodec: this one reads version {VERSION}"
        )
    if version in _READERS:
        raise UnsupportedFileError(
            f"format version {version} is read by stcodec {_READERS[version]}, not by later ones"
        )
    size = layout(Header).size
    name = body[size:]
    if len(name) > _LONGEST_ID:
        raise DamagedFileError("the model's name is too long")
    try:
        header = unpack_fields(Header, body, model_id=name.decode())
    except UnicodeDecodeError as error:
        raise DamagedFileError("the model's name is not UTF-8") from error
    # A file never says which file is opened: an id names an installed model, and no path.
    if _PATH.search(header.model_id) or header.model_id in ("", ".", ".."):
        raise DamagedFileError(f"{header.model_id!r} is not the id of a model")
    if header.bit_depth not in (8, 10):
        raise DamagedFileError("the header has an impossible bit_depth")
    return header


def dump_json(value: object) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def pack_json(value: object) -> bytes:
    """Compact JSON in a zstandard frame."""
    return zstandard.ZstdCompressor(level=12).compress(dump_json(value))


def unpack_zstd(data: bytes, most: int = MAX_UNPACKED) -> bytes:
    """Decompress a zstandard frame that says that it comes to at most `most` bytes, and 64 MiB;
    DamagedFileError otherwise."""
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= min(most, MAX_UNPACKED):
            raise DamagedFileError("packed data has no or an impossible size")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    except zstandard.ZstdError as error:
        raise DamagedFileError("packed data cannot be unpacked") from error


def unpack_json(data: bytes, most: int = MAX_TEXT, values: int | None = MAX_VALUES) -> Any:
    """The inverse of `pack_json`, for at most `most` bytes of text and so many values (None: any
    number); DamagedFileError on anything else."""
    return parse_json(unpack_zstd(data, most), values)


def pack_index(segments: Sequence[tuple[int, int, int]], stream_bytes: Sequence[int]) -> bytes:
    """Body of the indx section; see `Index`."""
    return pack_json({"segments": segments, "streams": stream_bytes})


def unpack_index(body: bytes, footer: Footer, streams: int | None) -> Index:
    """The inverse of `pack_index`, with the footer, which is right about where the index stands,
    for a file of so many carried streams (None: not known); DamagedFileError on anything else."""
    end = footer.index_offset
    if footer.chunks * SECTION.size > end or footer.frames > footer.chunks * MAX_PICTURES:
        raise DamagedFileError("the footer holds impossible values")
    # Three numbers of up to 20 digits for a segment, which has a chunk, and one for a stream.
    most = 64 + 70 * footer.chunks + 24 * (MAX_STREAMS if streams is None else streams)
    value = unpack_json(body, most, None)
    with checks.impossible("the index holds"):
        segments = tuple(
            (checks.whole(offset, 0, end), checks.whole(pts), checks.whole(number, 0))
            for offset, pts, number in checks.listed(value["segments"])
        )
        sizes = tuple(
            checks.whole(size, 0, end) for size in checks.listed(value["streams"], streams)
        )
        ordered = all(
            a[0] < b[0] and a[1] < b[1] and a[2] < b[2] for a, b in itertools.pairwise(segments)
        )
        # Each segment has a picture, the first one the first.
        numbers = [n for _, _, n in segments]
        complete = numbers[0] == 0 and numbers[-1] < footer.frames if numbers else not footer.frames
        if not ordered or not complete:
            raise ValueError("segments")
    return Index(footer, sizes, segments)


_CHUNK = struct.Struct("<BBq")
_STEP = struct.Struct("<I")
_FIRST, _UNIFORM = 1, 2


def pack_chunk(chunk: VideoChunk) -> bytes:
    """Body of a CHNK section."""
    steps = [b - a for a, b in zip(chunk.pts[:-1], chunk.pts[1:], strict=True)]
    step = steps[0] if steps else chunk.durations[0]
    uniform = (
        all(s == step for s in steps)
        and all(d == step for d in chunk.durations)
        and 0 <= step < 1 << 32
    )
    flags = (_FIRST if chunk.first else 0) | (_UNIFORM if uniform else 0)
    body = _CHUNK.pack(flags, len(chunk.pts), chunk.pts[0])
    if uniform:
        return body + _STEP.pack(step) + chunk.payload
    times = b"".join(_varint(v) for v in (*steps, *chunk.durations))
    return body + times + chunk.payload


def unpack_chunk(body: bytes) -> VideoChunk:
    """The inverse of `pack_chunk`; DamagedFileError on anything else."""
    if len(body) < _CHUNK.size:
        raise DamagedFileError("a video chunk is too short")
    flags, count, first = _CHUNK.unpack_from(body)
    if flags & ~(_FIRST | _UNIFORM) or count == 0:
        raise DamagedFileError("a video chunk's head holds impossible values")
    at = _CHUNK.size
    if flags & _UNIFORM:
        if len(body) < at + _STEP.size:
            raise DamagedFileError("a video chunk is too short")
        (step,) = _STEP.unpack_from(body, at)
        at += _STEP.size
        steps, durations = [step] * (count - 1), [step] * count
    else:
        values = []
        for _ in range(2 * count - 1):
            value, at = _read_varint(body, at)
            values.append(value)
        steps, durations = values[: count - 1], values[count - 1 :]
    pts = [first]
    for step in steps:
        pts.append(pts[-1] + step)
    return VideoChunk(bool(flags & _FIRST), tuple(pts), tuple(durations), body[at:])


def _varint(value: int) -> bytes:
    """Unsigned LEB128, 7 bits a byte, lowest first."""
    if value < 0:
        raise ValueError("time stamps must not go back")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        if at >= len(body):
            raise DamagedFileError("a video chunk is too short")
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise DamagedFileError("a time stamp is too long")


_PACKET = struct.Struct("<HBqqI")
_KEY, _NO_PTS, _NO_DTS = 1, 2, 4


def pack_packet(packet: Packet) -> bytes:
    """Body of a PCKT section."""
    flags = packet.keyframe * _KEY | (packet.pts is None) * _NO_PTS | (packet.dts is None) * _NO_DTS
    return (
        _PACKET.pack(packet.stream, flags, packet.pts or 0, packet.dts or 0, packet.duration)
        + packet.data
    )


def packet_size(packet: Packet) -> int:
    """Bytes of its section."""
    return SECTION.size + _PACKET.size + len(packet.data)


def unpack_packet(body: bytes) -> Packet:
    """The inverse of `pack_packet`."""
    if len(body) < _PACKET.size:
        raise DamagedFileError("a packet is too short")
    stream, flags, pts, dts, duration = _PACKET.unpack_from(body)
    return Packet(
        stream,
        None if flags & _NO_PTS else pts,
        None if flags & _NO_DTS else dts,
        duration,
        bool(flags & _KEY),
        body[_PACKET.size :],
    )


def stream_to_json(stream: StreamInfo) -> dict[str, object]:
    """A carried stream as plain values."""
    base = [stream.time_base.numerator, stream.time_base.denominator]
    plain = {**dataclasses.asdict(stream), "time_base": base, "extradata": stream.extradata.hex()}
    return {**plain, "disposition": list(stream.disposition)}


def stream_from_json(value: Any) -> StreamInfo:
    """The inverse of `stream_to_json`; DamagedFileError on anything else."""
    with checks.impossible("the stream table holds"):
        if value["kind"] not in STREAM_KINDS:
            raise ValueError("kind")
        parameters = checks.named_values(value["parameters"])
        return StreamInfo(
            checks.text(value["kind"]),
            checks.text(value["codec"]),
            checks.ratio(value["time_base"], 1),
            bytes.fromhex(value["extradata"]),
            {
                checks.text(k): checks.text(v) if isinstance(v, str) else checks.whole(v)
                for k, v in parameters.items()
            },
            checks.texts(value["metadata"]),
            checks.words(value.get("disposition", [])),
        )
