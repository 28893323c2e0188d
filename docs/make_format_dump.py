"""Regenerate the tables and the annotated hex dump of docs/format.md from the code."""

from __future__ import annotations

import io
import re
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np

import stcodec
from stcodec.common.values import Picture, VideoInfo
from stcodec.container.records import SECTION, Footer, Header, fixed_fields, unpack_zstd
from stcodec.container.stp import SIGNATURE
from stcodec.media.writer import Y4MWriter

_TYPES = {"B": "u8", "H": "u16", "I": "u32", "Q": "u64", "32s": "32 bytes"}
HERE = Path(__file__).parent
Parts = list[tuple[str, bytes]]
"""What bytes mean, and the bytes, one piece after another."""


def _size(record: type) -> int:
    return struct.calcsize("<" + "".join(f.metadata["code"] for f in fixed_fields(record)))


def field_table(record: type) -> str:
    """Rows of a Markdown table for the fixed fields of a record."""
    rows = ["", "| field | type | range | meaning |", "|---|---|---|---|"]
    for f in fixed_fields(record):
        span = f"{f.metadata['low']}..{f.metadata['high']}" if "low" in f.metadata else ""
        rows.append(f"| {f.name} | {_TYPES[f.metadata['code']]} | {span} | {f.metadata['doc']} |")
    return "\n".join(rows)


def tiny_file() -> bytes:
    """A real encode of two grey 16x16 pictures with a moving square."""
    from fractions import Fraction

    info = VideoInfo(
        16, 16, 8, Fraction(1, 25), Fraction(25), Fraction(1), 0, 0, 2, 2, 2, 0, None, None
    )
    stream = io.BytesIO()
    writer = Y4MWriter(stream, info)
    for t in range(2):
        luma = np.full((16, 16), 96, np.uint8)
        luma[4:10, 3 + 2 * t : 9 + 2 * t] = 180
        chroma = np.full((8, 8), 128, np.uint8)
        writer.write(Picture((luma, chroma, chroma), t, 1))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "t.y4m", Path(folder) / "t.stp"
        source.write_bytes(stream.getvalue())
        stcodec.encode(source, target, quality=20, model="dct")
        return target.read_bytes()


def head_parts(body: bytes) -> Parts:
    """The body of HEAD, field by field."""
    return [*field_parts(Header, body), ("the model's name", body[_size(Header) :])]


def field_parts(record: type, body: bytes) -> Parts:
    """The fixed fields of a record."""
    parts, at = [], 0
    for f in fixed_fields(record):
        code = "<" + f.metadata["code"]
        piece = body[at : at + struct.calcsize(code)]
        (value,) = struct.unpack(code, piece)
        parts.append((f.name if isinstance(value, bytes) else f"{f.name} {value}", piece))
        at += len(piece)
    return parts


def chunk_parts(body: bytes) -> Parts:
    """The body of a CHNK whose times are uniform."""
    count, quality, how, motion = *body[14:17], body[21]
    told = 22 + motion
    samples, words = body[told], told + 1 + body[told]
    assert how & 128 and how & 8 and motion < 128 and samples < 128
    coded = f"tree {how & 7}, cascade {how >> 4 & 7}, vectors and samples"
    return [
        ("flags: first of a segment, uniform times", body[:1]),
        (f"{body[1]} pictures", body[1:2]),
        ("first pts", body[2:10]),
        ("step of pts", body[10:14]),
        (f"{count} pictures, quality {quality}", body[14:16]),
        (coded, body[16:17]),
        ("CRC-32 of symbols, motion and samples", body[17:21]),
        (f"{motion} bytes of motion", body[21:22]),
        ("motion", body[22:told]),
        (f"{samples} bytes of samples", body[told : told + 1]),
        ("samples of palette patches", body[told + 1 : words]),
        ("ANS words, read from the last one backwards", body[words:]),
    ]


def dump(data: bytes) -> str:
    """Hex lines of at most 16 bytes, an explanation at the head of each part."""
    parts: Parts = [("signature", data[: len(SIGNATURE)])]
    at = len(SIGNATURE)
    while at < len(data):
        tag, length, _ = SECTION.unpack_from(data, at)
        body = data[at + SECTION.size : at + SECTION.size + length]
        title = f"section {tag.decode()}, {length} bytes in its body, CRC-32"
        parts.append((title, data[at : at + SECTION.size]))
        if tag == b"HEAD":
            parts += head_parts(body)
        elif tag == b"CHNK":
            parts += chunk_parts(body)
        elif tag == b"foot":
            parts += field_parts(Footer, body)
        else:
            parts.append(("packed " + unpack_zstd(body).decode(), body))
        at += SECTION.size + length
    lines, offset = [], 0
    for what, piece in parts:
        for start in range(0, len(piece), 16):
            row = piece[start : start + 16]
            lines.append(f"{offset:06x}  {row.hex(' '):<47}  {what if start == 0 else ''}".rstrip())
            offset += len(row)
    return "\n".join(lines)


def render(text: str) -> str:
    """The page with its generated parts renewed."""
    parts = {
        "header fields": field_table(Header),
        "footer fields": field_table(Footer),
        "dump": "A real file: two 16x16 pictures at quality 20, as "
        "`python docs/make_format_dump.py` makes it.\n\n```hex\n" + dump(tiny_file()) + "\n```",
    }
    for name, content in parts.items():
        pattern = re.compile(rf"<!-- {name} -->.*?(?=\n\n#|\n\n##|\Z)", re.S)
        text = pattern.sub(lambda _, n=name, c=content: f"<!-- {n} -->\n{c}", text, count=1)
    return text.rstrip() + "\n"


if __name__ == "__main__":
    page = HERE / "format.md"
    page.write_text(render(page.read_text()))
    sys.exit(0)
