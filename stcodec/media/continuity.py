"""Times of packets, in order: where recordings were joined, and where two packets of sound have the
same one."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from av.format import Flags

from stcodec.common.values import StreamInfo

# Seconds. Less ahead is taken for a gap in what was recorded, less behind for how streams are
# interleaved.
_JUMP_AHEAD, _JUMP_BACK = Fraction(10), Fraction(1, 10)


class Continuity:
    """Closes the jumps in the times of a file whose format allows them, such as MPEG-TS: after a
    jump, everything goes on where the stream in which it was seen had ended.

    rate: the usual pictures per second, for packets without a duration. `jumps`: whether there was
    any.
    """

    def __init__(self, container: Any, rate: Fraction | None) -> None:
        self._allowed = bool(container.format.flags & Flags.ts_discont.value)
        self._usual = 1 / rate if rate else Fraction(0)
        self._shift = Fraction(0)
        self._last: dict[int, Fraction] = {}
        self._next: dict[int, Fraction] = {}
        self.jumps = False

    def mend(self, packet: Any) -> None:
        """Change the times of the next packet of the file, where they jump."""
        if not self._allowed or not packet.time_base:
            return
        base = Fraction(packet.time_base)
        if packet.dts is not None and packet.stream.type in ("video", "audio"):
            self._follow(packet, base)
        ticks = round(self._shift / base)
        if ticks:
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks

    def _follow(self, packet: Any, base: Fraction) -> None:
        index = packet.stream.index
        time = packet.dts * base + self._shift
        expected = self._next.get(index, time)
        ahead = abs(time - expected) > _JUMP_AHEAD
        if ahead or time + _JUMP_BACK < self._last.get(index, time):
            self._shift += expected - time
            self.jumps, time = True, expected
        usual = self._usual if packet.stream.type == "video" else Fraction(0)
        self._last[index] = time
        self._next[index] = time + ((packet.duration or 0) * base or usual)


class DecodingOrder:
    """Gives the packets of carried streams the times that muxers ask for: in sound, each is decoded
    after the one before it, and none is heard before it is decoded. `repaired`: how many were not
    so."""

    def __init__(self) -> None:
        self._last: dict[int, int] = {}
        self.repaired = 0

    def mend(
        self, number: int, info: StreamInfo, pts: int | None, dts: int | None
    ) -> tuple[int | None, int | None]:
        """pts and dts of the next packet of stream `number`, in units of its time base."""
        time = pts if dts is None else dts
        if time is None:
            return pts, dts
        if number in self._last and time < (least := self._last[number] + _step(info)):
            self.repaired += 1
            time = dts = least
        self._last[number] = time
        if pts is not None and pts < time:
            pts = time
        return pts, dts


def _step(info: StreamInfo) -> int:
    """The least difference of two times: one that is left in units of a sample, too."""
    if info.kind != "audio":
        return 0
    rate = int(info.parameters.get("sample_rate") or 0)
    return max(1, math.ceil(1 / (rate * info.time_base))) if rate else 1
