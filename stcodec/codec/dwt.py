"""A discrete wavelet transform of a line of samples: orthonormal wavelets of linear splines.

Where a patch ends, so do its wavelets: nothing is wrapped around or mirrored. At each scale, from
coarse to fine, wavelets are differences of neighbouring hat functions, made orthogonal to all that
is coarser and then, symmetrically (Löwdin 1950), to each other. Lines of linear slope, which Haar's
wavelets cut into stairs, cost little: of a first-order Markov process (0.95, 8 samples) the coding
gain is 8.6 dB, where Haar's is 7.9 and that of the DCT 8.8.
"""

from __future__ import annotations

import numpy as np


def wavelets(size: int) -> tuple[np.ndarray, np.ndarray]:
    """See `transform.LINES`; size: a power of two.

    Row 0 is the mean; rows m to 2 m - 1 are the m wavelets of one scale, from left to right, whose
    frequency is the mean of those of the cosines that they stand for.
    """
    rows = np.full((1, size), size**-0.5)
    frequency = np.zeros(size)
    count = 1
    while count < size:
        place = (np.arange(size) + 0.5) * 2 * count / size - 0.5
        place = np.clip(place, 0, 2 * count - 1)
        hats = np.maximum(0.0, 1.0 - np.abs(place[None, :] - np.arange(2 * count)[:, None]))
        own = hats[1::2] - hats[::2]
        own -= own @ rows.T @ rows
        rows = np.concatenate([rows, _orthonormal(own)])
        frequency[count : 2 * count] = (3 * count - 1) / 2
        count *= 2
    return rows, frequency


def _orthonormal(rows: np.ndarray) -> np.ndarray:
    """Independent rows, each changed as little as possible so that they are orthonormal."""
    values, vectors = np.linalg.eigh(rows @ rows.T)
    found: np.ndarray = (vectors / np.sqrt(values)) @ vectors.T @ rows
    return found
