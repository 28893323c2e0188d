"""A source that lives into `.stp` files by time: read, keep up, code, write, begin the next one."""

from __future__ import annotations

import datetime
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from stcodec.codec.model_files import load_model
from stcodec.common.arithmetic import Arithmetic
from stcodec.common.devices import choose_device
from stcodec.common.files import Overwrite
from stcodec.common.values import Packet, PathLike, Pause, Picture, Progress
from stcodec.container.extras import pack_extras
from stcodec.container.records import Header
from stcodec.encoder.encoder import ChunkEncoder
from stcodec.errors import OutputExistsError
from stcodec.flows.arrivals import Arrived
from stcodec.flows.coding import coded, coders, make_header, warm_up
from stcodec.flows.compiling import compile_once
from stcodec.flows.cutting import FileItems, Inbox, thinned
from stcodec.flows.feed import Back, Event, Feed, Lost, Opened
from stcodec.flows.grouping import chunks
from stcodec.flows.keeping_up import KeepingUp, Level, Meter, levels
from stcodec.flows.recorded_file import RecordedFile
from stcodec.flows.recordings import Recordings, next_border
from stcodec.flows.watch import Seen, Watch
from stcodec.media.live import Live
from stcodec.options import EncodeOptions, RecordOptions

_SECONDS_BETWEEN_NEWS = 30.0
"""How often it is said that pictures are left out."""


@dataclass(frozen=True)
class Begun:
    """A file has been begun."""

    path: Path


@dataclass(frozen=True)
class Written:
    """A file is complete. seconds: from its first picture to the end of its last."""

    path: Path
    frames: int
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Removed:
    """An old file has been removed."""

    path: Path


@dataclass(frozen=True)
class Finished:
    """A file whose writer had been killed has been completed."""

    path: Path
    frames: int


@dataclass(frozen=True)
class Changed:
    """Pictures are coded in another way from now on. lag: seconds that they had waited."""

    level: Level
    lag: float


@dataclass(frozen=True)
class LeftOut:
    """Pictures, since this was last said, that came when there was no room for them."""

    frames: int


@dataclass(frozen=True)
class RecordResult:
    """What a recording came to."""

    files: int
    frames: int
    left_out: int
    seconds: float


News = (
    Begun | Written | Removed | Finished | Changed | LeftOut | Lost | Back | Seen | str | Progress
    | RecordResult
)  # fmt: skip
"""str: a line for a user."""


def record_steps(
    source: PathLike | Live,
    recordings: Recordings,
    coding: EncodeOptions,
    options: RecordOptions,
    stop: threading.Event,
    watch: Watch | None = None,
) -> Generator[News, None, None]:
    """Record `source` until it ends, `stop` is set, or the time of the options is over; what
    happens meanwhile, and the result at the end.

    InputError for a source that cannot be opened, or that was away for too long; StcodecError where
    nothing can be written. What was written before is complete all the same.
    """
    work = Arithmetic(choose_device(coding.device), coding.threads)
    compile_once(coding)
    return work.steps(_Recorder(source, recordings, coding, options, stop, watch, work).steps())


