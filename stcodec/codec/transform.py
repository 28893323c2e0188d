"""The orthonormal DCT of a patch's luma and chroma blocks, and the order of its coefficients."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from stcodec.codec.patches import PatchSize


def dct_matrix(size: int) -> np.ndarray:
    """The orthonormal DCT-II as a float64 [size, size] matrix; row k is the basis of frequency
    k."""
    k, n = np.arange(size)[:, None], np.arange(size)[None, :]
    basis = np.cos(np.pi * (2 * n + 1) * k / (2 * size)) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis


def dct_basis(patch: PatchSize) -> tuple[Tensor, Tensor]:
    """The DCT of a patch as one orthonormal matrix, its rows ordered by frequency.

    Returns (matrix [C, C] float32, frequency [C] float32): row i of the matrix is a luma, U or V
    basis picture, and `frequency[i]` its radial frequency in cycles per luma sample times two (0 =
    DC, about 1.4 = the corner of luma). Rows of the three planes are interleaved in order of
    frequency, so that channel slices are frequency groups.
    """
    blocks, frequencies = [], []
    for h, w, density in ((patch.h, patch.w, 1.0), *(((patch.h // 2), (patch.w // 2), 0.5),) * 2):
        blocks.append(np.kron(dct_matrix(h), dct_matrix(w)))
        fy, fx = np.arange(h)[:, None] / h, np.arange(w)[None, :] / w
        frequencies.append((np.hypot(fy, fx) * density).ravel())
    size = patch.channels
    matrix = np.zeros((size, size))
    start = 0
    for block in blocks:
        matrix[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    frequency = np.concatenate(frequencies)
    order = np.argsort(frequency, kind="stable")
    return torch.tensor(matrix[order], dtype=torch.float32), torch.tensor(
        frequency[order], dtype=torch.float32
    )


def luma_channels(patch: PatchSize) -> Tensor:
    """Bool [C]: which rows of `dct_basis` belong to luma."""
    matrix, _ = dct_basis(patch)
    return matrix[:, : patch.h * patch.w].abs().sum(1) > 0


def luma_grid(patch: PatchSize) -> Tensor:
    """Int64 [h, w]: the row of `dct_basis` that each luma coefficient is, by vertical and
    horizontal frequency."""
    matrix, _ = dct_basis(patch)
    h, w = patch.h, patch.w
    plain = torch.from_numpy(np.kron(dct_matrix(h), dct_matrix(w))).float()
    return (plain @ matrix[:, : h * w].T).abs().argmax(1).view(h, w)
