"""Streams that are carried as packets: from a demuxed stream to plain values, and from those to a stream of a muxer."""

from __future__ import annotations

import contextlib
import io
from fractions import Fraction
from typing import Any

import av
from av.error import FFmpegError

from stcodec.media import StreamInfo

# The usual layout of a number of channels, for the formats that say the number alone.
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def describe(stream: Any) -> StreamInfo:
    """What is needed to mux the packets of `stream` again; ValueError or FFmpegError if that cannot be had."""
    description = _empty_file(stream)
    parameters: dict[str, int | str] = {}
    context = stream.codec_context
    if stream.type == "audio" and context is not None:
        parameters = {"sample_rate": context.sample_rate, "channels": context.channels, "layout": context.layout.name}
    kind = stream.type if stream.type in ("audio", "subtitle") else "data"
    codec = context.name if context is not None else "unknown"
    metadata = {k: v for k, v in stream.metadata.items() if isinstance(v, str)}
    return StreamInfo(kind, codec, Fraction(stream.time_base), description, parameters, metadata)


def _empty_file(stream: Any) -> bytes:
    """A media file without packets that describes `stream`, in the first format that can hold it and be read again."""
    refused: Exception = ValueError("no format can hold it")
    for format in ("mp4", "mov", "matroska"):
        buffer = io.BytesIO()
        options = {} if format == "matroska" else {"movflags": "empty_moov"}
        try:
            with av.open(buffer, "w", format=format, options=options) as container:
                copy = container.add_stream_from_template(stream)
                container.start_encoding()
                if format == "matroska":
                    # Its reader wants to see at least one packet.
                    packet = av.Packet(b"\0")
                    packet.pts = packet.dts = 0
                    packet.stream = copy
                    container.mux(packet)
            with av.open(io.BytesIO(buffer.getvalue())) as check:
                if check.streams[0].type == stream.type:
                    return buffer.getvalue()
        except (FFmpegError, ValueError, IndexError) as error:
            refused = error
    raise ValueError(reason(refused))


def add_stream(container: Any, info: StreamInfo) -> Any:
    """A stream of `container` for the packets of `info`; ValueError or FFmpegError where it has no place there."""
    try:
        with av.open(io.BytesIO(info.extradata)) as described:
            stream = container.add_stream_from_template(described.streams[0])
    except IndexError as error:
        raise ValueError("its description is empty") from error
    context = stream.codec_context
    if info.kind == "audio" and context is not None and context.layout.name.endswith(" channels"):
        # MP4 writes the order of PCM channels, and fails at the very end without one.
        context.layout = _LAYOUTS.get(context.channels, context.layout.name)
    stream.metadata.update(info.metadata)
    stream.time_base = info.time_base
    return stream


def reason(error: BaseException) -> str:
    """One line of what FFmpeg or the system says."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    with contextlib.suppress(ValueError):
        text = text.splitlines()[0]
    return text[:1].lower() + text[1:]
