"""What happens where in a video, from symbols and motion alone: no picture is made.

Of each chunk the frames of the two coarsest levels are read: what they differ from their prediction
by, and how they move, says what is new in these 8 frames.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from stcodec.codec.model_files import Model, load_model
from stcodec.codec.motion import BLOCK
from stcodec.codec.patches import CHUNK_FRAMES, MOTION_BLOCK, Geometry
from stcodec.codec.symbols import ChunkReader, ChunkSymbols, FrameSymbols
from stcodec.common.arithmetic import Arithmetic, flush_denormals
from stcodec.common.files import named
from stcodec.common.threads import run_ahead
from stcodec.common.values import Packet, PathLike
from stcodec.container.records import Header, VideoChunk
from stcodec.flows.compiling import compile_decoder
from stcodec.flows.reading import Chunk, StpInput, open_stp

CELL = MOTION_BLOCK
"""Cells of CELL x CELL luma samples are what is told apart in a picture."""
_LEVELS = 2
_TOLD = 0.25  # a sample of a palette patch counts as so much energy
_QUARTERS = 4  # of a sample, in a vector


@dataclass(frozen=True)
class Look:
    """One coded frame: its place among the 8 of its moment, its kind (1 key, 2 level 1), and of
    each cell, float32 [rows, columns]: `energy`, the sum of what symbols stand for, in units of the
    step; `dy` and `dx`, its motion against that of the whole picture, in luma samples per frame;
    `camera`: how far the whole picture moved, in luma samples."""

    place: int
    kind: int
    energy: np.ndarray
    dy: np.ndarray
    dx: np.ndarray
    camera: float

    @property
    def speed(self) -> np.ndarray:
        """Luma samples per frame."""
        return np.hypot(self.dy, self.dx)


@dataclass(frozen=True)
class Moment:
    """What was seen of a chunk, or of half of a longer one: from `start` to `end`, in seconds after
    the first picture; `times` and `first`: of its pictures, and the number of the first one; no
    looks where nothing is predicted."""

    start: float
    end: float
    first: int
    times: tuple[float, ...]
    looks: tuple[Look, ...]


def moments(
    path: PathLike, threads: int = 0, max_pixels: int | None = None
) -> Generator[Moment, None, None]:
    """What is seen of each chunk of a `.stp` file ("-": standard input), in order. InputError and
    its kinds name the file."""
    work = Arithmetic(torch.device("cpu"), threads)
    with open_stp(path, max_pixels=max_pixels) as source:
        compile_decoder()
        yield from work.steps(_moments(source, work))


class Looker:
    """Sees what happens in the chunks of a file, in order."""

    def __init__(self, header: Header, model: Model) -> None:
        self._base = Fraction(header.time_base_num, header.time_base_den)
        self._model = model
        self._geometry = Geometry(header.width, header.height, model.config.patch)
        self._reader = ChunkReader(model, self._geometry)
        self._origin: int | None = None
        self._shown = 0

    def read(self, item: Chunk) -> ChunkSymbols:
        """What is looked at of the next chunk. DamagedFileError."""
        return item.symbols(self._reader, _LEVELS)

    def moments(self, chunk: VideoChunk, symbols: ChunkSymbols) -> Iterator[Moment]:
        """What is seen in the next chunk."""
        self._origin = chunk.pts[0] if self._origin is None else self._origin
        times = tuple(float((pts - self._origin) * self._base) for pts in chunk.pts)
        end = float((chunk.pts[-1] + chunk.durations[-1] - self._origin) * self._base)
        for at in range(0, len(times), CHUNK_FRAMES):
            part = times[at : at + CHUNK_FRAMES]
            frames = [f for f in symbols.frames if 0 <= f.step.frames[0] - at < len(part)]
            seen = (f for f in frames if f.fields is not None)
            looks = tuple(_look(f, at, self._model, self._geometry) for f in seen)
            until = (*times, end)[at + len(part)]
            yield Moment(part[0], until, self._shown, part, looks)
            self._shown += len(part)


def _moments(source: StpInput, work: Arithmetic) -> Iterator[Moment]:
    header = source.reader.header
    model = load_model(header.model_id, header.model_sha256)
    work.share(header.width * header.height)
    looker = Looker(header, model)

    def read(item: Chunk) -> Callable[[], ChunkSymbols]:
        return lambda: looker.read(item)

    with named(source.name):
        for item, symbols in run_ahead(_chunks(source), read, flush_denormals):
            assert symbols is not None
            yield from looker.moments(item.chunk, symbols)


def _chunks(source: StpInput) -> Iterator[Chunk]:
    for item in source.reader:
        if not isinstance(item, Packet):
            yield Chunk(source.reader.place(item), item)


def cells_of(samples: int) -> int:
    """Cells in a row or column of so many luma samples."""
    return -(-samples // CELL)


def _look(frame: FrameSymbols, before: int, model: Model, geometry: Geometry) -> Look:
    """What is seen of a frame; before: frames of its chunk that belong to an earlier moment."""
    assert frame.fields is not None
    rows, columns = geometry.blocks
    patch, (high, wide) = model.config.patch, geometry.grid
    energy: np.ndarray = np.bincount(
        (frame.values.at // patch.channels).numpy(),
        weights=frame.values.values.abs().numpy(),
        minlength=high * wide,
    ).reshape(high, wide)
    if frame.exact.samples is not None:
        energy = energy + _TOLD * patch.h * patch.w * frame.exact.samples.chosen
    dy, dx, camera = _motion(frame, rows, columns)
    # Without what pads the picture.
    inside = np.s_[: cells_of(geometry.height), : cells_of(geometry.width)]
    energy = _in_cells(energy, rows, columns)[inside]
    place = frame.step.frames[0] - before
    return Look(place, frame.step.kind, energy, dy[inside], dx[inside], camera)


def _in_cells(grid: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Sums [rows, columns] over a grid that is finer, or shares of one that is coarser."""
    for axis, wanted in ((0, rows), (1, columns)):
        have = grid.shape[axis]
        if have < wanted:
            grid = np.repeat(grid, wanted // have, axis) / (wanted // have)
        else:
            shape = (*grid.shape[:axis], wanted, have // wanted, *grid.shape[axis + 1 :])
            grid = grid.reshape(shape).sum(axis + 1)
    return grid.astype(np.float32)


def _motion(frame: FrameSymbols, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, float]:
    """`dy`, `dx` and `camera` of `Look`. Of two references that the vectors of a cell disagree
    about, the one with less motion counts: where a block uses one alone, the other's vector means
    nothing."""
    assert frame.fields is not None
    (own,), (references,) = frame.step.frames, frame.step.references
    found, camera = [], 0.0
    for side, reference in enumerate(references):
        if reference is None:
            continue
        blocks = frame.fields.vectors[0, side].numpy().astype(np.float32)
        n = CELL // BLOCK
        cells = blocks.reshape(2, rows, n, columns, n).mean(axis=(2, 4)) / _QUARTERS
        common = np.median(cells, axis=(1, 2), keepdims=True)
        camera = max(camera, float(np.abs(common).max()))
        # A vector says where in its reference a block was: in one before, against the motion.
        found.append((common - cells) / (own - reference))
    least = np.argmin([np.hypot(*one) for one in found], axis=0)
    dy, dx = np.take_along_axis(np.stack(found), least[None, None], axis=0)[0]
    return dy, dx, camera
