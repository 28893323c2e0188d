"""The floating-point side of the lattice passes: what each latent is expected to be, and what it
turned out to be. Pictures depend on it, symbols do not.

Most patches of most frames have no symbols and no neighbours with any: they are what was predicted.
On a CPU nothing is computed for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stcodec.codec import scales
from stcodec.codec.network import Network
from stcodec.codec.tree import INTRA


@dataclass
class Expected:
    """Patches `at` [p] of a pass. delta [r, C]: what neighbours add to the means of those of them
    that are numbered `rows` [r], or of all (None); features: what the network makes of the
    neighbours, see `network.Surroundings`."""

    at: Tensor
    rows: Tensor | None
    delta: Tensor
    features: tuple[Tensor, Tensor] | None = None


class Means:
    """Means of the latents of a frame, refined by what neighbours turned out to be, and the decoded
    latents, both relative to the means that a prediction starts with.

    step [1, C, 1, 1]: quantisation step sizes; grid: rows and columns of patches; kind and quality
    of the frame (see `StepContext`); count: of frames of that kind and quality, one after the
    other, off a CPU.
    """

    def __init__(
        self,
        step: Tensor,
        grid: tuple[int, int],
        network: Network,
        kind: int,
        quality: float,
        count: int = 1,
    ) -> None:
        patches, channels = count * grid[0] * grid[1], step.shape[1]
        self._shape = count, *grid
        self.refined = step.new_zeros(patches, channels)
        """What neighbours add to the means."""
        # One row more than there are patches: what lies outside the picture is as expected.
        self.errors = step.new_zeros(patches + 1, channels)
        """What neighbours and symbols add to the means: the decoded latents."""
        self.off = torch.zeros(patches + 1, dtype=torch.bool, device=step.device)
        """Which patches are not as expected."""
        self.step = step.view(1, channels)
        self.inverse = 1.0 / self.step
        self._kind, self._network = kind, network
        self._surrounded = kind == INTRA and bool(network.config.intra_width)
        self.sparse = step.device.type == "cpu" and not self._surrounded
        """Whether nothing is computed for patches that are as predicted. To find those others, a
        GPU would have to be waited for."""
        self._quality = torch.full((1,), float(quality), device=step.device)

    def look(self, lattice: int, at: Tensor, near: Tensor | None) -> Expected:
        """What is expected of the patches `at`, given their decoded neighbours."""
        rows = None
        if self.sparse:
            rows = at[:0]
            if near is not None:
                rows = torch.nonzero(self.off[near].view(-1, 4).any(1))[:, 0]
                near = near.view(-1, 4)[rows].view(-1)
        count, channels = len(at) if rows is None else len(rows), self.step.shape[1]
        close = None
        delta = self.step.new_zeros(count, channels)
        if near is not None and count:
            close = self.errors.index_select(0, near).view(count, 4, channels)
            delta = self._predicted(close, lattice)
            close = close.view(count, 4 * channels)
        features = None
        if self._surrounded:
            scaled = None if close is None else (close * self.inverse.repeat(1, 4))[None]
            features = self._network.surroundings.look(scaled, lattice, self._quality, (1, count))
        return Expected(at, rows, delta, features)

    def _predicted(self, close: Tensor, lattice: int) -> Tensor:
        """What the decoded neighbours [p, 4, C] of patches add to their means, [p, C]."""
        number, network = scales.predictor_number(self._kind, lattice), self._network
        count, channels = len(close), network.config.predicted_channels
        if channels == close.shape[2]:
            return network.neighbours(number, close.view(count, 4 * channels))
        delta = close.new_zeros(count, close.shape[2])
        some = close[:, :, :channels].reshape(count, -1)
        delta[:, :channels] = network.neighbours(number, some)
        return delta

    def group(self, expected: Expected, group: int, start: int, end: int, values: Tensor) -> None:
        """Complete what is expected of a frequency group, given the dequantised symbols `values`
        [p, C] of those before."""
        if expected.features is None:
            return
        lower, delta = values[:, :start], expected.delta
        own = delta[:, :start] * self.inverse[:, :start] + lower
        more = self._network.surroundings.correct(group, *expected.features, own[None], lower[None])
        delta[:, start:end] += more[0] * self.step[:, start:end]

    def put(self, expected: Expected, rows: Tensor | None, values: Tensor) -> None:
        """Take dequantised symbols [r, C] of the patches numbered `rows` of a pass whose means are
        complete (None: of all); others have none."""
        at = expected.at if expected.rows is None else expected.at[expected.rows]
        if len(at):
            self.errors.index_copy_(0, at, expected.delta)
            self.refined.index_copy_(0, at, expected.delta)
            self.off.index_fill_(0, at, True)
        at = expected.at if rows is None else expected.at[rows]
        self.errors.index_add_(0, at, values * self.step)
        # Not `self.off[at] = True`, for which CUDA alone would copy the value and wait.
        self.off.index_fill_(0, at, True)

    def grids(self) -> tuple[Tensor, Tensor]:
        """Decoded latents and refined means, [frames, C, rows, columns], relative to the means that
        the prediction starts with."""
        both = (self.errors[:-1], self.refined)
        decoded, refined = (t.view(*self._shape, -1).permute(0, 3, 1, 2) for t in both)
        return decoded, refined

    def residuals(self) -> tuple[Tensor, Tensor]:
        """The patches [r] that are not as expected, and their decoded latents [r, C], relative as
        in `grids`. Where the means are sparse."""
        rows = torch.nonzero(self.off[:-1])[:, 0]
        return rows, self.errors[rows]
