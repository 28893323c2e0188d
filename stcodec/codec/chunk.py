"""The way of a chunk: pictures -> payload (`ChunkWriter`), payload -> symbols (`ChunkReader`). No
files, no printing.

Both walk the same lifting tree. Of a step they code the motion of its frames, then, frame by frame,
the latents, under what `Contexts` knows. The writer also makes the pictures, since later frames are
predicted from decoded ones; a reader needs none, and `decoder.PictureMaker` makes them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stcodec.codec.contexts import Contexts, Known
from stcodec.codec.entropy import Coder, SymbolReader, SymbolWriter
from stcodec.codec.latents import LatentCoder, Quantiser, SparseValues, WrittenLatents
from stcodec.codec.model_files import Model
from stcodec.codec.motion import Fields
from stcodec.codec.patches import Frames, Geometry
from stcodec.codec.payload import Plan, pack, unpack
from stcodec.codec.range_kernels import Stream
from stcodec.codec.reconstruction import Reconstruction
from stcodec.codec.transfers import download, upload
from stcodec.codec.tree import BEFORE, EARLIER, LEVELS, TREES, Step
from stcodec.codec.vectors import MotionStream
from stcodec.common.threads import Workers
from stcodec.common.timing import stage
from stcodec.errors import DamagedFileError


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

    def quantiser(self, step: Step) -> Quantiser:
        """The choice of symbols for the one frame of a step."""
        ...


@dataclass
class ChunkStats:
    """Ideal bits of one chunk by part: its vectors, and its latents by kind of frame (0 intra, 1
    key, 2..4 levels)."""

    vector_bits: float = 0.0
    latent_bits: dict[int, float] = field(default_factory=dict)

    @property
    def total_bits(self) -> float:
        """The ideal size of the ANS words."""
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
    coder: SymbolWriter
    stats: ChunkStats = field(default_factory=ChunkStats)


class ChunkWriter:
    """Writes the chunks of a video in order; frames of one step are worked on side by side.

    Symbols and motion are chosen on the CPU. Another device predicts the frames of a step and makes
    their pictures, in one batch; their latents come back in one copy, and then their luma.

    every_picture: make those of the last step, too, from which nothing is predicted."""

    def __init__(
        self,
        model: Model,
        geometry: Geometry,
        device: torch.device,
        workers: Workers,
        every_picture: bool = True,
    ) -> None:
        self._network, self._device = model.network, device
        self._every_picture = every_picture
        self._workers = workers
        self._values = geometry.grid[0] * geometry.grid[1] * model.config.patch.channels
        self._on_cpu = device.type == "cpu"
        self._most = 1 if self._on_cpu else geometry.frames_at_once
        self._last_luma: dict[int, Tensor] = {}
        self.contexts = Contexts(model, geometry)
        self.reconstruction = Reconstruction(model, geometry, device)
        self.latents = LatentCoder(model.network, model.scale_networks, model.tables)

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
        run = ChunkRun(plan, guide, known, pictures, dict(luma), motion, coder)
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
        return pack(run.plan, run.coder.crc ^ run.motion.crc, motion, words)

    def _write_step(self, run: ChunkRun, step: Step) -> None:
        fields = self._write_fields(run, step) if step.predicted else None
        magnitudes = dict(run.known.magnitudes)  # of the step itself nothing
        pictures, last = dict(run.pictures), step.level == run.plan.steps()[-1].level
        singles, whole = step.singles(), self._every_picture or not last

        def write(start: int) -> Iterable[tuple[Coder, Tensor, Frames | None]]:
            some = singles[start : start + self._most]
            parts = [None if fields is None else fields.take(start + i) for i in range(len(some))]
            return self._write_frames(run, some, parts, magnitudes, pictures, whole)

        batches = range(0, len(singles), self._most)
        written = self._workers.map(write, batches) if self._on_cpu else map(write, batches)
        for frame, (own, magnitude, picture) in zip(step.frames, chain(*written), strict=True):
            run.known.magnitudes[frame] = magnitude
            if picture is not None:
                run.pictures[frame] = picture
            run.coder.join(own)
            bits = run.stats.latent_bits
            bits[step.kind] = bits.get(step.kind, 0.0) + own.bits
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
    ) -> Iterable[tuple[Coder, Tensor, Frames | None]]:
        """Code the latents of frames of one step, whose steps and motion these are: the coders that
        hold them, the magnitudes of their symbols and, if they are to be `whole`, their pictures.
        """
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

        @torch.no_grad()
        def write(i: int) -> tuple[Coder, WrittenLatents]:
            context = self.contexts.of_frame(steps[i], quality, fields[i], magnitudes)
            own, one = run.coder.branch(), slice(i, i + 1)
            with stage("latents"):
                quantiser = run.guide.quantiser(steps[i])
                return own, self.latents.write(own, context, latents[one], sizes[:1], quantiser)

        coded = list(self._workers.map(write, range(len(steps))))
        made: Sequence[Frames | None] = [None] * len(steps)
        if whole and self._on_cpu:
            made = [self.reconstruction.restore(coded[0][1].means, prediction)]
        elif whole:
            values = SparseValues.join([c.values() for _, c in coded], self._values)
            values = SparseValues(*upload([values.at, values.values], self._device))
            made = self.reconstruction.decode(values, quality, prediction).apart()
        return [(own, c.magnitudes, m) for (own, c), m in zip(coded, made, strict=True)]


@dataclass(frozen=True)
class FrameSymbols:
    """What was read of one frame: its step (of this frame alone), motion and dequantised symbols;
    `quality`: its own."""

    step: Step
    quality: int
    fields: Fields | None
    values: SparseValues


@dataclass(frozen=True)
class ChunkSymbols:
    """What was read of a chunk: how it is coded, and its frames in the order of decoding."""

    plan: Plan
    frames: tuple[FrameSymbols, ...]


@dataclass(frozen=True)
class _Reader:
    """The two parts of a payload."""

    motion: MotionStream
    symbols: SymbolReader


class ChunkReader:
    """Reads the symbols of the chunks of a video in order, from the first chunk of any segment on.
    One thread at a time owns it."""

    def __init__(self, model: Model, geometry: Geometry) -> None:
        self._network = model.network
        self._contexts = Contexts(model, geometry)
        self._latents = LatentCoder(model.network, model.scale_networks, model.tables)

    @torch.no_grad()
    def read(self, payload: bytes, first: bool, levels: int = LEVELS) -> ChunkSymbols:
        """The symbols of a chunk; DamagedFileError where they are not those that were encoded.

        levels: how many of the tree's, from the coarsest on; a longer tree has more at its coarse
        end, which are read always. The next chunk needs no more than one.
        With fewer than all, the checksum is not looked at: it is one of all symbols."""
        known = self._contexts.start(first)
        if known is None:
            raise DamagedFileError("a segment does not start with its first chunk")
        plan, crc, motion, words = unpack(payload, known.before)
        reader = _Reader(self._contexts.motion.stream(motion), SymbolReader(words))
        wanted, more = _steps_of(plan.steps(), levels)
        frames = [frame for step in wanted for frame in self._read(reader, plan, step, known)]
        for step in more:
            self._read_fields(reader.motion, plan, step, known)
        if levels >= LEVELS:
            reader.motion.check_end()
            reader.symbols.finish()
            if reader.symbols.crc ^ reader.motion.crc != crc:
                raise DamagedFileError("decoded symbols are not those that were encoded")
        self._contexts.keep(known, plan.length)
        return ChunkSymbols(plan, tuple(frames))

    def _read(self, reader: _Reader, plan: Plan, step: Step, known: Known) -> list[FrameSymbols]:
        """The symbols of the frames of a step."""
        fields = self._read_fields(reader.motion, plan, step, known) if step.predicted else None
        quality = plan.quality_of(self._network, step)
        frames = []
        for i, single in enumerate(step.singles()):
            part = None if fields is None else fields.take(i)
            context = self._contexts.of_frame(single, quality, part, known.magnitudes)
            with stage("latents"):
                read = self._latents.read(reader.symbols, context)
            known.magnitudes[single.frames[0]] = read.magnitudes
            frames.append(FrameSymbols(single, quality, part, read.values))
        return frames

    def _read_fields(self, motion: MotionStream, plan: Plan, step: Step, known: Known) -> Fields:
        if not plan.vectors:
            return self._contexts.still_fields(step, known)
        with stage("vectors"):
            return self._contexts.code_fields(motion, step, known, None)


def _last_level(steps: Sequence[Step], levels: int) -> int:
    """The finest of so many levels of a tree."""
    return max(step.level for step in steps) - (LEVELS - levels)


def _steps_of(steps: Sequence[Step], levels: int) -> tuple[list[Step], list[Step]]:
    """The steps of a tree that have so many levels, and those behind them of which motion is read
    nevertheless: frames of their kind are read in other trees, under what both have taught the
    coder of motion."""
    last = _last_level(steps, levels)
    kinds = {s.of_kind for tree in TREES for s in tree if s.level <= _last_level(tree, levels)}
    wanted = [step for step in steps if step.level <= last]
    return wanted, [s for s in steps if s.level > last and s.of_kind in kinds]
