"""The motion of frames, as plain tensors: vectors per block and which references each block
uses."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

BLOCK = 8
BI, FIRST, SECOND = 0, 1, 2


@dataclass(frozen=True)
class Fields:
    """Motion of N frames, each predicted from up to two references.

    vectors: int16 [N, 2, 2, H/8, W/8], (reference, (dy, dx)) in quarter luma samples per 8x8 luma
    block. modes: uint8 [N, H/16, W/16] per 16x16 block: 0 = mean of both references, 1 = the first
    alone, 2 = the second alone.
    """

    vectors: Tensor
    modes: Tensor
