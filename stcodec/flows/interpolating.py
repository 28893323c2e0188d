"""More pictures than a file has: some between each two, along their motion."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from stcodec.codec.chunk import ChunkSymbols, FrameSymbols
from stcodec.codec.motion import FIRST, SECOND
from stcodec.codec.patches import Frames, PatchSize, frames_from_planes, planes_from_frames
from stcodec.common.shape import Box
from stcodec.common.values import Packet, Picture, Planes, VideoInfo
from stcodec.encoder import between
from stcodec.encoder.scene_cuts import SceneCutDetector

_BLOCK, _PATCH = 8, PatchSize()


@dataclass(frozen=True)
class MovingPicture(Picture):
    """since: the motion [2, H / 8, W / 8] of the padded picture from the one before it to this one,
    in quarter samples, None where the file has none."""

    since: np.ndarray | None = None


def moving(
    pictures: Iterable[Picture], symbols: ChunkSymbols, crop: Box | None
) -> list[MovingPicture]:
    """The pictures of a chunk with what its symbols say of their motion; crop: the part of them
    that was made."""
    found = []
    leaves = {frame.step.frames[0]: frame for frame in symbols.frames}
    for place, picture in enumerate(pictures):
        since = _since(leaves, place)
        if since is not None and crop is not None:
            since = _part(since, crop)
        found.append(MovingPicture(picture.planes, picture.pts, picture.duration, since))
    return found


def _since(frames: dict[int, FrameSymbols], place: int) -> np.ndarray | None:
    """Of two frames that follow each other, one is predicted from the other."""
    for frame, other, sign in ((place, place - 1, -1), (place - 1, place, 1)):
        found = frames.get(frame)
        if found is None or found.fields is None or other not in found.step.references[0]:
            continue
        side = found.step.references[0].index(other)
        vectors = found.fields.vectors[0].cpu().numpy()
        modes = found.fields.modes[0].cpu().numpy().repeat(2, 0).repeat(2, 1)
        # Where a block looks the other way alone, it is taken to move on as it does there.
        away = modes == (SECOND, FIRST)[side]
        return sign * np.where(away, -vectors[1 - side], vectors[side])
    return None


def _part(motion: np.ndarray, crop: Box) -> np.ndarray:
    """The motion of a part of the picture, which need not begin with a block."""
    assert crop.x is not None and crop.y is not None
    rows, columns = (n // _BLOCK for n in _PATCH.padded(crop.height, crop.width))
    row = (np.arange(rows) * _BLOCK + crop.y + _BLOCK // 2) // _BLOCK
    column = (np.arange(columns) * _BLOCK + crop.x + _BLOCK // 2) // _BLOCK
    row, column = row.clip(max=motion.shape[1] - 1), column.clip(max=motion.shape[2] - 1)
    return motion[:, row][:, :, column]


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
        """Pictures of `MovingPicture` or others, with those between them, in the time base of
        `info`; packets go ahead of the picture that waits for the next."""
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
        with torch.no_grad():
            known = second.since if isinstance(second, MovingPicture) else None
            if known is None:
                known = between.searched(before, after)
            motion = between.motion_between(before, after, known)
            for number in range(1, self.times):
                made = between.picture_between(before, after, motion, number / self.times)
                height, width = first.planes[0].shape
                (planes,) = planes_from_frames(made, height, width, bit_depth)
                yield self._at(first, planes, number * length, length)

    def _at(self, picture: Picture, planes: Planes, later: int, duration: int) -> Picture:
        return Picture(planes, picture.pts * self.times + later, duration)
