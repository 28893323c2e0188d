"""Payload -> symbols: the half of a decoder that needs no pictures. `chunk` writes what is read
here, along the same lifting tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from stcodec.codec.contexts import Contexts, Known
from stcodec.codec.entropy import SymbolReader
from stcodec.codec.exact import NOTHING, Exact
from stcodec.codec.latents import LatentCoder, SparseValues
from stcodec.codec.loop_filter import NO_FILTERS, Changes, Filters, LoopFilter, unchanged
from stcodec.codec.model_files import Model
from stcodec.codec.motion import Fields
from stcodec.codec.palette import PaletteStream
from stcodec.codec.patches import Geometry
from stcodec.codec.payload import Plan, unpack
from stcodec.codec.tree import LEVELS, TREES, Step
from stcodec.codec.vectors import MotionStream
from stcodec.common.timing import stage
from stcodec.errors import DamagedFileError


@dataclass(frozen=True)
class FrameSymbols:
    """What was read of one frame: its step (of this frame alone), motion, dequantised symbols,
    loop filters, and what is exact in it; `quality`: its own."""

    step: Step
    quality: int
    fields: Fields | None
    values: SparseValues
    filters: Filters
    exact: Exact = NOTHING


@dataclass(frozen=True)
class ChunkSymbols:
    """What was read of a chunk: how it is coded, and its frames in the order of decoding."""

    plan: Plan
    frames: tuple[FrameSymbols, ...]


@dataclass(frozen=True)
class _Reader:
    """The parts of a payload."""

    motion: MotionStream
    samples: PaletteStream | None
    symbols: SymbolReader


class ChunkReader:
    """Reads the symbols of the chunks of a video in order, from the first chunk of any segment on.
    One thread at a time owns it."""

    def __init__(self, model: Model, geometry: Geometry) -> None:
        self._network = model.network
        self._contexts = Contexts(model, geometry)
        self._latents = LatentCoder(model.network, model.scale_networks, model.tables)
        self._filters = LoopFilter(model.filter_start, model.tables)

    @torch.no_grad()
    def read(self, payload: bytes, first: bool, levels: int = LEVELS) -> ChunkSymbols:
        """The symbols of a chunk; DamagedFileError where they are not those that were encoded.

        levels: how many of the tree's, from the coarsest on; a longer tree has more at its coarse
        end, which are read always. The next chunk needs no more than one.
        With fewer than all, the checksum is not looked at: it is one of all symbols."""
        known = self._contexts.start(first)
        if known is None:
            raise DamagedFileError("a segment does not start with its first chunk")
        plan, crc, parts = unpack(payload, known.before)
        samples = self._contexts.palettes.stream(parts.samples) if plan.samples else None
        motion = self._contexts.motion.stream(parts.motion)
        reader = _Reader(motion, samples, SymbolReader(parts.words))
        wanted, more = _steps_of(plan.steps(), levels)
        frames = [frame for step in wanted for frame in self._read(reader, plan, step, known)]
        for step in more:
            self._read_fields(reader.motion, plan, step, known)
        if levels >= LEVELS:
            reader.motion.check_end()
            reader.symbols.finish()
            if reader.samples is not None:
                reader.samples.check_end()
                crc ^= reader.samples.crc
            if reader.symbols.crc ^ reader.motion.crc != crc:
                raise DamagedFileError("decoded symbols are not those that were encoded")
        self._contexts.keep(known, plan.length)
        return ChunkSymbols(plan, tuple(frames))

    def _read(self, reader: _Reader, plan: Plan, step: Step, known: Known) -> list[FrameSymbols]:
        """The symbols of the frames of a step."""
        fields = self._read_fields(reader.motion, plan, step, known) if step.predicted else None
        quality = plan.quality_of(self._network, step)
        frames, chosen = [], list[Changes]()
        for i, single in enumerate(step.singles()):
            part = None if fields is None else fields.take(i)
            context = self._contexts.of_frame(single, quality, part, known.magnitudes)
            samples = None
            if reader.samples is not None and step.level == 0:
                with stage("samples"):
                    samples = reader.samples.read()
            with stage("latents"):
                read = self._latents.read(reader.symbols, context)
            known.magnitudes[single.frames[0]] = read.magnitudes
            copies = self._contexts.copied(single, part, known)
            exact = Exact.of(copies, samples, read.magnitudes)
            filters = NO_FILTERS
            if self._filters.works_on(step.kind):
                kept = known.filters if step.predicted else unchanged()
                chosen.append(self._filters.read(reader.symbols, kept))
                filters = self._filters.filters(step.kind, quality, chosen[-1])
            frames.append(FrameSymbols(single, quality, part, read.values, filters, exact))
        known.take(step, chosen)
        known.take_exact(step, [frame.exact for frame in frames])
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
