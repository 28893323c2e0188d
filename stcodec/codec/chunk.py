"""Chunks of pictures <-> payloads: the lifting tree, its latents and their bytes. No files, no
printing.

Payload (see docs/format.md): frame count, quality, tree, CRC-32 of the decoded symbols, ANS words.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from stcodec.codec import compensation
from stcodec.codec.entropy import Coder, SymbolWriter
from stcodec.codec.latents import LatentCoder, SparseValues, StepContext
from stcodec.codec.model_files import Model
from stcodec.codec.motion import Fields
from stcodec.codec.patches import CHUNK_FRAMES, Frames, patchify, unpatchify
from stcodec.codec.tree import Step
from stcodec.codec.vectors import CodedField, FieldShape, code_fields, step_hints
from stcodec.common.devices import flush_denormals
from stcodec.common.timing import stage
from stcodec.encoder.choice import Prices, choose_fields
from stcodec.encoder.propagation import price_factors

HEADER = struct.Struct("<BBBI")
VECTORS_FLAG = 0x80
INTRA, KEY = 0, 1

# Sum of absolute differences, in steps, that is worth one bit in the search, which should rather
# find too much than too little.
MOTION_BIT_COST = 1.2
_MOST_WORKERS = 4  # frames of the widest step of a tree

# Squared error in units of step**2 that is worth one bit: intra, key, and the three levels of
# two-sided frames.
RATE_WEIGHTS = (0.11, 0.18, 0.15, 0.20, 0.30)


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
class Decoded:
    """What later steps need of a coded frame: its picture, if there is one yet, and the magnitudes
    of its symbols [1, rows, columns, C]; `values`: its symbols, where there is no picture."""

    picture: Frames | None
    magnitudes: Tensor
    values: SparseValues | None = None


@dataclass(frozen=True)
class Prediction:
    """What is expected of the N frames of a step: coefficients `base` of the motion-compensated
    prediction and the `mean` of the latents, [N, C, rows, columns]; `size` [N, C, 1, 1] are the
    quantisation steps, for `kinds` and `qualities` [N]."""

    kind: int
    kinds: Tensor
    qualities: Tensor
    size: Tensor
    base: Tensor
    mean: Tensor


@dataclass
class ChunkRun:
    """A chunk that is being coded: by what and how, its last step, and what is known of its frames
    and of the one before (-1)."""

    coder: Coder
    last: Step
    quality: int
    use_motion: bool
    source: Source | None
    pictures: bool
    done: dict[int, Decoded] = field(default_factory=dict)
    fields: dict[int, CodedField] = field(default_factory=dict)
    stats: ChunkStats = field(default_factory=ChunkStats)


class ChunkCoder:
    """State and steps that encoder and decoder share. With `workers` > 1, frames of one step are
    worked on at the same time."""

    def __init__(
        self,
        model: Model,
        width: int,
        height: int,
        bit_depth: int,
        device: torch.device | str = "cpu",
        workers: int = 1,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.network = self.model.network
        self.width, self.height, self.bit_depth = width, height, bit_depth
        self.patch = model.config.patch
        self.padded = self.patch.padded(height, width)
        self.rows, self.columns = self.padded[0] // self.patch.h, self.padded[1] // self.patch.w
        self.latents = LatentCoder(self.network, self.model.groups, model.tables, self.device)
        self.vector_observer: Coder | None = None
        """Training only: sees every coded vector symbol before the writer does."""
        self._previous: Decoded | None = None
        self._key_field: CodedField | None = None
        self._memory: Tensor | None = None
        self._pool: ThreadPoolExecutor | None = None
        if workers > 1:
            self._pool = ThreadPoolExecutor(
                min(workers, _MOST_WORKERS), initializer=flush_denormals
            )

    def start_segment(self) -> None:
        """Forget everything: what follows decodes alone."""
        self._previous = self._key_field = self._memory = None

    @torch.no_grad()
    def start_chunk(
        self,
        coder: Coder,
        steps: Sequence[Step],
        quality: int,
        use_motion: bool,
        source: Source | None,
        pictures: bool,
    ) -> ChunkRun:
        """Code a chunk step by step, coarse to fine, but for the last step, on which nothing of the
        next chunk depends.

        `source` is the encoder's, None when decoding. Afterwards `finish_chunk` and the next
        chunk's start may run at the same time.
        """
        run = ChunkRun(coder, steps[-1], quality, use_motion, source, pictures)
        if self._previous is not None:
            run.done[-1] = self._previous
        if self._key_field is not None:
            run.fields[-1] = self._key_field
        for step in steps[:-1]:
            self._code_frames(run, step, self._code_fields(run, step))
        key = CHUNK_FRAMES - 1
        self._previous = run.done[key]
        self._key_field = None
        if key in run.fields:
            field = run.fields[key]
            at = [None if r is None else r - CHUNK_FRAMES for r in field.references]
            self._key_field = CodedField(field.vectors, -1, (at[0], at[1]))
        return run

    @torch.no_grad()
    def finish_chunk(self, run: ChunkRun) -> dict[int, Decoded]:
        """Code the last step of a chunk; all of its frames by number."""
        self._code_frames(run, run.last, self._code_fields(run, run.last))
        return run.done

    def _code_frames(self, run: ChunkRun, step: Step, fields: Fields | None) -> None:
        """Code the frames of a step one by one: at large sizes a batch of frames would only cost
        memory."""
        coder = run.coder
        singles, kind = step.singles(), INTRA if fields is None else step.level + 1
        known = dict(run.done)  # of the step itself nothing: no frame of it depends on another

        def code(i: int) -> tuple[Coder, Decoded]:
            own = SymbolWriter() if isinstance(coder, SymbolWriter) else coder
            field = (
                None
                if fields is None
                else Fields(fields.vectors[i : i + 1], fields.modes[i : i + 1])
            )
            with torch.no_grad():
                context = self._context(singles[i], run.quality, field, known)
                return own, self._code_step(
                    own, singles[i], context, field, known, run.source, run.pictures
                )

        # What is written is put in order afterwards; what is read has its order.
        pool = self._pool if isinstance(coder, SymbolWriter) and len(singles) > 1 else None
        coded = (
            map(code, range(len(singles))) if pool is None else pool.map(code, range(len(singles)))
        )
        for single, (own, decoded) in zip(singles, coded, strict=True):
            run.done[single.frames[0]] = decoded
            if isinstance(coder, SymbolWriter) and isinstance(own, SymbolWriter):
                coder.append(own)
                run.stats.latent_bits[kind] = run.stats.latent_bits.get(kind, 0.0) + own.bits

    def _code_fields(self, run: ChunkRun, step: Step) -> Fields | None:
        available = np.array([[r is not None for r in pair] for pair in step.references])
        if not available.any():
            return None
        coder = run.coder
        shape = FieldShape(len(step.frames), self.padded[0] // 16, self.padded[1] // 16)
        if not run.use_motion:
            fields = still_fields(shape, available)
        else:
            with stage("vectors"):
                hints = step_hints(step, run.fields, shape)
                wanted = (
                    None
                    if run.source is None
                    else self._choose_fields(run, step, hints, run.source)
                )
                tables = self.model.vector_tables
                before = coder.bits if isinstance(coder, SymbolWriter) else 0.0
                fields = code_fields(coder, wanted, shape, available, hints, tables)
                if self.vector_observer is not None:
                    code_fields(self.vector_observer, fields, shape, available, hints, tables)
                if isinstance(coder, SymbolWriter):
                    run.stats.vector_bits += coder.bits - before
        for i, frame in enumerate(step.frames):
            run.fields[frame] = CodedField(fields.vectors[i].numpy(), frame, step.references[i])
        return Fields(fields.vectors.to(self.device), fields.modes.to(self.device))

    def _choose_fields(
        self, run: ChunkRun, step: Step, hints: np.ndarray | None, source: Source
    ) -> Fields:
        """The encoder's choice of motion for the frames of a step."""
        kind = step.level + 1
        steps = self.network.luma_steps(self.network.quality_of(run.quality, kind), kind)
        prices = Prices.of(steps, RATE_WEIGHTS[kind], self.model.vector_tables)

        def choose(i: int) -> Fields:
            pictures = [None if r is None else run.done[r].picture for r in step.references[i]]
            first, second = (None if p is None else p.y[0, 0] for p in pictures)
            current = source.frames.y[step.frames[i], 0]
            hint = None if hints is None else hints[i : i + 1]
            return choose_fields(
                current, (first, second), source.fields(step.frames[i]), hint, prices
            )

        numbers = range(len(step.frames))
        chosen = list(
            map(choose, numbers) if self._pool is None else self._pool.map(choose, numbers)
        )
        return Fields(torch.cat([c.vectors for c in chosen]), torch.cat([c.modes for c in chosen]))

    def motion_bit_cost(self, quality: int) -> float:
        """Absolute difference, summed over samples in [0, 1], that is worth one bit of motion."""
        level = torch.tensor([float(quality)], device=self.device)
        step = self.network.step(level, torch.tensor([KEY], device=self.device))
        return MOTION_BIT_COST * float(step.min())

    def _context(
        self, step: Step, quality: int, fields: Fields | None, done: Mapping[int, Decoded]
    ) -> StepContext:
        n = len(step.frames)
        shape = (n, self.rows, self.columns, self.patch.channels)
        references = torch.zeros(shape, device=self.device)
        for i, pair in enumerate(step.references):
            for reference in pair:
                if reference is not None:
                    references[i] += done[reference].magnitudes[0]
        if fields is None:
            return StepContext(
                INTRA, self.network.quality_of(quality, INTRA), references, None, None
            )
        row = torch.arange(self.rows, device=self.device) * self.patch.h // 16
        column = torch.arange(self.columns, device=self.device) * self.patch.w // 16
        modes = fields.modes[:, row][:, :, column].to(torch.int32)
        spread = vector_spread(fields.vectors, (self.rows, self.columns))
        kind = step.level + 1
        return StepContext(kind, self.network.quality_of(quality, kind), references, modes, spread)

    def _code_step(
        self,
        coder: Coder,
        step: Step,
        context: StepContext,
        fields: Fields | None,
        done: Mapping[int, Decoded],
        source: Source | None,
        pictures: bool,
    ) -> Decoded:
        """Code the one frame of a step; what is known of others is `done`."""
        prediction = None
        if pictures:
            before = {
                number: frame.picture for number, frame in done.items() if frame.picture is not None
            }
            prediction = self._prediction(step, context.kind, context.quality, fields, before)
        wanted = None
        if source is not None:
            wanted = self.network.transform(patchify(source.frames.take(step.frames), self.patch))
        with stage("latents"):
            mean, size = (None, None) if prediction is None else (prediction.mean, prediction.size)
            weight = self._rate_weight(step, context, source)
            coded = self.latents.code(coder, context, wanted, mean, size, weight)
        frames = None
        if prediction is not None:
            assert coded.decoded is not None and coded.mean is not None
            frames = self._restore(coded.decoded, coded.mean, prediction)
        return Decoded(frames, coded.magnitudes, coded.values)

    def _rate_weight(
        self, step: Step, context: StepContext, source: Source | None
    ) -> float | Tensor:
        """The price of a bit in the one frame of a step, or in each of its patches [1, patches]:
        see `LatentCoder.code`."""
        weight = RATE_WEIGHTS[context.kind]
        change = None if source is None else source.changes.get(step.frames[0])
        if change is None:
            return weight
        steps = self.network.luma_steps(context.quality, context.kind)
        return weight * price_factors(change, steps.square().mean()).view(1, -1)

    def _prediction(
        self,
        step: Step,
        kind: int,
        quality: int,
        fields: Fields | None,
        before: Mapping[int, Frames],
    ) -> Prediction:
        """What is expected of the frames of a step, whose own quality this is, from the pictures
        decoded before."""
        n = len(step.frames)
        kinds = torch.full((n,), kind, dtype=torch.long, device=self.device)
        qualities = torch.full((n,), float(quality), device=self.device)
        size = self.network.step(qualities, kinds)
        with stage("prediction"):
            base = self._predict(step, fields, before, n)
        with stage("network"):
            state = self._state(n) if kind == KEY else self._null_state(n)
            mean = self.network.predict(base, state, size, qualities, kinds)
        return Prediction(kind, kinds, qualities, size, base, mean)

    def _restore(self, decoded: Tensor, mean: Tensor, prediction: Prediction) -> Frames:
        """The pictures of decoded latents and their refined means; key frames renew the memory."""
        p = prediction
        with stage("network"):
            restored, features = self.network.restore(
                decoded, mean, p.base, p.size, p.qualities, p.kinds
            )
            frames = unpatchify(self.network.inverse(restored), self.patch)
            frames = Frames(*(plane.clamp_(0.0, 1.0) for plane in frames))
        if p.kind <= KEY and features is not None:
            self._memory = self.network.memory(self._state(len(decoded)), features)
        return frames

    def _predict(
        self, step: Step, fields: Fields | None, before: Mapping[int, Frames], n: int
    ) -> Tensor:
        """Coefficients of the motion-compensated prediction; of an intra frame, the mean of all
        pictures."""
        if fields is None:
            shape = (n, self.patch.channels, self.rows, self.columns)
            return self.network.intra_mean[None, :, None, None].expand(shape)
        sides = [
            [None if (r := pair[k]) is None else before[r] for pair in step.references]
            for k in (0, 1)
        ]
        frames = compensation.predict(sides[0], sides[1], fields)
        return self.network.transform(patchify(frames, self.patch))

    def _null_state(self, n: int) -> Tensor:
        if not self.model.config.width:
            return torch.zeros(n, 0, self.rows, self.columns, device=self.device)
        return self.network.memory.start(n, self.rows, self.columns)

    def _state(self, n: int) -> Tensor:
        return self._null_state(n) if self._memory is None else self._memory


