"""Pictures between two pictures of a video, along their motion. Nothing here is normative.

Of each block of the picture in between it is asked which motion brings the two pictures into
agreement there: that which the encoder's search finds for the place and around it, none, and small
changes of the best of these. Pictures of half the size answer, by the codec's own prediction.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stcodec.codec import compensation
from stcodec.codec.motion import BI, Fields
from stcodec.codec.patches import Frames
from stcodec.encoder import tuning
from stcodec.encoder.search import SearchSettings, SourcePicture, in_bytes, search_pictures

_AROUND = ((-1, 0), (1, 0), (0, -1), (0, 1))


def motion_between(before: Frames, after: Frames) -> np.ndarray:
    """Motion int16 [2, H / 8, W / 8] from one picture to the next in quarter samples, of what is
    halfway between them at each 8x8 block."""
    pictures = [SourcePicture(in_bytes(frames.y[0, 0])) for frames in (before, after)]
    (found,) = search_pictures(pictures, [(1, 0, None)], SearchSettings(tuning.BETWEEN_BIT_COST))
    start = -found.vectors[0, 0]
    # What is predicted there is chroma to the codec, whatever it shows.
    halves = [F.avg_pool2d(frames.y, 2) for frames in (before, after)]
    smooth = torch.from_numpy(_median(start.numpy()))
    best = torch.zeros_like(smooth)
    cost = _disagreement(halves, best, smooth)
    for candidate in (start, smooth, *_neighbours(start, 2)):
        best, cost = _better(halves, candidate, smooth, best, cost)
    for reach in tuning.BETWEEN_REFINEMENTS:
        for candidate in _neighbours(best, 1):
            best, cost = _better(halves, candidate, smooth, best, cost)
        for dy, dx in _AROUND:
            nearby = best + torch.tensor([dy * reach, dx * reach], dtype=torch.int16)[:, None, None]
            best, cost = _better(halves, nearby, smooth, best, cost)
    return best.numpy()


def picture_between(before: Frames, after: Frames, motion: np.ndarray, part: float) -> Frames:
    """The picture at `part` (0..1) of the way from one picture to the next."""
    moved = torch.from_numpy(motion.astype(np.float32))
    vectors = torch.stack([(-part * moved).round(), ((1 - part) * moved).round()])[None]
    modes = torch.full((1, motion.shape[1] // 2, motion.shape[2] // 2), BI, dtype=torch.uint8)
    device = before.y.device
    fields = Fields(vectors.to(torch.int16).to(device), modes.to(device))
    return compensation.predict([before], [after], fields)


def _better(
    halves: list[Tensor], candidate: Tensor, smooth: Tensor, best: Tensor, cost: Tensor
) -> tuple[Tensor, Tensor]:
    """The better motion of each block, and its cost."""
    found = _disagreement(halves, candidate, smooth)
    won = found < cost
    return torch.where(won, candidate, best), torch.where(won, found, cost)


def _disagreement(halves: list[Tensor], motion: Tensor, smooth: Tensor) -> Tensor:
    """How little two pictures of half the size agree halfway between them, [H / 8, W / 8], and how
    unlikely the motion is."""
    half = torch.div(motion, 2, rounding_mode="floor")
    first, second = (
        compensation.predict_half(picture, vectors)
        for picture, vectors in zip(halves, (-half, motion - half), strict=True)
    )
    difference = F.avg_pool2d((first - second).abs(), 4)
    padded = F.pad(difference, (1, 1, 1, 1), mode="replicate")
    unlikely = (motion - smooth).abs().sum(0).clamp(max=tuning.BETWEEN_MOST_UNLIKELY)
    return F.avg_pool2d(padded, 3, 1)[0, 0].cpu() + tuning.BETWEEN_UNLIKELY * unlikely


def _neighbours(motion: Tensor, distance: int) -> Iterator[Tensor]:
    """What the blocks at a distance have, on four sides."""
    padded = F.pad(motion[None].float(), (distance,) * 4, mode="replicate")[0].to(torch.int16)
    rows, columns = motion.shape[1:]
    for dy, dx in _AROUND:
        top, left = distance * (1 + dy), distance * (1 + dx)
        yield padded[:, top : top + rows, left : left + columns]


def _median(motion: np.ndarray) -> np.ndarray:
    """The median of the 3x3 blocks around each 16x16 one."""
    padded = np.pad(motion, ((0, 0), (2, 2), (2, 2)), mode="edge")
    rows, columns = motion.shape[1:]
    shifts = [padded[:, y : y + rows, x : x + columns] for y in (0, 2, 4) for x in (0, 2, 4)]
    return np.median(np.stack(shifts), axis=0).astype(np.int16)
