"""What networks and filters leave alone: palette patches, and what is predicted from them alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stcodec.codec.motion import BLOCK, FIRST, SECOND, Fields
from stcodec.codec.palette import Samples
from stcodec.codec.patches import Frames, PatchSize
from stcodec.codec.transfers import upload


class Exact(NamedTuple):
    """What of a picture networks and filters leave alone: palette patches, and patches that are as
    they are predicted, bool [rows, columns]; None: there are none."""

    samples: Samples | None
    kept: np.ndarray | None

    @classmethod
    def of(cls, copies: np.ndarray | None, samples: Samples | None, magnitudes: Tensor) -> Exact:
        """What is exact in a frame: palette patches, and copies of exact patches (`copied`) that
        have no symbols; magnitudes [1, rows, columns, C]."""
        if copies is not None:
            copies = copies & ~(magnitudes[0] != 0).any(-1).numpy()
            copies = copies if samples is None else copies & ~samples.chosen
        return cls(samples, copies if copies is not None and copies.any() else None)

    def masks(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Which patches are palette patches, and which are kept."""
        return None if self.samples is None else self.samples.chosen, self.kept

    def patches(self) -> np.ndarray | None:
        """Both."""
        told, kept = self.masks()
        return kept if told is None else told if kept is None else told | kept


NOTHING = Exact(None, None)


def copied(
    fields: Fields, exact: Sequence[np.ndarray | None], patch: PatchSize
) -> np.ndarray | None:
    """Which patches of a frame are predicted by whole samples from exact ones alone, bool [rows,
    columns]; None: none.

    fields: its motion (batch size 1); exact: bool [rows, columns] of its references, None where
    nothing is exact there."""
    found: np.ndarray | None = None
    modes = fields.modes[0].numpy().repeat(2, 0).repeat(2, 1)
    for side, mode in enumerate((FIRST, SECOND)):
        there, takes = exact[side], modes != (SECOND if mode == FIRST else FIRST)
        if there is None:
            own = ~takes
        else:
            own = ~takes | _from(fields.vectors[0, side].numpy(), there, patch)
        found = own if found is None else found & own
    assert found is not None
    by_patch = _by_patch(found, patch)
    return by_patch if by_patch.any() else None


def _from(vectors: np.ndarray, exact: np.ndarray, patch: PatchSize) -> np.ndarray:
    """Which 8x8 samples [2, h, w] -> bool [h, w] are taken from exact patches by whole samples;
    samples beyond an edge are those of the edge."""
    inside = np.zeros((exact.shape[0] + 1, exact.shape[1] + 1), np.int64)
    inside[1:, 1:] = np.cumsum(np.cumsum(~exact, 0), 1)
    whole, ends = np.all(vectors & 3 == 0, axis=0), []
    for axis, side in enumerate((patch.h, patch.w)):
        count = exact.shape[axis] * side
        start = BLOCK * np.arange(vectors.shape[1 + axis])
        start = (start[:, None] if axis == 0 else start) + (vectors[axis].astype(np.int64) >> 2)
        first = np.clip(start, 0, count - 1) // side
        ends.append((first, np.clip(start + BLOCK - 1, 0, count - 1) // side + 1))
    (top, bottom), (left, right) = ends
    others = inside[bottom, right] - inside[top, right] - inside[bottom, left] + inside[top, left]
    result: np.ndarray = whole & (others == 0)
    return result


def _by_patch(parts: np.ndarray, patch: PatchSize) -> np.ndarray:
    """Of 8x8 samples: those patches all of whose parts are true."""
    for axis, side in enumerate((patch.h, patch.w)):
        if side < BLOCK:
            parts = parts.repeat(BLOCK // side, axis)
        elif side > BLOCK:
            starts = np.arange(0, parts.shape[axis], side // BLOCK)
            parts = np.logical_and.reduceat(parts, starts, axis)
    return parts


def patched(frames: Frames, exact: Exact, other: Frames | None, patch: PatchSize) -> Frames:
    """A picture (batch size 1) with its exact patches; other: of which those that are kept
    are taken."""
    if exact.samples is None and exact.kept is None:
        return frames
    masks = [None if some is None else torch.from_numpy(some) for some in exact.masks()]
    told = () if exact.samples is None else exact.samples.planes
    given = [
        t for t in (*masks, *(torch.from_numpy(p.astype(np.int32)) for p in told)) if t is not None
    ]
    there = iter(upload(given, frames.y.device))
    chosen, copies = (None if mask is None else next(there) for mask in masks)
    samples, planes = list(there), []
    for i, plane in enumerate(frames):
        high, wide = (patch.h, patch.w) if i == 0 else (patch.h // 2, patch.w // 2)
        if copies is not None:
            assert other is not None
            own = tuple(other)[i].clamp(0.0, 1.0)
            plane = torch.where(_spread(copies, high, wide), own, plane)
        if chosen is not None:
            assert exact.samples is not None
            own = samples[i].to(torch.float32) / ((1 << exact.samples.bits) - 1)
            plane = torch.where(_spread(chosen, high, wide), own, plane)
        planes.append(plane)
    return Frames(*planes)


def _spread(patches: Tensor, high: int, wide: int) -> Tensor:
    """The samples of some patches, bool [H, W]."""
    return patches.repeat_interleave(high, 0).repeat_interleave(wide, 1)
