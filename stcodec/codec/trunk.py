"""What the prior and the filter have in common, and which blocks there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from stcodec.codec.attention import AttentionBlock
from stcodec.codec.blocks import Condition, ConvolutionBlock, FeedForward, Pointwise, by_bands

BLOCKS: dict[str, type[FeedForward]] = {
    "convolution": ConvolutionBlock,
    "attention": AttentionBlock,
}
"""By the name that a model gives."""


class Trunk(nn.Module):
    """Projection, condition, blocks: what the prior and the filter have in common."""

    def __init__(self, inputs: int, width: int, blocks: int, kind: str) -> None:
        super().__init__()
        self.enter = Pointwise(inputs, width)
        self.condition = Condition(width)
        self.blocks = nn.Sequential(*(BLOCKS[kind](width) for _ in range(blocks)))

    def forward(
        self,
        inputs: Callable[..., Tensor],
        grids: Sequence[Tensor],
        quality: Tensor,
        kind: Tensor,
    ) -> Tensor:
        """Features [N, width, rows, columns] of what `inputs` makes of grids [N, C, rows, columns]
        patch by patch: [N, inputs, rows, columns]."""

        def enter(*parts: Tensor) -> Tensor:
            return self.condition(self.enter(inputs(*parts)), quality, kind)

        return self.blocks(by_bands(enter, *grids))
