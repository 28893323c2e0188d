"""The bytes of a `.stp` file: tagged sections, and nothing of what a chunk's payload means. See docs/format.md.

A file is a signature, then sections. A section is a tag of four letters, the length and the CRC-32 of its body, and the body.
Sections whose tag starts with a capital letter are critical: a reader that does not know one refuses the file; others
are skipped. All numbers are little-endian.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import zstandard

from stcodec.errors import DamagedFileError, UnsupportedFileError

SIGNATURE = b"\x8bSTP\r\n\x1a\n"
VERSION = 1
SECTION = struct.Struct("<4sII")
MAX_SECTION = 1 << 30
MAX_UNPACKED = 1 << 26
MAX_PICTURES = 255
HEAD, STREAMS, CHUNK, PACKET, META, BLOB, INDEX, FOOT = (
    b"HEAD", b"STRM", b"CHNK", b"PCKT", b"meta", b"blob", b"indx", b"foot",
)  # fmt: skip
T = TypeVar("T")


def _field(code: str, doc: str, low: int = 0, high: int | None = None) -> Any:
    """One field of a fixed record: its struct code, meaning and range, declared once for write, read and check."""
    if high is None:
        high = (1 << (8 * struct.calcsize("<" + code) - (code.islower()))) - 1
    return dataclasses.field(metadata={"code": code, "doc": doc, "low": low, "high": high})


def _plain(code: str, doc: str) -> Any:
    """A field without a range; without a code it is not of fixed size."""
    return dataclasses.field(metadata={"code": code, "doc": doc} if code else {"doc": doc})


@dataclass(frozen=True)
class Header:
    """Body of the HEAD section; `model_id` (UTF-8, at most 255 bytes) follows the fixed fields."""

    version: int = _field("H", "format version, 1", 1)
    quality: int = _field("B", "quality of the first chunk, 0..63", 0, 63)
    bit_depth: int = _field("B", "bits per sample, 8 or 10", 8, 10)
    width: int = _field("I", "luma samples per row", 1, 1 << 16)
    height: int = _field("I", "luma rows", 1, 1 << 16)
    time_base_num: int = _field("I", "seconds per unit of time stamps: numerator", 1)
    time_base_den: int = _field("I", "and denominator", 1)
    frame_rate_num: int = _field("I", "nominal frames per second: numerator, 0 = not known")
    frame_rate_den: int = _field("I", "and denominator", 1)
    sample_aspect_num: int = _field("I", "sample aspect ratio: numerator", 1)
    sample_aspect_den: int = _field("I", "and denominator", 1)
    rotation: int = _field("H", "clockwise degrees by which a player turns the picture, 0..359", 0, 359)
    color_range: int = _field("B", "0 unknown, 1 limited, 2 full", 0, 2)
    color_primaries: int = _field("B", "code point of ITU-T H.273, 2 = unspecified")
    color_transfer: int = _field("B", "the same")
    color_matrix: int = _field("B", "the same")
    chroma_location: int = _field("B", "0 unknown, 1 left, 2 centre, 3 top left, 4 top, 5 bottom left, 6 bottom", 0, 6)
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
class StreamEntry:
    """A stream that is carried as packets, as plain values; see `video.StreamInfo`."""

    kind: str
    codec: str
    time_base: tuple[int, int]
    extradata: bytes
    parameters: dict[str, int | str]
    metadata: dict[str, str]


@dataclass(frozen=True)
class VideoChunk:
    """A coded chunk: `first` starts a segment; pts and durations per picture in units of the header's time base."""

    first: bool
    pts: tuple[int, ...]
    durations: tuple[int, ...]
    payload: bytes


@dataclass(frozen=True)
class DataPacket:
    """A packet of stream `stream` (position in the stream table), in units of that stream's time base."""

    stream: int
    pts: int | None
    dts: int | None
    duration: int
    keyframe: bool
    payload: bytes


