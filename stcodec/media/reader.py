"""Media files in: pictures, time stamps, colour, and the packets of the other streams.

With `packets.py` and `writer.py` the only user of PyAV.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, BinaryIO

import av
from av.error import FFmpegError
from av.stream import Discard
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from stcodec.common.files import (
    CountedReader,
    InterruptibleReader,
    ReadInterruptedError,
    stream_name,
)
from stcodec.common.sequences import find_sequence
from stcodec.common.values import (
    FULL_RANGE,
    LIMITED_RANGE,
    PROGRESSIVE,
    Attachment,
    Chapter,
    Extras,
    Packet,
    Picture,
    Planes,
    StreamInfo,
    VideoInfo,
)
from stcodec.container.extras import fits_a_blob
from stcodec.errors import InputError, UsageError
from stcodec.media.frames import (
    EXACT,
    chroma_location,
    content_light,
    exact_planes,
    field_order,
    lost_side_data,
    mastering_display,
    mirror_matrix,
)
from stcodec.media.packets import cover, describe, dispositions, is_cover, reason, stream_metadata

__all__ = ["Packet", "Picture", "Planes", "StreamInfo", "VideoInfo", "VideoReader"]

_UNSPECIFIED = 2
# What a container says about itself: the next container says its own.
_OF_THE_CONTAINER = {"major_brand", "minor_version", "compatible_brands", "encoder"}
# Any text file passes for a picture of a text terminal.
_NO_VIDEO_FORMATS = {"tty"}
_CARRY = ("all", "none")
# Formats without time stamps.
_TIMELESS = {
    "image2",
    "image2pipe",
    "h264",
    "hevc",
    "vvc",
    "m4v",
    "mjpeg",
    "mpegvideo",
    "obu",
    "av1",
}


class VideoReader:
    """Pictures of the first video stream in order of presentation, and packets of carried streams,
    as they come.

    A context manager. `carry` is "all" or "none"; `extras` are the chapters, attachments and
    covers. Raises InputError for anything that is not a readable video; a file that turns out
    damaged half-way yields what can be decoded, then raises.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO | CountedReader,
        carry: str = "all",
        rate: Fraction | None = None,
    ) -> None:
        self.name = (
            os.fspath(source) if isinstance(source, (str, os.PathLike)) else stream_name(source)
        )
        self._notes: list[str] = []
        if carry not in _CARRY:
            raise UsageError(f"carry must be one of {', '.join(_CARRY)}, not {carry!r}")
        options = {} if rate is None else {"framerate": f"{rate.numerator}/{rate.denominator}"}
        if isinstance(source, (str, os.PathLike)):
            # With the protocol before it, a name such as "concat:a" is still a name.
            file: Any = f"file:{os.fspath(source)}"
            if (sequence := find_sequence(source)) is not None:
                options["start_number"] = str(sequence.first)
                if sequence.beyond:
                    self._notes.append(
                        f"{sequence.missing} is missing: {sequence.beyond} pictures after it are left out"
                    )
        else:
            file = InterruptibleReader(source)
        try:
            self._container = av.open(file, metadata_errors="replace", options=options)
        except ReadInterruptedError:
            raise KeyboardInterrupt from None
        except (FFmpegError, OSError, ValueError) as error:
            raise InputError(f"{self.name}: {reason(error)}") from error
        try:
            self._check_rate(rate)
            self._open(carry)
        except BaseException:
            self._container.close()
            raise

    def _check_rate(self, rate: Fraction | None) -> None:
        """UsageError for a rate where the file has its own time stamps."""
        name = self._container.format.name
        timeless = name in _TIMELESS or name.endswith("_pipe")
        if rate is not None and not timeless:
            raise UsageError(
                f"{self.name}: has its own frame rate; --framerate is for image sequences and raw streams"
            )
        if rate is None and name == "image2" and find_sequence(self.name) is not None:
            self._notes.append("taken as 25 frames/s, for want of --framerate")

    def _open(self, carry: str) -> None:
        if self._container.format.name in _NO_VIDEO_FORMATS:
            raise InputError(f"{self.name}: is no media file")
        videos = [s for s in self._container.streams.video if not is_cover(s)] or list(
            self._container.streams.video
        )
        if not videos:
            raise InputError(f"{self.name}: holds no video")
        self._stream = videos[0]
        if len(videos) > 1:
            others = ", ".join(str(s.index) for s in videos[1:])
            self._notes.append(f"of several video streams the first is coded, left out: {others}")
        if self._stream.codec_context is None:
            raise InputError(f"{self.name}: its video codec is not known")
        self._stream.thread_type = "AUTO"
        self.metadata = {
            k: v
            for k, v in self._container.metadata.items()
            if isinstance(v, str) and k.lower() not in _OF_THE_CONTAINER
        }
        for key in [
            k
            for k, v in self.metadata.items()
            if self.metadata.get(k.split("-")[0]) == v and "-" in k
        ]:
            del self.metadata[key]  # MP4 gives a text once more with its language
        self._carried: dict[int, int] = {}
        self._covers: dict[int, Attachment] = {}
        infos = []
        for stream in self._choose(carry):
            try:
                infos.append(describe(stream))
            except (FFmpegError, ValueError) as error:
                self._notes.append(
                    f"{stream.type} stream {stream.index} left out ({reason(error)})"
                )
                continue
            self._carried[stream.index] = len(infos) - 1
        self.streams = tuple(infos)
        self._items = self._demux(carry)
        self._early: deque[Packet] = deque()
        self._first: Any = None
        for item in self._items:
            if isinstance(item, Packet):
                self._early.append(item)
            else:
                self._first = item
                break
        if self._first is None:
            raise InputError(f"{self.name}: no picture can be decoded")
        self.info = self._describe_video(self._first)
        self.extras = self._extras() if carry == "all" else Extras()

    def _extras(self) -> Extras:
        """Chapters and attachments; covers come out of the demuxer before all else."""
        chapters = tuple(
            Chapter(
                c["start"] * Fraction(c["time_base"]),
                c["end"] * Fraction(c["time_base"]),
                {k: v for k, v in c["metadata"].items() if isinstance(v, str)},
            )
            for c in self._container.chapters()
        )
        found = [
            Attachment(
                s.name or f"attachment {s.index}", s.mimetype or "application/octet-stream", s.data
            )
            for s in self._container.streams.attachments
        ]
        kept = []
        for attachment in (*found, *self._covers.values()):
            if fits_a_blob(attachment.data):
                kept.append(attachment)
            else:
                self._notes.append(f"attachment {attachment.name} is too large and is left out")
        return Extras(chapters, tuple(kept))

    def _choose(self, carry: str) -> list[Any]:
        if carry == "none":
            return []
        # What the demuxer itself discards are the titles of chapters, as text. A time code is in
        # the video's metadata too.
        chosen = []
        for s in self._container.streams:
            timecode = s.type == "data" and "timecode" in s.metadata
            if (
                s.type in ("audio", "subtitle", "data")
                and s.discard != Discard.all
                and not timecode
            ):
                chosen.append(s)
        return chosen

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._container.close()

    def _demux(self, carry: str) -> Iterator[Any]:
        """Decoded frames and carried packets."""
        wanted = [self._stream, *(self._container.streams[i] for i in self._carried)]
        if carry == "all":
            wanted += [
                s for s in self._container.streams.video if is_cover(s) and s is not self._stream
            ]
        damaged = 0
        self._last_byte = max((e.pos + e.size for s in wanted for e in s.index_entries), default=0)
        try:
            for packet in self._container.demux(wanted):
                number = packet.stream.index
                if number != self._stream.index:
                    if packet.size and number in self._carried:
                        yield self._packet(packet)
                    elif packet.size:
                        self._covers.setdefault(number, cover(packet.stream, bytes(packet)))
                    continue
                try:
                    yield from packet.decode()
                except FFmpegError:
                    damaged += 1
        except ReadInterruptedError:
            raise KeyboardInterrupt from None
        except (FFmpegError, OSError) as error:
            if not isinstance(error, EOFError):
                raise InputError(f"{self.name}: {reason(error)}") from error
        if 0 < self._container.size < self._last_byte:
            missing = self._last_byte - self._container.size
            raise InputError(f"{self.name}: is cut off, at least {missing} bytes are missing")
        if damaged:
            raise InputError(f"{self.name}: {damaged} video packets cannot be decoded")

    def _packet(self, packet: Any) -> Packet:
        number = self._carried[packet.stream.index]
        base = self.streams[number].time_base
        scale = Fraction(packet.time_base) / base if packet.time_base else Fraction(1)

        def rescale(value: int | None) -> int | None:
            return None if value is None else round(value * scale)

        duration = max(0, rescale(packet.duration) or 0)
        return Packet(
            number,
            rescale(packet.pts),
            rescale(packet.dts),
            duration,
            packet.is_keyframe,
            bytes(packet),
        )

    def _describe_video(self, frame: Any) -> VideoInfo:
        stream = self._stream
        name = frame.format.name
        depth = EXACT.get(name) or (10 if max(c.bits for c in frame.format.components) > 8 else 8)
        target = "yuv420p" if depth == 8 else "yuv420p10le"
        color_range = int(frame.color_range or 0)
        matrix = int(frame.colorspace if frame.colorspace is not None else _UNSPECIFIED)
        if name.startswith("yuvj"):
            color_range = FULL_RANGE
        self._from_full = frame.format.is_rgb or name.startswith(("pal8", "gray", "mono", "ya"))
        if name not in EXACT:
            self._notes.append(f"converted from {name} to {target}")
            if any(c.is_alpha for c in frame.format.components) or name == "pal8":
                self._notes.append("transparency is lost")
            if self._from_full:
                matrix = 1 if frame.height >= 720 else 6
                color_range = LIMITED_RANGE
        self._notes.extend(lost_side_data(frame))
        order = field_order(frame, stream)
        if order != PROGRESSIVE:
            self._notes.append(
                "interlaced pictures are coded as they are, fields woven, and marked as interlaced"
            )
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
            chroma_location(stream) if name in EXACT else 0,
            frames,
            duration,
            tuple(self._notes),
            mirror_matrix(frame),
            order,
            mastering_display(frame),
            content_light(frame),
            {k: v for k, v in stream_metadata(stream).items() if k != "rotate"},
            said if (said := dispositions(stream.disposition)) != ("default",) else (),
        )

    @property
    def start(self) -> Fraction:
        """When the first picture is shown, in seconds; to be asked before iteration."""
        return (self._first.pts or 0) * self.info.time_base

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how the input was read, complete once iteration has
        ended."""
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
        end = None
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
            end = (waiting.pts + waiting.duration) * self.info.time_base
            yield waiting
        self._compare_duration(end)
        if repaired:
            self._notes.append("time stamps that did not increase were repaired")

    def _compare_duration(self, end: Fraction | None) -> None:
        """A note where the pictures end well before the stream should, as they do in a file that
        was cut off."""
        said = self._announced_end()
        if end is not None and said is not None and said - end > max(Fraction(1), said / 20):
            self._notes.append(
                f"the pictures end at {float(end):.1f} s, the file announces {float(said):.1f} s: is it cut off?"
            )

    def _announced_end(self) -> Fraction | None:
        """When the video stream ends in seconds, by what the file says of it."""
        stream = self._stream
        if stream.duration is not None and stream.time_base is not None:
            return Fraction((stream.start_time or 0) + stream.duration) * Fraction(stream.time_base)
        tag = re.fullmatch(
            r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", "")
        )  # Matroska
        if tag is None:
            return None
        return Fraction(int(tag[1]) * 3600 + int(tag[2]) * 60) + Fraction(tag[3])

    def _planes(self, frame: Any) -> Planes:
        name = frame.format.name
        if (frame.width, frame.height) != (self.info.width, self.info.height):
            note = "pictures of another size were scaled to that of the first one"
            if note not in self._notes:
                self._notes.append(note)
        elif EXACT.get(name) == self._depth:
            return exact_planes(frame)
        space: dict[str, Any] = {}
        if self._from_full:
            space = {"src_color_range": ColorRange.JPEG, "dst_color_range": ColorRange.MPEG}
            space["dst_colorspace"] = Colorspace.ITU709 if self._matrix == 1 else Colorspace.ITU601
        elif self._range:
            space = {"src_color_range": self._range, "dst_color_range": self._range}
        converted = frame.reformat(
            width=self.info.width,
            height=self.info.height,
            format=self._target,
            interpolation=Interpolation.BICUBIC
            | Interpolation.ACCURATE_RND
            | Interpolation.FULL_CHR_H_INP,
            **space,
        )
        return exact_planes(converted)
