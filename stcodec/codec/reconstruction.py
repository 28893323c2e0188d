"""The floating-point side of a chunk: predicted and restored pictures, and the memory of the key
frames. Encoder and decoder run the same; it may differ between machines in the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from stcodec.codec import compensation
from stcodec.codec.model_files import Model
from stcodec.codec.motion import Fields
from stcodec.codec.patches import CHUNK_FRAMES, Frames, Geometry, patchify, unpatchify
from stcodec.codec.tree import INTRA, KEY, Step
from stcodec.common.timing import stage


@dataclass(frozen=True)
class Prediction:
    """What is expected of a frame: coefficients `base` of the motion-compensated prediction and the
    `mean` of the latents, [1, C, rows, columns]; `step_sizes` [1, C, 1, 1] of the quantiser, for
    `kinds` and `qualities` [1]."""

    kind: int
    kinds: Tensor
    qualities: Tensor
    step_sizes: Tensor
    base: Tensor
    mean: Tensor


class Reconstruction:
    """Pictures of a video, chunk after chunk. One thread at a time owns its chunks' key frames;
    frames that depend on each other no more may be made side by side."""

    def __init__(self, model: Model, geometry: Geometry, device: torch.device) -> None:
        self._network, self._width = model.network, model.config.width
        self._geometry, self._device = geometry, device
        self._before: Frames | None = None
        self._memory: Tensor | None = None

    def start(self, first: bool) -> dict[int, Frames]:
        """The pictures that a chunk begins with: frame -1, but for the `first` of a segment."""
        if first:
            self._before = self._memory = None
        return {} if self._before is None else {-1: self._before}

    def keep(self, pictures: Mapping[int, Frames]) -> None:
        """Keep of a chunk what the next one goes by: its last picture."""
        self._before = pictures[CHUNK_FRAMES - 1]

    def coefficients(self, frames: Frames) -> Tensor:
        """The transform [N, C, rows, columns] of padded pictures."""
        return self._network.transform(patchify(frames, self._geometry.patch))

    def predict(
        self, step: Step, quality: int, fields: Fields | None, pictures: Mapping[int, Frames]
    ) -> Prediction:
        """What is expected of the one frame of a step, whose own quality this is, from the pictures
        decoded before; fields (batch size 1): None of an intra frame."""
        kinds = torch.full((1,), step.kind, dtype=torch.long, device=self._device)
        qualities = torch.full((1,), float(quality), device=self._device)
        step_sizes = self._network.step(qualities, kinds)
        with stage("prediction"):
            base = self._compensated(step, fields, pictures)
        with stage("network"):
            state = self._state() if step.kind == KEY else self._null_state()
            mean = self._network.predict(base, state, step_sizes, qualities, kinds)
        return Prediction(step.kind, kinds, qualities, step_sizes, base, mean)

    def restore(self, decoded: Tensor, mean: Tensor, prediction: Prediction) -> Frames:
        """The picture of decoded latents and their refined means; intra and key frames renew the
        memory."""
        p = prediction
        with stage("network"):
            restored, features = self._network.restore(
                decoded, mean, p.base, p.step_sizes, p.qualities, p.kinds
            )
            frames = unpatchify(self._network.inverse(restored), self._geometry.patch)
            frames = Frames(*(plane.clamp_(0.0, 1.0) for plane in frames))
            if p.kind in (INTRA, KEY) and features is not None:
                self._memory = self._network.memory(self._state(), features)
        return frames

    def _compensated(
        self, step: Step, fields: Fields | None, pictures: Mapping[int, Frames]
    ) -> Tensor:
        """Coefficients of the motion-compensated prediction; of an intra frame, the mean of all
        pictures."""
        if fields is None:
            shape = (1, self._geometry.patch.channels, *self._geometry.grid)
            return self._network.intra_mean[None, :, None, None].expand(shape)
        first, second = (None if r is None else pictures[r] for r in step.references[0])
        return self.coefficients(compensation.predict([first], [second], fields))

    def _null_state(self) -> Tensor:
        if not self._width:
            return torch.zeros(1, 0, *self._geometry.grid, device=self._device)
        return self._network.memory.start(1, *self._geometry.grid)

    def _state(self) -> Tensor:
        return self._null_state() if self._memory is None else self._memory
