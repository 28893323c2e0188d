"""Media files in: pictures with time stamps, and packets of the other streams, as plain values."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, BinaryIO

from stcodec.common.pipes import CountedReader
from stcodec.common.shape import Shape
from stcodec.common.tracks import TrackChoice
from stcodec.common.values import ConvertedNote, Extras, Packet, PathLike, Picture
from stcodec.errors import InputError, UsageError
from stcodec.media.conversion import Plan, plan_encode
from stcodec.media.demux import CARRY, Demuxer
from stcodec.media.filters import FrameFilter
from stcodec.media.live import Live
from stcodec.media.probe import announced_end, describe_video, file_extras, file_tags
from stcodec.media.samples import SampleFormat
from stcodec.media.times import TimeRepair
from stcodec.options import AudioChoice

_USUAL_RATE = Fraction(25)
# So many pictures fewer than announced are a matter of how a format counts.
_PICTURES_MISSING = 3
# Frames at the start that are kept until one has a time stamp.
_MOST_WITHOUT_TIME = 32
_SCALED = ConvertedNote("pictures of another size were scaled to that of the first one")


class VideoReader:
    """Pictures of a video stream in order of presentation, and packets of carried streams, as they
    come.

    A context manager. `carry` is "all" or "none"; `rate`: frames per second, for files without time
    stamps alone; `strict`: whether a packet that cannot be decoded is an error, or noted and left
    out; `tracks`: which streams, by default the video that the file marks as the default one, else
    the first, and all others; `shape`: what becomes of the pictures, whose `fps` is the `rate` of
    files without time stamps. `info` describes the video, `streams` what is carried, `metadata` is
    text by name; `extras` are the chapters, attachments and covers; `demuxer` and `first` are the
    open file and its first frame. Raises InputError for anything that is not a readable video,
    UsageError for a `carry` or `rate` that makes no sense and for tracks that are not there. A file
    that turns out to be cut off or damaged yields what can be decoded, with a note; if `strict`, it
    raises.
    """

    def __init__(
        self,
        source: PathLike | BinaryIO | CountedReader | Live,
        carry: str = "all",
        rate: Fraction | None = None,
        strict: bool = False,
        tracks: TrackChoice | None = None,
        shape: Shape | None = None,
    ) -> None:
        if carry not in CARRY:
            raise UsageError(f"carry must be one of {', '.join(CARRY)}, not {carry!r}")
        self._notes: list[str] = []
        self._strict = strict
        self._plans: list[Plan] = []
        shape = shape or Shape()
        self.demuxer = demuxer = Demuxer(
            source, carry, rate, self._notes, strict, tracks, shape.fps
        )
        self.name, self.streams = demuxer.name, demuxer.streams
        try:
            self._items = demuxer.items()
            self._early, leading = self._beginning()
            if not leading:
                raise InputError(f"{self.name}: {demuxer.without_pictures}")
            self._first = self.first = first = leading[0]
            self._samples = SampleFormat.of(first)
            container = demuxer.container
            self.metadata = file_tags(container)
            self.info = describe_video(
                container, demuxer.video, first, self._samples, self._notes, shape.deinterlace
            )
            self._place(leading)
            if demuxer.is_timeless and rate is None:
                shape = replace(shape, fps=None)  # the rate that it was read at
            self._filter = None if shape.is_plain else self._filtered(shape)
            everything = carry == "all"
            self.extras = (
                file_extras(container, demuxer.covers, self._notes, demuxer.origin)
                if everything
                else Extras()
            )
        except BaseException:
            demuxer.close()
            raise

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.demuxer.close()

    def _beginning(self) -> tuple[list[Any], list[Any]]:
        """All up to the first frame with a time stamp, and the frames of that."""
        early, frames = [], []
        for item in self._items:
            early.append(item)
            if isinstance(item, Packet):
                continue
            frames.append(item)
            if item.pts is not None or len(frames) == _MOST_WITHOUT_TIME:
                break
        return early, frames

    def _place(self, leading: list[Any]) -> None:
        """Times for the frames before the first one that has a time, back from there."""
        end = leading[-1].pts
        if end is not None:
            for before, frame in enumerate(reversed(leading)):
                frame.pts = end - before * self._nominal()

    def _filtered(self, shape: Shape) -> FrameFilter:
        """Have the frames go through filters, which change the description."""
        chain = FrameFilter(shape, self.info, self.name, self._nominal(), self._notes)
        self._items = chain.apply(itertools.chain(self._early, self._items))
        self._early, leading = self._beginning()
        if not leading:
            raise UsageError(f"{self.name}: is so short that --fps {shape.fps} leaves no picture")
        self._first = leading[0]
        self._samples = SampleFormat.of(self._first)
        self.info = chain.info(self._first, self._samples)
        return chain

    @property
    def decoder(self) -> str:
        """The name of the decoder of the video, as FFmpeg has it."""
        return str(self.demuxer.video.codec_context.name)

    @property
    def start(self) -> Fraction:
        """When the first picture is shown, in seconds."""
        return (self._first.pts or 0) * self.info.time_base

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how the input was read, complete once iteration has
        ended."""
        return *self._notes, *(note for plan in self._plans for note in plan.notes)

    def __iter__(self) -> Iterator[Picture | Packet]:
        """Pictures with strictly increasing pts, and packets; once only."""
        early, self._early = self._early, []
        times = TimeRepair(self._nominal())
        for item in itertools.chain(early, self._items):
            if isinstance(item, Packet):
                yield item
                continue
            if not self._samples.fits(item) and _SCALED not in self._notes:
                self._notes.append(_SCALED)
            before = times.add(self._samples.planes(item), item.pts, item.duration)
            if before is not None:
                yield before
        if (last := times.finish()) is not None:
            yield last
        self._compare_promise(times)
        if times.repaired or (self._filter is not None and self._filter.repaired):
            self._notes.append("time stamps that did not increase were repaired")

    def plan(self, choice: AudioChoice) -> Plan:
        """What becomes of the carried streams when they are encoded. Adds to the notes. InputError
        where sound cannot be decoded, or all of it would be left out unasked."""
        try:
            plan, notes = plan_encode(self.streams, choice, self.demuxer.decoders)
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from error
        lost = self.demuxer.lost_sound
        if choice.codec != "none" and lost and not any(s.kind == "audio" for s in plan.streams):
            raise InputError(f"{self.name}: {lost[0]}: no sound remains, is --no-audio meant?")
        self._notes += notes
        plan.name = self.name
        self._plans.append(plan)
        return plan

    def _nominal(self) -> int:
        """The usual duration of a picture, in units of the time base."""
        rate = self.info.frame_rate
        return max(1, round(1 / rate / self.info.time_base)) if rate else 1

    def _compare_promise(self, times: TimeRepair) -> None:
        """A note where there is less than the file promises, as in one that was cut off; InputError
        where `strict`."""
        short, said = self.demuxer.shortfall, announced_end(self.demuxer.video)
        end = None if times.end is None else times.end * self.info.time_base
        if end is not None and said is not None and not self.demuxer.joined:
            said -= self.demuxer.origin
            picture = 1 / (self.info.frame_rate or _USUAL_RATE)
            if said - end > max(_PICTURES_MISSING * picture, min(Fraction(1), said / 20)):
                where = f"the pictures end at {float(end):.1f} s of {float(said):.1f} s"
                short = f"{short or 'is cut off or damaged'}: {where}"
        if short is None:
            return
        if self._strict:
            raise InputError(f"{self.name}: {short}")
        self._notes.append(f"{short}; what there is, is kept (--strict refuses such a file)")
