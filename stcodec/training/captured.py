"""Steps that are recorded once and then replayed: on a GPU most of the time of a step goes into
telling it what to do, an operation at a time.

Shapes and operations of a batch follow from its plan alone, and nothing in a step waits for the
device. So each plan is recorded as a CUDA graph when it first comes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stcodec.training.batch import Batch
from stcodec.training.engine import Engine, Outcome


@dataclass(frozen=True)
class _Recording:
    """inputs: what `replay` reads; results: what it writes, over those of before."""

    inputs: list[Tensor]
    results: list[Tensor]
    replay: Callable[[], object]


class Captured:
    """Motion of the batches of an engine, and their losses with gradients in `parameters`."""

    def __init__(self, engine: Engine, parameters: Sequence[nn.Parameter]) -> None:
        self._engine = engine
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        self._gradients = [p.grad for p in parameters if p.grad is not None]
        self._recordings: dict[Hashable, _Recording] = {}
        # Pictures and qualities, by their shapes: the same memory for all plans.
        self._pictures: dict[Hashable, list[Tensor]] = {}
        self._pool: Any = None

    def find_motion(self, batch: Batch) -> Batch:
        """As `Engine.find_motion`."""
        keys = [key for key, *_ in batch.predicted()]
        if not keys or not self._engine.settings.dense_search:
            return self._engine.find_motion(batch)

        def work(batch: Batch) -> list[Tensor]:
            found = self._engine.find_motion(batch).fields
            return [part for key in keys for part in found[key]]

        parts = iter([part.clone() for part in self._play("motion", batch, work)])
        return dataclasses.replace(batch, fields={key: (next(parts), next(parts)) for key in keys})

    def loss(self, batch: Batch) -> Outcome:
        """As `Engine.loss`, and the gradients. It is overwritten by the next one."""

        def work(batch: Batch) -> list[Tensor]:
            torch._foreach_zero_(self._gradients)
            outcome = self._engine.loss(batch)
            outcome.loss.backward()
            return [outcome.loss.detach(), outcome.bits, outcome.squared.detach()]

        loss, bits, squared = self._play("loss", batch, work)
        return Outcome(loss, bits, squared)

    def _play(self, name: str, batch: Batch, work: Callable[[Batch], list[Tensor]]) -> list[Tensor]:
        pictures = [batch.y, batch.u, batch.v, batch.quality]
        shapes = tuple(t.shape for t in pictures)
        parts = [part for pair in batch.fields.values() for part in pair]
        key = name, shapes, batch.trees, batch.keys_only
        if key not in self._recordings:
            own = self._pictures.setdefault(shapes, [t.clone() for t in pictures])
            inputs = own + [part.clone() for part in parts]
            self._recordings[key] = self._record(batch, inputs, work)
        recording = self._recordings[key]
        torch._foreach_copy_(recording.inputs, pictures + parts)
        recording.replay()
        return recording.results

    def _record(
        self, batch: Batch, inputs: list[Tensor], work: Callable[[Batch], list[Tensor]]
    ) -> _Recording:
        rest = iter(inputs[4:])
        fields = {key: (next(rest), next(rest)) for key in batch.fields}
        y, u, v, quality = inputs[:4]
        own = dataclasses.replace(batch, y=y, u=u, v=v, quality=quality, fields=fields)
        if y.device.type != "cuda":
            results = work(own)
            return _Recording(inputs, results, lambda: torch._foreach_copy_(results, work(own)))
        current, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            # Libraries choose in the first run what they do.
            work(own)
        current.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Graphs are not replayed at the same time, and what they return is read before the next.
        # What other threads do meanwhile is none of its business.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            results = work(own)
        self._pool = self._pool or graph.pool()
        return _Recording(inputs, results, graph.replay)
