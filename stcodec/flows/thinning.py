"""Fewer pictures than a file has: levels of the tree that are left out, not decoded and dropped."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace

from stcodec.codec.decoder import ChunkDecoder, Following
from stcodec.codec.symbols import ChunkSymbols
from stcodec.codec.tree import LEVELS
from stcodec.common.values import Packet, Picture, VideoInfo


@dataclass(frozen=True)
class Thinning:
    """The last of every `nth` pictures of a chunk alone, 1, 2, 4 or 8: those that no finer level of
    the tree is needed for."""

    nth: int = 1

    @property
    def levels(self) -> int:
        """Levels of the tree that are decoded, from the coarsest on."""
        return LEVELS + 1 - self.nth.bit_length()

    def info(self, info: VideoInfo) -> VideoInfo:
        """What is said of a video of so many fewer pictures."""
        if self.nth == 1:
            return info
        rate = None if info.frame_rate is None else info.frame_rate / self.nth
        return replace(info, frame_rate=rate, frames=None)

    def pictures(
        self,
        decoder: ChunkDecoder,
        symbols: ChunkSymbols,
        pts: Sequence[int],
        durations: Sequence[int],
        following: Following | None = None,
    ) -> list[Picture]:
        """Those of the pictures of a chunk that are wanted.

        A chunk of fewer than its tree has ends with copies of its last picture: the first one that
        is wanted stands for it. following: see `ChunkDecoder.pictures`."""
        if self.nth == 1:
            every = decoder.pictures(symbols, None, following)
            return list(map(Picture, every, pts, durations))
        places = range(self.nth - 1, symbols.plan.length, self.nth)
        last = len(pts) - 1
        found: dict[int, Picture] = {}
        some = decoder.pictures(symbols, places, following)
        for place, planes in zip(places, some, strict=True):
            at = min(place, last)
            found.setdefault(at, Picture(planes, pts[at], durations[at]))
        return list(found.values())


def from_start(picture: Picture, earlier: int) -> Picture:
    """A picture that is there by so many units of time earlier."""
    return replace(picture, pts=picture.pts - earlier, duration=picture.duration + earlier)


def stretched(items: Iterable[Picture | Packet]) -> Generator[Picture | Packet, None, None]:
    """Pictures that last until the next one; the last one keeps its duration. Packets go ahead of
    the picture that waits for the next."""
    waiting: Picture | None = None
    for item in items:
        if isinstance(item, Packet):
            yield item
            continue
        if waiting is not None:
            yield replace(waiting, duration=item.pts - waiting.pts)
        waiting = item
    if waiting is not None:
        yield waiting
