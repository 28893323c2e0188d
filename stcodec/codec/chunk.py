"""The way of a chunk: pictures -> payload (`ChunkWriter`), payload -> symbols (`ChunkReader`). No
files, no printing.

Both walk the same lifting tree. Of a step they code the motion of its frames, then, frame by frame,
the latents, under what `Contexts` knows. The writer also makes the pictures, since later frames are
predicted from decoded ones; a reader needs none, and `decoder.PictureMaker` makes them apart.

Payload (see docs/format.md): frame count, quality, tree, a CRC-32 of what is decoded; motion, after
its length; ANS words.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stcodec.codec.contexts import Contexts, Known
from stcodec.codec.entropy import Coder, SymbolReader, SymbolWriter
from stcodec.codec.latents import LatentCoder, Quantiser, SparseValues
from stcodec.codec.model_files import Model
from stcodec.codec.motion import Fields
from stcodec.codec.patches import Frames, Geometry
from stcodec.codec.range_kernels import Stream
from stcodec.codec.reconstruction import Reconstruction
from stcodec.codec.tree import CASCADES, LEVELS, TREES, Step, tree_length, tree_steps
from stcodec.codec.vectors import MotionStream
from stcodec.common.threads import Workers
from stcodec.common.timing import stage
from stcodec.errors import DamagedFileError

_HEADER = struct.Struct("<BBBI")
# Of the byte of the tree.
_VECTORS_FLAG, _CASCADE_SHIFT, _TREE_MASK = 0x80, 4, 0x0F
_QUALITIES = 64


class Guide(Protocol):
    """What the writer of a chunk asks the encoder: all that a decoder need not know."""

    def source(self, step: Step) -> Frames:
        """The source picture of the one frame of a step, padded."""
        ...

    def motion(
        self, step: Step, hints: np.ndarray, counter: Stream, pictures: Mapping[int, Frames]
    ) -> Fields:
        """The motion (batch size 1) to code for the one frame of a step.

        hints: of `vectors.frame_hints`; counter: of `MotionStream.counter`; pictures: decoded so
        far. Called side by side for the frames of a step."""
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


@dataclass(frozen=True)
class Plan:
    """How a chunk is coded: frames that are shown (1..`length`), quality 0..63, tree (a number of
    `tree.TREES`), whether vectors are coded, whether it is the first of a segment, cascade (a
    number of `tree.CASCADES`)."""

    count: int
    quality: int
    tree: int
    vectors: bool
    first: bool
    cascade: int = 0

    @property
    def length(self) -> int:
        """Frames that are coded: 8 or 16."""
        return tree_length(self.tree)

    def finer(self, step: Step) -> int:
        """What is added to the quality of the kind of frames of a step."""
        return step.finer + CASCADES[self.cascade][step.kind]

    def steps(self) -> tuple[Step, ...]:
        """The steps of its tree."""
        return tree_steps(self.tree, self.first)


@dataclass
class ChunkRun:
    """A chunk that is being written, and what is known of its frames and of the one before."""

    plan: Plan
    guide: Guide
    known: Known
    pictures: dict[int, Frames]
    motion: MotionStream
    coder: SymbolWriter
    stats: ChunkStats = field(default_factory=ChunkStats)


class ChunkWriter:
    """Writes the chunks of a video in order; frames of one step are worked on side by side.

    every_picture: make those of the last step, too, from which nothing is predicted."""

    def __init__(
        self,
        model: Model,
        geometry: Geometry,
        device: torch.device,
        workers: Workers,
        every_picture: bool = True,
    ) -> None:
        self._network = model.network
        self._every_picture = every_picture
        self._workers = workers
        self.contexts = Contexts(model, geometry, device)
        self.reconstruction = Reconstruction(model, geometry, device)
        self.latents = LatentCoder(model.network, model.scale_networks, model.tables, device)

    @torch.no_grad()
    def start(self, plan: Plan, guide: Guide, coder: SymbolWriter) -> ChunkRun:
        """Code a chunk step by step, coarse to fine, but for the last step, on which nothing of the
        next chunk depends: `finish` and the next chunk's start may run at the same time."""
        known = self.contexts.start(plan.first)
        if known is None:
            raise ValueError("a segment does not start with its first chunk")
        motion = self.contexts.motion.stream(None)
        run = ChunkRun(plan, guide, known, self.reconstruction.start(plan.first), motion, coder)
        for step in plan.steps()[:-1]:
            self._write_step(run, step)
        self.contexts.keep(run.known, plan.length)
        self.reconstruction.keep(run.pictures, plan.length)
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
        plan = run.plan
        tree = plan.tree | plan.cascade << _CASCADE_SHIFT
        tree |= _VECTORS_FLAG if plan.vectors else 0
        header = _HEADER.pack(plan.count, plan.quality, tree, run.coder.crc ^ run.motion.crc)
        return header + (_length(len(motion)) + motion if plan.vectors else b"") + words

    def _write_step(self, run: ChunkRun, step: Step) -> None:
        fields = self._write_fields(run, step) if step.predicted else None
        magnitudes = dict(run.known.magnitudes)  # of the step itself nothing
        pictures = dict(run.pictures)

        def write(i: int, single: Step) -> tuple[Coder, Tensor, Frames | None]:
            own = run.coder.branch()
            with torch.no_grad():
                part = None if fields is None else fields.take(i)
                whole = self._every_picture or single.level < steps[-1].level
                return own, *self._write_frame(own, run, single, part, magnitudes, pictures, whole)

        steps = run.plan.steps()
        written = self._workers.map(write, range(len(step.frames)), step.singles())
        for frame, (own, magnitude, picture) in zip(step.frames, written, strict=True):
            run.known.magnitudes[frame] = magnitude
            if picture is not None:
                run.pictures[frame] = picture
            run.coder.join(own)
            bits = run.stats.latent_bits
            bits[step.kind] = bits.get(step.kind, 0.0) + own.bits

    def _write_fields(self, run: ChunkRun, step: Step) -> Fields:
        if not run.plan.vectors:
            return self.contexts.still_fields(step, run.known)
        with stage("vectors"):

            def choose(i: int, single: Step) -> Fields:
                hints = self.contexts.hints(single, run.known)
                return run.guide.motion(single, hints, run.motion.counter(step.kind), run.pictures)

            chosen = self._workers.map(choose, range(len(step.frames)), step.singles())
            before = run.motion.bits
            fields = self.contexts.code_fields(
                run.motion, step, run.known, Fields.join(list(chosen))
            )
            run.stats.vector_bits += run.motion.bits - before
            return fields

    def _write_frame(
        self,
        coder: Coder,
        run: ChunkRun,
        step: Step,
        fields: Fields | None,
        magnitudes: Mapping[int, Tensor],
        pictures: Mapping[int, Frames],
        whole: bool,
    ) -> tuple[Tensor, Frames | None]:
        """Code the latents of the one frame of a step; the magnitudes of its symbols and, if it is
        to be `whole`, its picture."""
        quality = self._network.quality_of(run.plan.quality, step.kind) + run.plan.finer(step)
        context = self.contexts.of_frame(step, quality, fields, magnitudes)
        prediction = self.reconstruction.predict(step, quality, fields, pictures)
        with stage("network"):
            latents = self.reconstruction.latents(run.guide.source(step), prediction)
        with stage("latents"):
            quantiser = run.guide.quantiser(step)
            sizes = prediction.step_sizes
            written = self.latents.write(coder, context, latents, sizes, quantiser)
        if not whole:
            return written.magnitudes, None
        return written.magnitudes, self.reconstruction.restore(written.means, prediction)


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

    def __init__(self, model: Model, geometry: Geometry, device: torch.device) -> None:
        self._network = model.network
        self._contexts = Contexts(model, geometry, device)
        self._latents = LatentCoder(model.network, model.scale_networks, model.tables, device)

    @torch.no_grad()
    def read(self, payload: bytes, first: bool, levels: int = LEVELS) -> ChunkSymbols:
        """The symbols of a chunk; DamagedFileError where they are not those that were encoded.

        levels: how many of the tree's, from the coarsest on; a longer tree has more at its coarse
        end, which are read always. The next chunk needs no more than one.
        With fewer than all, the checksum is not looked at: it is one of all symbols."""
        plan, crc = _unpack_header(payload, first)
        known = self._contexts.start(first)
        if known is None:
            raise DamagedFileError("a segment does not start with its first chunk")
        motion, words = _split_payload(payload, plan.vectors)
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
        quality = self._network.quality_of(plan.quality, step.kind) + plan.finer(step)
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


