"""A Transformer block: each patch attends to those in a window around it.

The window slides with the patch instead of lying on a grid, so that all patches are treated alike
and no shifted windows are needed. Patches outside of the picture are zero.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stcodec.codec.blocks import FeedForward, Pointwise

WINDOW = 5  # patches across
_MOST_HEADS = 4


class AttentionBlock(FeedForward):
    """Residual attention, then a gated feed-forward residual; about 7 width**2 + 2 * 25 width MAC
    per patch."""

    REACH = WINDOW // 2

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self._heads = math.gcd(width, _MOST_HEADS)
        self.look = Pointwise(width, 3 * width)
        # By how much patches of the window are preferred, whatever is in them.
        self.place = nn.Parameter(torch.zeros(self._heads, WINDOW * WINDOW))

    def forward(self, x: Tensor) -> Tensor:
        """[N, width, rows, columns] -> the same shape."""
        width, rows, columns = x.shape[1:]
        own, other, value = self.look(x).permute(0, 2, 3, 1).chunk(3, dim=3)
        own = own.unflatten(3, (self._heads, -1)) * (self._heads / width) ** 0.5
        around = (0, 0, *(self.REACH,) * 4)
        other, value = (nn.functional.pad(t, around) for t in (other, value))
        other, value = (t.unflatten(3, (self._heads, -1)) for t in (other, value))
        offsets = [(dy, dx) for dy in range(WINDOW) for dx in range(WINDOW)]

        def moved(t: Tensor, dy: int, dx: int) -> Tensor:
            return t[:, dy : dy + rows, dx : dx + columns]

        scores = [(own * moved(other, *offset)).sum(4) for offset in offsets]
        shares = (torch.stack(scores, dim=4) + self.place).softmax(4)
        seen = torch.zeros_like(own)
        for i, offset in enumerate(offsets):
            seen = seen + shares[..., i : i + 1] * moved(value, *offset)
        return self.after(seen.flatten(3).permute(0, 3, 1, 2), x)
