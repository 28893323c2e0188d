"""Media files in: pictures with time stamps, and packets of the other streams, as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

from stcodec.common.files import CountedReader
from stcodec.common.values import Extras, Packet, PathLike, Picture
from stcodec.errors import InputError, UsageError
from stcodec.media.demux import CARRY, Demuxer
from stcodec.media.probe import announced_end, describe_video, file_extras, file_tags
from stcodec.media.samples import SampleFormat
from stcodec.media.times import TimeRepair

_USUAL_RATE = Fraction(25)
# So many pictures fewer than announced are a matter of how a format counts.
_PICTURES_MISSING = 3
_SCALED = "pictures of another size were scaled to that of the first one"


class VideoReader:
    """Pictures of the first video stream in order of presentation, and packets of carried streams,
    as they come.

    A context manager. `carry` is "all" or "none"; `rate`: frames per second, for files without time
    stamps alone. `info` describes the video, `streams` what is carried, `metadata` is text by name;
    `extras` are the chapters, attachments and covers. Raises InputError for anything that is not a
    readable video, UsageError for a `carry` or `rate` that makes no sense; a file that turns out
    damaged half-way yields what can be decoded, then raises.
    """

    def __init__(
        self,
        source: PathLike | BinaryIO | CountedReader,
        carry: str = "all",
        rate: Fraction | None = None,
    ) -> None:
        if carry not in CARRY:
            raise UsageError(f"carry must be one of {', '.join(CARRY)}, not {carry!r}")
        self._notes: list[str] = []
        self._demuxer = demuxer = Demuxer(source, carry, rate, self._notes)
        self.name, self.streams = demuxer.name, demuxer.streams
        try:
            self._items = demuxer.items()
            self._early, first = self._to_first_frame()
            self._first = first
            self._samples = SampleFormat.of(first)
            container = demuxer.container
            self.metadata = file_tags(container)
            self.info = describe_video(container, demuxer.video, first, self._samples, self._notes)
            everything = carry == "all"
            self.extras = (
                file_extras(container, demuxer.covers, self._notes) if everything else Extras()
            )
        except BaseException:
            demuxer.close()
            raise

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._demuxer.close()

    def _to_first_frame(self) -> tuple[list[Packet], Any]:
        """The first decoded frame, and the packets before it."""
        early: list[Packet] = []
        for item in self._items:
            if not isinstance(item, Packet):
                return early, item
            early.append(item)
        raise InputError(f"{self.name}: no picture can be decoded")

    @property
    def start(self) -> Fraction:
        """When the first picture is shown, in seconds."""
        return (self._first.pts or 0) * self.info.time_base

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how the input was read, complete once iteration has
        ended."""
        return tuple(self._notes)

    def __iter__(self) -> Iterator[Picture | Packet]:
        """Pictures with strictly increasing pts, and packets; once only."""
        early, self._early = self._early, []
        yield from early
        times = TimeRepair(self._nominal())
        times.add(self._samples.planes(self._first), self._first.pts, self._first.duration)
        for item in self._items:
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
        self._compare_duration(times)
        if times.repaired:
            self._notes.append("time stamps that did not increase were repaired")

    def _nominal(self) -> int:
        """The usual duration of a picture, in units of the time base."""
        rate = self.info.frame_rate
        return max(1, round(1 / rate / self.info.time_base)) if rate else 1

    def _compare_duration(self, times: TimeRepair) -> None:
        """A note where the pictures end well before the stream should, as they do in a file that
        was cut off."""
        said = announced_end(self._demuxer.video)
        if times.end is None or said is None:
            return
        end = times.end * self.info.time_base
        picture = 1 / (self.info.frame_rate or _USUAL_RATE)
        if said - end > max(_PICTURES_MISSING * picture, min(Fraction(1), said / 20)):
            self._notes.append(
                f"the pictures end at {float(end):.1f} s, the file announces {float(said):.1f} s: "
                "is it cut off?"
            )