@dataclass(frozen=True)
class Index:
    """What the end of a complete file says: totals, bytes per carried stream, and where each segment starts:
    (offset of its first CHNK section, pts of its first picture, number of that picture)."""

    footer: Footer
    stream_bytes: tuple[int, ...]
    segments: tuple[tuple[int, int, int], ...]


def fixed_fields(record: type) -> list[dataclasses.Field[Any]]:
    """The fixed-size fields of a record class, in the order of the file."""
    return [f for f in dataclasses.fields(record) if "code" in f.metadata]


def _layout(record: type) -> struct.Struct:
    return struct.Struct("<" + "".join(f.metadata["code"] for f in fixed_fields(record)))


def _pack(record: Any) -> bytes:
    values = []
    for f in fixed_fields(type(record)):
        value = getattr(record, f.name)
        if "low" in f.metadata and not f.metadata["low"] <= value <= f.metadata["high"]:
            raise ValueError(f"{f.name} = {value} is out of range")
        values.append(value)
    return _layout(type(record)).pack(*values)


def _unpack(record: type[T], body: bytes, **more: Any) -> T:
    layout = _layout(record)
    if len(body) < layout.size:
        raise DamagedFileError(f"the {record.__name__.lower()} is too short")
    values = dict(zip([f.name for f in fixed_fields(record)], layout.unpack_from(body), strict=True))
    for f in fixed_fields(record):
        if "low" in f.metadata and not f.metadata["low"] <= values[f.name] <= f.metadata["high"]:
            raise DamagedFileError(f"the {record.__name__.lower()} has an impossible {f.name}")
    return record(**values, **more)


def _pack_json(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    return zstandard.ZstdCompressor(level=12).compress(text)


def unpack_zstd(data: bytes) -> bytes:
    """Decompress a zstandard frame of at most 64 MiB; DamagedFileError otherwise."""
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= MAX_UNPACKED:
            raise DamagedFileError("packed data has no or an impossible size")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=MAX_UNPACKED)
    except zstandard.ZstdError as error:
        raise DamagedFileError("packed data cannot be unpacked") from error


def _unpack_json(data: bytes) -> Any:
    try:
        return json.loads(unpack_zstd(data))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError("packed data is not JSON") from error


_CHUNK = struct.Struct("<BBq")
_STEP = struct.Struct("<I")
_FIRST, _UNIFORM = 1, 2


def pack_chunk(chunk: VideoChunk) -> bytes:
    """Body of a CHNK section."""
    steps = [b - a for a, b in zip(chunk.pts[:-1], chunk.pts[1:], strict=True)]
    step = steps[0] if steps else chunk.durations[0]
    uniform = all(s == step for s in steps) and all(d == step for d in chunk.durations) and 0 <= step < 1 << 32
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


def pack_packet(packet: DataPacket) -> bytes:
    """Body of a PCKT section."""
    flags = packet.keyframe * _KEY | (packet.pts is None) * _NO_PTS | (packet.dts is None) * _NO_DTS
    return _PACKET.pack(packet.stream, flags, packet.pts or 0, packet.dts or 0, packet.duration) + packet.payload


def unpack_packet(body: bytes) -> DataPacket:
    """The inverse of `pack_packet`."""
    if len(body) < _PACKET.size:
        raise DamagedFileError("a packet is too short")
    stream, flags, pts, dts, duration = _PACKET.unpack_from(body)
    return DataPacket(
        stream,
        None if flags & _NO_PTS else pts,
        None if flags & _NO_DTS else dts,
        duration,
        bool(flags & _KEY),
        body[_PACKET.size :],
    )


