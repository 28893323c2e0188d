"""A part of a video on its time line, and which pictures and packets lie in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from stcodec.common.values import Chapter, Extras, Packet, Picture
from stcodec.errors import UsageError

# Seconds by which packets may lie behind the pictures of their time.
PACKETS_BEHIND = 2

Item = TypeVar("Item", Picture, Packet)


@dataclass(frozen=True)
class Window:
    """Seconds on the time line of the pictures' pts, from `start` up to `end` (None: no end)."""

    start: Fraction
    end: Fraction | None

    @classmethod
    def after(cls, origin: Fraction, start: float | None, end: float | None) -> Window:
        """From `start` (None: 0) to `end` seconds after `origin`."""
        begin, until = (
            None if t is None else origin + Fraction(t).limit_denominator(1_000_000)
            for t in (start, end)
        )
        return cls(origin if begin is None else begin, until)

    def inside(self, item: Item, base: Fraction) -> Item | None:
        """The item with the window's start as its time zero; None if it lies outside. base: seconds
        per unit of its pts."""
        time = item.pts if item.pts is not None else item.dts if isinstance(item, Packet) else None
        if (
            time is None
            or time * base < self.start
            or (self.end is not None and time * base >= self.end)
        ):
            return None
        shift = round(self.start / base)
        if isinstance(item, Picture):
            return dataclasses.replace(item, pts=item.pts - shift)
        pts, dts = (None if t is None else t - shift for t in (item.pts, item.dts))
        return dataclasses.replace(item, pts=pts, dts=dts)

    def extras(self, extras: Extras) -> Extras:
        """Chapters inside, with the window's start as their time zero; attachments as they are."""
        chapters = []
        for chapter in extras.chapters:
            start = max(chapter.start, self.start)
            end = chapter.end if self.end is None else min(chapter.end, self.end)
            if start < end:
                chapters.append(Chapter(start - self.start, end - self.start, chapter.metadata))
        return dataclasses.replace(extras, chapters=tuple(chapters))


def nothing_in(name: str, duration: float | None) -> UsageError:
    """That a part of a video has no picture; duration: of the video, in seconds."""
    length = f", which lasts {duration:.2f} s" if duration else ""
    return UsageError(f"{name}{length}: there is no picture in the chosen part")


def cut(
    items: Iterable[Picture | Packet],
    start: float | None,
    end: float | None,
    base: Fraction,
    packet_bases: Sequence[Fraction],
) -> Iterator[Picture | Packet]:
    """The items from `start` to `end` seconds after the first picture. base and packet_bases: time
    bases of the pictures and of each carried stream. Items come in order of time, packets up to
    `PACKETS_BEHIND` seconds late."""
    window: Window | None = None
    early: list[Packet] = []
    for item in items:
        if window is None:
            if isinstance(item, Packet):
                early.append(item)
                continue
            window = Window.after(item.pts * base, start, end)
            for packet in early:
                if (kept := window.inside(packet, packet_bases[packet.stream])) is not None:
                    yield kept
        if isinstance(item, Packet):
            if (kept := window.inside(item, packet_bases[item.stream])) is not None:
                yield kept
            continue
        if window.end is not None and item.pts * base >= window.end + PACKETS_BEHIND:
            return
        if (shown := window.inside(item, base)) is not None:
            yield shown
