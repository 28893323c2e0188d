"""The sections of a `.stp` file and the header of its chunks, as docs/format.md has them."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import zstandard

SIGNATURE = bytes.fromhex("8b5354500d0a1a0a")
# Name, lowest and highest value.
HEAD_FIELDS = (
    ("version", 2, 2),
    ("quality", 0, 63),
    ("bit_depth", 8, 10),
    ("width", 1, 65536),
    ("height", 1, 65536),
    ("time_base_num", 1, 4294967295),
    ("time_base_den", 1, 4294967295),
    ("frame_rate_num", 0, 4294967295),
    ("frame_rate_den", 1, 4294967295),
    ("sample_aspect_num", 1, 4294967295),
    ("sample_aspect_den", 1, 4294967295),
    ("rotation", 0, 359),
    ("color_range", 0, 2),
    ("color_primaries", 0, 255),
    ("color_transfer", 0, 255),
    ("color_matrix", 0, 255),
    ("chroma_location", 0, 6),
    ("patch_width", 2, 255),
)
HEAD_LAYOUT = struct.Struct("<HBBIIIIIIIIHBBBBBB32s")
FOOT_FIELDS = ("index_offset", "frames", "chunks", "video_bytes")


class DamagedError(Exception):
    """A check of the page failed."""


def require(condition: bool, what: str) -> None:
    if not condition:
        raise DamagedError(what)


@dataclass
class Chunk:
    first: bool
    pts: list[int]
    durations: list[int]
    payload: bytes


@dataclass
class File:
    head: dict[str, Any]
    model: str
    streams: list[dict[str, Any]]
    metadata: dict[str, str]
    blobs: dict[str, bytes]
    chunks: list[Chunk]
    packets: int
    index: dict[str, Any]
    foot: dict[str, int]


def unpack(body: bytes) -> bytes:
    """A packed body: one zstandard frame with its size."""
    size = zstandard.frame_content_size(body)
    require(0 <= size <= 1 << 26, "size of packed data")
    return zstandard.ZstdDecompressor().decompress(body, max_output_size=1 << 26)


def sections(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """Offset, tag and body of every section."""
    require(data[:8] == SIGNATURE, "signature")
    found, at = [], 8
    while at < len(data):
        require(len(data) - at >= 12, "cut off")
        tag, length, crc = struct.unpack_from("<4sII", data, at)
        require(length <= 1 << 30 and len(data) - at - 12 >= length, "length of a section")
        body = data[at + 12 : at + 12 + length]
        require(zlib.crc32(tag + body) == crc, "CRC of a section")
        found.append((at, tag, body))
        at += 12 + length
        if tag == b"foot":
            break
    require(bool(found) and found[-1][1] == b"foot", "cut off")
    return found


def parse(data: bytes) -> File:
    """A whole file."""
    (_, tag, body), *rest = sections(data)
    require(tag == b"HEAD" and len(body) >= HEAD_LAYOUT.size, "HEAD")
    head: dict[str, Any] = {}
    *numbers, head["model_sha256"] = HEAD_LAYOUT.unpack_from(body)
    for (name, low, high), number in zip(HEAD_FIELDS, numbers, strict=True):
        require(low <= number <= high, name)
        head[name] = number
    require(head["bit_depth"] != 9, "bit depth")
    require(len(body) - HEAD_LAYOUT.size <= 255, "length of the model's name")
    model = body[HEAD_LAYOUT.size :].decode()
    file = File(head, model, [], {}, {}, [], 0, {}, {})
    tables = True
    for at, tag, body in rest:
        if tables and tag == b"STRM":
            file.streams = json.loads(unpack(body))
        elif tables and tag == b"meta":
            file.metadata = json.loads(unpack(body))
        elif tables and tag == b"blob":
            name = body[1 : 1 + body[0]].decode()
            file.blobs[name] = unpack(body[1 + body[0] :])
        else:
            tables = False
            if tag == b"CHNK":
                file.chunks.append(chunk(body))
            elif tag == b"PCKT":
                position = struct.unpack_from("<HBqqI", body)[0]
                require(position < len(file.streams), "stream of a packet")
                file.packets += 1
            elif tag == b"indx":
                file.index = {**json.loads(unpack(body)), "offset": at}
            elif tag == b"foot":
                file.foot = dict(zip(FOOT_FIELDS, struct.unpack_from("<QQQQ", body), strict=True))
            else:
                require(not tag[:1].isupper(), "an unknown critical section")
    return file


def chunk(body: bytes) -> Chunk:
    """The body of CHNK."""
    require(len(body) >= 10, "CHNK is too short")
    flags, count, start = struct.unpack_from("<BBq", body)
    require(flags < 4 and count >= 1, "head of CHNK")
    at = 10
    if flags & 2:
        (step,) = struct.unpack_from("<I", body, at)
        at += 4
        steps, durations = [step] * (count - 1), [step] * count
    else:
        numbers = []
        for _ in range(2 * count - 1):
            number, at = leb128(body, at)
            numbers.append(number)
        steps, durations = numbers[: count - 1], numbers[count - 1 :]
    pts = [start]
    for step in steps:
        pts.append(pts[-1] + step)
    return Chunk(bool(flags & 1), pts, durations, body[at:])


def leb128(body: bytes, at: int, most: int = 9) -> tuple[int, int]:
    """A number of at most so many bytes, and the offset after it."""
    number = 0
    for i in range(most):
        require(at + i < len(body), "CHNK is too short")
        number |= (body[at + i] & 127) << (7 * i)
        if body[at + i] < 128:
            return number, at + i + 1
    raise DamagedError("a number is too long")