class Writer:
    """Writes a `.stp` file front to back; the stream need not be seekable."""

    def __init__(
        self,
        stream: BinaryIO,
        header: Header,
        streams: Sequence[StreamEntry] = (),
        metadata: Mapping[str, str] | None = None,
        blobs: Mapping[str, bytes] | None = None,
    ) -> None:
        self._stream = stream
        self.offset = 0
        self._frames = self._chunks = self._video_bytes = 0
        self._stream_bytes = [0] * len(streams)
        self._segments: list[tuple[int, int, int]] = []
        self._write(SIGNATURE)
        self._section(HEAD, _pack(header) + header.model_id.encode())
        if streams:
            self._section(STREAMS, _pack_json([_stream_to_json(s) for s in streams]))
        if metadata:
            self._section(META, _pack_json(dict(metadata)))
        for name, data in (blobs or {}).items():
            key = name.encode()
            self._section(BLOB, bytes([len(key)]) + key + zstandard.ZstdCompressor().compress(data))

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self.offset += len(data)

    def _section(self, tag: bytes, body: bytes) -> int:
        self._write(SECTION.pack(tag, len(body), zlib.crc32(body, zlib.crc32(tag))) + body)
        return SECTION.size + len(body)

    def write_chunk(self, chunk: VideoChunk) -> None:
        """Append a video chunk; chunks come in the order of presentation."""
        if chunk.first:
            self._segments.append((self.offset, chunk.pts[0], self._frames))
        self._video_bytes += self._section(CHUNK, pack_chunk(chunk))
        self._frames += len(chunk.pts)
        self._chunks += 1

    def write_packet(self, packet: DataPacket) -> None:
        """Append a packet of a carried stream."""
        self._stream_bytes[packet.stream] += self._section(PACKET, pack_packet(packet))

    def close(self) -> int:
        """Write index and footer; returns the size of the file. The stream itself stays open."""
        at = self.offset
        self._section(INDEX, _pack_json({"segments": self._segments, "streams": self._stream_bytes}))
        self._section(FOOT, _pack(Footer(at, self._frames, self._chunks, self._video_bytes)))
        return self.offset


def _stream_to_json(stream: StreamEntry) -> dict[str, object]:
    return {**dataclasses.asdict(stream), "extradata": stream.extradata.hex()}