def _unpack_header(payload: bytes, first: bool) -> tuple[Plan, int]:
    """How a chunk is coded, and the CRC-32 of its symbols."""
    if len(payload) < _HEADER.size:
        raise DamagedFileError("a chunk is too short")
    count, quality, tree, crc = _HEADER.unpack_from(payload)
    vectors, cascade = bool(tree & _VECTORS_FLAG), (tree & ~_VECTORS_FLAG) >> _CASCADE_SHIFT
    tree &= _TREE_MASK
    if tree >= len(TREES) or cascade >= len(CASCADES):
        raise DamagedFileError("a chunk has a tree that there is not")
    if quality >= _QUALITIES or not 1 <= count <= tree_length(tree):
        raise DamagedFileError("a chunk header holds impossible values")
    return Plan(count, quality, tree, vectors, first, cascade), crc


def _length(value: int) -> bytes:
    """A length, 7 bits a byte, lowest first; the highest bit says that another byte follows."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _split_payload(payload: bytes, vectors: bool) -> tuple[bytes, bytes]:
    """The motion and the ANS words of a chunk."""
    at, length, shift = _HEADER.size, 0, 0
    while vectors:
        if at >= len(payload) or shift > 28:
            raise DamagedFileError("the motion of a chunk has no length")
        byte = payload[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    if at + length > len(payload):
        raise DamagedFileError("the motion of a chunk is cut off")
    return payload[at : at + length], payload[at + length :]
