"""Payloads -> pictures, in two halves: symbols need no pictures, so those of the next chunks can be
read at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch

from stcodec.codec import loop_filter
from stcodec.codec.latents import SparseValues
from stcodec.codec.model_files import Model
from stcodec.codec.motion import Fields
from stcodec.codec.patches import Frames, Geometry, planes_from_frames
from stcodec.codec.reconstruction import Reconstruction
from stcodec.codec.regions import Canvas, Region, regions
from stcodec.codec.scales import FRAME_KINDS
from stcodec.codec.symbols import ChunkReader, ChunkSymbols, FrameSymbols
from stcodec.codec.transfers import upload
from stcodec.codec.tree import LEVELS, Step
from stcodec.common.arithmetic import flush_denormals
from stcodec.common.shape import Box
from stcodec.common.threads import Workers
from stcodec.common.values import Planes

_MOST_WORKERS = 4  # frames of the widest level of a tree
Made = TypeVar("Made")
Following = Callable[[], ChunkSymbols | None]
"""Gives the chunk behind the one that is made, once it has been read; until then None."""


class PictureMaker:
    """Makes the pictures of chunks whose symbols have been read, in order. One thread at a time
    owns it.

    Frames of one level are made side by side by its `workers` on a CPU, which keeps only those that
    others are predicted from, and beside them the key frames of the next chunk, which depend on
    other key frames alone. Another device takes them as one batch; what was read of them goes there
    in one copy, and nothing comes back until a chunk is complete."""

    def __init__(
        self,
        model: Model,
        geometry: Geometry,
        device: torch.device,
        workers: Workers,
        part: Region | None = None,
    ) -> None:
        self._workers, self._device = workers, device
        self._values = geometry.grid[0] * geometry.grid[1] * model.config.patch.channels
        self._most = geometry.frames_at_once
        self._patch, self._part = geometry.patch, part
        self._canvas = Canvas.of(geometry.width, geometry.height, geometry.patch)
        self._reconstruction = Reconstruction(model, geometry, device)
        self._begun: tuple[ChunkSymbols, dict[int, Frames]] | None = None

    @torch.no_grad()
    def make(
        self,
        symbols: ChunkSymbols,
        finish: Callable[[Frames], list[Made]],
        places: Sequence[int] | None = None,
        following: Following | None = None,
    ) -> list[Made]:
        """What `finish` makes of the pictures of a chunk at these places (0..; None: those that are
        shown), padded, or of the part of them that is wanted. A CPU makes little around that, and
        gives `finish` each picture as it comes; other devices make frames of a level together,
        whole, and give it all pictures at the end. following: what comes next."""
        places = range(symbols.plan.count) if places is None else places
        begun, self._begun = self._begun, None
        if begun is None or begun[0] is not symbols:
            begun = self._begin(symbols)
        done = begun[1]
        if self._device.type == "cpu":
            return self._one_by_one(symbols, finish, places, done, following)
        for frames in _levels(symbols.frames):
            self._keep(frames, self._together(frames, done), done)
        return finish(Frames.join([self._shown(done[i]) for i in places]))

    @torch.no_grad()
    def _begin(self, symbols: ChunkSymbols) -> tuple[ChunkSymbols, dict[int, Frames]]:
        """A chunk, its key frames and those before it that others are predicted from."""
        done = self._reconstruction.start(symbols.plan.first)
        for key in (f for f in symbols.frames if f.step.level == 0):
            on_cpu = self._device.type == "cpu"
            made = [self._picture(key, done, None)] if on_cpu else self._together([key], done)
            self._keep([key], made, done)
        self._reconstruction.keep(done, symbols.plan.length)
        return symbols, done

    @staticmethod
    def _keep(
        frames: Sequence[FrameSymbols], pictures: Iterable[Frames | None], done: dict[int, Frames]
    ) -> None:
        for frame, picture in zip(frames, pictures, strict=True):
            if picture is not None:
                done[frame.step.frames[0]] = picture

    def _one_by_one(
        self,
        symbols: ChunkSymbols,
        finish: Callable[[Frames], list[Made]],
        places: Sequence[int],
        done: dict[int, Frames],
        following: Following | None,
    ) -> list[Made]:
        parts = None if self._part is None else self._parts(symbols, places, self._part)
        references = {r for f in symbols.frames for pair in f.step.references for r in pair}
        shown = set(places)
        finished = {i: finish(self._shown(done[i])) for i in shown if i in done}

        def make(frame: FrameSymbols | None) -> Frames | None:
            if frame is None:
                self._begin_next(following)
                return None
            number = frame.step.frames[0]
            with torch.no_grad():
                picture = self._picture(frame, done, parts)
                if number in shown:
                    finished[number] = finish(self._shown(picture))
            return picture if number in references else None

        wanted = [f for f in symbols.frames if parts is None or f.step.frames[0] in parts]
        for frames in _levels(wanted):
            # Last, so that it fills what the frames leave.
            *made, _ = self._workers.map(make, [*frames, None])
            self._keep(frames, made, done)
        return [one for place in places for one in finished[place]]

    def _begin_next(self, following: Following | None) -> None:
        """Begin the next chunk, if it has been read and has not begun yet."""
        found = following() if following is not None and self._begun is None else None
        if found is not None:
            self._begun = self._begin(found)

    def _shown(self, picture: Frames) -> Frames:
        """What is wanted of a picture."""
        return picture if self._part is None else self._part.of(picture)

    def _parts(
        self, symbols: ChunkSymbols, places: Sequence[int], part: Region
    ) -> dict[int, Region]:
        """What is made of each frame that is needed."""
        margins = [self._reconstruction.network.reach(kind) for kind in range(FRAME_KINDS)]
        frames = [(f.step, f.fields, loop_filter.reach(f.filters)) for f in symbols.frames]
        return regions(frames, places, part, self._canvas, margins, self._patch)

    def _picture(
        self, frame: FrameSymbols, done: dict[int, Frames], parts: Mapping[int, Region] | None
    ) -> Frames:
        step, quality = frame.step, frame.quality
        part = None if parts is None else parts[step.frames[0]]
        if part == self._canvas.whole:
            part = None
        prediction = self._reconstruction.predict(step, quality, frame.fields, done, part)
        picture = self._reconstruction.decode(frame.values, quality, prediction)
        picture = self._reconstruction.patched(picture, frame.exact, prediction.frames)
        return self._reconstruction.filtered(picture, frame.filters, frame.exact, part)

    def _together(self, level: list[FrameSymbols], done: dict[int, Frames]) -> Iterator[Frames]:
        """The pictures of the frames of a level, as many at once as memory allows."""
        for start in range(0, len(level), self._most):
            frames = level[start : start + self._most]
            step, quality = Step.join([f.step for f in frames]), frames[0].quality
            fields = [f.fields for f in frames if f.fields is not None]
            motion = [Fields.join(fields)] if fields else []
            values = SparseValues.join([f.values for f in frames], self._values)
            parts = [part for f in motion for part in (f.vectors, f.modes)]
            cases = [given for f in frames for given in f.filters.given()]
            at, found, *moved = upload([values.at, values.values, *parts, *cases], self._device)
            fields_there = Fields(*moved[:2]) if motion else None
            prediction = self._reconstruction.predict(step, quality, fields_there, done)
            made = self._reconstruction.decode(SparseValues(at, found), quality, prediction)
            cases_there = iter(moved[len(parts) :])
            own = prediction.frames
            predicted = [None] * len(frames) if own is None else own.apart()
            for frame, picture, kept in zip(frames, made.apart(), predicted, strict=True):
                filters = frame.filters.replaced(cases_there)
                picture = self._reconstruction.patched(picture, frame.exact, kept)
                yield self._reconstruction.filtered(picture, filters, frame.exact)


def _levels(frames: Sequence[FrameSymbols]) -> list[list[FrameSymbols]]:
    """The frames between keys, those of a level together: they depend on none of each other."""
    levels = sorted({f.step.level for f in frames} - {0})
    return [[f for f in frames if f.step.level == level] for level in levels]


def _region(crop: Box) -> Region:
    """The part of padded pictures that holds a part of pictures."""
    assert crop.x is not None and crop.y is not None
    if crop.x % 2 or crop.y % 2:
        raise ValueError("a part begins where there is a sample of chroma")
    return Region(
        crop.y, crop.x, crop.y + crop.height + crop.height % 2, crop.x + crop.width + crop.width % 2
    )


class ChunkDecoder:
    """Decodes the chunks of a video in order, from the first chunk of any segment on.

    `read` and `pictures` (or `frames`) belong to an object each, which keep their states apart: one
    thread may read ahead while another makes pictures. crop: the part of pictures that is made, at
    even places; `width` and `height` are its size then.
    """

    def __init__(
        self,
        model: Model,
        width: int,
        height: int,
        bit_depth: int,
        device: torch.device | str = "cpu",
        workers: int = 1,
        crop: Box | None = None,
    ) -> None:
        self.width, self.height, self.bit_depth = width, height, bit_depth
        part = None
        if crop is not None:
            part = _region(crop)
            self.width, self.height = crop.width, crop.height
        device = torch.device(device)
        geometry = Geometry(width, height, model.config.patch)
        self._reader = ChunkReader(model, geometry)
        self._maker = PictureMaker(
            model, geometry, device, Workers(min(workers, _MOST_WORKERS), flush_denormals), part
        )
        # Of large pictures one is made at a time, for the sake of memory.
        self._early = device.type == "cpu" and workers > 1

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

    def pictures(
        self,
        symbols: ChunkSymbols,
        places: Sequence[int] | None = None,
        following: Following | None = None,
    ) -> list[Planes]:
        """The pictures of a chunk whose symbols have been read, those shown or those at `places`
        of its tree. Chunks come in order. following: gives the next one, once that has been read,
        so that its key frames can be made where a core has nothing else to do."""
        height, width, bit_depth = self.height, self.width, self.bit_depth

        def finish(frames: Frames) -> list[Planes]:
            return planes_from_frames(frames, height, width, bit_depth)

        return self._maker.make(symbols, finish, places, following if self._early else None)

    def frames(self, symbols: ChunkSymbols) -> Frames:
        """The same as `pictures`, padded and on the device, before they are rounded to samples."""
        return Frames.join(self._maker.make(symbols, lambda frames: [frames]))
