"""Pictures of another size, part, rate or scan, by FFmpeg's filters, before they are coded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from av.error import FFmpegError
from av.filter import Graph

from stcodec.common.shape import Box, Geometry, Shape
from stcodec.common.values import PROGRESSIVE, Packet, VideoInfo
from stcodec.errors import InputError, UsageError
from stcodec.media.packets import reason
from stcodec.media.samples import SampleFormat
from stcodec.media.times import Increasing

_SCALER = "flags=bicubic+accurate_rnd+full_chroma_inp"
# A rate that far above that of the frames asks for the fields.
_FIELDS = Fraction(3, 2)
_FIRST = {"t": "tff", "b": "bff"}


class FrameFilter:
    """Brings decoded frames into the shape that is asked for.

    info: of the frames as they are; nominal: their usual duration, in units of its time base;
    repaired: whether a time stamp did not increase. Adds to the notes.
    """

    def __init__(
        self, shape: Shape, info: VideoInfo, name: str, nominal: int, notes: list[str]
    ) -> None:
        self._shape, self._info, self._name, self._notes = shape, info, name, notes
        self._times = Increasing(nominal)
        rate = info.frame_rate
        self._by_field = bool(
            shape.deinterlace and shape.fps and rate and shape.fps >= _FIELDS * rate
        )
        self._graph: Graph | None = None
        self._like: tuple[Any, ...] = ()
        self._crop = Box(info.width, info.height)
        self._interlaced = info.field_order != PROGRESSIVE and not shape.deinterlace
        if shape.deinterlace and info.field_order == PROGRESSIVE:
            self._note("nothing says that the pictures are interlaced: all are deinterlaced")
        if shape.crop and info.display_matrix:
            self._note("the part is one of the stored picture, which players show mirrored")

    @property
    def repaired(self) -> bool:
        """Whether a time stamp did not increase."""
        return self._times.repaired

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def apply(self, items: Iterable[Any]) -> Iterator[Any]:
        """`items` with the frames that come out; packets pass."""
        for item in items:
            if isinstance(item, Packet):
                yield item
                continue
            like = (item.width, item.height, item.format.name, item.time_base)
            if like != self._like:
                yield from self._rest()
                self._graph, self._like = self._made(item), like
            item.pts = self._times.next(item.pts, item.duration)
            assert self._graph is not None
            try:
                self._graph.push(item)
            except (FFmpegError, ValueError) as error:
                raise InputError(f"{self._name}: cannot be filtered ({reason(error)})") from error
            yield from self._ready()
        yield from self._rest()

    def _rest(self) -> Iterator[Any]:
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()
            self._graph = None

    def _ready(self) -> Iterator[Any]:
        while True:
            assert self._graph is not None
            try:
                yield self._graph.pull()
            except (BlockingIOError, EOFError):
                return

    def _made(self, frame: Any) -> Graph:
        """A graph for frames like this one."""
        graph, info = Graph(), self._info
        base = frame.time_base
        source = (
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}"
            f":time_base={base.numerator}/{base.denominator}"
            f":pixel_aspect={_ratio(info.sample_aspect_ratio)}"
            f":colorspace={2 if frame.colorspace is None else int(frame.colorspace)}"
            f":range={int(frame.color_range or 0)}"
        )
        if info.frame_rate:
            source += f":frame_rate={_ratio(info.frame_rate)}"
        try:
            last = graph.add("buffer", source)
            for name, arguments in self._filters(frame):
                added = graph.add(name, arguments)
                last.link_to(added)
                last = added
            sink = graph.add("buffersink")
            last.link_to(sink)
            graph.configure()
        except (FFmpegError, ValueError) as error:
            raise InputError(f"{self._name}: cannot be filtered ({reason(error)})") from error
        return graph

    def _filters(self, frame: Any) -> Iterator[tuple[str, str]]:
        shape, order = self._shape, self._info.field_order
        if shape.deinterlace:
            if order != PROGRESSIVE and not frame.interlaced_frame:
                yield "setfield", f"mode={_FIRST[order[1]]}"
            mode = "send_field" if self._by_field else "send_frame"
            which = "all" if order == PROGRESSIVE else "interlaced"
            yield "bwdif", f"mode={mode}:deint={which}"
        yield from self._sizing(frame)
        if shape.fps:
            yield "fps", f"fps={_ratio(shape.fps)}"

    def _sizing(self, frame: Any) -> Iterator[tuple[str, str]]:
        geometry = self._geometry(frame, _step(frame, self._interlaced))
        crop = self._crop = geometry.crop
        placed = self._shape.crop is not None and self._shape.crop.x is not None
        if placed and crop[2:] != self._geometry(frame, (1, 1)).crop[2:]:
            self._note(
                "the part begins a row or a column earlier, where there is a sample of chroma"
            )
        if (crop.width, crop.height) != (frame.width, frame.height):
            yield "crop", f"{crop.width}:{crop.height}:{crop.x}:{crop.y}:exact=1"
        if (crop.width, crop.height) != (geometry.width, geometry.height):
            fields = ":interl=1" if self._interlaced else ""
            yield "scale", f"{geometry.width}:{geometry.height}:{_SCALER}{fields}"

    def _geometry(self, frame: Any, step: tuple[int, int]) -> Geometry:
        try:
            return self._shape.geometry(frame.width, frame.height, self._info.rotation, step)
        except UsageError as error:
            raise UsageError(f"{self._name}: {error}") from error

    def info(self, frame: Any, samples: SampleFormat) -> VideoInfo:
        """The description of what comes out, by its first frame."""
        info, shape = self._info, self._shape
        rate = shape.fps or info.frame_rate
        frames = info.frames
        if shape.fps:
            frames = round(info.duration * shape.fps) if info.duration else None
        return replace(
            info,
            width=frame.width,
            height=frame.height,
            bit_depth=samples.bit_depth,
            time_base=Fraction(frame.time_base),
            frame_rate=rate,
            sample_aspect_ratio=self._aspect(frame),
            color_range=samples.color_range,
            color_matrix=samples.matrix,
            frames=frames,
            field_order=PROGRESSIVE if shape.deinterlace else info.field_order,
        )

    def _aspect(self, frame: Any) -> Fraction:
        """The pixel aspect that shows the part in its shape."""
        crop = self._crop
        stretched = Fraction(crop.width * frame.height, crop.height * frame.width)
        return self._info.sample_aspect_ratio * stretched


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"


def _step(frame: Any, interlaced: bool) -> tuple[int, int]:
    """How far samples of chroma lie apart, across and down; in fields, those of one field."""
    components = frame.format.components
    chroma = components[1] if len(components) > 1 else components[0]
    across, down = -(-frame.width // chroma.width), -(-frame.height // chroma.height)
    return across, down * (2 if interlaced else 1)
