"""Events found while a recording is being written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stcodec.codec.model_files import Model
from stcodec.container.records import Header, VideoChunk
from stcodec.flows.activity import Looker, Moment
from stcodec.flows.camera import Camera
from stcodec.flows.events import Activity, Event, Happening, Lately, activity
from stcodec.flows.reading import Chunk


@dataclass(frozen=True)
class Seen:
    """An event of the file `path`, which begins at `begins` (of `time.time`). over: whether it has
    ended; before that it is what was seen of it first."""

    path: Path
    begins: float
    event: Event
    over: bool


class Watch:
    """Looks at the chunks of recordings. gap: seconds of quiet that end an event; known: what is
    normal; without it, that is what has been seen lately, in files before this one, too."""

    def __init__(self, gap: float, known: Camera | None) -> None:
        self._gap, self._known, self._lately = gap, known, Lately()
        self._size = (0, 0)

    def begin(self, path: Path, begins: float, header: Header, model: Model) -> None:
        """A file begins, whose header can be read from `path`. UsageError where what is normal is
        known of other pictures."""
        self._file = path, begins
        before, self._size = self._size, (header.width, header.height)
        if before != self._size or not self._lately.knows:
            self._lately = Lately()
        self._looker = Looker(header, model)
        self._happening, self._told = Happening(self._gap), False
        self._usual = None if self._known is None else self._known.usual(path)

    def chunk(self, chunk: VideoChunk) -> Iterator[Seen]:
        """What is seen in the next chunk of the file."""
        item = Chunk(str(self._file[0]), chunk)
        for moment in self._looker.moments(chunk, self._looker.read(item)):
            for one in self._judged(moment):
                if (over := self._happening.add(one)) is not None:
                    yield self._seen(over, True)
                now = self._happening.now
                if now is not None and not self._told:
                    yield self._seen(now, False)

    def end(self) -> Iterator[Seen]:
        """The file ends, or its source is away: so does what happens."""
        if (over := self._happening.end()) is not None:
            yield self._seen(over, True)

    def _judged(self, moment: Moment) -> list[Activity]:
        if self._usual is not None:
            return [activity(moment, self._usual(moment))]
        return self._lately.judge(moment)

    def _seen(self, event: Event, over: bool) -> Seen:
        self._told = not over
        return Seen(*self._file, event, over)
