"""Frames <-> patches: padding, pixel patches, chunks.

A picture is 4:2:0: luma [H, W] and two chroma planes of half the size. A *patch vector* holds the
samples of one patch of one frame, `h*w` luma samples followed by `h*w/4` samples of U and of V, 96
numbers for 8x8. The spacetime patch of a chunk is the concatenation over its `t` frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stcodec.codec.transfers import download
from stcodec.common.values import Planes

CHUNK_FRAMES = 8
MOTION_BLOCK = 16
_PIXELS_AT_ONCE = 1 << 24  # each takes some 0.3 kB


class Frames(NamedTuple):
    """N pictures: y [N, 1, H, W], u and v [N, 1, H/2, W/2], float32, nominally in [0, 1]."""

    y: Tensor
    u: Tensor
    v: Tensor

    def __getitem__(self, key):  # type: ignore[no-untyped-def]
        raise TypeError("index the planes, or use take()")

    def take(self, index: Sequence[int]) -> Frames:
        """The pictures at `index`, in that order."""
        at = list(index)
        return Frames(self.y[at], self.u[at], self.v[at])

    @staticmethod
    def join(parts: Sequence[Frames]) -> Frames:
        """All pictures of `parts`, in that order."""
        if len(parts) == 1:
            return parts[0]
        return Frames(*(torch.cat(planes) for planes in zip(*parts, strict=True)))

    def apart(self) -> list[Frames]:
        """Each picture for itself (batch size 1)."""
        return [Frames(*planes) for planes in zip(*(p.split(1) for p in self), strict=True)]


@dataclass(frozen=True)
class PatchSize:
    """Size of a patch: `t` frames, `h` x `w` luma samples (even)."""

    t: int = CHUNK_FRAMES
    h: int = 8
    w: int = 8

    @property
    def channels(self) -> int:
        """Numbers per patch and frame: luma plus the 4:2:0 chroma under it."""
        return self.h * self.w * 3 // 2

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """The padded luma size (multiples of the patch and of the 16x16 motion block)."""
        vertical, horizontal = math.lcm(self.h, MOTION_BLOCK), math.lcm(self.w, MOTION_BLOCK)
        return -(-height // vertical) * vertical, -(-width // horizontal) * horizontal


@dataclass(frozen=True)
class Geometry:
    """The grids that a picture of width x height luma samples is cut into, once padded."""

    width: int
    height: int
    patch: PatchSize

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        height, width = self.patch.padded(self.height, self.width)
        return height // self.patch.h, width // self.patch.w

    @property
    def frames_at_once(self) -> int:
        """How many frames are worked on as one batch, off a CPU."""
        return max(1, _PIXELS_AT_ONCE // (self.width * self.height))

    @property
    def blocks(self) -> tuple[int, int]:
        """Rows and columns of motion blocks."""
        height, width = self.patch.padded(self.height, self.width)
        return height // MOTION_BLOCK, width // MOTION_BLOCK


def frames_from_planes(
    pictures: Sequence[Planes], bit_depth: int, patch: PatchSize, device: torch.device | str = "cpu"
) -> Frames:
    """Stack pictures (uint8 or uint16 planes) into float Frames, padded by edge replication."""
    return Frames(*(plane_of(pictures, index, bit_depth, patch, device) for index in range(3)))


def plane_of(
    pictures: Sequence[Planes],
    index: int,
    bit_depth: int,
    patch: PatchSize,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Plane `index` (0 luma) of what `frames_from_planes` gives."""
    high, wide = patch.padded(*pictures[0][0].shape)
    if index > 0:
        high, wide = high // 2, wide // 2
    stack = np.stack([picture[index] for picture in pictures])
    if stack.dtype == np.uint16:
        stack = stack.astype(np.int32)
    scale = 1.0 / ((1 << bit_depth) - 1)
    tensor = torch.from_numpy(stack).to(device).to(torch.float32).mul_(scale).unsqueeze(1)
    pad = (0, wide - tensor.shape[-1], 0, high - tensor.shape[-2])
    return F.pad(tensor, pad, mode="replicate") if any(pad) else tensor


def integers_from_frames(
    frames: Frames, height: int, width: int, bit_depth: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Round to the samples of a `bit_depth`, crop the padding: y [N, 1, height, width], u and v [N,
    1, ceil(height/2), ceil(width/2)], uint8 or (10 bits) int16, on the device of `frames`."""
    peak = (1 << bit_depth) - 1
    half = (height + 1) // 2, (width + 1) // 2
    y, u, v = (
        tensor[..., :h, :w]
        .mul(peak)
        .round_()
        .clamp_(0, peak)
        .to(torch.uint8 if bit_depth == 8 else torch.int16)
        for tensor, (h, w) in zip(frames, [(height, width), half, half], strict=True)
    )
    return y, u, v


def planes_from_frames(frames: Frames, height: int, width: int, bit_depth: int) -> list[Planes]:
    """Round to integers, crop the padding; the inverse of `frames_from_planes` for pictures that
    are integers."""
    dtype = np.uint8 if bit_depth == 8 else np.uint16
    integers = integers_from_frames(frames, height, width, bit_depth)
    planes = [download(tensor[:, 0]).numpy().astype(dtype, copy=False) for tensor in integers]
    return [(planes[0][i], planes[1][i], planes[2][i]) for i in range(len(planes[0]))]


def _parts(vectors: Tensor, patch: PatchSize) -> tuple[tuple[Tensor, int, int], ...]:
    """Views [N, H/h, W/w, block height, block width] of the three planes in rows of patch vectors
    [N, H/h, W/w, C]."""
    h, w = patch.h, patch.w
    luma, chroma = h * w, (h // 2) * (w // 2)
    starts = (
        (0, luma, h, w),
        (luma, chroma, h // 2, w // 2),
        (luma + chroma, chroma, h // 2, w // 2),
    )
    return tuple((vectors[..., a : a + n].unflatten(-1, (y, x)), y, x) for a, n, y, x in starts)


def patchify(frames: Frames, patch: PatchSize) -> Tensor:
    """Frames -> patch vectors [N, patch.channels, H/h, W/w]; a permutation, hence exact. A vector
    lies in one piece in memory."""
    n, _, height, width = frames.y.shape
    vectors = frames.y.new_empty(n, height // patch.h, width // patch.w, patch.channels)
    for plane, (part, h, w) in zip(frames, _parts(vectors, patch), strict=True):
        part.copy_(plane.view(n, part.shape[1], h, part.shape[2], w).transpose(2, 3))
    return vectors.permute(0, 3, 1, 2)


def unpatchify(vectors: Tensor, patch: PatchSize) -> Frames:
    """Patch vectors [N, patch.channels, H/h, W/w] -> Frames; the inverse of `patchify`."""
    n, _, rows, columns = vectors.shape
    parts = _parts(vectors.permute(0, 2, 3, 1), patch)
    return Frames(
        *(part.transpose(2, 3).reshape(n, 1, rows * h, columns * w) for part, h, w in parts)
    )


def add_patches(frames: Frames, at: Tensor, vectors: Tensor, patch: PatchSize) -> None:
    """Add patch vectors [r, C] to the patches numbered `at` [r] of one picture, in place."""
    width = frames.y.shape[3]
    columns = width // patch.w
    row, column = torch.div(at, columns, rounding_mode="floor"), at % columns
    parts = _parts(vectors, patch)
    for plane, (part, h, w) in zip(frames, parts, strict=True):
        blocks = plane.view(-1, h, columns, w).transpose(1, 2)
        blocks[row, column] += part
