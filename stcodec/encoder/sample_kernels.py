"""Samples of pictures at sub-sample positions, for the encoder's motion search: loops compiled by
numba.

Pictures are bytes. References have a margin on all sides, in which their edges are repeated; a
block that lies outside by more than the margin looks the same wherever it lies.
"""

from __future__ import annotations

import numpy as np

from stcodec.common.compiled import compiled

MARGIN = 24
_TAPS = np.array(
    [[0, 0, 64, 0, 0, 0], [1, -5, 57, 15, -4, 0], [1, -8, 39, 39, -8, 1], [0, -4, 15, 57, -5, 1]],
    dtype=np.int32,
)


@compiled
def phase_planes(padded: np.ndarray, out: np.ndarray) -> None:
    """Quarter-sample phases [4, 4, H, W] (bytes) of a picture [H + 5, W + 5], by filters of 6
    taps."""
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
