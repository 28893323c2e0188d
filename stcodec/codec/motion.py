"""The motion of frames, as plain tensors: vectors per block and which references each block
uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 8
BI, FIRST, SECOND = 0, 1, 2
NEITHER = 3
"""A block that is not predicted at all: nobody looks at it. No file has this."""


@dataclass(frozen=True)
class Fields:
    """Motion of N frames, each predicted from up to two references.

    vectors: int16 [N, 2, 2, H/8, W/8], (reference, (dy, dx)) in quarter luma samples per 8x8 luma
    block. modes: uint8 [N, H/16, W/16] per 16x16 block: 0 = mean of both references, 1 = the first
    alone, 2 = the second alone.
    """

    vectors: Tensor
    modes: Tensor

    def take(self, i: int) -> Fields:
        """The motion of frame i (batch size 1)."""
        return Fields(self.vectors[i : i + 1], self.modes[i : i + 1])

    @staticmethod
    def join(parts: Sequence[Fields]) -> Fields:
        """The motion of all frames of `parts`, in that order."""
        if len(parts) == 1:
            return parts[0]
        return Fields(torch.cat([p.vectors for p in parts]), torch.cat([p.modes for p in parts]))
