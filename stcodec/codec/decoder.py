"""Payloads -> pictures, in two halves: symbols need no pictures, so those of the next chunk can be
read at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from stcodec.codec.chunk import ChunkReader, ChunkSymbols, FrameSymbols
from stcodec.codec.latents import SparseValues
from stcodec.codec.model_files import Model
from stcodec.codec.motion import Fields
from stcodec.codec.patches import Frames, Geometry, planes_from_frames
from stcodec.codec.reconstruction import Reconstruction
from stcodec.codec.transfers import upload
from stcodec.codec.tree import LEVELS, Step
from stcodec.common.arithmetic import flush_denormals
from stcodec.common.threads import Workers
from stcodec.common.values import Planes

_MOST_WORKERS = 4  # frames of the widest level of a tree


class PictureMaker:
    """Makes the pictures of chunks whose symbols have been read, in order. One thread at a time
    owns it.

    Frames of one level are made side by side by its `workers` on a CPU. Another device takes them
    as one batch; what was read of them goes there in one copy, and nothing comes back until a
    chunk is complete."""

    def __init__(
        self, model: Model, geometry: Geometry, device: torch.device, workers: Workers
    ) -> None:
        self._workers, self._device = workers, device
        self._values = geometry.grid[0] * geometry.grid[1] * model.config.patch.channels
        self._most = geometry.frames_at_once
        self._reconstruction = Reconstruction(model, geometry, device)

    @torch.no_grad()
    def make(self, symbols: ChunkSymbols, places: Sequence[int] | None = None) -> Frames:
        """The pictures of a chunk at these places (0..; None: those that are shown), padded."""
        done = self._reconstruction.start(symbols.plan.first)

        def make(frame: FrameSymbols) -> Frames:
            with torch.no_grad():
                return self._picture(frame, done)

        for frames in _levels(symbols.frames):
            if self._device.type == "cpu":
                made = self._workers.map(make, frames)
            else:
                made = self._together(frames, done)
            for frame, picture in zip(frames, made, strict=True):
                done[frame.step.frames[0]] = picture
        self._reconstruction.keep(done, symbols.plan.length)
        shown = (done[i] for i in (range(symbols.plan.count) if places is None else places))
        return Frames.join(list(shown))

    def _picture(self, frame: FrameSymbols, done: dict[int, Frames]) -> Frames:
        quality = frame.quality
        prediction = self._reconstruction.predict(frame.step, quality, frame.fields, done)
        return self._reconstruction.decode(frame.values, quality, prediction)

    def _together(self, level: list[FrameSymbols], done: dict[int, Frames]) -> Iterator[Frames]:
        """The pictures of the frames of a level, as many at once as memory allows."""
        for start in range(0, len(level), self._most):
            frames = level[start : start + self._most]
            step, quality = Step.join([f.step for f in frames]), frames[0].quality
            fields = [f.fields for f in frames if f.fields is not None]
            motion = [Fields.join(fields)] if fields else []
            values = SparseValues.join([f.values for f in frames], self._values)
            at, found, *moved = upload(
                [
                    values.at,
                    values.values,
                    *(part for f in motion for part in (f.vectors, f.modes)),
                ],
                self._device,
            )
            prediction = self._reconstruction.predict(
                step, quality, Fields(*moved) if moved else None, done
            )
            made = self._reconstruction.decode(SparseValues(at, found), quality, prediction)
            yield from made.apart()


def _levels(frames: Sequence[FrameSymbols]) -> list[list[FrameSymbols]]:
    """Frames that depend on none of each other: those of a level, and key frames one by one, which
    follow from each other through pictures and memory."""
    keys = [[f] for f in frames if f.step.level == 0]
    levels = sorted({f.step.level for f in frames} - {0})
    return keys + [[f for f in frames if f.step.level == level] for level in levels]


class ChunkDecoder:
    """Decodes the chunks of a video in order, from the first chunk of any segment on.

    `read` and `pictures` (or `frames`) belong to an object each, which keep their states apart: one
    thread may read ahead while another makes pictures.
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
        self.width, self.height, self.bit_depth = width, height, bit_depth
        device = torch.device(device)
        geometry = Geometry(width, height, model.config.patch)
        self._reader = ChunkReader(model, geometry)
        self._maker = PictureMaker(
            model, geometry, device, Workers(min(workers, _MOST_WORKERS), flush_denormals)
        )

    def decode(self, payload: bytes, first: bool) -> list[Planes]:
        """The pictures of a chunk; DamagedFileError where the symbols are not those that were
        encoded."""
        return self.pictures(self.read(payload, first))

    def check(self, payload: bytes, first: bool) -> int:
        """Decode the symbols only and check them; returns the number of frames. DamagedFileError as
        in `decode`."""
        return self.read(payload, first).plan.count

    def read(self, payload: bytes, first: bool, levels: int = LEVELS) -> ChunkSymbols:
        """The symbols of a chunk, or of some levels of its tree: see `ChunkReader.read`.
        DamagedFileError where they are not those that were encoded."""
        return self._reader.read(payload, first, levels)

    def pictures(self, symbols: ChunkSymbols, places: Sequence[int] | None = None) -> list[Planes]:
        """The pictures of a chunk whose symbols have been read, those shown or those at `places`
        of its tree. Chunks come in order."""
        frames = self._maker.make(symbols, places)
        return planes_from_frames(frames, self.height, self.width, self.bit_depth)

    def frames(self, symbols: ChunkSymbols) -> Frames:
        """The same as `pictures`, padded and on the device, before they are rounded to samples."""
        return self._maker.make(symbols)
