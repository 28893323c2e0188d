"""Media files out: MP4, Matroska and WebM through an encoder, raw YUV4MPEG2, and pictures."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, BinaryIO, Protocol

import av
import numpy as np
from av.error import FFmpegError

from stcodec.common.files import is_special, is_standard_stream
from stcodec.common.sequences import PICTURE_ENDINGS, is_picture_output
from stcodec.common.threads import leave_real_time
from stcodec.common.values import (
    FIELD_ORDERS,
    PROGRESSIVE,
    Extras,
    Packet,
    PathLike,
    Picture,
    StreamInfo,
    VideoInfo,
)
from stcodec.errors import StcodecError, UsageError
from stcodec.media.conversion import plan_decode
from stcodec.media.encoders import AUTO, LIST, choose, settings
from stcodec.media.fields import FieldMarker
from stcodec.media.frames import repeat_chroma
from stcodec.media.packets import add_stream, disposition_flags, reason
from stcodec.media.pictures import PictureWriter
from stcodec.media.tags import add_extras, encoder_settings, header_options, mux_covers
from stcodec.media.y4m import Y4MWriter
from stcodec.options import AudioChoice

# Two steps finer than the CRF 18 that passes for visually lossless: what is seen is then the .stp's
# own quality. With the preset veryfast, the luma of a 640x360 nature clip stays above 42 dB in
# every picture (44.6 dB on average).
DEFAULT_CRF = 16
# A fragmented MP4 that can be played while it is being written, into what cannot seek.
_LIVE = {
    "movflags": "+frag_keyframe+delay_moov+default_base_moof",
    "frag_duration": "300000",  # microseconds
    "flush_packets": "1",
}
# Ticks of the time base between two pictures of an MP4: it counts to eight times as many from when
# one is decoded to when it is shown, and B pictures wait for others.
_LONGEST = 1 << 28
_UNSAID = Fraction(1, 100)  # seconds that a packet lasts, which does not say for how long
_MOST_REPEATS = 1 << 16
_REPEATED = "a picture that is shown for longer than MP4 can say is in it more than once"
FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".y4m": "y4m",
}


class Writer(Protocol):
    """Takes pictures and packets in order; `notes` says what the output cannot hold."""

    notes: list[str]

    def write(self, item: Picture | Packet) -> None:
        """Append one item."""
        ...

    def close(self) -> None:
        """Finish the output."""
        ...


def output_format(path: PathLike) -> str:
    """The format for an ending; `-` is YUV4MPEG2, and so is a pipe or device without one; "picture"
    a single one. UsageError for an ending that is not known."""
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if is_standard_stream(path) or (not ending and is_special(path)):
        return "y4m"
    if ending in PICTURE_ENDINGS:
        return "pictures" if is_picture_output(path) else "picture"
    if ending not in FORMATS:
        known = ", ".join((*FORMATS, *PICTURE_ENDINGS))
        raise UsageError(f"{os.fspath(path)}: the ending must be one of {known}")
    return FORMATS[ending]


def open_writer(
    target: PathLike | BinaryIO,
    info: VideoInfo,
    streams: Sequence[StreamInfo] = (),
    metadata: Mapping[str, str] | None = None,
    extras: Extras | None = None,
    *,
    format: str,
    audio: AudioChoice | None = None,
    codec: str = AUTO,
    crf: float | None = None,
    preset: str = "veryfast",
) -> Writer:
    """A writer for `target` in `format` ("mp4", "mov", "matroska", "webm", "picture", "pictures",
    "y4m"; y4m needs a binary stream).

    audio: what becomes of the sound, by default as it is where that plays, else AAC.
    """
    if format == "y4m":
        assert not isinstance(target, (str, os.PathLike))
        return Y4MWriter(target, info, streams, extras)
    if format in ("picture", "pictures"):
        assert isinstance(target, (str, os.PathLike))
        return PictureWriter(target, info, streams, extras)
    crf = DEFAULT_CRF if crf is None else crf
    return MediaWriter(
        target,
        info,
        streams,
        metadata or {},
        format,
        codec,
        crf,
        preset,
        extras=extras,
        audio=audio,
    )


# libx265 leaves the dts of a video of one or two pictures to chance (seen with libavcodec 62 and
# x265 4.2).
_TOO_FEW_TO_REORDER = 2


class MediaWriter:
    """MP4, MOV, Matroska or WebM: pictures through an encoder, packets as they are or converted.
    `live`: fragmented, for MP4."""

    def __init__(
        self,
        target: Any,
        info: VideoInfo,
        streams: Sequence[StreamInfo],
        metadata: Mapping[str, str],
        format: str,
        codec: str,
        crf: float,
        preset: str,
        encoder_options: Mapping[str, str] | None = None,
        extras: Extras | None = None,
        audio: AudioChoice | None = None,
        live: bool = False,
    ) -> None:
        extras = extras or Extras()
        self._info, self._format_name = info, format
        self._name = os.fspath(target) if isinstance(target, (str, os.PathLike)) else "the output"
        self._base = Fraction(1, info.time_base.denominator)
        self._scale = info.time_base.numerator
        if format in ("mp4", "mov") and info.time_base.denominator >= 1 << 31:
            raise StcodecError("the time base is too fine for MP4")
        self._plan, self.notes = plan_decode(streams, format, audio or AudioChoice("auto"))
        self._plan.name = self._name
        options, tags = header_options(format, self._base, metadata, extras, self.notes)
        if live:
            options |= _LIVE
        file = f"file:{os.fspath(target)}" if isinstance(target, (str, os.PathLike)) else target
        self._shift: Fraction | None = None
        self._early: list[Packet] = []
        self._pictures, self._ended = 0, False
        self._durations: dict[int, int] = {}
        order = info.field_order
        self._fields = None if order == PROGRESSIVE else FieldMarker(order)
        try:
            self._container = av.open(file, "w", format=format, options=options)
            self._open_video(format, codec, crf, preset, encoder_options or {})
            self._container.metadata.update(tags)
            self._bases = [s.time_base for s in self._plan.streams]
            self._streams = [add_stream(self._container, s) for s in self._plan.streams]
            covers = add_extras(self._container, format, extras, self.notes)
            self._container.start_encoding()
            mux_covers(self._container, covers)
        except (FFmpegError, ValueError, OSError) as error:
            raise self._failure(error) from error

    def _open_video(
        self, format: str, codec: str, crf: float, preset: str, more: Mapping[str, str]
    ) -> None:
        info = self._info
        odd = bool(info.width % 2 or info.height % 2)
        codec, self._format = choose(codec, format, odd, info.bit_depth)
        self._codec = codec
        if self._format.startswith("yuv444p"):
            self.notes.append(
                f"an odd picture size needs 4:4:4 by {codec}: chroma samples are repeated"
            )
        rate = info.frame_rate or Fraction(25)
        options = {
            **settings(codec, crf, preset),
            **encoder_settings(codec, format, info, self.notes),
            **more,
        }
        try:
            stream: Any = self._container.add_stream(codec, rate=rate, options=options)
        except (ValueError, FFmpegError, TypeError) as error:
            raise UsageError(f"codec {codec!r} cannot be used here ({reason(error)})") from error
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = info.width, info.height, self._format
        context.time_base = self._base
        if codec.startswith("libvpx"):
            context.bit_rate = 0  # or its constant rate factor would be a limit only
        stream.time_base = self._base
        if info.chroma_location:
            stream.options["chroma_sample_location"] = str(info.chroma_location)
        context.sample_aspect_ratio = info.sample_aspect_ratio
        context.color_range = info.color_range
        context.color_primaries = info.color_primaries
        context.color_trc = info.color_transfer
        context.colorspace = info.color_matrix
        context.field_order = FIELD_ORDERS.index(info.field_order) + 1
        if info.display_matrix:
            stream.set_display_matrix(info.display_matrix)
        elif info.rotation:
            stream.set_display_rotation(-info.rotation)
        stream.metadata.update(info.metadata)
        stream.disposition = disposition_flags(info.disposition or ("default",))
        self._video = stream

    def write(self, item: Picture | Packet) -> None:
        """Encode a picture, or mux a packet."""
        try:
            if isinstance(item, Packet):
                self._write_packet(item)
                return
            if self._shift is None:
                self._start(item)
            for picture in self._divided(item):
                self._pictures += 1
                frame = self._frame(picture)
                self._durations[frame.pts] = frame.duration
                self._mux_coded(self._video.encode(frame))
                if self._pictures == 1:
                    leave_real_time()
        except (FFmpegError, ValueError) as error:
            raise self._failure(error) from error

    def _failure(self, error: BaseException) -> StcodecError:
        """What went wrong with an encoder, or with writing."""
        if "avcodec_open2" in str(getattr(error, "filename", "")):
            return UsageError(f"codec {self._codec!r} does not work here ({reason(error)}): {LIST}")
        return StcodecError(f"{self._name}: cannot be written ({reason(error)})")

    def _divided(self, picture: Picture) -> Iterator[Picture]:
        """The picture, again and again where it is shown for longer than a format can say."""
        limited = self._format_name in ("mp4", "mov")
        longest = max(1, _LONGEST // self._scale) if limited else sys.maxsize
        pts, end = picture.pts, picture.pts + picture.duration
        if end - pts > _MOST_REPEATS * longest:
            raise StcodecError(
                f"{self._name}: a picture is shown for longer than {self._format_name} can say"
            )
        if end - pts > longest and _REPEATED not in self.notes:
            self.notes.append(_REPEATED)
        while end - pts > longest:
            yield replace(picture, pts=pts, duration=longest)
            pts += longest
        yield replace(picture, pts=pts, duration=end - pts)

    def _mux_coded(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            # Encoders say how long the pictures of an average rate would be.
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            if self._ended and self._pictures <= _TOO_FEW_TO_REORDER:
                packet.dts = packet.pts
            self._container.mux(packet)

    def _start(self, first: Picture) -> None:
        """Choose the time of the output's zero: players hide what comes before it, so that no
        picture may."""
        self._shift = max(Fraction(0), -first.pts * self._info.time_base)
        if self._shift:
            self.notes.append(
                f"all times are later by {float(self._shift):.3f} s: "
                "players hide what comes before zero"
            )
        for item in self._early:
            self._write_packet(item)
        self._early.clear()

    def _write_packet(self, item: Packet) -> None:
        if self._shift is None:
            self._early.append(item)
            return
        for packet in self._plan.packets(item):
            self._container.mux(self._media_packet(packet, self._shift))

    def _media_packet(self, item: Packet, shift: Fraction) -> Any:
        stream = self._streams[item.stream]
        packet = av.Packet(item.data)
        ticks = round(shift / self._bases[item.stream])
        packet.pts = None if item.pts is None else item.pts + ticks
        packet.dts = None if item.dts is None else item.dts + ticks
        packet.duration = item.duration
        if not item.duration and self._format_name in ("mp4", "mov"):
            # The last one of a track would lie behind the end of its edit list, and be hidden.
            packet.duration = max(1, round(_UNSAID / self._bases[item.stream]))
        packet.time_base = self._bases[item.stream]
        packet.is_keyframe = item.keyframe
        packet.stream = stream
        return packet

    def _frame(self, picture: Picture) -> Any:
        planes = picture.planes
        if self._format.startswith("yuv444p"):
            planes = repeat_chroma(planes)
        frame = av.VideoFrame(self._info.width, self._info.height, self._format)
        for plane, samples in zip(frame.planes, planes, strict=True):
            itemsize = samples.dtype.itemsize
            rows = np.zeros((plane.height, plane.line_size // itemsize), dtype=samples.dtype)
            rows[:, : samples.shape[1]] = samples
            plane.update(rows.tobytes())
        frame.pts = picture.pts * self._scale + round((self._shift or 0) / self._base)
        frame.duration = picture.duration * self._scale
        frame.time_base = self._base
        frame.color_range = self._info.color_range
        frame.colorspace = self._info.color_matrix
        frame.color_primaries = self._info.color_primaries
        frame.color_trc = self._info.color_transfer
        return frame if self._fields is None else self._fields.mark(frame)

    def close(self) -> None:
        """Flush the encoder and finish the file."""
        try:
            for packet in self._plan.rest():
                self._container.mux(self._media_packet(packet, self._shift or Fraction(0)))
            self.notes += self._plan.notes
            self._ended = True
            self._mux_coded(self._video.encode(None))
            self._container.close()
        except (FFmpegError, OSError, ValueError) as error:
            raise self._failure(error) from error
