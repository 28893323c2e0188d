"""The floating-point side of a chunk: predicted and restored pictures, and the memory of the key
frames. Encoder and decoder run the same; it may differ between machines in the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from stcodec.codec import compensation, loop_filter, warp
from stcodec.codec.exact import Exact, patched
from stcodec.codec.latents import SparseValues, reconstruct
from stcodec.codec.loop_filter import Filters
from stcodec.codec.means import Means
from stcodec.codec.model_files import Model
from stcodec.codec.motion import Fields
from stcodec.codec.patches import Frames, Geometry, add_patches
from stcodec.codec.regions import Canvas, Region, within
from stcodec.codec.tree import BEFORE, EARLIER, INTRA, KEY, Step
from stcodec.common.timing import stage


@dataclass(frozen=True)
class Prediction:
    """What is expected of the N frames of a step of `kind`; `step_sizes` [N, C, 1, 1] of the
    quantiser, for `kinds` and `qualities` [N].

    frames: the motion-compensated prediction, None of an intra frame. base, mean [N, C, rows,
    columns]: its coefficients, and the means of the latents; None where no network works on the
    kind: then what is coded is the transform of the difference from `frames`. part: what of the
    picture `base` and `mean` are of, None for all; `frames` then hold nothing elsewhere.
    """

    kind: int
    kinds: Tensor
    qualities: Tensor
    step_sizes: Tensor
    frames: Frames | None
    base: Tensor | None
    mean: Tensor | None
    part: Region | None = None


class Reconstruction:
    """Pictures of a video, chunk after chunk. One thread at a time owns its chunks' key frames;
    frames that depend on each other no more may be made side by side."""

    def __init__(self, model: Model, geometry: Geometry, device: torch.device) -> None:
        self.network = model.network_on(device)
        self._patch, self._grid, self._device = geometry.patch, geometry.grid, device
        self._canvas = Canvas.of(geometry.width, geometry.height, geometry.patch)
        self._before: dict[int, Frames] = {}
        self._memory: Tensor | None = None

    def start(self, first: bool) -> dict[int, Frames]:
        """The pictures that a chunk begins with: those before it in its segment that it may be
        predicted from, none of the `first`."""
        if first:
            self._before, self._memory = {}, None
        return dict(self._before)

    def keep(self, pictures: Mapping[int, Frames], length: int) -> None:
        """Keep of a chunk of so many frames what the next two go by: its last picture."""
        before = {BEFORE: pictures[length - 1], EARLIER: self._before.get(BEFORE)}
        self._before = {
            number: picture for number, picture in before.items() if picture is not None
        }

    def predict(
        self,
        step: Step,
        quality: int,
        fields: Fields | None,
        pictures: Mapping[int, Frames],
        part: Region | None = None,
    ) -> Prediction:
        """What is expected of the frames of a step, whose own quality this is, from the pictures
        decoded before; fields: on the device, None of an intra frame. part: see `Prediction`; on a
        CPU, of frames that are no key frames alone."""
        kind, frames, count = step.kind, None, len(step.frames)
        kinds = torch.full((count,), kind, dtype=torch.long, device=self._device)
        qualities = torch.full((count,), float(quality), device=self._device)
        step_sizes = self.network.step(qualities, kinds)
        with stage("prediction"):
            if fields is not None:
                own = fields if part is None else within(fields, part, self._canvas)
                frames = self._compensate(step, own, pictures)
            if frames is not None and not self.network.works_on(kind):
                return Prediction(kind, kinds, qualities, step_sizes, frames, None, None, part)
            base = self._coefficients(frames if frames is None or part is None else part.of(frames))
        with stage("network"):
            mean = base
            if self.network.works_on(kind):
                state = (
                    self._state()
                    if kind == KEY
                    else self.network.null_state(count, *base.shape[2:])
                )
                mean = self.network.predict(base, state, step_sizes, qualities, kinds)
        return Prediction(kind, kinds, qualities, step_sizes, frames, base, mean, part)

    def _compensate(self, step: Step, fields: Fields, pictures: Mapping[int, Frames]) -> Frames:
        if self._device.type == "cpu":
            sides = zip(*step.references, strict=True)
            # A reference that no block of a part uses may not have been made.
            before, after = (
                [None if r is None else pictures.get(r) for r in side] for side in sides
            )
            return compensation.predict(before, after, fields)
        # A reference that is missing is one that no block uses.
        first, second = (
            Frames.join([pictures[_given(pair, side)] for pair in step.references])
            for side in (0, 1)
        )
        return warp.predict(first, second, fields.vectors, fields.modes)

    def latents(self, source: Frames, prediction: Prediction) -> Tensor:
        """What of source pictures is coded: the latents [N, C, rows, columns], relative to their
        means."""
        if prediction.mean is not None:
            return self._coefficients(source) - prediction.mean
        assert prediction.frames is not None
        pairs = zip(source, prediction.frames, strict=True)
        return self._coefficients(Frames(*(a - b for a, b in pairs)))

    def decode(self, values: SparseValues, quality: int, prediction: Prediction) -> Frames:
        """The pictures of the frames of a step from their dequantised symbols, one after the
        other; see `restore`."""
        count, size = len(prediction.kinds), prediction.step_sizes[:1]
        with stage("latents"):
            means = reconstruct(
                self.network, values, size, self._grid, prediction.kind, quality, count
            )
        return self.restore(means, prediction)

    def restore(self, means: Means, prediction: Prediction) -> Frames:
        """The pictures of decoded latents; intra and key frames renew the memory."""
        p = prediction
        with stage("network"):
            if p.base is None or p.mean is None:
                assert p.frames is not None
                return self._with_residuals(p.frames, means)
            decoded, refined = (self._cut(grid, p.part) for grid in means.grids())
            decoded, features = p.mean + decoded, None
            if self.network.works_on(p.kind):
                decoded, features = self.network.restore(
                    decoded, p.mean + refined, p.base, p.step_sizes, p.qualities, p.kinds
                )
            frames = self.network.pictures(decoded)
            if p.kind in (INTRA, KEY) and features is not None:
                self._memory = self.network.remember(self._state(), features)
            frames = Frames(*(plane.clamp_(0.0, 1.0) for plane in frames))
            return frames if p.part is None else self._placed(frames, p.part)

    def patched(self, frames: Frames, exact: Exact, predicted: Frames | None) -> Frames:
        """A restored picture with its exact patches; predicted: what it was predicted to be."""
        return patched(frames, exact, predicted, self._patch)

    def filtered(
        self,
        frames: Frames,
        filters: Filters,
        exact: Exact,
        part: Region | None = None,
    ) -> Frames:
        """A picture of `patched`, or the part of it that has been made, after its loop filter."""
        if filters.luma is None and filters.chroma is None:
            return frames
        with stage("filter"):
            if part is None:
                made = loop_filter.filtered(frames, filters)
            else:
                made = self._placed(loop_filter.filtered(part.of(frames), filters), part)
        return self.patched(made, Exact(None, exact.patches()), frames)

    def _cut(self, grid: Tensor, part: Region | None) -> Tensor:
        """What of a grid [..., rows, columns] of patches lies in a part."""
        if part is None:
            return grid
        top, left, bottom, right = part
        h, w = self._patch.h, self._patch.w
        return grid[..., top // h : bottom // h, left // w : right // w]

    def _placed(self, frames: Frames, part: Region) -> Frames:
        """A picture of which there is a part alone."""
        high, wide = self._canvas.height, self._canvas.width
        sizes = ((high, wide), (high // 2, wide // 2), (high // 2, wide // 2))
        canvas = Frames(*(torch.zeros(1, 1, *size, device=self._device) for size in sizes))
        part.put(frames, canvas)
        return canvas

    def _with_residuals(self, predicted: Frames, means: Means) -> Frames:
        """Predicted pictures, and what was coded in some of their patches."""
        if not means.sparse or self.network.overlap is not None:
            decoded, _ = means.grids()
            added = self.network.pictures(decoded)
            return Frames(
                *((a + b).clamp_(0.0, 1.0) for a, b in zip(predicted, added, strict=True))
            )
        rows, residuals = means.residuals()
        # The prediction may be a reference itself, and its samples may lie beyond 0..1.
        frames = Frames(*(plane.clone() for plane in predicted))
        if len(rows):
            add_patches(frames, rows, residuals @ self.network.basis, self._patch)
        return Frames(*(plane.clamp_(0.0, 1.0) for plane in frames))

    def _coefficients(self, frames: Frames | None) -> Tensor:
        """The transform [1, C, rows, columns] of a padded picture; of None, the mean of all
        pictures."""
        if frames is None:
            shape = (1, self._patch.channels, *self._grid)
            return self.network.intra_mean[None, :, None, None].expand(shape)
        return self.network.coefficients(frames)

    def _state(self) -> Tensor:
        if self._memory is None:
            return self.network.null_state(1, *self._grid)
        return self._memory


def _given(pair: tuple[int | None, int | None], side: int) -> int:
    """The reference of a side, or else that of the other."""
    found = pair[1 - side] if pair[side] is None else pair[side]
    assert found is not None
    return found
