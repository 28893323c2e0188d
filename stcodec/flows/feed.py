"""A source that is read as it comes, and opened again when it goes away."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from stcodec.common.files import input_size, is_standard_stream, open_input
from stcodec.common.pipes import CountedReader
from stcodec.common.values import Extras, Packet, PathLike, Pause, Picture, StreamInfo, VideoInfo
from stcodec.errors import InputError
from stcodec.flows.arrivals import Arrivals, Arrived, Ended
from stcodec.flows.encode import chosen_part, opened_video
from stcodec.media.live import Live
from stcodec.media.reader import VideoReader
from stcodec.options import EncodeOptions, RecordOptions

_HASTE = 1.05
"""How much faster than their own time pictures are taken from what may be no live source: clocks of
cameras differ by less."""
_FAR_AHEAD = 10.0
"""Seconds by which times of a live source are ahead where they have jumped."""
_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before a source is opened again, one time after the other."""
_TICK = Fraction(1, 90_000)
"""Time base of pictures that are stamped as they come."""
_AT_THE_END = 1.0
"""Seconds before its announced end at which a stream counts as complete."""
_MANY = 50
"""Pictures that are coded at the end without a word."""
_GRACE = 2.0
"""Seconds that a library may need to see that it is to stop."""


@dataclass(frozen=True)
class Opened:
    """A source has been opened; its pictures and packets follow."""

    info: VideoInfo
    streams: list[StreamInfo]
    metadata: dict[str, str]
    extras: Extras

    def goes_on(self, before: Opened) -> bool:
        """Whether what follows can be in the file of the one before."""
        plain = {"frames": None, "duration": None, "notes": ()}
        return replace(self.info, **plain) == replace(before.info, **plain) and (  # type: ignore[arg-type]
            self.streams == before.streams
        )


@dataclass(frozen=True)
class Lost:
    """The source has gone away; reason: one line."""

    reason: str


@dataclass(frozen=True)
class Back:
    """The source is there again, after so many seconds."""

    seconds: float


Event = Arrived[Opened] | Arrived[Picture] | Arrived[Packet] | Lost | Back | Pause


class Feed:
    """Reads a source until it ends, `stop` is set or the time of the options is over. What has come
    by then comes out, but for what can be read again, from a file.

    source, coding: what is read, and how; paced: whether it is taken at its own speed, so that
    pictures are left out where they cannot wait; speed: how fast that may be; notes: what a user
    should know of it; failure: why it ended, if that is an error; opened, complete: whether it has
    been there, and whether it has come to its end.
    """

    def __init__(
        self,
        source: PathLike | Live,
        coding: EncodeOptions,
        options: RecordOptions,
        stop: threading.Event,
    ) -> None:
        self.source, self.coding, self._options = source, coding, options
        self._stop = stop
        is_file = not isinstance(source, Live) and input_size(source) is not None
        self.paced = options.realtime or not is_file
        self.speed = 1.0 if is_file or options.realtime else _HASTE
        self.notes: list[str] = []
        self.failure: InputError | None = None
        self.opened = self.complete = False
        self._arrivals: Arrivals[Any] | None = None
        self._left_out = 0

    @property
    def left_out(self) -> int:
        """Pictures that came when there was no room for them."""
        now = 0 if self._arrivals is None else self._arrivals.left_out
        return self._left_out + now

    def events(self) -> Iterator[Event]:
        """What comes, with a WAIT whenever nothing does. Errors of a source that cannot be opened
        the first time."""
        lost: float | None = None
        tries = 0
        while not self._stop.is_set():
            reason: BaseException | None = None
            for event in self._connection():
                if isinstance(event, Ended):
                    reason = event.error
                    break
                if isinstance(event, Arrived) and isinstance(event.item, Opened):
                    if lost is not None:
                        yield Back(time.monotonic() - lost)
                    lost, tries = None, 0
                yield event
            if self._stop.is_set() or self.complete:
                return
            if reason is not None and not (isinstance(reason, InputError) and self.opened):
                raise reason
            why = "the stream has ended" if reason is None else str(reason)
            if not isinstance(self.source, Live):
                self.failure = InputError(why)
                return
            if lost is None:
                lost = time.monotonic()
                yield Lost(why)
            yield from self._back_off(lost, _WAITS[min(tries, len(_WAITS) - 1)], why)
            tries += 1

    def _back_off(self, lost: float, seconds: float, why: str) -> Iterator[Pause]:
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until and not self._stop.is_set():
            if self._options.give_up is not None and now - lost >= self._options.give_up:
                self.failure = InputError(f"{why}; given up after {now - lost:.0f} s")
                self._stop.set()
            yield Pause.WAIT
            self._stop.wait(0.1)

    def _connection(self) -> Iterator[Any]:
        """Arrived items, WAIT and at last Ended."""
        over = threading.Event()
        clock = _Clock(self.paced)
        reading = _Reading(self, over, clock)
        arrivals = self._arrivals = Arrivals(reading.items(), self.paced, clock.when)
        heard = time.monotonic()

        def end() -> None:
            over.set()
            reading.stop()
            arrivals.stop(_GRACE if reading.can_stop else 0.5)

        try:
            while not self._stop.is_set():
                arrived = arrivals.get()
                if arrived is not None and isinstance(arrived.item, Ended):
                    yield arrived.item
                    return
                if arrived is not None:
                    heard = time.monotonic()
                    yield arrived
                    continue
                yield Pause.WAIT
                silent = time.monotonic() - heard
                # Devices know no timeout: their driver waits.
                if isinstance(self.source, Live) and silent > self.source.timeout + _GRACE:
                    yield Ended(InputError(f"{self.source.name}: nothing has come"))
                    return
            if self.paced:
                end()
                if arrivals.pictures > _MANY:
                    many = f"{arrivals.pictures} pictures wait to be coded"
                    self.notes.append(f"{many}: another interrupt leaves them out")
                yield from (one for one in arrivals.left() if not isinstance(one.item, Ended))
        finally:
            end()
            self._left_out += arrivals.left_out
            self._arrivals = None


