"""Packets of sound and the like between decoded pictures, in an order that the file decides alone.

A decoder with many threads gives out a picture later than one with few. What is written must not
depend on that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from stcodec.common.values import Packet

# Bytes of packets that may wait for a picture: where the video ends long before the sound, nothing
# would make them go.
_MOST_WAITING = 64 << 20
# Video packets whose pictures may still come.
_MOST_LATE = 4096


class Interleaving:
    """Places each picture behind the packets that stand before its own packet in the file, and
    before all others."""

    def __init__(self) -> None:
        self._place = 0
        self._shown = 0
        self._places: dict[int, int] = {}
        self._waiting: deque[tuple[int, Packet]] = deque()
        self._bytes = 0

    def video(self, pts: int | None) -> None:
        """The next packet of the file belongs to the video."""
        self._place += 1
        if pts is not None:
            self._places[pts] = self._place
            if len(self._places) > _MOST_LATE:
                del self._places[next(iter(self._places))]

    def aside(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        """The next packet of the file belongs to another stream; packets that need not wait any
        longer."""
        for packet in packets:
            self._waiting.append((self._place, packet))
            self._bytes += len(packet.data)
        while self._bytes > _MOST_WAITING:
            yield self._next()

    def before(self, pts: int | None) -> Iterator[Packet]:
        """A picture comes; the packets before it."""
        if pts is not None:
            # In order of presentation, a picture waits for those that come later in the file.
            self._shown = max(self._shown, self._places.pop(pts, 0))
        while self._waiting and self._waiting[0][0] < self._shown:
            yield self._next()

    def rest(self) -> Iterator[Packet]:
        """Packets behind the last picture."""
        while self._waiting:
            yield self._next()

    def _next(self) -> Packet:
        packet = self._waiting.popleft()[1]
        self._bytes -= len(packet.data)
        return packet
