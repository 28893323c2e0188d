"""Patches that overlap: a lapped orthonormal transform.

Before pictures are cut into patches, the samples on both sides of each edge between two patches are
mixed, out to the middles of the patches, by an orthonormal matrix; after they are put together
again, its transpose undoes that. So a coefficient belongs to a window of twice the patch's size,
and what quantisation does to it fades out across the edges instead of ending there. With the DCT
this is the fast lapped transform (LOT, type II: Malvar 1992; as a filter across edges: Tran, Liang
and Tu 2003).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from stcodec.codec.dct import dct_matrix
from stcodec.codec.patches import Frames, PatchSize

REACH = 1
"""How many patches around a patch its samples depend on, and its coefficients."""


def edge_matrix(size: int) -> np.ndarray:
    """What mixes the samples on both sides of an edge between patches of `size` samples, half of
    them on each side: orthonormal float64 [size, size]. It leaves alone what is the same on both
    sides, such as anything constant."""
    half = size // 2
    same, mirror = np.eye(half), np.eye(half)[::-1]
    k, n = np.arange(half)[:, None], np.arange(half)[None, :]
    fourth = np.cos(np.pi * (2 * k + 1) * (2 * n + 1) / (4 * half)) * math.sqrt(2 / half)
    apart = np.block([[same, mirror], [same, -mirror]]) / math.sqrt(2)
    turned = np.eye(size)
    turned[half:, half:] = dct_matrix(half).T @ fourth
    found: np.ndarray = apart.T @ turned @ apart
    return found


class Overlap(nn.Module):
    """The mixing of a patch size: in luma and chroma, of rows and of columns."""

    luma_down: Tensor
    luma_across: Tensor
    chroma_down: Tensor
    chroma_across: Tensor

    def __init__(self, patch: PatchSize) -> None:
        super().__init__()
        for name, size in (
            ("luma_down", patch.h),
            ("luma_across", patch.w),
            ("chroma_down", patch.h // 2),
            ("chroma_across", patch.w // 2),
        ):
            matrix = torch.tensor(edge_matrix(size), dtype=torch.float32)
            self.register_buffer(name, matrix, persistent=False)

    def before(self, frames: Frames) -> Frames:
        """What is cut into patches instead of padded pictures."""
        luma, chroma = self._matrices()
        return Frames(*(_mixed(p, *m) for p, m in zip(frames, (luma, chroma, chroma), strict=True)))

    def after(self, frames: Frames) -> Frames:
        """The inverse of `before`."""
        luma, chroma = ((down.T, across.T) for down, across in self._matrices())
        return Frames(*(_mixed(p, *m) for p, m in zip(frames, (luma, chroma, chroma), strict=True)))

    def _matrices(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        return (self.luma_down, self.luma_across), (self.chroma_down, self.chroma_across)


def _mixed(plane: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """A plane [N, 1, H, W] with its edges between rows and columns of patches mixed."""
    high, wide = len(down), len(across)
    rows = plane[..., high // 2 : plane.shape[2] - high // 2, :]
    rows = (down @ rows.unflatten(2, (-1, high))).flatten(2, 3)
    plane = torch.cat([plane[..., : high // 2, :], rows, plane[..., -(high // 2) :, :]], dim=2)
    columns = plane[..., wide // 2 : plane.shape[3] - wide // 2]
    columns = (columns.unflatten(3, (-1, wide)) @ across.T).flatten(3)
    return torch.cat([plane[..., : wide // 2], columns, plane[..., -(wide // 2) :]], dim=3)
