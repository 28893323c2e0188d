"""The source pictures of a chunk: kept as the samples that they are, and made into tensors one by
one when they are looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from stcodec.codec.patches import Frames, PatchSize, frames_from_planes, plane_of
from stcodec.common.values import Planes


class SourceChunk:
    """Pictures (uint8, or uint16 for 10 bits) by number, padded to whole patches."""

    def __init__(self, planes: Sequence[Planes], bit_depth: int, patch: PatchSize) -> None:
        self._planes, self.bit_depth, self._patch = planes, bit_depth, patch

    def frames(self, number: int) -> Frames:
        """One picture, batch size 1."""
        return frames_from_planes([self._planes[number]], self.bit_depth, self._patch)

    def padded(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The samples of one picture, Y, U and V, padded, none larger than their bits allow."""
        planes = [np.minimum(p, (1 << self.bit_depth) - 1) for p in self._planes[number]]
        high, wide = self._patch.padded(*planes[0].shape)
        sizes = (high, wide), (high // 2, wide // 2), (high // 2, wide // 2)
        y, u, v = (
            np.pad(a, ((0, h - a.shape[0]), (0, w - a.shape[1])), mode="edge")
            for a, (h, w) in zip(planes, sizes, strict=True)
        )
        return y, u, v

    def luma(self, number: int) -> Tensor:
        """Luma of one picture [1, 1, H, W] in [0, 1]."""
        return plane_of([self._planes[number]], 0, self.bit_depth, self._patch)

    def luma_bytes(self, number: int) -> np.ndarray:
        """Luma of one picture, uint8 [H, W]."""
        luma = self._planes[number][0]
        if self.bit_depth > 8:
            most = (1 << self.bit_depth) - 1
            luma = ((luma.astype(np.uint32) * 255 + most // 2) // most).astype(np.uint8)
        height, width = self._patch.padded(*luma.shape)
        pad = (0, height - luma.shape[0]), (0, width - luma.shape[1])
        return np.ascontiguousarray(np.pad(luma, pad, mode="edge"))
