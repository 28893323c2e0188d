"""Pictures -> payload, the way of a chunk. No files, no printing.

Of each step of the lifting tree the motion of its frames is coded, then, frame by frame, the
latents, under what `Contexts` knows. The writer also makes the pictures, since later frames are
predicted from decoded ones; what reads a payload (`symbols`) needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from stcodec.codec.contexts import Contexts, Known
from stcodec.codec.entropy import Coder, SymbolWriter
from stcodec.codec.exact import Exact
from stcodec.codec.latents import LatentCoder, Quantiser, SparseValues, WrittenLatents
from stcodec.codec.loop_filter import Changes, LoopFilter, unchanged
from stcodec.codec.model_files import Model
from stcodec.codec.motion import Fields
from stcodec.codec.palette import PaletteStream, Samples
from stcodec.codec.patches import Frames, Geometry
from stcodec.codec.payload import Parts, Plan, pack
from stcodec.codec.range_kernels import Stream
from stcodec.codec.reconstruction import Prediction, Reconstruction
from stcodec.codec.transfers import download, upload
from stcodec.codec.tree import BEFORE, EARLIER, Step
from stcodec.codec.vectors import MotionStream
from stcodec.common.threads import Workers
from stcodec.common.timing import stage


class Situation(NamedTuple):
    """What is known of a frame before its patches are coded, on the CPU: latents [1, C, rows,
    columns] relative to their means; step sizes [1, C, 1, 1]; what the picture is predicted to be,
    None of an intra frame; which patches are copies of exact ones (None: none); what codes all
    patches with a choice of symbols, and writes nothing."""

    latents: Tensor
    step_sizes: Tensor
    predicted: Frames | None
    copies: np.ndarray | None
    attempt: Callable[[Quantiser], None]


class Guide(Protocol):
    """What the writer of a chunk asks the encoder: all that a decoder need not know."""

    def source(self, step: Step) -> Frames:
        """The source picture of the one frame of a step, padded, on the CPU."""
        ...

    def motion(
        self, step: Step, hints: np.ndarray, counter: Stream, luma: Mapping[int, Tensor]
    ) -> Fields:
        """The motion (batch size 1) to code for the one frame of a step.

        hints: of `vectors.frame_hints`; counter: of `MotionStream.counter`; luma: of the pictures
        decoded so far, [1, 1, H, W] on the CPU. Called side by side for the frames of a step."""
        ...

    def exact(
        self, step: Step, seen: Situation, trial: Callable[[], PaletteStream] | None
    ) -> tuple[Samples | None, np.ndarray | None]:
        """The palette patches of the one frame of a step, None where there are none, and which
        patches shall have no symbols, bool [rows, columns], None where none is told to; trial:
        makes a stream that counts what samples cost; None where there can be none."""
        ...

    def quantiser(self, step: Step, empty: np.ndarray | None) -> Quantiser:
        """The choice of symbols for the one frame of a step; empty: patches that have none."""
        ...

    def filters(
        self, step: Step, picture: Frames, kept: Changes, exact: np.ndarray | None
    ) -> Changes:
        """The loop filters for the one frame of a step, whose decoded picture this is, on the CPU;
        kept: those that hold; exact: patches that filters leave alone (`Exact.patches`)."""
        ...


@dataclass
class ChunkStats:
    """Ideal bits of one chunk by part: its vectors, and its latents by kind of frame (0 intra, 1
    key, 2..4 levels), with the samples of palette patches and what frames say of loop filters."""

    vector_bits: float = 0.0
    latent_bits: dict[int, float] = field(default_factory=dict)

    @property
    def total_bits(self) -> float:
        """The ideal size of the payload."""
        return self.vector_bits + sum(self.latent_bits.values())


@dataclass
class ChunkRun:
    """A chunk that is being written, and what is known of its frames and of the one before."""

    plan: Plan
    guide: Guide
    known: Known
    pictures: dict[int, Frames]
    luma: dict[int, Tensor]
    """Of the pictures that others are predicted from, on the CPU."""
    motion: MotionStream
    samples: PaletteStream | None
    coder: SymbolWriter
    stats: ChunkStats = field(default_factory=ChunkStats)


OnPicture = Callable[[int, float, Frames, Frames], None]
"""Takes a kind of frame, its quality, a decoded picture and its source."""


class WrittenFrame(NamedTuple):
    """A frame that has been coded, by a coder that holds it alone: magnitudes of its symbols, its
    picture, if it has been made, its filters, and what is exact in it."""

    coder: Coder
    magnitudes: Tensor
    picture: Frames | None
    changes: Changes
    exact: Exact


class ChunkWriter:
    """Writes the chunks of a video in order; frames of one step are worked on side by side.

    Symbols and motion are chosen on the CPU. Another device predicts the frames of a step and makes
    their pictures, in one batch; what comes back, in a copy each, are their latents, the pictures
    that loop filters are chosen by, and luma.

    every_picture: make those of the last step, too, from which nothing is predicted. on_picture: is
    told of each picture that is made, before its loop filters, for training."""

    def __init__(
        self,
        model: Model,
        geometry: Geometry,
        device: torch.device,
        workers: Workers,
        every_picture: bool = True,
        on_picture: OnPicture | None = None,
    ) -> None:
        self._network, self._device = model.network, device
        self._every_picture, self._on_picture = every_picture, on_picture
        self._workers = workers
        self._values = geometry.grid[0] * geometry.grid[1] * model.config.patch.channels
        self._on_cpu = device.type == "cpu"
        self._most = 1 if self._on_cpu else geometry.frames_at_once
        self._last_luma: dict[int, Tensor] = {}
        self.contexts = Contexts(model, geometry)
        self.reconstruction = Reconstruction(model, geometry, device)
        self.latents = LatentCoder(model.network, model.scale_networks, model.tables)
        # Observers of the other see nothing of these.
        self._attempts = LatentCoder(model.network, model.scale_networks, model.tables)
        self._filters = LoopFilter(model.filter_start, model.tables)

    @torch.no_grad()
    def start(self, plan: Plan, guide: Guide, coder: SymbolWriter) -> ChunkRun:
        """Code a chunk step by step, coarse to fine, but for the last step, on which nothing of the
        next chunk depends: `finish` and the next chunk's start may run at the same time."""
        known = self.contexts.start(plan.first)
        if known is None or known.before != plan.before:
            raise ValueError("the chunks of a segment come in order, from its first on")
        motion = self.contexts.motion.stream(None)
        pictures = self.reconstruction.start(plan.first)
        luma = {} if plan.first else self._last_luma
        samples = self.contexts.palettes.stream(None) if plan.samples else None
        run = ChunkRun(plan, guide, known, pictures, dict(luma), motion, samples, coder)
        for step in plan.steps()[:-1]:
            self._write_step(run, step)
        self.contexts.keep(run.known, plan.length)
        self.reconstruction.keep(run.pictures, plan.length)
        self._last_luma = {BEFORE: run.luma[plan.length - 1]}
        if BEFORE in run.luma:
            self._last_luma[EARLIER] = run.luma[BEFORE]
        return run

    @torch.no_grad()
    def finish(self, run: ChunkRun) -> bytes:
        """Code the last step of a chunk; its payload."""
        self._write_step(run, run.plan.steps()[-1])
        with stage("entropy"):
            words = run.coder.finish()
            # What cannot be read back must not be written; this takes 1 to 2 % of an encode.
            run.coder.check(words)
            motion = run.motion.finish()
            samples = b"" if run.samples is None else run.samples.finish()
        crc = run.coder.crc ^ run.motion.crc ^ (0 if run.samples is None else run.samples.crc)
        return pack(run.plan, crc, Parts(motion, samples, words))

    def _write_step(self, run: ChunkRun, step: Step) -> None:
        fields = self._write_fields(run, step) if step.predicted else None
        magnitudes = dict(run.known.magnitudes)  # of the step itself nothing
        pictures, last = dict(run.pictures), step.level == run.plan.steps()[-1].level
        singles, whole = step.singles(), self._every_picture or not last

        def write(start: int) -> Iterable[WrittenFrame]:
            some = singles[start : start + self._most]
            parts = [None if fields is None else fields.take(start + i) for i in range(len(some))]
            return self._write_frames(run, some, parts, magnitudes, pictures, whole)

        batches = range(0, len(singles), self._most)
        parts = self._workers.map(write, batches) if self._on_cpu else map(write, batches)
        written = list(chain(*parts))
        for frame, one in zip(step.frames, written, strict=True):
            run.known.magnitudes[frame] = one.magnitudes
            if one.picture is not None:
                run.pictures[frame] = one.picture
            run.coder.join(one.coder)
            bits = run.stats.latent_bits
            bits[step.kind] = bits.get(step.kind, 0.0) + one.coder.bits
        run.known.take(step, [one.changes for one in written])
        run.known.take_exact(step, [one.exact for one in written])
        if not last:
            luma = [run.pictures[frame].y for frame in step.frames]
            luma = luma if self._on_cpu else list(download(torch.cat(luma)).split(1))
            run.luma.update(zip(step.frames, luma, strict=True))

    def _write_fields(self, run: ChunkRun, step: Step) -> Fields:
        if not run.plan.vectors:
            return self.contexts.still_fields(step, run.known)
        with stage("vectors"):

            def choose(i: int, single: Step) -> Fields:
                hints = self.contexts.hints(single, run.known)
                return run.guide.motion(single, hints, run.motion.counter(step.kind), run.luma)

            chosen = self._workers.map(choose, range(len(step.frames)), step.singles())
            before = run.motion.bits
            fields = self.contexts.code_fields(
                run.motion, step, run.known, Fields.join(list(chosen))
            )
            run.stats.vector_bits += run.motion.bits - before
            return fields

    @torch.no_grad()
    def _write_frames(
        self,
        run: ChunkRun,
        steps: Sequence[Step],
        fields: Sequence[Fields | None],
        magnitudes: Mapping[int, Tensor],
        pictures: Mapping[int, Frames],
        whole: bool,
    ) -> Iterable[WrittenFrame]:
        """Code the latents of frames of one step, whose steps and motion these are; their pictures
        are made if they are to be `whole`."""
        quality = run.plan.quality_of(self._network, steps[0])
        motion = [] if fields[0] is None else [Fields.join([f for f in fields if f is not None])]
        source = Frames.join([run.guide.source(step) for step in steps])
        moved = upload([*source, *(t for m in motion for t in (m.vectors, m.modes))], self._device)
        prediction = self.reconstruction.predict(
            Step.join(steps), quality, Fields(*moved[3:]) if motion else None, pictures
        )
        with stage("network"):
            latents = download(self.reconstruction.latents(Frames(*moved[:3]), prediction))
        sizes = prediction.step_sizes
        if not self._on_cpu:
            kind = torch.full((1,), steps[0].kind)
            sizes = self._network.step(torch.full((1,), float(quality)), kind)

        predicted = [None] * len(steps) if prediction.frames is None else prediction.frames.apart()

        @torch.no_grad()
        def write(i: int) -> tuple[Coder, WrittenLatents, Exact]:
            context = self.contexts.of_frame(steps[i], quality, fields[i], magnitudes)
            own, one = run.coder.branch(), slice(i, i + 1)
            copies = self.contexts.copied(steps[i], fields[i], run.known)

            given = context, latents[one], sizes[:1]

            def attempt(quantiser: Quantiser) -> None:
                with stage("latents"):
                    self._attempts.write(run.coder.branch(), *given, quantiser)

            seen = Situation(*given[1:], predicted[i], copies, attempt)
            samples, empty = self._write_samples(run, steps[i], seen)
            with stage("latents"):
                quantiser = run.guide.quantiser(steps[i], empty)
                coded = self.latents.write(own, *given, quantiser)
            return own, coded, Exact.of(copies, samples, coded.magnitudes)

        coded = list(self._workers.map(write, range(len(steps))))
        made: Sequence[Frames | None] = [None] * len(steps)
        if whole:
            parts = zip(
                self._pictures([latents for _, latents, _ in coded], quality, prediction),
                predicted,
                (exact for *_, exact in coded),
                strict=True,
            )
            made = [self.reconstruction.patched(p, exact, own) for p, own, exact in parts]
        seen = self._seen(steps[0].kind, made)
        return [
            self._filtered(run, step, one, picture, on_cpu)
            for step, one, picture, on_cpu in zip(steps, coded, made, seen, strict=True)
        ]

    def _write_samples(
        self, run: ChunkRun, step: Step, seen: Situation
    ) -> tuple[Samples | None, np.ndarray | None]:
        """Choose and code the palette patches of the one frame of a step, and choose which patches
        shall have no symbols."""
        stream = run.samples if step.level == 0 else None
        if stream is None and seen.copies is None:
            return None, None
        with stage("samples"):
            if seen.copies is not None and seen.predicted is not None and not self._on_cpu:
                seen = seen._replace(predicted=Frames(*map(download, seen.predicted)))
            samples, empty = run.guide.exact(step, seen, None if stream is None else stream.trial)
            if stream is not None:
                before = stream.bits
                stream.code(samples)
                bits = run.stats.latent_bits
                bits[step.kind] = bits.get(step.kind, 0.0) + stream.bits - before
        return samples, empty

    def _pictures(
        self, coded: Sequence[WrittenLatents], quality: int, prediction: Prediction
    ) -> Sequence[Frames]:
        """The pictures of the frames of one step, before their loop filters."""
        if self._on_cpu:
            return [self.reconstruction.restore(coded[0].means, prediction)]
        values = SparseValues.join([c.values() for c in coded], self._values)
        values = SparseValues(*upload([values.at, values.values], self._device))
        return self.reconstruction.decode(values, quality, prediction).apart()

    def _filtered(
        self,
        run: ChunkRun,
        step: Step,
        coded: tuple[Coder, WrittenLatents, Exact],
        picture: Frames | None,
        seen: Frames | None,
    ) -> WrittenFrame:
        """One frame with its loop filters, which are chosen by `seen`, its picture on the CPU."""
        coder, latents, exact = coded
        quality = run.plan.quality_of(self._network, step)
        if picture is not None and self._on_picture is not None:
            self._on_picture(step.kind, quality, picture, run.guide.source(step))
        changes = self._choose_filters(run, step, coder, seen, exact)
        if picture is not None:
            filters = self._filters.filters(step.kind, quality, changes)
            filters = filters.replaced(upload(filters.given(), self._device))
            picture = self.reconstruction.filtered(picture, filters, exact)
        return WrittenFrame(coder, latents.magnitudes, picture, changes, exact)

    def _seen(self, kind: int, made: Sequence[Frames | None]) -> Sequence[Frames | None]:
        """The pictures of frames of a kind, on the CPU, where filters are chosen by them."""
        if self._on_cpu or not self._filters.works_on(kind):
            return made
        some = [frame for frame in made if frame is not None]
        planes = [plane.flatten(1) for plane in Frames.join(some)]
        there = download(torch.cat(planes, 1)).split([p.shape[1] for p in planes], 1)
        shapes = [plane.shape for plane in some[0]]
        return [
            Frames(*(plane[i].view(shape) for plane, shape in zip(there, shapes, strict=True)))
            for i in range(len(some))
        ]

    def _choose_filters(
        self, run: ChunkRun, step: Step, coder: Coder, seen: Frames | None, exact: Exact
    ) -> Changes:
        """Choose and code the filters of the one frame of a step."""
        if not self._filters.works_on(step.kind):
            return Changes(None, None)
        assert seen is not None
        kept = run.known.filters if step.predicted else unchanged()
        with stage("filter"):
            changes = run.guide.filters(step, seen, kept, exact.patches())
        self._filters.write(coder, kept, changes)
        return changes