class _Clock:
    """When pictures come: now, or where a file is read as fast as it goes, by their own time."""

    def __init__(self, paced: bool) -> None:
        self._paced = paced
        self.base = Fraction(1)
        self._first: tuple[int, float] | None = None

    def when(self, item: object) -> float:
        now = time.monotonic()
        if self._paced or not isinstance(item, Picture):
            return now
        self._first = self._first or (item.pts, now)
        return self._first[1] + float((item.pts - self._first[0]) * self.base)


class _Reading:
    """What the thread does that reads a connection."""

    def __init__(self, feed: Feed, over: threading.Event, clock: _Clock) -> None:
        self._feed, self._over, self._clock = feed, over, clock
        self._pipe: CountedReader | None = None

    @property
    def can_stop(self) -> bool:
        """Whether it ends soon after `stop`."""
        return self._pipe is None or self._pipe.can_stop

    def stop(self) -> None:
        """End a wait for a pipe."""
        if self._pipe is not None:
            self._pipe.stop()

    @contextlib.contextmanager
    def _file(self) -> Iterator[Any]:
        source = self._feed.source
        if isinstance(source, Live) or (
            input_size(source) is not None and not is_standard_stream(source)
        ):
            yield source
        else:
            with open_input(source) as stream:
                self._pipe = CountedReader(stream)
                yield self._pipe

    def items(self) -> Iterator[Opened | Picture | Packet]:
        """The source, from its opening on."""
        feed = self._feed
        with self._file() as file, opened_video(file, feed.coding) as video:
            feed.notes += [n for n in video.notes if n not in feed.notes]
            part = chosen_part(video, feed.coding)
            info, items = video.info, iter(part.items)
            if video.demuxer.is_untimed:
                info = replace(info, time_base=_TICK)
                items = _stamped(items, self._nominal(video), time.monotonic)
            self._clock.base = info.time_base
            feed.opened = True
            yield Opened(info, part.streams, dict(video.metadata), part.extras)
            last = Fraction(0)
            for item in items if not feed.paced else self._paced(items, info.time_base):
                if isinstance(item, Picture):
                    last = (item.pts + item.duration) * info.time_base
                yield item
            feed.notes += [n for n in video.notes if n not in feed.notes]
            whole = info.duration is not None and float(last) >= info.duration - _AT_THE_END
            if not self._over.is_set() and (whole or not isinstance(feed.source, Live)):
                feed.complete = True
            elif video.demuxer.broken is not None:
                raise video.demuxer.broken

    def _nominal(self, video: VideoReader) -> int:
        return max(1, round(1 / (video.info.frame_rate or 25) / _TICK))

    def _paced(
        self, items: Iterator[Picture | Packet], base: Fraction
    ) -> Iterator[Picture | Packet]:
        """The items, none much before its time; up to the end of it all."""
        first: tuple[int, float] | None = None
        for item in items:
            if isinstance(item, Picture):
                now = time.monotonic()
                first = first or (item.pts, now)
                ahead = float((item.pts - first[0]) * base) / self._feed.speed + first[1] - now
                if ahead > _FAR_AHEAD and isinstance(self._feed.source, Live):
                    first, ahead = (item.pts, now), 0.0
                if ahead > 0 and self._over.wait(ahead):
                    return
            if self._over.is_set():
                return
            yield item


def _stamped(
    items: Iterator[Picture | Packet], nominal: int, now: Callable[[], float]
) -> Iterator[Picture | Packet]:
    """Pictures with the times at which they come, in units of _TICK, for want of their own."""
    last: int | None = None
    for item in items:
        if isinstance(item, Picture):
            pts = round(now() / _TICK)
            pts = pts if last is None else max(pts, last + 1)
            last = pts
            yield replace(item, pts=pts, duration=nominal)
        else:
            yield item
