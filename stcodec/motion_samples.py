"""Samples of pictures at sub-sample positions, for the encoder's motion search: loops compiled by numba.

Pictures are bytes. References have a margin on all sides, in which their edges are repeated; a block that lies outside by more than the
margin looks the same wherever it lies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numba import float32, njit

Function = TypeVar("Function", bound=Callable[..., object])

MARGIN = 24
_TAPS = np.array(
    [[0, 0, 64, 0, 0, 0], [1, -5, 57, 15, -4, 0], [1, -8, 39, 39, -8, 1], [0, -4, 15, 57, -5, 1]], dtype=np.int32
)


def compiled(function: Function) -> Function:
    """Compile at the first call, which takes seconds; the result is kept beside this file or in the user's cache, if either can be
    written."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


@compiled
def phase_planes(padded: np.ndarray, out: np.ndarray) -> None:
    """Quarter-sample phases [4, 4, H, W] (bytes) of a picture [H + 5, W + 5], by filters of 6 taps."""
    height, width = out.shape[2], out.shape[3]
    line = np.empty((height + 5, width), np.int32)
    row = np.empty(width, np.int32)
    for fx in range(4):
        t = _TAPS[fx]
        for y in range(height + 5):
            for x in range(width):
                line[y, x] = (
                    t[0] * padded[y, x] + t[1] * padded[y, x + 1] + t[2] * padded[y, x + 2]
                    + t[3] * padded[y, x + 3] + t[4] * padded[y, x + 4] + t[5] * padded[y, x + 5]
                )  # fmt: skip
        for fy in range(4):
            t = _TAPS[fy]
            for y in range(height):
                for x in range(width):
                    row[x] = (
                        t[0] * line[y, x] + t[1] * line[y + 1, x] + t[2] * line[y + 2, x]
                        + t[3] * line[y + 3, x] + t[4] * line[y + 4, x] + t[5] * line[y + 5, x]
                    )  # fmt: skip
                for x in range(width):
                    out[fy, fx, y, x] = min(max((row[x] + 2048) >> 12, 0), 255)


@compiled
def moved_differences(
    padded: np.ndarray,
    current: np.ndarray,
    picture: np.ndarray,
    frame: np.ndarray,
    corner: np.ndarray,
    vectors: np.ndarray,
    filters: np.ndarray,
) -> np.ndarray:
    """Sums of absolute differences float32 [n] of 16x16 blocks at quarter-sample `vectors` [2, n].

    The blocks are at `corner` [2, n] of pictures `current` [F, H, W], numbers `frame` [n], and compared with references, numbers
    `picture` [n], of [R, H + 2 MARGIN + 7, W + 2 MARGIN + 7], at positions between samples by `filters` float32 [4, 8].
    """
    height, width = padded.shape[1] - 7, padded.shape[2] - 7
    line = np.empty((23, 16), np.float32)
    out = np.empty(len(frame), np.float32)
    for i in range(len(frame)):
        vy, vx = vectors[0, i], vectors[1, i]
        top = min(max(corner[0, i] + (vy >> 2) + MARGIN, 0), height - 16)
        left = min(max(corner[1, i] + (vx >> 2) + MARGIN, 0), width - 16)
        t = filters[vx & 3]
        for y in range(23):
            row = padded[picture[i], top + y, left : left + 23]
            for x in range(16):
                line[y, x] = (
                    t[0] * row[x] + t[1] * row[x + 1] + t[2] * row[x + 2] + t[3] * row[x + 3]
                    + t[4] * row[x + 4] + t[5] * row[x + 5] + t[6] * row[x + 6] + t[7] * row[x + 7]
                )  # fmt: skip
        t = filters[vy & 3]
        total = float32(0)
        for y in range(16):
            own = current[frame[i], corner[0, i] + y, corner[1, i] : corner[1, i] + 16]
            for x in range(16):
                value = (
                    t[0] * line[y, x] + t[1] * line[y + 1, x] + t[2] * line[y + 2, x] + t[3] * line[y + 3, x]
                    + t[4] * line[y + 4, x] + t[5] * line[y + 5, x] + t[6] * line[y + 6, x] + t[7] * line[y + 7, x]
                )  # fmt: skip
                total += abs(value - float32(own[x]))
        out[i] = total
    return out
