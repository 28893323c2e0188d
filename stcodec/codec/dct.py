"""The discrete cosine transform of a line of samples."""

from __future__ import annotations

import math

import numpy as np


def dct_matrix(size: int) -> np.ndarray:
    """The orthonormal DCT-II as a float64 [size, size] matrix; row k is the basis of frequency
    k."""
    k, n = np.arange(size)[:, None], np.arange(size)[None, :]
    basis = np.cos(np.pi * (2 * n + 1) * k / (2 * size)) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis


def cosines(size: int) -> tuple[np.ndarray, np.ndarray]:
    """See `transform.LINES`."""
    return dct_matrix(size), np.arange(size, dtype=np.float64)
