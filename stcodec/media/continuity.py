"""Times of packets, in order: where recordings were joined, and where two packets of sound have the
same one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from av.format import Flags

from stcodec.common.values import StreamInfo

# Seconds. Less ahead is taken for a gap in what was recorded, less behind for how streams are
# interleaved.
_JUMP_AHEAD, _JUMP_BACK = Fraction(10), Fraction(1, 10)
# Nobody waits for longer than that until a file begins.
_LATE = _JUMP_AHEAD
# What decoders of sound ask for before what is heard, Opus 80 ms.
_PREROLL = Fraction(1, 10)
# In formats that know no jumps: half a day, which is about what MP4 can hold of a gap in sound; and
# so many pictures, at least a second, as decoders put in another order where no one says in which.
_GAP_AHEAD, _REORDERED, _GAP_BACK = Fraction(12 * 3600), 16, Fraction(1)
# Sound whose packets are shorter than a millisecond, so that two of them may have the same one.
_SHORT = ("truehd", "mlp")


def has_any_clock(container: Any) -> bool:
    """Whether the times of a format begin anywhere and may jump, as those of MPEG-TS."""
    return bool(container.format.flags & Flags.ts_discont.value)


def is_hidden(packet: Any) -> bool:
    """Whether a packet of sound lies before what the file shows, and more so than a decoder needs.
    MP4 hides it by an edit list, as where it was cut without being coded again; Matroska would play
    it."""
    if packet.stream.type != "audio" or not packet.is_discard or packet.pts is None:
        return False
    return bool(packet.pts * Fraction(packet.time_base) < -_PREROLL)


def origin(streams: Sequence[Any], packet: Any) -> Fraction:
    """The time of a file, in seconds, that becomes zero: where sound and pictures begin, if that is
    late, since its clock had run before, or since it is a piece of something longer. A multiple of
    the first stream's unit. packet: the first that has a time, which may be before what the
    streams say of themselves."""
    starts = [
        s.start_time * Fraction(s.time_base)
        for s in streams
        if s.type in ("video", "audio") and s.start_time is not None and s.time_base
    ]
    first = min([*starts, packet.pts * Fraction(packet.time_base)])
    if first <= _LATE:
        return Fraction(0)
    base = Fraction(streams[0].time_base or 1)
    return first // base * base


class Continuity:
    """Closes the jumps in the times of a file: any in formats that allow them, such as MPEG-TS, and
    in others those that can be no gap. After a jump, everything goes on where the stream in which
    it was seen had ended; packets of other streams that come behind it and lie before it stay where
    they are.

    rate: the usual pictures per second, for packets without a duration. `began`: whether `begin`
    was called; `jumps`: whether there was any.
    """

    def __init__(self, container: Any, rate: Fraction | None) -> None:
        self._usual = 1 / rate if rate else Fraction(0)
        allowed = has_any_clock(container)
        self._ahead = _JUMP_AHEAD if allowed else _GAP_AHEAD
        self._back = _JUMP_BACK if allowed else max(_GAP_BACK, _REORDERED * self._usual)
        # What times are later by: at the start, and after each jump; and how far each stream is.
        self._shifts = [Fraction(0)]
        self._place: dict[int, int] = {}
        self.began = False
        self._last: dict[int, Fraction] = {}
        self._next: dict[int, Fraction] = {}

    @property
    def jumps(self) -> bool:
        """Whether there was a jump."""
        return len(self._shifts) > 1

    def begin(self, streams: Sequence[Any], packet: Any) -> Fraction:
        """Before the first packet that has a time: what becomes zero, see `origin`."""
        self.began = True
        zero = origin(streams, packet)
        self._shifts = [-zero]
        return zero

    def mend(self, packet: Any) -> None:
        """Change the times of the next packet of the file, where they jump."""
        if not packet.time_base:
            return
        base, shift = Fraction(packet.time_base), self._shifts[-1]
        if packet.dts is not None and packet.stream.type in ("video", "audio"):
            shift = self._follow(packet, base)
        ticks = round(shift / base)
        if ticks:
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks

    def _follow(self, packet: Any, base: Fraction) -> Fraction:
        """By how much the packet is later."""
        index, time = packet.stream.index, packet.dts * base
        latest = len(self._shifts) - 1
        now = max(self._next.values(), default=time + self._shifts[-1])
        near = self._next.get(index, now)
        places = range(latest, self._place.get(index, 0) - 1, -1)
        place = min(places, key=lambda p: abs(time + self._shifts[p] - near))
        shifted = time + self._shifts[place]
        expected = self._next.get(index, shifted)
        ahead = abs(shifted - expected) > self._ahead
        if ahead or shifted + self._back < self._last.get(index, shifted):
            self._shifts.append(expected - time)
            place, shifted = latest + 1, expected
        usual = self._usual if packet.stream.type == "video" else Fraction(0)
        self._place[index], self._last[index] = place, shifted
        self._next[index] = shifted + ((packet.duration or 0) * base or usual)
        return self._shifts[place]


class DecodingOrder:
    """Gives the packets of carried streams the times that muxers ask for: each has some; in sound,
    each is decoded after the one before it, and none is heard before it is decoded. `repaired`: how
    many were not so."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, int]] = {}
        self.repaired = 0

    def mend(
        self, number: int, info: StreamInfo, pts: int | None, dts: int | None, duration: int
    ) -> tuple[int, int | None]:
        """pts and dts of the next packet of stream `number`, in units of its time base."""
        last, length = self._last.get(number, (None, 0))
        time = pts if dts is None else dts
        if time is None:
            time = 0 if last is None else last + max(length, _step(info))
            pts = dts = time
            self.repaired += 1
        if last is not None and time < (least := last + _step(info)):
            self.repaired += 1
            after = max(least, last + length)
            time = dts = after if (after - time) * info.time_base <= _JUMP_BACK else least
        self._last[number] = time, duration
        return time if pts is None or pts < time else pts, dts


def _step(info: StreamInfo) -> int:
    """The least difference of two times: one that is left in units of a sample, too."""
    if info.kind != "audio" or (info.codec in _SHORT and info.time_base >= Fraction(1, 1000)):
        return 0
    rate = int(info.parameters.get("sample_rate") or 0)
    return max(1, math.ceil(1 / (rate * info.time_base))) if rate else 1
