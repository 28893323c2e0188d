"""Which part of each picture of a chunk has to be made where a part of what is shown is wanted.

Motion says what a part is predicted from, and all motion of a chunk is read before its first
picture is made, so that these parts are found exactly, from the leaves of the tree back to its key
frames. Key frames are made whole: the next chunk may look anywhere in them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from stcodec.codec.compensation import LUMA_TAPS, OVERLAP
from stcodec.codec.motion import BI, BLOCK, FIRST, NEITHER, SECOND, Fields
from stcodec.codec.patches import MOTION_BLOCK, Frames, PatchSize
from stcodec.codec.tree import Step

# Luma samples around a block that its prediction looks at; taps of chroma reach as far.
_REACH = OVERLAP + LUMA_TAPS


class Region(NamedTuple):
    """Part of a picture in luma samples, all even: rows top to bottom, columns left to right, the
    last ones not included."""

    top: int
    left: int
    bottom: int
    right: int

    def joined(self, other: Region | None) -> Region:
        """The smallest one that holds both."""
        if other is None:
            return self
        low, high = zip(self[:2], other[:2], strict=True), zip(self[2:], other[2:], strict=True)
        return Region(*map(min, low), *map(max, high))

    def of(self, frames: Frames) -> Frames:
        """This part of pictures, in memory of its own."""
        parts = []
        for plane, by in zip(frames, (1, 2, 2), strict=True):
            top, left, bottom, right = (value // by for value in self)
            parts.append(plane[..., top:bottom, left:right].contiguous())
        return Frames(*parts)

    def put(self, part: Frames, into: Frames) -> None:
        """Set this part of pictures."""
        for plane, own, by in zip(into, part, (1, 2, 2), strict=True):
            top, left, bottom, right = (value // by for value in self)
            plane[..., top:bottom, left:right] = own


@dataclass(frozen=True)
class Canvas:
    """Padded pictures of height x width luma samples; unit: rows and columns of the smallest part
    that holds whole patches and motion blocks."""

    height: int
    width: int
    unit: tuple[int, int]

    @staticmethod
    def of(width: int, height: int, patch: PatchSize) -> Canvas:
        """For pictures of a size."""
        return Canvas(*patch.padded(height, width), patch.padded(1, 1))

    @property
    def whole(self) -> Region:
        """All of a picture."""
        return Region(0, 0, self.height, self.width)

    def grown(self, region: Region, rows: int = 0, columns: int = 0) -> Region:
        """A region and so many samples around it, out to whole units, within the picture. What lies
        outside the picture stands for its edge."""
        high, wide = self.unit
        top = min(max(region.top - rows, 0), self.height - 1) // high * high
        left = min(max(region.left - columns, 0), self.width - 1) // wide * wide
        bottom, right = max(region.bottom + rows, top + 1), max(region.right + columns, left + 1)
        bottom, right = -(-bottom // high) * high, -(-right // wide) * wide
        return Region(top, left, min(bottom, self.height), min(right, self.width))


def regions(
    frames: Sequence[tuple[Step, Fields | None, int]],
    shown: Collection[int],
    wanted: Region,
    canvas: Canvas,
    margins: Sequence[int],
    patch: PatchSize,
) -> dict[int, Region]:
    """What has to be predicted of each frame that is needed at all.

    frames: the steps of one frame each, in the order of coding, their motion, and how many luma
    samples around a part their loop filters look at; shown: the frames of which `wanted` is;
    margins: by kind of frame, how many patches around a part networks look at.
    """
    needed: dict[int, Region] = {}
    for step, fields, samples in reversed(frames):
        (frame,) = step.frames
        part = wanted if frame in shown else None
        part = needed.get(frame, part) if part is None else part.joined(needed.get(frame))
        if step.level == 0:
            part = canvas.whole
        if part is None:
            continue
        margin = margins[step.kind]
        around = margin * patch.h + samples, margin * patch.w + samples
        needed[frame] = part = canvas.grown(part, *around)
        if fields is None or step.level == 0:
            continue
        for side, reference in enumerate(step.references[0]):
            source = None if reference is None else _source(fields, side, part, canvas)
            if source is not None:
                assert reference is not None
                needed[reference] = source.joined(needed.get(reference))
    return needed


def _source(fields: Fields, side: int, part: Region, canvas: Canvas) -> Region | None:
    """What of a reference a part of a frame is predicted from, neighbours that reach into it
    included; None: nothing."""
    around = canvas.grown(part, MOTION_BLOCK, MOTION_BLOCK)
    rows, columns = (
        slice(around[i] // MOTION_BLOCK, -(-around[i + 2] // MOTION_BLOCK)) for i in (0, 1)
    )
    modes = fields.modes[0, rows, columns].cpu().numpy()
    used = ((modes == BI) | (modes == (FIRST, SECOND)[side])).repeat(2, 0).repeat(2, 1)
    if not used.any():
        return None
    twice = [slice(2 * s.start, 2 * s.stop) for s in (rows, columns)]
    vectors = fields.vectors[0, side][:, twice[0], twice[1]].cpu().numpy().astype(np.int64)
    ends = []
    for axis, start in enumerate((twice[0].start, twice[1].start)):
        corners = (np.arange(used.shape[axis]) + start) * BLOCK
        moved = (corners[:, None] if axis == 0 else corners) + (vectors[axis] >> 2)
        ends.append((int(moved[used].min()) - _REACH, int(moved[used].max()) + BLOCK + _REACH + 1))
    (top, bottom), (left, right) = ends
    return canvas.grown(Region(top, left, bottom, right))


def within(fields: Fields, part: Region, canvas: Canvas) -> Fields:
    """Motion of which blocks that do not reach into a part predict nothing."""
    if part == canvas.whole:
        return fields
    around = canvas.grown(part, MOTION_BLOCK, MOTION_BLOCK)
    top, left, bottom, right = (-(-value // MOTION_BLOCK) for value in around)
    modes = torch.full_like(fields.modes, NEITHER)
    modes[:, top:bottom, left:right] = fields.modes[:, top:bottom, left:right]
    return Fields(fields.vectors, modes)
