"""Media files in: pictures, time stamps, colour, and the packets of the other streams. With `video_out.py` the only user of PyAV."""

from __future__ import annotations

import contextlib
import io
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, BinaryIO

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from stcodec.errors import InputError

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]
FULL_RANGE, LIMITED_RANGE = 2, 1
_UNSPECIFIED = 2
_EXACT = {"yuv420p": 8, "yuvj420p": 8, "nv12": 8, "yuv420p10le": 10, "p010le": 10}


@dataclass(frozen=True)
class VideoInfo:
    """Everything that is needed to write the video stream back, as plain values.

    rotation: clockwise degrees by which a player turns the picture. color_*: code points of ITU-T H.273; color_range 0 unknown, 1
    limited, 2 full. frames and duration (seconds): what the file says, None where it does not.
    """

    width: int
    height: int
    bit_depth: int
    time_base: Fraction
    frame_rate: Fraction | None
    sample_aspect_ratio: Fraction
    rotation: int
    color_range: int
    color_primaries: int
    color_transfer: int
    color_matrix: int
    chroma_location: int
    frames: int | None
    duration: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StreamInfo:
    """A stream that is carried as packets.

    kind: "audio", "subtitle" or "data". extradata: a media file (MP4, MOV or Matroska) that describes the stream and
    holds no packets of it, which has everything that a muxer needs. parameters: a few values for people, such as sample_rate.
    """

    kind: str
    codec: str
    time_base: Fraction
    extradata: bytes
    parameters: dict[str, int | str]
    metadata: dict[str, str]


@dataclass(frozen=True)
class Picture:
    """4:2:0 planes (uint8, or uint16 for 10 bits; chroma sizes rounded up), pts and duration in units of the time base."""

    planes: Planes
    pts: int
    duration: int


@dataclass(frozen=True)
class Packet:
    """An encoded packet of carried stream `stream`, in units of that stream's time base."""

    stream: int
    pts: int | None
    dts: int | None
    duration: int
    keyframe: bool
    data: bytes


