"""The taps and classes of the adaptive loop filter, for loops and tensors alike; `loop_filter` says
what they are for. Nothing here needs a compiler."""

from __future__ import annotations

import numpy as np

TAPS, NODES, DIRECTIONS = 12, 3, 3
CLASSES = NODES * DIRECTIONS
WAYS = 5  # none, straight, straight and turned, slanted, slanted and turned
CASES = NODES * WAYS
BLOCK, MARGIN = 4, 3
RING = 1  # samples around a block that say what it is like
FIRST_NODE, NODE_DISTANCE = -1.0, 3.0
LEAST = 0.25  # is added to an activity, in units of 1 / 255
EVEN, SHARPNESS = 0.1, 2.0

# Where the sample of each tap lies, down and to the right; its mirror image has the same weight.
_PLACES = [
    (y, x) for y in range(4) for x in range(-3, 4) if abs(y) + abs(x) <= 3 and (y, x) > (0, 0)
]


def _tap(y: int, x: int) -> int:
    """Which tap lies there, or at the mirror image."""
    return _PLACES.index(max((y, x), (-y, -x)))


OFFSETS = np.array(_PLACES, np.int64)
# Which tap takes each one's place, by direction: none, across turned to down, diagonals mirrored.
TURNED = np.array(
    [range(TAPS), [_tap(x, y) for y, x in _PLACES], [_tap(y, -x) for y, x in _PLACES]], np.int64
)
# Of each way: the direction, and how its taps are turned.
DIRECTION = np.array([0, 1, 1, 2, 2], np.int64)
TURNS = np.array([0, 0, 1, 0, 2], np.int64)
