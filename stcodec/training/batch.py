"""What is trained on in a step: crops, their qualities, their trees, their motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stcodec.codec.patches import CHUNK_FRAMES, Frames
from stcodec.codec.tree import KEY, Step, tree_steps

_PICTURE = Step((0,), ((None, None),), 0, KEY)


@dataclass(frozen=True)
class Batch:
    """B crops of whole chunks (or, without trees, of single pictures).

    y [B, T, H, W], u and v of half the size, float in [0, 1]; quality float [B]. trees: of each
    chunk, for all crops. fields: for each chunk and predicted frame of it, vectors [B, 2, 2, H/8,
    W/8] and modes [B, H/16, W/16]; empty until `Engine.find_motion`. keys_only: leave out the
    two-sided frames, on which no key frame depends.
    """

    y: Tensor
    u: Tensor
    v: Tensor
    quality: Tensor
    trees: tuple[int, ...]
    fields: dict[tuple[int, int], tuple[Tensor, Tensor]]
    keys_only: bool = False

    def plan(self) -> list[tuple[Step, ...]]:
        """The steps of each chunk."""
        plan = [tree_steps(tree, chunk) for chunk, tree in enumerate(self.trees)] or [(_PICTURE,)]
        if self.keys_only:
            plan = [tuple(step for step in steps if step.level == 0) for steps in plan]
        return plan

    def predicted(self) -> list[tuple[tuple[int, int], int, int | None, int | None]]:
        """Each predicted frame: its key in `fields`, its number, and those of its references."""
        found = []
        for chunk, steps in enumerate(self.plan()):
            start = chunk * CHUNK_FRAMES
            for step in steps:
                for frame, pair in zip(step.frames, step.references, strict=True):
                    if pair != (None, None):
                        a, b = (None if r is None else r + start for r in pair)
                        found.append(((chunk, frame), frame + start, a, b))
        return found

    @property
    def pixels(self) -> int:
        """Luma samples of a crop's coded frames."""
        return (
            sum(len(step.frames) for steps in self.plan() for step in steps) * self.y[0, 0].numel()
        )

    def frames(self, numbers: Sequence[int]) -> Frames:
        """Pictures of all crops at these times, time by time: batch size len(numbers) * B."""
        at = list(numbers)
        return Frames(
            *(torch.cat([p[:, t] for t in at])[:, None] for p in (self.y, self.u, self.v))
        )
