"""A decoder of `.stp` files written from docs/format.md alone: slow, plain, in numpy."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import motion
from .container import Chunk, File, require
from .entropy import Reader
from .latents import FrameSymbols
from .model import Model
from .motion import Field
from .prediction import Planes, Transform, predict


@dataclass
class Frame:
    """What is kept of a decoded frame."""

    planes: Planes
    magnitudes: np.ndarray
    field: Field | None


class Decoder:
    """Decodes the chunks of a file in order."""

    def __init__(self, file: File, model: Model) -> None:
        self.model = model
        self.height, self.width = file.head["height"], file.head["width"]
        self.peak = (1 << file.head["bit_depth"]) - 1
        tall, wide = math.lcm(16, model.h), math.lcm(16, model.w)
        self.padded = -(-self.height // tall) * tall, -(-self.width // wide) * wide
        self.rows, self.columns = self.padded[0] // model.h, self.padded[1] // model.w
        self.transform = Transform(model.h, model.w)
        self.last: Frame | None = None
        self.memory = model.null_memory(self.rows, self.columns)

    def decode(self, chunk: Chunk) -> Iterator[Planes]:
        """The planes of the pictures of a chunk, in units of samples, not rounded."""
        require(len(chunk.payload) >= 7, "a payload is too short")
        count, quality, tree, crc = struct.unpack_from("<BBBI", chunk.payload)
        vectors_coded, tree = bool(tree & 128), tree & 127
        require(count == len(chunk.pts) and 1 <= count <= 8, "number of pictures")
        require(quality < 64 and tree < 3, "head of a payload")
        if not chunk.first:
            require(self.last is not None, "a chunk before its segment")
        reader = Reader(chunk.payload[7:])
        frames = self.frames(reader, chunk.first, quality, tree, vectors_coded)
        reader.finish(crc)
        for planes in frames[:count]:
            yield self.values(planes)

    def frames(
        self, reader: Reader, first: bool, quality: int, tree: int, vectors_coded: bool
    ) -> list[Planes]:
        """The planes of all 8 frames of a chunk, padded, from 0 to 1."""
        if first:
            self.last = None
            self.memory = self.model.null_memory(self.rows, self.columns)
        done: dict[int, Frame] = {}
        if self.last is not None:
            done[-1] = self.last
        for level, frames in motion.steps(tree, first):
            fields = self._fields(reader, frames, done, vectors_coded)
            kind = 0 if fields[0] is None else level + 1
            made = [
                self._frame(reader, pair, kind, quality + self.model.kind_qualities[kind], f, done)
                for (_, pair), f in zip(frames, fields, strict=True)
            ]
            done.update({number: m for (number, _), m in zip(frames, made, strict=True)})
        self.last = self._as_minus_one(done[7])
        return [done[number].planes for number in range(8)]

    def _as_minus_one(self, frame: Frame) -> Frame:
        """Frame 7, with its time counted from the next chunk's start."""
        field = frame.field
        if field is not None:
            first, second = (None if r is None else r - 8 for r in field.references)
            field = Field(-1, (first, second), field.vectors, field.modes)
        return Frame(frame.planes, frame.magnitudes, field)

    def _fields(
        self,
        reader: Reader,
        frames: list[tuple[int, motion.Pair]],
        done: dict[int, Frame],
        vectors_coded: bool,
    ) -> list[Field] | list[None]:
        if all(r is None for _, pair in frames for r in pair):
            return [None] * len(frames)
        rows, columns = self.padded[0] // 16, self.padded[1] // 16
        if not vectors_coded:
            return motion.still(frames, rows, columns)
        fields = {number: d.field for number, d in done.items() if d.field is not None}
        expected = motion.hints(frames, fields, rows, columns)
        tables = self.model.vector_tables
        return motion.StepMotion(reader, tables, frames, expected, rows, columns).read()

    def _frame(
        self,
        reader: Reader,
        pair: motion.Pair,
        kind: int,
        quality: int,
        field: Field | None,
        done: dict[int, Frame],
    ) -> Frame:
        model = self.model
        shape = (self.rows, self.columns, model.channels)
        magnitudes = np.zeros(shape, np.int64)
        for r in pair:
            if r is not None:
                magnitudes += done[r].magnitudes
        if field is None:
            a = np.broadcast_to(model["network.intra_mean"], shape)
        else:
            first, second = (None if r is None else done[r].planes for r in pair)
            a = self.transform.forward(predict(field, (first, second)))
        gain = model["network.step_gain"][kind]
        step = 2 ** (np.log2(96 / 255) + quality * np.log2(2 / 96) / 63 + gain)
        state = self.memory if kind == 1 else model.null_memory(self.rows, self.columns)
        base = model.prior(a, step, state, quality, kind)
        symbols = FrameSymbols(reader, model, kind, quality, field, magnitudes)
        decoded, mean = self._latents(symbols, base, step, kind, quality)
        if model.works_on(kind):
            coefficients, features = model.filter(decoded, mean, a, step, quality, kind)
            if kind <= 1:
                self.memory = model.remember(self.memory, features)
        else:
            coefficients = decoded
        planes = [np.clip(p, 0, 1) for p in self.transform.inverse(coefficients)]
        return Frame(planes, symbols.magnitudes, field)

    def _latents(
        self, symbols: FrameSymbols, base: np.ndarray, step: np.ndarray, kind: int, quality: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decoded latents and their complete means [rows, columns, C]; base: A'."""
        model = self.model
        centroids = model["network.centroids"]
        errors, means = np.zeros(base.shape), np.array(base)
        for p, lattice in enumerate(symbols.lattices):
            if not len(lattice.r):
                continue
            here = base[lattice.r, lattice.c]
            mean = here.copy()
            near = lattice.around(errors)
            if p > 0:
                s = p - 1 if kind == 0 else 6 + 2 * (kind - 1) + p - 1
                mean += near.reshape(len(near), -1) @ model["network.spatial"][s]
            looked = None
            if kind == 0 and model.intra_width:
                looked = model.surroundings(near / step, p, quality)
            known = symbols.known(lattice)
            own = np.zeros(mean.shape, np.int64)
            d = np.zeros(mean.shape)
            for group, (start, end) in enumerate(zip(model.starts, model.ends, strict=True)):
                if looked is not None:
                    off = (mean - here)[:, :start] / step[:start] + d[:, :start]
                    more = model.correction(group, *looked, off, d[:, :start])
                    mean[:, start:end] += step[start:end] * more
                found, index = symbols.group(group, p, known, own)
                own[:, start:end] = np.minimum(np.abs(found), 1023)
                size = centroids[index, (np.abs(found) > 1).astype(int)]
                d[:, start:end] = found + np.sign(found) * size
            symbols.keep(lattice, own)
            means[lattice.r, lattice.c] = mean
            errors[lattice.r, lattice.c] = mean + step * d - here
        return base + errors, means

    def values(self, planes: Planes) -> Planes:
        """What is shown of a frame, in units of samples, before it is rounded."""
        half = (self.height + 1) // 2, (self.width + 1) // 2
        sizes = [(self.height, self.width), half, half]
        return [p[:h, :w] * self.peak for p, (h, w) in zip(planes, sizes, strict=True)]