class VideoReader:
    """Pictures of the first video stream in order of presentation, and packets of carried streams, as they come.

    A context manager. `carry` is "all", "first-audio" or "none". Raises InputError for anything that is not a readable
    video; a file that turns out damaged half-way yields what can be decoded, then raises.
    """

    def __init__(self, source: str | os.PathLike[str] | BinaryIO, carry: str = "first-audio") -> None:
        self._name = str(source) if isinstance(source, (str, os.PathLike)) else "standard input"
        self._notes: list[str] = []
        file: Any = os.fspath(source) if isinstance(source, (str, os.PathLike)) else source
        try:
            self._container = av.open(file, metadata_errors="replace")
        except (FFmpegError, OSError, ValueError) as error:
            raise InputError(f"{self._name}: {_reason(error)}") from error
        try:
            self._open(carry)
        except BaseException:
            self._container.close()
            raise

    def _open(self, carry: str) -> None:
        videos = [s for s in self._container.streams.video if not _is_cover(s)] or list(self._container.streams.video)
        if not videos:
            raise InputError(f"{self._name}: holds no video")
        self._stream = videos[0]
        if self._stream.codec_context is None:
            raise InputError(f"{self._name}: its video codec is not known")
        self._stream.thread_type = "AUTO"
        self.metadata = {k: v for k, v in self._container.metadata.items() if isinstance(v, str)}
        self._carried: dict[int, int] = {}
        infos = []
        for stream in self._choose(carry):
            try:
                infos.append(_describe(stream))
            except (FFmpegError, ValueError) as error:
                self._notes.append(f"{stream.type} stream {stream.index} left out ({_reason(error)})")
                continue
            self._carried[stream.index] = len(infos) - 1
        self.streams = tuple(infos)
        self._items = self._demux()
        self._early: deque[Packet] = deque()
        self._first: Any = None
        for item in self._items:
            if isinstance(item, Packet):
                self._early.append(item)
            else:
                self._first = item
                break
        if self._first is None:
            raise InputError(f"{self._name}: no picture can be decoded")
        self.info = self._describe_video(self._first)

    def _choose(self, carry: str) -> list[Any]:
        streams = self._container.streams
        if carry == "none":
            return []
        if carry == "first-audio":
            return list(streams.audio[:1])
        return [*streams.audio, *streams.subtitles, *streams.data]

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._container.close()

    def _demux(self) -> Iterator[Any]:
        """Decoded frames and carried packets."""
        wanted = [self._stream, *(self._container.streams[i] for i in self._carried)]
        damaged = 0
        try:
            for packet in self._container.demux(wanted):
                if packet.stream.index != self._stream.index:
                    if packet.size:
                        yield self._packet(packet)
                    continue
                try:
                    yield from packet.decode()
                except FFmpegError:
                    damaged += 1
        except (FFmpegError, OSError) as error:
            if isinstance(error, EOFError):
                return
            raise InputError(f"{self._name}: {_reason(error)}") from error
        if damaged:
            raise InputError(f"{self._name}: {damaged} video packets cannot be decoded")

    def _packet(self, packet: Any) -> Packet:
        number = self._carried[packet.stream.index]
        base = self.streams[number].time_base
        scale = Fraction(packet.time_base) / base if packet.time_base else Fraction(1)

        def rescale(value: int | None) -> int | None:
            return None if value is None else round(value * scale)

        duration = max(0, rescale(packet.duration) or 0)
        return Packet(number, rescale(packet.pts), rescale(packet.dts), duration, packet.is_keyframe, bytes(packet))

    def _describe_video(self, frame: Any) -> VideoInfo:
        stream = self._stream
        name = frame.format.name
        depth = _EXACT.get(name) or (10 if max(c.bits for c in frame.format.components) > 8 else 8)
        target = "yuv420p" if depth == 8 else "yuv420p10le"
        color_range = int(frame.color_range or 0)
        matrix = int(frame.colorspace if frame.colorspace is not None else _UNSPECIFIED)
        if name.startswith("yuvj"):
            color_range = FULL_RANGE
        if name not in _EXACT:
            self._notes.append(f"converted from {name} to {target}")
            if any(c.is_alpha for c in frame.format.components) or name == "pal8":
                self._notes.append("transparency is lost")
            if frame.format.is_rgb or name in ("pal8", "gray", "monow", "monob"):
                matrix = 1 if frame.height >= 720 else 6
                color_range = LIMITED_RANGE
        if frame.interlaced_frame:
            self._notes.append("interlaced pictures are coded as they are, fields woven")
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        rate = Fraction(rate) if rate else None
        base = Fraction(stream.time_base) if stream.time_base else 1 / (rate or Fraction(25))
        aspect = stream.sample_aspect_ratio or Fraction(1)
        duration = None
        if stream.duration and stream.time_base:
            duration = float(stream.duration * stream.time_base)
        elif self._container.duration:
            duration = self._container.duration / av.time_base
        frames = stream.frames or (round(duration * rate) if duration and rate else None)
        self._target, self._depth, self._matrix, self._range = target, depth, matrix, color_range
        return VideoInfo(
            frame.width,
            frame.height,
            depth,
            base,
            rate,
            aspect if aspect > 0 else Fraction(1),
            round(-frame.rotation) % 360,
            color_range,
            int(frame.color_primaries if frame.color_primaries is not None else _UNSPECIFIED),
            int(frame.color_trc if frame.color_trc is not None else _UNSPECIFIED),
            matrix,
            0,
            frames,
            duration,
            tuple(self._notes),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how the input was read, complete once iteration has ended."""
        return tuple(self._notes)

    def __iter__(self) -> Iterator[Picture | Packet]:
        """Pictures with strictly increasing pts, and packets; once only."""
        nominal = 1
        if self.info.frame_rate:
            nominal = max(1, round(1 / self.info.frame_rate / self.info.time_base))
        waiting: Picture | None = None
        while self._early:
            yield self._early.popleft()
        items = iter((self._first,))
        self._first = None
        repaired = False
        for source in (items, self._items):
            for item in source:
                if isinstance(item, Packet):
                    yield item
                    continue
                pts = item.pts
                if pts is None:
                    pts = waiting.pts + nominal if waiting else 0
                if waiting is not None:
                    if pts <= waiting.pts:
                        pts = waiting.pts + max(1, min(nominal, waiting.duration))
                        repaired = True
                    yield replace(waiting, duration=pts - waiting.pts)
                waiting = Picture(self._planes(item), pts, item.duration or nominal)
        if waiting is not None:
            yield waiting
        if repaired:
            self._notes.append("time stamps that did not increase were repaired")

    def _planes(self, frame: Any) -> Planes:
        name = frame.format.name
        if (frame.width, frame.height) != (self.info.width, self.info.height):
            note = "pictures of another size were scaled to that of the first one"
            if note not in self._notes:
                self._notes.append(note)
        elif _EXACT.get(name) == self._depth:
            return _exact_planes(frame)
        space: dict[str, Any] = {}
        if frame.format.is_rgb or name == "pal8":
            space = {
                "dst_colorspace": Colorspace.ITU709 if self._matrix == 1 else Colorspace.ITU601,
                "src_color_range": ColorRange.JPEG,
                "dst_color_range": ColorRange.MPEG,
            }
        converted = frame.reformat(
            width=self.info.width,
            height=self.info.height,
            format=self._target,
            interpolation=Interpolation.BICUBIC,
            **space,
        )
        return _exact_planes(converted)


def _exact_planes(frame: Any) -> Planes:
    """Copies of the three planes of a 4:2:0 frame, without padding."""
    wide = "10" in frame.format.name
    width, height = frame.width, frame.height
    half_width, half_height = (width + 1) // 2, (height + 1) // 2

    def plane(index: int, w: int, h: int) -> np.ndarray:
        p = frame.planes[index]
        samples = np.frombuffer(p, np.uint16 if wide else np.uint8).reshape(-1, p.line_size // (2 if wide else 1))
        return samples[:h, :w]

    luma = plane(0, width, height)
    if frame.format.name in ("nv12", "p010le"):
        both = plane(1, 2 * half_width, half_height)
        planes = (luma, both[:, 0::2], both[:, 1::2])
    else:
        planes = (luma, plane(1, half_width, half_height), plane(2, half_width, half_height))
    shift = 6 if frame.format.name == "p010le" else 0
    return tuple(np.ascontiguousarray(p >> shift) if shift else p.copy() for p in planes)  # type: ignore[return-value]


def _is_cover(stream: Any) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _describe(stream: Any) -> StreamInfo:
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
    raise ValueError(_reason(refused))


def _reason(error: BaseException) -> str:
    """One line of what FFmpeg or the system says."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    with contextlib.suppress(ValueError):
        text = text.splitlines()[0]
    return text[:1].lower() + text[1:]
