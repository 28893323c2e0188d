"""What has moved as it is: pages that were scrolled, windows that were dragged.

A search that goes from small pictures to large ones does not find where text went, since small
pictures of text look alike everywhere. But drawn blocks come again sample by sample, so their
hashes do (as hash-based motion search in HEVC's screen content coding, Xu et al. 2016).
"""

from __future__ import annotations

import numpy as np

from stcodec.encoder import drawn_kernels, tuning

_MANY = 1 << 19  # samples; of larger pictures a quarter of the blocks is looked at
_ROOM = 1 << 17  # blocks that are found again


def is_drawn(luma: np.ndarray) -> bool:
    """Whether much of a picture, luma bytes [H, W], was drawn rather than filmed."""
    contrast, alike = tuning.DRAWN_CONTRAST, tuning.DRAWN_ALIKE
    every = 2 if luma.size > _MANY else 1
    textured, drawn = drawn_kernels.count_drawn(luma, contrast, alike, every)
    blocks = luma.size / (drawn_kernels.SIDE * every) ** 2
    return drawn > min(tuning.DRAWN_SHARE * textured, tuning.DRAWN_PART * blocks)


def moves(current: np.ndarray, others: np.ndarray) -> np.ndarray:
    """By how much parts of a picture, luma bytes [H, W], have moved, vectors int32 [n, 2] of whole
    samples to where they are in another picture: those that most blocks agree on. others: hashes of
    all blocks of that."""
    hashes = drawn_kernels.block_hashes(current, drawn_kernels.SIDE)
    moved = np.empty((_ROOM, 2), np.int32)
    count = drawn_kernels.repetitions(current, tuning.DRAWN_CONTRAST, hashes, others, moved)
    found, votes = np.unique(moved[:count], axis=0, return_counts=True)
    best = np.argsort(-votes, kind="stable")[: tuning.MOVES]
    result: np.ndarray = found[best[votes[best] >= tuning.MOVED_LEAST]]
    return result
