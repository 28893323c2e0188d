"""The floating-point side of a chunk: predicted and restored pictures, and the memory of the key
frames. Encoder and decoder run the same; it may differ between machines in the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from stcodec.codec import compensation
from stcodec.codec.means import Means
from stcodec.codec.model_files import Model
from stcodec.codec.motion import Fields
from stcodec.codec.patches import Frames, Geometry, add_patches, patchify, unpatchify
from stcodec.codec.tree import INTRA, KEY, Step
from stcodec.common.timing import stage


@dataclass(frozen=True)
class Prediction:
    """What is expected of a frame of `kind`; `step_sizes` [1, C, 1, 1] of the quantiser, for
    `kinds` and `qualities` [1].

    frames: the motion-compensated prediction, None of an intra frame. base, mean [1, C, rows,
    columns]: its coefficients, and the means of the latents; None where no network works on the
    kind: then what is coded is the transform of the difference from `frames`.
    """

    kind: int
    kinds: Tensor
    qualities: Tensor
    step_sizes: Tensor
    frames: Frames | None
    base: Tensor | None
    mean: Tensor | None


class Reconstruction:
    """Pictures of a video, chunk after chunk. One thread at a time owns its chunks' key frames;
    frames that depend on each other no more may be made side by side."""

    def __init__(self, model: Model, geometry: Geometry, device: torch.device) -> None:
        self._network, self._width = model.network, model.config.width
        self._patch, self._grid, self._device = geometry.patch, geometry.grid, device
        self._before: Frames | None = None
        self._memory: Tensor | None = None

    def start(self, first: bool) -> dict[int, Frames]:
        """The pictures that a chunk begins with: frame -1, but for the `first` of a segment."""
        if first:
            self._before = self._memory = None
        return {} if self._before is None else {-1: self._before}

    def keep(self, pictures: Mapping[int, Frames], length: int) -> None:
        """Keep of a chunk of so many frames what the next one goes by: its last picture."""
        self._before = pictures[length - 1]

    def predict(
        self, step: Step, quality: int, fields: Fields | None, pictures: Mapping[int, Frames]
    ) -> Prediction:
        """What is expected of the one frame of a step, whose own quality this is, from the pictures
        decoded before; fields (batch size 1): None of an intra frame."""
        kind, frames = step.kind, None
        kinds = torch.full((1,), kind, dtype=torch.long, device=self._device)
        qualities = torch.full((1,), float(quality), device=self._device)
        step_sizes = self._network.step(qualities, kinds)
        with stage("prediction"):
            if fields is not None:
                first, second = (None if r is None else pictures[r] for r in step.references[0])
                frames = compensation.predict([first], [second], fields)
            if frames is not None and not self._network.works_on(kind):
                return Prediction(kind, kinds, qualities, step_sizes, frames, None, None)
            base = self._coefficients(frames)
        with stage("network"):
            mean = base
            if self._network.works_on(kind):
                state = self._state() if kind == KEY else self._null_state()
                mean = self._network.predict(base, state, step_sizes, qualities, kinds)
        return Prediction(kind, kinds, qualities, step_sizes, frames, base, mean)

    def latents(self, source: Frames, prediction: Prediction) -> Tensor:
        """What of a source picture is coded: the latents [1, C, rows, columns], relative to their
        means."""
        if prediction.mean is not None:
            return self._coefficients(source) - prediction.mean
        assert prediction.frames is not None
        pairs = zip(source, prediction.frames, strict=True)
        return self._coefficients(Frames(*(a - b for a, b in pairs)))

    def restore(self, means: Means, prediction: Prediction) -> Frames:
        """The picture of decoded latents; intra and key frames renew the memory."""
        p = prediction
        with stage("network"):
            if p.base is None or p.mean is None:
                assert p.frames is not None
                return self._with_residuals(p.frames, means)
            decoded, refined = means.grids()
            decoded, features = p.mean + decoded, None
            if self._network.works_on(p.kind):
                decoded, features = self._network.restore(
                    decoded, p.mean + refined, p.base, p.step_sizes, p.qualities, p.kinds
                )
            frames = unpatchify(self._network.inverse(decoded), self._patch)
            if p.kind in (INTRA, KEY) and features is not None:
                self._memory = self._network.memory(self._state(), features)
            return Frames(*(plane.clamp_(0.0, 1.0) for plane in frames))

    def _with_residuals(self, predicted: Frames, means: Means) -> Frames:
        """A predicted picture, and what was coded in some of its patches."""
        rows, residuals = means.residuals()
        # The prediction may be a reference itself, and its samples may lie beyond 0..1.
        frames = Frames(*(plane.clone() for plane in predicted))
        if len(rows):
            add_patches(frames, rows, residuals @ self._network.basis, self._patch)
        return Frames(*(plane.clamp_(0.0, 1.0) for plane in frames))

    def _coefficients(self, frames: Frames | None) -> Tensor:
        """The transform [1, C, rows, columns] of a padded picture; of None, the mean of all
        pictures."""
        if frames is None:
            shape = (1, self._patch.channels, *self._grid)
            return self._network.intra_mean[None, :, None, None].expand(shape)
        return self._network.transform(patchify(frames, self._patch))

    def _null_state(self) -> Tensor:
        if not self._width:
            return torch.zeros(1, 0, *self._grid, device=self._device)
        return self._network.memory.start(1, *self._grid)

    def _state(self) -> Tensor:
        return self._null_state() if self._memory is None else self._memory