class Source:
    """The encoder's side of a chunk: the pictures to code, the motion that was found between them,
    and what changes in key frames."""

    def __init__(
        self, frames: Frames, fields: dict[int, Fields], changes: dict[int, Tensor]
    ) -> None:
        self.frames, self.changes = frames, changes
        self._fields = fields

    def fields(self, frame: int) -> Fields:
        """The motion of a frame (batch size 1)."""
        return self._fields[frame]


def still_fields(shape: FieldShape, available: np.ndarray) -> Fields:
    """Zero vectors, and the modes that the available references [n, 2] imply."""
    vectors = torch.zeros(shape.n, 2, 2, shape.rows * 2, shape.columns * 2, dtype=torch.int16)
    modes = torch.zeros(shape.n, shape.rows, shape.columns, dtype=torch.uint8)
    modes[torch.from_numpy(~available[:, 1])] = 1
    modes[torch.from_numpy(~available[:, 0])] = 2
    return Fields(vectors, modes)


def vector_spread(vectors: Tensor, grid: tuple[int, int]) -> Tensor:
    """How far neighbouring vectors lie apart, per reference: int [N, 2, 2, h, w] -> [N, rows,
    columns, 2] integers."""
    v = vectors.to(torch.float32)
    spread = torch.zeros(v.shape[0], 2, *v.shape[-2:], device=v.device)
    down = (v[..., 1:, :] - v[..., :-1, :]).abs().amax(2)
    right = (v[..., 1:] - v[..., :-1]).abs().amax(2)
    spread[..., 1:, :] = down
    spread[..., 1:] = torch.maximum(spread[..., 1:], right)
    return torch.nn.functional.adaptive_max_pool2d(spread, grid).permute(0, 2, 3, 1)
