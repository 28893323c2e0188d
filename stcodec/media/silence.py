"""Silence in PCM sound where there is none: MP4 and MOV hold samples one after the other, and no
gaps between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from stcodec.common.values import Packet, StreamInfo

TOLERANCE = Fraction(1, 20)
"""Seconds by which sound may come late or early before silence is put in, or sound left out."""
LONGEST = 12 * 3600
"""Seconds of silence that are put into one track, in all: a damaged time stamp can claim decades,
which would fill the disk. Sound behind that has its time, and nothing before it."""
_PCM = re.compile(r"pcm_([sf])(16|24|32|64)[lb]e")


class SilenceFiller:
    """Makes PCM of signed or floating-point samples whole; `info` describes it. Gaps become
    silence, and what comes for a second time is left out."""

    def __init__(self, info: StreamInfo) -> None:
        match = _PCM.fullmatch(info.codec)
        assert match is not None
        self.info = info
        self._rate = int(info.parameters["sample_rate"])
        self._block = int(info.parameters["channels"]) * int(match[2]) // 8
        self._next: int | None = None
        self._left = LONGEST * self._rate

    @staticmethod
    def suits(info: StreamInfo) -> bool:
        """Whether a stream can be made whole."""
        known = bool(info.parameters.get("sample_rate") and info.parameters.get("channels"))
        return known and _PCM.fullmatch(info.codec) is not None

    def convert(self, packet: Packet) -> Iterator[Packet]:
        """The packet, in its place, with silence before it where that is needed."""
        data, base = packet.data, self.info.time_base
        time = packet.pts if packet.pts is not None else packet.dts
        begin = self._next or 0 if time is None else round(time * base * self._rate)
        place = begin if self._next is None else self._next
        if begin - place > TOLERANCE * self._rate:
            yield from self._silence(packet, place, min(begin, place + self._left))
            self._left -= min(begin - place, self._left)
            place = begin
        elif place - begin > TOLERANCE * self._rate:
            data = data[(place - begin) * self._block :]
        if data:
            yield self._packet(packet, place, data)
            place += len(data) // self._block
        self._next = place

    def finish(self) -> list[Packet]:
        """Nothing is ever left."""
        return []

    def _silence(self, like: Packet, place: int, end: int) -> Iterator[Packet]:
        while place < end:
            count = min(self._rate, end - place)
            yield self._packet(like, place, bytes(count * self._block))
            place += count

    def _packet(self, like: Packet, place: int, data: bytes) -> Packet:
        base = self.info.time_base * self._rate
        pts, end = round(place / base), round((place + len(data) // self._block) / base)
        return replace(like, pts=pts, dts=pts, duration=end - pts, data=data)
