"""What a source gives as it comes, read in a thread of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from stcodec.common.interrupts import check_interrupt
from stcodec.common.values import Packet, Pause, Picture

_MOST_BYTES, _FEW = 256 << 20, 32
"""What waits to be coded: so many bytes, or so many items if these are more."""
_MOST_SOUND = 16 << 20
"""Bytes of packets, besides, where pictures are left out."""
_AHEAD = 4
"""Items that are read ahead where the source can wait."""
_SECONDS = 0.1
"""How often one who waits looks up."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Arrived(Generic[Item]):
    """Something that came, at a time of `time.monotonic`."""

    item: Item
    at: float


@dataclass(frozen=True)
class Ended:
    """The source has ended; error: by this one."""

    error: BaseException | None


class Arrivals(Generic[Item]):
    """Reads `items` in a thread. What is read waits here, up to a bound: then the source waits, or
    pictures that come are left out, if it `cannot_wait`. `left_out` counts these.

    when: the time at which an item has come, if that is not now; most: bytes that may wait, and
    items that may whatever their size.
    """

    def __init__(
        self,
        items: Iterable[Item],
        cannot_wait: bool = False,
        when: Callable[[Item], float] = lambda _: time.monotonic(),
        most: tuple[int, int] = (_MOST_BYTES, _FEW),
    ) -> None:
        self._items, self._cannot_wait, self._when, self._most = items, cannot_wait, when, most
        self._waiting: deque[tuple[Arrived[Item | Ended], int]] = deque()
        self._bytes, self.left_out = 0, 0
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="source", daemon=True)
        self._thread.start()

    def get(self, seconds: float = _SECONDS) -> Arrived[Item | Ended] | None:
        """What comes next, None if nothing does for so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, seconds)
            if not self._waiting:
                return None
            arrived, size = self._waiting.popleft()
            self._bytes -= size
            self._changed.notify_all()
            return arrived

    def stop(self, seconds: float) -> bool:
        """Have the thread end; whether it has, within so many seconds."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def left(self) -> Iterator[Arrived[Item | Ended]]:
        """What waits, once it has been stopped."""
        with self._changed:
            waiting = [arrived for arrived, _ in self._waiting]
            self._waiting.clear()
        yield from waiting

    @property
    def pictures(self) -> int:
        """How many pictures wait."""
        with self._changed:
            return sum(isinstance(arrived.item, Picture) for arrived, _ in self._waiting)

    @property
    def stopped(self) -> bool:
        """Whether the thread is to end."""
        return self._stopped

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as found:
            error = found
        finally:
            close = getattr(self._items, "close", None)
            with contextlib.suppress(BaseException):
                if close is not None:
                    close()
            self._add(Arrived(Ended(error), time.monotonic()), 0)

    def _put(self, item: Item) -> bool:
        """Add an item once there is room; False where nobody wants more."""
        size = _size(item)
        at = self._when(item)
        with self._changed:
            if self._cannot_wait:
                if self._has_no_room(item):
                    self.left_out += isinstance(item, Picture)
                    return not self._stopped
            else:
                self._changed.wait_for(lambda: self._stopped or not self._is_full())
            if self._stopped:
                return False
            self._add(Arrived(item, at), size)
        return True

    def _has_no_room(self, item: object) -> bool:
        """Pictures go first: sound weighs little."""
        if isinstance(item, Packet):
            return self._bytes > 2 * self._most[0] + _MOST_SOUND
        return isinstance(item, Picture) and self._is_full()

    def _is_full(self) -> bool:
        most_bytes, few = self._most
        return self._bytes > most_bytes and len(self._waiting) >= few

    def _add(self, arrived: Arrived[Item | Ended], size: int) -> None:
        with self._changed:
            self._waiting.append((arrived, size))
            self._bytes += size
            self._changed.notify_all()


def _size(item: object) -> int:
    if isinstance(item, Picture):
        return sum(plane.nbytes for plane in item.planes)
    return len(item.data) if isinstance(item, Packet) else 0


def as_they_come(
    items: Iterable[Picture | Packet], stop: Callable[[], None]
) -> Generator[Picture | Packet | Pause, None, None]:
    """Items of a source that may keep its reader waiting, with a WAIT whenever it does. stop: ends
    a wait of `items`."""
    arrivals = Arrivals(items, most=(0, _AHEAD))
    idle = False
    try:
        while True:
            check_interrupt()
            arrived = arrivals.get(0.0 if not idle else _SECONDS)
            if arrived is None:
                if not idle:
                    yield Pause.WAIT
                idle = True
                continue
            idle = False
            if isinstance(arrived.item, Ended):
                if arrived.item.error is not None:
                    raise arrived.item.error
                return
            yield arrived.item
    finally:
        stop()
        arrivals.stop(5.0)
