"""What comes from a source, cut into files on time lines of their own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from fractions import Fraction

from stcodec.common.values import Packet, Pause, Picture
from stcodec.flows.arrivals import Arrived
from stcodec.flows.feed import Back, Event, Lost, Opened


class Inbox:
    """What has come, and belongs to no file yet. opened: what it is; first: the picture with which
    the next file begins; early: packets before it; news: that the source went away, or is back."""

    def __init__(self, events: Iterator[Event]) -> None:
        self.events = events
        self.opened: Opened | None = None
        self.first: Arrived[Picture] | None = None
        self.early: list[Packet] = []
        self.news: deque[Lost | Back] = deque()

    def wait(self) -> bool:
        """Take what comes next; False where nothing will, or the next file can begin."""
        event = None if self.first is not None else next(self.events, None)
        if isinstance(event, (Lost, Back)):
            self.news.append(event)
        elif isinstance(event, Arrived):
            self.take(event)
        return event is not None

    def take(self, event: Arrived[Opened] | Arrived[Picture] | Arrived[Packet]) -> None:
        """Keep it for the next file, or for when this one goes on."""
        item = event.item
        if isinstance(item, Opened):
            self.opened, self.early = item, []
        elif isinstance(item, Packet):
            self.early.append(item)
        else:
            self.first = Arrived(item, event.at)


class FileItems:
    """What belongs to a file, on its own time line: up to the first picture at `until` (None: no
    end), or of another kind than before."""

    def __init__(
        self, inbox: Inbox, opened: Opened, first: Arrived[Picture], until: float | None
    ) -> None:
        self._inbox, self._opened, self._first, self._until = inbox, opened, first, until
        self._base = opened.info.time_base
        self._bases = [s.time_base for s in opened.streams]
        self._shift: int | None = first.item.pts
        self._end = 0

    def __iter__(self) -> Iterator[Picture | Packet | Pause]:
        inbox, event = self._inbox, self._first
        inbox.first = None
        yield from self._begun(event)
        while (following := next(inbox.events, None)) is not None:
            if isinstance(following, (Lost, Back)):
                inbox.news.append(following)
                self._shift = None
                yield from (Pause.GAP, Pause.WAIT)
            elif isinstance(following, Pause):
                yield following
                if self._shift is None and self._is_over(time.monotonic()):
                    return
            elif isinstance(following.item, Picture):
                if self._is_over(following.at):
                    inbox.take(following)
                    return
                yield from self._begun(Arrived(following.item, following.at))
            elif isinstance(following.item, Opened):
                inbox.take(following)
                if not following.item.goes_on(self._opened):
                    return
            elif self._shift is None:
                inbox.take(following)
            else:
                yield self._packet(following.item)

    def _is_over(self, at: float) -> bool:
        return self._until is not None and at >= self._until

    def _begun(self, arrived: Arrived[Picture]) -> Iterator[Picture | Packet]:
        """A picture, with what has waited for it."""
        picture = arrived.item
        if self._shift is None:
            since = round(Fraction(arrived.at - self._first.at) / self._base)
            self._shift = picture.pts - max(since, self._end + max(1, picture.duration))
        yield from map(self._packet, self._inbox.early)
        self._inbox.early = []
        picture = replace(picture, pts=picture.pts - self._shift)
        self._end = picture.pts + picture.duration
        yield picture

    def _packet(self, packet: Packet) -> Packet:
        shift = round((self._shift or 0) * self._base / self._bases[packet.stream])
        pts, dts = (None if t is None else t - shift for t in (packet.pts, packet.dts))
        return replace(packet, pts=pts, dts=dts)


def thinned(events: Iterator[Event], nth: Callable[[], int]) -> Generator[Event, None, None]:
    """One of `nth()` pictures; each lasts until the next one, unless the source has been away."""
    held: Arrived[Picture] | None = None
    passed = 0
    for event in events:
        if isinstance(event, Arrived) and isinstance(event.item, Picture):
            passed += 1
            if held is None or passed >= nth():
                if held is not None:
                    yield _until(held, event.item.pts)
                held, passed = Arrived(event.item, event.at), 0
            else:
                held = _until(held, event.item.pts + event.item.duration)
            continue
        if held is not None and isinstance(event, Lost):
            yield held
            held = None
        yield event
    if held is not None:
        yield held


def _until(held: Arrived[Picture], end: int) -> Arrived[Picture]:
    picture = replace(held.item, duration=max(0, end - held.item.pts))
    return Arrived(picture, held.at)
