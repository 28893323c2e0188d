"""Pictures -> payloads, in three parts: motion needs source pictures alone, so the next chunk can
be searched at the same time; and nothing of it depends on the last frames of a chunk."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stcodec.codec.chunk import ChunkRun, ChunkStats, ChunkWriter, OnPicture
from stcodec.codec.entropy import SymbolWriter
from stcodec.codec.latents import Observer
from stcodec.codec.model_files import Model
from stcodec.codec.motion import Fields
from stcodec.codec.patches import CHUNK_FRAMES, Geometry
from stcodec.codec.payload import Plan
from stcodec.codec.tree import (
    BEFORE,
    EARLIER,
    INTRA,
    KEY,
    LONG_SHAPE,
    LONGEST,
    QUICK_SHAPES,
    SHAPES,
    Step,
    tree_steps,
)
from stcodec.common.arithmetic import flush_denormals
from stcodec.common.threads import Workers
from stcodec.common.timing import stage
from stcodec.common.values import Planes
from stcodec.encoder import search, tuning
from stcodec.encoder.guide import ChunkGuide
from stcodec.encoder.propagation import changes, lasting
from stcodec.encoder.source import SourceChunk
from stcodec.encoder.temporal_filter import AHEAD, distances, filtered, towards

_MOST_WORKERS = 4  # frames of the widest step of a tree


@dataclass(frozen=True)
class CodecSettings:
    """What a user may choose. quality 0..63; motion: search for motion, or take every vector as
    zero; ssim: bits go to what structural similarity asks for."""

    quality: int = 32
    motion: bool = True
    effort: int = 1
    ssim: bool = False


@dataclass(frozen=True)
class EncodedChunk:
    """One chunk's payload; `frames` 1..16."""

    payload: bytes
    frames: int
    stats: ChunkStats


@dataclass(frozen=True)
class PreparedChunk:
    """Source pictures (as many as its tree has frames; `count` of them are shown), how many chunks
    of the segment come before it, tree, the motion of each predicted frame, what changes in key
    frames (see `propagation`), whether it is coded as the end of a scene, and whether it was drawn
    rather than filmed."""

    source: SourceChunk
    count: int
    before: int
    tree: int
    fields: dict[int, Fields]
    changes: dict[int, Tensor]
    ends: bool
    drawn: bool

    @property
    def first(self) -> bool:
        """Whether it starts a segment."""
        return self.before == 0


class _Before(NamedTuple):
    """The last picture of the chunk before, and as the search sees it; earlier: that of the chunk
    before that; after: what the search has found of some pictures after it, by distance: vectors
    int16 [2, H / 8, W / 8]; chunks: of the segment so far."""

    luma: Tensor
    picture: search.SourcePicture
    earlier: search.SourcePicture | None
    after: dict[int, Tensor]
    chunks: int


def _luma(source: SourceChunk, before: _Before | None, number: int) -> Tensor:
    """Luma of a picture of a chunk, or (-1) of the last one of the chunk before."""
    if number >= 0:
        return source.luma(number)
    assert before is not None
    return before.luma