class _Recorder:
    def __init__(
        self,
        source: PathLike | Live,
        recordings: Recordings,
        coding: EncodeOptions,
        options: RecordOptions,
        stop: threading.Event,
        watch: Watch | None,
        work: Arithmetic,
    ) -> None:
        self._recordings, self._coding, self._options = recordings, coding, options
        self._stop, self._watch, self._work = stop, watch, work
        self._model = load_model(coding.model)
        self._feed = Feed(source, coding, options, stop)
        self._keeping = KeepingUp(levels(coding.effort, coding.quality))
        self._meter = Meter(self._keeping if options.adapt and self._feed.paced else None)
        self._reading = thinned(self._heard(), lambda: self._keeping.level.nth)
        self._inbox = Inbox(self._reading)
        self._encoder: ChunkEncoder | None = None
        self._started: float | None = None
        self._time = float("inf") if options.duration is None else options.duration
        self._news: deque[News] = deque()
        self._told_left_out, self._told_notes, self._told_at = 0, 0, -float("inf")
        self._files = self._frames = 0
        self._seconds = 0.0

    def steps(self) -> Iterator[News]:
        try:
            yield from self._steps()
        finally:
            self._reading.close()

    def _steps(self) -> Iterator[News]:
        warm_up(self._model, self._coding, Arithmetic(self._work.device, self._coding.threads))
        yield from self._tidy()
        yield from self._wait()
        while (first := self._inbox.first) is not None:
            yield from self._file(first)
            yield from self._tidy()
            yield from self._wait()
        yield from self._tell(at_once=True)
        if self._feed.failure is not None:
            raise self._feed.failure
        yield RecordResult(self._files, self._frames, self._feed.left_out, self._seconds)

    def _tidy(self) -> Iterator[News]:
        """Complete what others have left, and remove what is old."""
        now = time.time()
        if self._recordings.by_time:
            yield from (Finished(*found) for found in self._recordings.finish_broken(now))
        if self._options.keep is not None:
            yield from map(Removed, self._recordings.remove_old(self._options.keep, now))

    def _heard(self) -> Iterator[Event]:
        """What comes from the source, up to the end of the time that was asked for; how long it has
        waited is measured."""
        for event in self._feed.events():
            now = time.monotonic()
            at = event.at if isinstance(event, Arrived) else now
            if isinstance(event, Arrived) and isinstance(event.item, Picture):
                self._started = at if self._started is None else self._started
                if (change := self._meter.picture(now - at, now)) is not None:
                    self._change(*change)
            elif not self._feed.paced:
                at = self._started or 0.0
            if self._started is not None and at - self._started >= self._time:
                self._stop.set()
                return
            yield event

    def _change(self, level: Level, lag: float) -> None:
        self._news.append(Changed(level, lag))
        if self._encoder is not None:
            self._encoder.settings = replace(
                self._encoder.settings, effort=level.effort, quality=level.quality
            )

    def _tell(self, at_once: bool = False) -> Iterator[News]:
        """What is to be said by now."""
        yield from self._feed.notes[self._told_notes :]
        self._told_notes = len(self._feed.notes)
        for news in (self._inbox.news, self._news):
            while news:
                yield news.popleft()
        now, left_out = time.monotonic(), self._feed.left_out - self._told_left_out
        if left_out and (at_once or now - self._told_at >= _SECONDS_BETWEEN_NEWS):
            self._told_left_out += left_out
            self._told_at = now
            yield LeftOut(left_out)

    def _wait(self) -> Iterator[News]:
        """Up to the next picture, or the end."""
        while self._inbox.wait():
            yield from self._tell()

    def _new_file(
        self, begins: float, header: Header, opened: Opened, metadata: dict[str, str]
    ) -> RecordedFile:
        """The file of what begins at a time (of `time.time`)."""
        again, blobs = self._files > 0, pack_extras(opened.info, opened.extras)
        numbered = self._recordings.by_time or again
        replaces = not numbered and self._coding.overwrite is Overwrite.YES
        while True:
            path = self._recordings.path(begins, again)
            try:
                return RecordedFile(path, replaces, header, opened.streams, metadata, blobs)
            except OutputExistsError:
                if not numbered:  # else somebody else has taken the name just now
                    raise

    def _file(self, first: Arrived[Picture]) -> Iterator[News]:
        """Record the file that begins with a picture."""
        opened, level = self._inbox.opened, self._keeping.level
        assert opened is not None
        begins = first.at + time.time() - time.monotonic()
        until = None
        if self._options.every is not None:
            until = next_border(begins, self._options.every) - begins + first.at
        metadata = {**opened.metadata, "creation_time": _utc(begins)}
        header = make_header(opened.info, self._model, self._coding.quality)
        again = self._files > 0
        coding = replace(self._coding, effort=level.effort, quality=level.quality)
        with self._new_file(begins, header, opened, metadata) as file:
            path = file.path
            yield Begun(path)
            # Each file shares the cores anew; what was shared once would be shared again.
            work = Arithmetic(self._work.device, coding.threads) if again else self._work
            self._encoder, proof = coders(self._model, opened.info, coding, work)
            if self._watch is not None:
                self._watch.begin(path, begins, header, self._model)
            items = FileItems(self._inbox, opened, first, until)
            for item in coded(chunks(iter(items)), self._encoder, proof, None):
                if not isinstance(item, Pause):
                    file.write(item)
                    if self._watch is not None and not isinstance(item, Packet):
                        yield from self._watch.chunk(item)
                yield from self._tell()
                yield Progress(self._frames + file.frames, None, file.offset)
            if self._watch is not None:
                yield from self._watch.end()
            file.close()
        seconds = float(file.end * opened.info.time_base)
        self._files += 1
        self._frames += file.frames
        self._seconds += seconds
        yield Written(path, file.frames, seconds, file.offset)


def _utc(seconds: float) -> str:
    time = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
