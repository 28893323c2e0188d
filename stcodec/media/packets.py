"""Streams that are carried as packets: from a demuxed stream to plain values, and from those to a
stream of a muxer."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.error import FFmpegError
from av.stream import Disposition

from stcodec.common.values import Attachment, StreamInfo

# The usual layout of a number of channels, for the formats that say the number alone.
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
# What a container says of a stream by itself: the next container says its own.
_OF_THE_CONTAINER = {
    "duration",
    "encoder",
    "number_of_frames",
    "number_of_bytes",
    "bps",
    "vendor_id",
    "filename",
    "mimetype",
}
_HANDLERS = {"VideoHandler", "SoundHandler", "SubtitleHandler", "DataHandler"}
_EBML = b"\x1a\x45\xdf\xa3"
"""What Matroska begins with."""
_PICTURES = {
    "mjpeg": ("image/jpeg", "jpg"),
    "png": ("image/png", "png"),
    "bmp": ("image/bmp", "bmp"),
}


def describe(stream: Any, undescribed: bool = False) -> StreamInfo:
    """What is needed to mux the packets of `stream` again; ValueError or FFmpegError if that cannot
    be had, unless `undescribed`: then all but that is told."""
    description = b"" if undescribed else _empty_file(stream)
    parameters: dict[str, int | str] = {}
    context = stream.codec_context
    if stream.type == "audio" and context is not None:
        parameters = {
            "sample_rate": context.sample_rate,
            "channels": context.channels,
            "layout": context.layout.name,
        }
    kind = stream.type if stream.type in ("audio", "subtitle") else "data"
    codec = coding(context) if context is not None else stream.name or "unknown"
    metadata = stream_metadata(stream)
    return StreamInfo(
        kind,
        codec,
        Fraction(stream.time_base),
        description,
        parameters,
        metadata,
        dispositions(stream.disposition),
    )


def coding(context: Any) -> str:
    """FFmpeg's name of what a decoder reads, such as dts where it is called dca. Subtitles have the
    short names that people know, srt and ssa."""
    if context.type == "subtitle" or context.codec is None:
        return str(context.name)
    return str(context.codec.canonical_name)


def stream_metadata(stream: Any) -> dict[str, str]:
    """What the file says of a stream that another file may say too."""
    found = {}
    for key, value in stream.metadata.items():
        name = key.lower()
        if (
            not isinstance(value, str)
            or name in _OF_THE_CONTAINER
            or name.startswith("_statistics")
        ):
            continue
        if (name == "handler_name" and value in _HANDLERS) or (
            name == "language" and value == "und"
        ):
            continue
        found[key] = value
    if "name" in found:  # a track's title in MP4, which is written as "title"
        found.setdefault("title", found.pop("name"))
    return found


def dispositions(flags: int) -> tuple[str, ...]:
    """The names of FFmpeg's flags."""
    return tuple(d.name for d in Disposition if flags & d and d.name)


def disposition_flags(names: tuple[str, ...]) -> int:
    """FFmpeg's flags of those names that it knows."""
    return sum(Disposition[n] for n in set(names) if n in Disposition.__members__)


def is_cover(stream: Any) -> bool:
    """A still picture that stands for the whole, such as a poster."""
    return stream.type == "video" and bool(stream.disposition & Disposition.attached_pic)


def cover(stream: Any, data: bytes) -> Attachment:
    """The cover that a stream holds as a single packet."""
    codec = stream.codec_context.name if stream.codec_context is not None else ""
    mimetype, ending = _PICTURES.get(codec, (f"image/{codec}", codec))
    tags = stream.metadata
    return Attachment(
        str(tags.get("filename") or f"cover.{ending}"),
        str(tags.get("mimetype") or mimetype),
        data,
        True,
    )


def _empty_file(stream: Any) -> bytes:
    """A media file without packets that describes `stream`, in the first format that can hold it
    and be read again."""
    refused: Exception = ValueError("no format can hold it")
    for format in ("mp4", "mov", "matroska"):
        try:
            data = _try_format(stream, format)
            with av.open(io.BytesIO(data), format=_format(data)) as check:
                if check.streams[0].type == stream.type:
                    return data
        except (FFmpegError, ValueError, IndexError) as error:
            refused = error
    raise ValueError(reason(refused))


def _try_format(stream: Any, format: str) -> bytes:
    """A file of `format` with `stream` alone and no packet of it; ValueError or FFmpegError where
    it has no place there."""
    buffer = io.BytesIO()
    options = {} if format == "matroska" else {"movflags": "empty_moov"}
    with av.open(buffer, "w", format=format, options=options) as container:
        copy = container.add_stream_from_template(stream)
        container.start_encoding()
        if format == "matroska":
            # Its reader wants to see at least one packet.
            packet = av.Packet(b"\0")
            packet.pts = packet.dts = 0
            packet.stream = copy
            container.mux(packet)
    return buffer.getvalue()


def _format(description: bytes) -> str:
    """The format of a description: one of two. FFmpeg reads some hundred others, which a file must
    not choose from."""
    return "matroska" if description.startswith(_EBML) else "mp4"


@contextlib.contextmanager
def described(info: StreamInfo) -> Iterator[Any]:
    """The stream that a description describes; ValueError where it describes none."""
    with av.open(io.BytesIO(info.extradata), format=_format(info.extradata)) as container:
        if not container.streams:
            raise ValueError("its description is empty")
        yield container.streams[0]


def refusal(info: StreamInfo, format: str) -> str | None:
    """Why `format` cannot hold a stream as it is; None if it can."""
    try:
        container: Any = av.open(io.BytesIO(), "w", format=format)
        add_stream(container, info)
        container.start_encoding()
    except (FFmpegError, ValueError) as error:
        return reason(error)
    with contextlib.suppress(FFmpegError, ValueError):
        container.close()  # some codecs want to see a packet first
    return None


def add_stream(container: Any, info: StreamInfo) -> Any:
    """A stream of `container` for the packets of `info`; ValueError or FFmpegError where it has no
    place there."""
    with described(info) as template:
        stream = container.add_stream_from_template(template)
    _complete_layout(stream)
    stream.metadata.update(info.metadata)
    stream.disposition = disposition_flags(info.disposition)
    stream.time_base = info.time_base
    return stream


def _complete_layout(stream: Any) -> None:
    """MP4 writes the order of PCM channels, and fails at the very end without one."""
    context = stream.codec_context
    if stream.type == "audio" and context is not None and context.layout.name.endswith(" channels"):
        context.layout = LAYOUTS.get(context.channels, context.layout.name)


def reason(error: BaseException) -> str:
    """One line of what FFmpeg or the system says."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    with contextlib.suppress(ValueError):
        text = text.splitlines()[0]
    return text[:1].lower() + text[1:]
