"""Payloads -> pictures, in two halves: symbols need no pictures, so those of the next chunk can be
read at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from stcodec.codec.chunk import HEADER, VECTORS_FLAG, ChunkCoder, Decoded, Source
from stcodec.codec.entropy import Coder, SymbolReader
from stcodec.codec.latents import SparseValues, StepContext
from stcodec.codec.model_files import Model
from stcodec.codec.motion import Fields
from stcodec.codec.patches import CHUNK_FRAMES, Frames, planes_from_frames
from stcodec.codec.tree import TREES, Step, tree_steps
from stcodec.common.timing import stage
from stcodec.common.values import Planes
from stcodec.errors import DamagedFileError


@dataclass(frozen=True)
class FrameSymbols:
    """What was read of one frame: its step (of this frame alone), kind, motion and dequantised
    symbols."""

    step: Step
    kind: int
    fields: Fields | None
    values: SparseValues


@dataclass(frozen=True)
class ChunkSymbols:
    """What was read of a chunk: how many of its 8 frames are shown, and all of them in the order of
    decoding."""

    count: int
    first: bool
    quality: int
    frames: tuple[FrameSymbols, ...]


class ChunkDecoder(ChunkCoder):
    """Decodes the chunks of a video in order, from the first chunk of any segment on.

    `read` and `pictures` keep their states apart: one thread may read ahead while another makes
    pictures.
    """

    def __init__(
        self,
        model: Model,
        width: int,
        height: int,
        bit_depth: int,
        device: torch.device | str = "cpu",
        workers: int = 1,
    ) -> None:
        super().__init__(model, width, height, bit_depth, device, workers)
        self._read: list[FrameSymbols] = []
        self._before: Frames | None = None

    def decode(self, payload: bytes, first: bool) -> list[Planes]:
        """The pictures of a chunk; DamagedFileError where the symbols are not those that were
        encoded."""
        return self.pictures(self.read(payload, first))

    def check(self, payload: bytes, first: bool) -> int:
        """Decode the symbols only and check them; returns the number of frames. DamagedFileError as
        in `decode`."""
        return self.read(payload, first).count

    def read(self, payload: bytes, first: bool) -> ChunkSymbols:
        """The symbols of a chunk; DamagedFileError where they are not those that were encoded."""
        if len(payload) < HEADER.size:
            raise DamagedFileError("a chunk is too short")
        count, quality, tree, crc = HEADER.unpack_from(payload)
        use_motion, tree = bool(tree & VECTORS_FLAG), tree & ~VECTORS_FLAG
        if not (1 <= count <= CHUNK_FRAMES and quality < 64 and tree < len(TREES)):
            raise DamagedFileError("a chunk header holds impossible values")
        if first:
            self._previous = self._key_field = None
        elif self._previous is None:
            raise DamagedFileError("a segment does not start with its first chunk")
        self._read = []
        reader = SymbolReader(payload[HEADER.size :])
        steps = tree_steps(tree, first)
        self.finish_chunk(
            self.start_chunk(reader, steps, quality, use_motion, None, pictures=False)
        )
        reader.finish()
        if reader.crc != crc:
            raise DamagedFileError("decoded symbols are not those that were encoded")
        return ChunkSymbols(count, first, quality, tuple(self._read))

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
        decoded = super()._code_step(coder, step, context, fields, done, source, pictures)
        assert decoded.values is not None
        self._read.append(FrameSymbols(step, context.kind, fields, decoded.values))
        return decoded

    def pictures(self, symbols: ChunkSymbols) -> list[Planes]:
        """The pictures of a chunk whose symbols have been read. Chunks come in order."""
        return planes_from_frames(self.frames(symbols), self.height, self.width, self.bit_depth)

    def frames(self, symbols: ChunkSymbols) -> Frames:
        """The same as `pictures`, padded and on the device, before they are rounded to samples."""
        if symbols.first:
            self._memory = self._before = None
        done: dict[int, Frames] = {} if self._before is None else {-1: self._before}

        def make(frame: FrameSymbols) -> Frames:
            with torch.no_grad():
                return self._picture(frame, symbols.quality, done)

        for level in range(4):
            frames = [f for f in symbols.frames if f.step.level == level]
            # Key frames follow from each other, through the pictures and the memory.
            made = (
                map(make, frames)
                if self._pool is None or level == 0
                else self._pool.map(make, frames)
            )
            for frame, picture in zip(frames, made, strict=True):
                done[frame.step.frames[0]] = picture
        self._before = done[CHUNK_FRAMES - 1]
        return Frames(
            *(
                torch.cat(planes)
                for planes in zip(*(done[i] for i in range(symbols.count)), strict=True)
            )
        )

    def _picture(self, frame: FrameSymbols, quality: int, done: dict[int, Frames]) -> Frames:
        quality = self.network.quality_of(quality, frame.kind)
        prediction = self._prediction(frame.step, frame.kind, quality, frame.fields, done)
        with stage("latents"):
            decoded, mean = self.latents.reconstruct(
                frame.values, prediction.mean, prediction.size, frame.kind, quality
            )
        return self._restore(decoded, mean, prediction)