def _stream_from_json(value: Any) -> StreamEntry:
    try:
        num, den = value["time_base"]
        if not (isinstance(num, int) and isinstance(den, int) and num > 0 and den > 0):
            raise ValueError("time base")
        return StreamEntry(
            str(value["kind"]),
            str(value["codec"]),
            (num, den),
            bytes.fromhex(value["extradata"]),
            dict(value["parameters"]),
            {str(k): str(v) for k, v in value["metadata"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedFileError("the stream table holds impossible values") from error


class Reader:
    """Reads a `.stp` file; only `read_index` and `seek` need a seekable stream.

    `header`, `streams`, `metadata` and `blobs` are there at once; iteration yields chunks and packets in order.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.offset = 0
        self.chunks_read = 0
        self.complete = False
        """True once iteration has met the footer."""
        self.streams: tuple[StreamEntry, ...] = ()
        self.metadata: dict[str, str] = {}
        self.blobs: dict[str, bytes] = {}
        if self._read(len(SIGNATURE)) != SIGNATURE:
            raise DamagedFileError("not a .stp file")
        tag, body = self._section()
        if tag != HEAD:
            raise DamagedFileError("the file does not start with its header")
        self.header = _read_header(body)
        self._pending: tuple[int, bytes, bytes] | None = None
        self._read_tables()
        self.first_packet = self._pending[0] if self._pending else self.offset

    def _read(self, size: int) -> bytes:
        """Up to `size` bytes, in pieces, so that a wrong length costs no memory."""
        parts = []
        while size > 0:
            part = self._stream.read(min(size, 1 << 20))
            if not part:
                break
            parts.append(part)
            size -= len(part)
        data = b"".join(parts)
        self.offset += len(data)
        return data

    def _section(self) -> tuple[bytes, bytes]:
        start = self.offset
        head = self._read(SECTION.size)
        if len(head) < SECTION.size:
            raise DamagedFileError(f"cut off at byte {start}, after {self.chunks_read} chunks")
        tag, length, crc = SECTION.unpack(head)
        if length > MAX_SECTION:
            raise DamagedFileError(
                f"a section at byte {start} (after chunk {self.chunks_read}) has an impossible length"
            )
        body = self._read(length)
        if len(body) < length:
            raise DamagedFileError(f"cut off at byte {self.offset}, after {self.chunks_read} chunks")
        if zlib.crc32(body, zlib.crc32(tag)) != crc:
            what = f"chunk {self.chunks_read}" if tag == CHUNK else f"section {tag!r}"
            raise DamagedFileError(f"{what} at byte {start} is damaged (CRC)")
        return tag, body

    def _read_tables(self) -> None:
        while True:
            at = self.offset
            tag, body = self._section()
            if tag == STREAMS:
                entries = _unpack_json(body)
                if not isinstance(entries, list):
                    raise DamagedFileError("the stream table holds impossible values")
                self.streams = tuple(_stream_from_json(e) for e in entries)
            elif tag == META:
                values = _unpack_json(body)
                if not isinstance(values, dict):
                    raise DamagedFileError("the metadata holds impossible values")
                self.metadata = {str(k): str(v) for k, v in values.items()}
            elif tag == BLOB:
                size = body[0] if body else 0
                self.blobs[body[1 : 1 + size].decode("utf-8", "replace")] = unpack_zstd(body[1 + size :])
            else:
                self._pending = (at, tag, body)
                return

    def __iter__(self) -> Iterator[VideoChunk | DataPacket]:
        """Chunks and packets up to the footer; DamagedFileError where the file is cut off or damaged."""
        while True:
            if self._pending is not None:
                _, tag, body = self._pending
                self._pending = None
            else:
                tag, body = self._section()
            if tag == CHUNK:
                chunk = unpack_chunk(body)
                yield chunk
                self.chunks_read += 1
            elif tag == PACKET:
                packet = unpack_packet(body)
                if packet.stream >= len(self.streams):
                    raise DamagedFileError("a packet belongs to no stream")
                yield packet
            elif tag == FOOT:
                self.complete = True
                return
            elif tag[:1].isupper():
                raise UnsupportedFileError(f"section {tag!r} needs a newer stcodec")

    def read_index(self) -> Index | None:
        """The index at the end of a seekable file, None if the file is not complete. Iteration is not disturbed."""
        here = self._stream.tell()
        try:
            size = SECTION.size + _layout(Footer).size
            end = self._stream.seek(0, 2)
            if end < size:
                return None
            self._stream.seek(end - size)
            tag, body = self._section()
            if tag != FOOT:
                return None
            footer = _unpack(Footer, body)
            self._stream.seek(footer.index_offset)
            tag, body = self._section()
            if tag != INDEX:
                return None
            values = _unpack_json(body)
            segments = tuple((int(o), int(p), int(n)) for o, p, n in values["segments"])
            return Index(footer, tuple(int(b) for b in values["streams"]), segments)
        except (DamagedFileError, KeyError, TypeError, ValueError, OSError):
            return None
        finally:
            self._stream.seek(here)
            self.offset = here

    def seek(self, offset: int) -> None:
        """Go on reading at a section boundary, as given by the index or `first_packet`."""
        self._stream.seek(offset)
        self.offset = offset
        self._pending = None


def _read_header(body: bytes) -> Header:
    version = struct.unpack_from("<H", body)[0] if len(body) >= 2 else 0
    if version > VERSION:
        raise UnsupportedFileError(f"format version {version} needs a newer stcodec")
    size = _layout(Header).size
    name = body[size:]
    if len(name) > 255:
        raise DamagedFileError("the model's name is too long")
    try:
        header = _unpack(Header, body, model_id=name.decode())
    except UnicodeDecodeError as error:
        raise DamagedFileError("the model's name is not UTF-8") from error
    if header.bit_depth not in (8, 10):
        raise DamagedFileError("the header has an impossible bit_depth")
    return header