class ChunkEncoder:
    """Encodes the chunks of a video in order.

    Pictures are `width` x `height` 4:2:0 planes of `bit_depth` 8 or 10. workers: threads that code
    frames of one level side by side. observer, on_picture: see what is coded, for training.
    every_picture: whether also those pictures are made from which nothing is predicted; without it
    `ChunkRun.pictures` lacks them.
    """

    def __init__(
        self,
        model: Model,
        width: int,
        height: int,
        bit_depth: int,
        settings: CodecSettings,
        device: torch.device | str = "cpu",
        workers: int = 1,
        observer: Observer | None = None,
        every_picture: bool = True,
        on_picture: OnPicture | None = None,
    ) -> None:
        self.width, self.height, self.bit_depth = width, height, bit_depth
        self.settings = settings
        self._model = model
        self._geometry = Geometry(width, height, model.config.patch)
        self._costs = torch.from_numpy(model.tables.costs())
        pool = Workers(min(workers, _MOST_WORKERS), flush_denormals)
        self._chunks = ChunkWriter(
            model, self._geometry, torch.device(device), pool, every_picture, on_picture
        )
        self._chunks.latents.observer = observer
        self._before: _Before | None = None

    def encode(self, chunk: Sequence[Planes], first: bool) -> EncodedChunk:
        """Encode 1..8 pictures; `first` starts a segment. Missing frames of the chunk repeat the
        last picture."""
        (prepared,) = self.prepare(chunk, first)
        return self.encode_prepared(prepared)

    def prepare(
        self,
        pictures: Sequence[Planes],
        first: bool,
        following: Sequence[Planes] = (),
        ends: bool = False,
    ) -> list[PreparedChunk]:
        """The part of encoding that looks at source pictures alone, of 1..16 pictures that come in
        order: the one or two chunks that they make. It may run in a thread of its own, ahead of
        `encode_prepared`.

        following: up to `temporal_filter.AHEAD` pictures with which the next call goes on in the
        same segment; without them key frames are filtered less well. ends: whether these pictures
        are the last ones of a scene, so that no later ones need fine key frames."""
        if not 1 <= len(pictures) <= LONGEST:
            raise ValueError(f"1 to {LONGEST} pictures make chunks, not {len(pictures)}")
        pictures, count = [*pictures, *following[:AHEAD]], len(pictures)
        with stage("motion"), torch.no_grad():
            whole = self._source(pictures)
            seen = [search.SourcePicture(whole.luma_bytes(i)) for i in range(len(pictures))]
            if self._is_long(seen[:count], first):
                return [self._prepare(pictures, seen, count, first, ends)]
            short = min(CHUNK_FRAMES, count)
            most, alone = short + AHEAD, count == short
            chunks = [self._prepare(pictures[:most], seen[:most], short, first, ends and alone)]
            if not alone:
                rest = pictures[short:], seen[short:], count - short
                chunks.append(self._prepare(*rest, False, ends))
            return chunks

    def _source(self, pictures: Sequence[Planes]) -> SourceChunk:
        return SourceChunk(pictures, self.bit_depth, self._geometry.patch)

    def _is_long(self, seen: list[search.SourcePicture], first: bool) -> bool:
        """Whether pictures make one chunk of 16."""
        if len(seen) < LONGEST or first or self._before is None or not self.settings.motion:
            return False
        return search.is_steady([self._before.picture, *seen], self._search_settings())

    def _prepare(
        self,
        pictures: Sequence[Planes],
        seen: list[search.SourcePicture],
        count: int,
        first: bool,
        ends: bool,
    ) -> PreparedChunk:
        """Prepare one chunk of 1..8 or of 16 pictures, `count` of those that are given: the others
        come after it."""
        missing = max(0, CHUNK_FRAMES - count)
        if missing:
            pictures = [*pictures[:count], *[pictures[count - 1]] * missing]
            seen = [*seen[:count], *[seen[count - 1]] * missing]
        length = count + missing
        source = self._source(pictures)
        before = None if first else self._before
        chunks = 0 if before is None else before.chunks
        tree, fields = 0, dict[int, Fields]()
        if self.settings.motion:
            tree, fields = self._find_motion(seen, length, before, quick=not missing)
        after = {i - length + 1: fields.pop(i).vectors[0, 0] for i in [*fields] if i >= length}
        # Nothing is predicted from a picture that is alone.
        alone = first and count == 1
        luma = functools.partial(_luma, source, before)
        steps = tree_steps(tree, chunks)
        ends = ends and not first and bool(tuning.ENDING_CASCADE)
        lasting = {}
        if not alone and not ends:
            lasting = changes(luma, steps, fields, self._geometry.patch)
        earlier = None if before is None else before.picture
        self._before = _Before(
            source.luma(length - 1), seen[length - 1], earlier, after, chunks + 1
        )
        planes = list(pictures[:length])
        drawn = any(picture.drawn for picture in seen[:length])
        if not alone:
            self._filter(planes, pictures, steps, fields, after)
        made = self._source(planes)
        return PreparedChunk(made, count, chunks, tree, fields, lasting, ends, drawn)

    def _filter(
        self,
        planes: list[Planes],
        pictures: Sequence[Planes],
        steps: Sequence[Step],
        fields: Mapping[int, Fields],
        after: Mapping[int, Tensor],
    ) -> None:
        """Take noise out of those of the `planes` of a chunk that others are predicted from.

        pictures: its own and those after it; fields: motion of its frames; after: see `_Before`."""
        step_size, last = self._key_step(), len(planes) - 1
        for step in steps:
            weight = tuning.FILTER_LEVELS[step.level]
            for frame in step.frames if weight else ():
                near = towards(frame, steps, fields)
                if frame == last:
                    near |= {last + far: vectors.numpy() for far, vectors in after.items()}
                noisy = pictures, frame, near
                planes[frame] = filtered(*noisy, self.bit_depth, step_size, weight)

    def encode_prepared(self, chunk: PreparedChunk, quality: int | None = None) -> EncodedChunk:
        """Code what `prepare` made of a chunk, at `quality` (0..63) instead of the settings' if
        given."""
        return self.finish(self.start(chunk, quality))

    def start(self, chunk: PreparedChunk, quality: int | None = None) -> ChunkRun:
        """The part of `encode_prepared` that the next chunk depends on. Chunks come in order."""
        quality = self.settings.quality if quality is None else quality
        cascade = tuning.ENDING_CASCADE if chunk.ends else self._cascade(chunk, quality)
        motion, drawn = self.settings.motion, chunk.drawn
        plan = Plan(chunk.count, quality, chunk.tree, motion, chunk.before, cascade, drawn)
        guide = ChunkGuide(
            self._model,
            self._costs,
            plan,
            chunk.source,
            chunk.fields,
            chunk.changes,
            tuning.ACTIVITY_SSIM if self.settings.ssim else tuning.ACTIVITY_PSNR,
        )
        return self._chunks.start(plan, guide, SymbolWriter())

    def finish(self, run: ChunkRun) -> EncodedChunk:
        """The rest; it may run in a thread of its own, while the next chunk is started."""
        payload = self._chunks.finish(run)
        return EncodedChunk(payload, run.plan.count, run.stats)

    def motion_seen(self) -> np.ndarray:
        """How often each outcome of each decision on motion has been written, int64 [SETS,
        CONTEXTS, 2] (see `vectors.MotionContexts`): training fits where they start."""
        return self._chunks.contexts.motion.seen()

    def _cascade(self, chunk: PreparedChunk, quality: int) -> int:
        """How much finer key frames are than others: the more of them lasts, the more."""
        if not chunk.changes or chunk.tree % SHAPES in QUICK_SHAPES:
            return 0
        network, kind = self._model.network, INTRA if chunk.first else KEY
        steps = network.luma_steps(network.quality_of(quality, kind), kind).square().mean()
        shares = [lasting(change, steps).mean() for change in chunk.changes.values()]
        share = float(torch.stack(shares).mean())
        found = sum(share >= least for least in tuning.CASCADE_SHARES)
        return max(found, tuning.FIRST_CASCADE) if chunk.first else found

    def _find_motion(
        self,
        pictures: list[search.SourcePicture],
        length: int,
        before: _Before | None,
        quick: bool,
    ) -> tuple[int, dict[int, Fields]]:
        """The tree of a chunk of so many frames, and the motion of each of its predicted frames and
        of the pictures after it from its last frame, found on source pictures. quick: whether trees
        with more than one key frame are looked at."""
        settings, numbered = self._search_settings(), dict(enumerate(pictures))
        tree, known = SHAPES * (tuning.KEY_REFERENCES - 1), dict[tuple[int, int], np.ndarray]()
        if length > CHUNK_FRAMES:
            tree += LONG_SHAPE
        elif before is not None and quick:
            tree += search.choose_tree([before.picture, *pictures[:length]], settings)
        if before is not None:
            numbered[BEFORE] = before.picture
            known = {(far - 1, BEFORE): vectors.numpy() for far, vectors in before.after.items()}
        if before is not None and before.earlier is not None:
            numbered[EARLIER] = before.earlier
        wanted = [
            (frame, *pair)
            for step in tree_steps(tree, 0 if before is None else before.chunks)
            for frame, pair in zip(step.frames, step.references, strict=True)
            if pair != (None, None)
        ]
        after = (length - 1 + far for far in distances())
        wanted += [(number, length - 1, None) for number in after if number < len(pictures)]
        found = search.search_pictures(numbered, wanted, settings, choose_modes=False, known=known)
        return tree, {frame: fields for (frame, *_), fields in zip(wanted, found, strict=True)}

    def _search_settings(self) -> search.SearchSettings:
        return search.SearchSettings(self._motion_bit_cost(), self.settings.effort)

    def _motion_bit_cost(self) -> float:
        """Absolute difference, summed over samples in [0, 1], that is worth one bit of motion."""
        level = torch.tensor([float(self.settings.quality)])
        step = self._model.network.step(level, torch.tensor([KEY]))
        return tuning.MOTION_BIT_COST * float(step.min())

    def _key_step(self) -> float:
        """Quantisation step of key frames, in units of 1 / 255."""
        network = self._model.network
        quality = network.quality_of(self.settings.quality, KEY)
        return 255.0 * float(network.luma_steps(quality, KEY).mean())
