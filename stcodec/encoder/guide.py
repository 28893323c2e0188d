"""What the writer of a chunk asks the encoder: motion by what blocks cost, symbols by what bits are
worth. Nothing here is normative."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from stcodec.codec import loop_filter
from stcodec.codec.chunk import Situation
from stcodec.codec.loop_filter import Changes, LoopFilter
from stcodec.codec.model_files import Model
from stcodec.codec.motion import Fields
from stcodec.codec.palette import PaletteStream, Samples
from stcodec.codec.patches import Frames
from stcodec.codec.payload import Plan
from stcodec.codec.range_kernels import Stream
from stcodec.codec.tree import Step
from stcodec.encoder import activity, drawing, filter_fit, tuning
from stcodec.encoder.choice import Prices, choose_fields, padded
from stcodec.encoder.propagation import price_factors
from stcodec.encoder.quantiser import RateDistortionQuantiser, frequency_factors
from stcodec.encoder.source import SourceChunk

_KEPT = 3  # references: frames next to each other in time share one


class ChunkGuide:
    """A `chunk.Guide` for one chunk.

    costs: bits of symbols, float32 [indices, magnitudes], on the device of the networks. plan:
    quality and tree of the chunk. source: its pictures. found: by frame, the motion that the search
    has found (batch size 1). changes: by intra or key frame, see `propagation.changes`. activity:
    strength of `activity.price_factors`, 0: none.
    """

    def __init__(
        self,
        model: Model,
        costs: Tensor,
        plan: Plan,
        source: SourceChunk,
        found: Mapping[int, Fields],
        changes: Mapping[int, Tensor],
        activity: float,
    ) -> None:
        self._model, self._costs, self._plan = model, costs, plan
        self._source, self._found, self._changes = source, found, changes
        self._activity = activity
        self._factors = frequency_factors(model.config)
        self._padded = functools.lru_cache(_KEPT)(padded)
        self._filter_costs = loop_filter.costs(costs)
        self._loop_filter = LoopFilter(model.filter_start, model.tables)

    def source(self, step: Step) -> Frames:
        """The source picture of the one frame of a step."""
        return self._source.frames(step.frames[0])

    def motion(
        self, step: Step, hints: np.ndarray, counter: Stream, luma: Mapping[int, Tensor]
    ) -> Fields:
        """The cheapest motion among what was found and what a decoder expects."""
        frame = step.frames[0]
        bit = tuning.RATE_WEIGHTS[step.kind]
        prices = Prices.of(self._luma_steps(step), bit)
        first, second = (None if r is None else self._padded(luma[r]) for r in step.references[0])
        current = self._source.luma_bytes(frame)
        return choose_fields(current, (first, second), self._found[frame], hints, counter, prices)

    def exact(
        self, step: Step, seen: Situation, trial: Callable[[], PaletteStream] | None
    ) -> tuple[Samples | None, np.ndarray | None]:
        """Palette patches, and copies that are left as they are, where that is cheapest."""
        planes, bits = self._source.padded(step.frames[0]), self._source.bit_depth
        shape = seen.latents.shape[2:]
        prices = torch.as_tensor(self._price(step)).expand(shape.numel()).reshape(shape).numpy()
        quantiser = self.quantiser(step, None)
        own = prices, self._model.network.luma, seen, quantiser, self._costs
        return drawing.choose(drawing.Task(planes, bits, *own), trial)

    def quantiser(self, step: Step, empty: np.ndarray | None) -> RateDistortionQuantiser:
        """Symbols by squared error and bits."""
        own = None if empty is None else torch.from_numpy(empty.reshape(-1))
        return RateDistortionQuantiser(self._costs, self._price(step), self._factors, own)

    def _price(self, step: Step) -> float | Tensor:
        """Squared error, in units of step**2, that is worth one bit in each patch [patches], or in
        all: less in patches that last."""
        price: float | Tensor = self._bit(step)
        change = self._changes.get(step.frames[0])
        if change is not None:
            squares = self._luma_steps(step).square().mean()
            price = price * price_factors(change, squares).view(-1)
        if self._activity:
            luma, patch = self._source.luma(step.frames[0]), self._model.config.patch
            price = price * activity.price_factors(luma, patch, self._activity)
        return price

    def filters(
        self, step: Step, picture: Frames, kept: Changes, exact: np.ndarray | None
    ) -> Changes:
        """Loop filters that hold, or new ones where they are worth their bits."""
        source, costs = self.source(step), self._filter_costs
        new = tuning.LOOP_FILTER_KINDS[step.kind]
        start = self._loop_filter.start(step.kind, self._plan.quality_of(self._model.network, step))
        # In units of 1 / 255.
        bit = self._bit(step) * float(self._luma_steps(step).square().mean()) * 255.0**2
        chosen = []
        for planes, sources, own, before in (
            ([picture.y], [source.y], start[0], kept.luma),
            ([picture.u, picture.v], [source.u, source.v], start[1], kept.chroma),
        ):
            assert before is not None
            used = costs if new else None
            chosen.append(filter_fit.choose(planes, sources, own, before, used, bit, exact))
        return Changes(*chosen)

    def _bit(self, step: Step) -> float:
        """Squared error, in units of step**2, that is worth one bit."""
        factors = tuning.PRICE_QUALITIES, tuning.PRICE_FACTORS
        return float(np.interp(self._plan.quality, *factors)) * tuning.RATE_WEIGHTS[step.kind]

    def _luma_steps(self, step: Step) -> Tensor:
        network, plan = self._model.network, self._plan
        quality = network.quality_of(plan.quality, step.kind) + plan.finer(step)
        return network.luma_steps(quality, step.kind)
