"""More pictures than a file has: some between each two, along their motion.

That motion is searched for. The vectors of the file were tried: they lie between the same pictures
and cost nothing to find, but what is cheapest to code is not where things went (docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace

import torch

from stcodec.codec.patches import Frames, PatchSize, frames_from_planes, planes_from_frames
from stcodec.common.values import Packet, Picture, Planes, VideoInfo
from stcodec.encoder.scene_cuts import SceneCutDetector

_PATCH = PatchSize()


@dataclass(frozen=True)
class Interpolation:
    """`times` pictures for each one: the picture itself, and those between it and the next, evenly
    in time. The last one stays as it is, and so does one before a cut."""

    times: int = 1

    def info(self, info: VideoInfo) -> VideoInfo:
        """What is said of a video of so many more pictures."""
        if self.times == 1:
            return info
        rate = None if info.frame_rate is None else info.frame_rate * self.times
        base = info.time_base / self.times
        return replace(info, frame_rate=rate, time_base=base, frames=None)

    def pictures(
        self, items: Iterable[Picture | Packet], bit_depth: int
    ) -> Generator[Picture | Packet, None, None]:
        """Pictures and those between them, in the time base of `info`; packets go ahead of the
        picture that waits for the next."""
        cuts, waiting = SceneCutDetector(), None
        frames: Frames | None = None
        for item in items:
            if isinstance(item, Packet):
                yield item
                continue
            cut = cuts.is_cut(item.planes[0])
            own = frames_from_planes([item.planes], bit_depth, _PATCH)
            if waiting is not None and frames is not None:
                yield from self._until(waiting, item, (frames, own), cut, bit_depth)
            waiting, frames = item, own
        if waiting is not None:
            yield self._at(waiting, waiting.planes, 0, waiting.duration * self.times)

    def _until(
        self,
        first: Picture,
        second: Picture,
        frames: tuple[Frames, Frames],
        cut: bool,
        bit_depth: int,
    ) -> Iterator[Picture]:
        """A picture and those between it and the next."""
        length = second.pts - first.pts
        if cut:
            yield self._at(first, first.planes, 0, length * self.times)
            return
        yield self._at(first, first.planes, 0, length)
        before, after = frames
        from stcodec.encoder import between  # here: who reads files otherwise needs no search

        with torch.no_grad():
            motion = between.motion_between(before, after)
            for number in range(1, self.times):
                made = between.picture_between(before, after, motion, number / self.times)
                height, width = first.planes[0].shape
                (planes,) = planes_from_frames(made, height, width, bit_depth)
                yield self._at(first, planes, number * length, length)

    def _at(self, picture: Picture, planes: Planes, later: int, duration: int) -> Picture:
        return Picture(planes, picture.pts * self.times + later, duration)
