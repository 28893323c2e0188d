"""The floating-point side of the lattice passes: what each latent is expected to be, and what it
turned out to be. Pictures depend on it, symbols do not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stcodec.codec import scales
from stcodec.codec.network import Network
from stcodec.codec.tree import INTRA


def rows_of(grid: Tensor) -> Tensor:
    """[N, C, rows, columns] -> [N, rows * columns, C]."""
    return grid.permute(0, 2, 3, 1).reshape(len(grid), -1, grid.shape[1])


@dataclass
class Expected:
    """Patches `at` of a pass; `here` [N, p, C]: their means, as far as they are known; what the
    network makes of the neighbours."""

    at: Tensor
    here: Tensor
    features: tuple[Tensor, Tensor] | None


class Means:
    """Means of the latents of the frames of one step, refined by what neighbours turned out to be,
    and the decoded latents.

    mean [N, C, rows, columns]; step [N, C, 1, 1]: quantisation step sizes; kind and quality of the
    frames (see `StepContext`).
    """

    def __init__(
        self, mean: Tensor, step: Tensor, network: Network, kind: int, quality: float
    ) -> None:
        self.base = rows_of(mean)
        self.refined = self.base.clone()
        n, patches, channels = self.base.shape
        # One row more than there are patches: what lies outside the picture is as expected.
        self.errors = torch.zeros(n, patches + 1, channels, device=mean.device)
        self.step = step.view(n, 1, channels)
        self.inverse = 1.0 / self.step
        self._kind = kind
        self._network = network
        self._quality = torch.full((n,), float(quality), device=mean.device)

    def look(self, lattice: int, at: Tensor, near: Tensor | None) -> Expected:
        """What is expected of the patches `at`, given their decoded neighbours."""
        n, _, channels = self.errors.shape
        here = self.base.index_select(1, at)
        close = None
        if near is not None:
            close = self.errors.index_select(1, near).view(n, len(at), 4 * channels)
            number = scales.predictor_number(self._kind, lattice)
            here = here + close @ self._network.spatial[number]
        features = None
        if self._kind == INTRA and self._network.config.intra_width:
            scaled = None if close is None else close * self.inverse.repeat(1, 1, 4)
            features = self._network.surroundings.look(scaled, lattice, self._quality, (n, len(at)))
        return Expected(at, here, features)

    def group(self, expected: Expected, group: int, start: int, end: int, values: Tensor) -> Tensor:
        """Means [N, p, end - start] of a frequency group, given the dequantised symbols `values`
        [N, p, C] of those before."""
        here = expected.here
        if expected.features is not None:
            features, contrast = expected.features
            lower = values[..., :start]
            own = here[..., :start] - self.base.index_select(1, expected.at)[..., :start]
            own = own * self.inverse[..., :start] + lower
            more = self._network.surroundings.correct(group, features, contrast, own, lower)
            here[..., start:end] += more * self.step[..., start:end]
        return here[..., start:end]

    def put(self, expected: Expected, values: Tensor) -> None:
        """Take dequantised symbols [N, p, C] of patches whose means are complete."""
        at, here = expected.at, expected.here
        self.refined.index_copy_(1, at, here)
        error = here + values * self.step - self.base.index_select(1, at)
        self.errors.index_copy_(1, at, error)

    def grids(self, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """Decoded latents and refined means, [N, C, rows, columns]."""
        both = (self.base + self.errors[:, :-1], self.refined)
        decoded, refined = (t.view(len(t), rows, columns, -1).permute(0, 3, 1, 2) for t in both)
        return decoded, refined
