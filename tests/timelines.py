"""Matroska files with whatever times one likes, which no muxer would write: helpers of tests."""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.codec import CodecContext

from tests.media import frame_of, moving_planes

SAMPLES = 1024


class Moment(NamedTuple):
    """A packet: its time in milliseconds (None, or negative: it has none), and whether it is one of
    sound."""

    time: int | None
    sound: bool = False


def _element(name: int, data: bytes) -> bytes:
    head = name.to_bytes((name.bit_length() + 7) // 8, "big")
    return head + (len(data) | 1 << 56).to_bytes(8, "big") + data


def _number(name: int, value: int) -> bytes:
    return _element(name, value.to_bytes(8, "big"))


@functools.cache
def _picture(index: int, width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="image2pipe") as out:
        stream: Any = out.add_stream("mjpeg")
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        out.mux(stream.encode(frame_of(moving_planes(width, height, index), "yuvj420p")))
        out.mux(stream.encode(None))
    return buffer.getvalue()


@functools.cache
def _sound(count: int) -> tuple[bytes, list[bytes]]:
    """What an AAC stream says of itself, and its packets."""
    encoder: Any = CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.time_base = 48000, "mono", Fraction(1, 48000)
    encoder.format, packets = "fltp", []
    for index in range(count):
        frame = av.AudioFrame(format="fltp", layout="mono", samples=SAMPLES)
        moment = np.arange(index * SAMPLES, (index + 1) * SAMPLES) / 48000
        frame.planes[0].update(np.sin(2764 * moment).astype(np.float32).tobytes())
        frame.sample_rate, frame.pts, frame.time_base = 48000, index * SAMPLES, encoder.time_base
        packets += [bytes(p) for p in encoder.encode(frame)]
    packets += [bytes(p) for p in encoder.encode(None)]
    return bytes(encoder.extradata), packets


def write_timeline(path: Path, moments: Sequence[Moment], size: tuple[int, int] = (32, 32)) -> Path:
    """MJPEG and AAC (packets of `SAMPLES` samples at 48 kHz), in this order, at these times."""
    private, packets = _sound(sum(m.sound for m in moments))
    width, height = size
    video = _number(0xB0, width) + _number(0xBA, height)
    sound = _element(0xB5, struct.pack(">d", 48000)) + _number(0x9F, 1)
    tracks = [
        _number(0xD7, 1)
        + _number(0x73C5, 1)
        + _number(0x83, 1)
        + _element(0x86, b"V_MJPEG")
        + _element(0xE0, video)
    ]
    if any(m.sound for m in moments):
        tracks.append(
            _number(0xD7, 2)
            + _number(0x73C5, 2)
            + _number(0x83, 2)
            + _element(0x86, b"A_AAC")
            + _element(0x63A2, private)
            + _element(0xE1, sound)
        )
    body = _element(0x1549A966, _number(0x2AD7B1, 1_000_000))
    body += _element(0x1654AE6B, b"".join(_element(0xAE, t) for t in tracks))
    counts = [0, 0]
    for moment in moments:
        index = counts[moment.sound]
        counts[moment.sound] += 1
        data = packets[index] if moment.sound else _picture(index, width, height)
        # A block before the first cluster's time, which is 0, has none for FFmpeg.
        time = -1 if moment.time is None else max(-30_000, moment.time)
        base = max(0, time)
        head = bytes([0x81 + moment.sound]) + struct.pack(">hB", time - base, 0x80)
        body += _element(0x1F43B675, _number(0xE7, base) + _element(0xA3, head + data))
    kind = _element(0x4282, b"matroska") + _number(0x4287, 4) + _number(0x4285, 2)
    path.write_bytes(_element(0x1A45DFA3, kind) + _element(0x18538067, body))
    return path
