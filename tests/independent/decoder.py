"""A decoder of `.stp` files written from docs/format.md alone: slow, plain, in numpy."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import loop_filter, motion
from .container import Chunk, File, leb128, require
from .entropy import Reader
from .exact import Exact
from .latents import FrameSymbols
from .model import Model
from .motion import Field
from .prediction import Planes, Transform, divided, predict
from .ranges import Decisions, RangeDecoder
from .samples import Mixer, SampleReader


@dataclass
class Frame:
    """What is kept of a decoded frame."""

    planes: Planes
    magnitudes: np.ndarray
    field: Field | None
    exact: Exact


@dataclass
class Readers:
    """The parts of a payload: entropy-coded symbols, motion and samples, if they are coded."""

    symbols: Reader
    decisions: Decisions | None
    samples: SampleReader | None


class Decoder:
    """Decodes the chunks of a file in order."""

    def __init__(self, file: File, model: Model) -> None:
        self.model = model
        self.height, self.width = file.head["height"], file.head["width"]
        self.peak = (1 << file.head["bit_depth"]) - 1
        tall, wide = math.lcm(16, model.h), math.lcm(16, model.w)
        self.padded = -(-self.height // tall) * tall, -(-self.width // wide) * wide
        self.rows, self.columns = self.padded[0] // model.h, self.padded[1] // model.w
        self.transform = Transform(model.h, model.w, model.line, model.overlap)
        self.bases = [np.eye(model.channels)]
        if model.divisions > 1:
            self.bases = divided(model.h, model.w, model.line, model.divisions)
        self.before: dict[int, Frame] = {}
        self.memory = model.null_memory(self.rows, self.columns)
        self.contexts = model.contexts()
        self.mixer = Mixer()
        self.changes = self.lasting = self._unchanged()
        self.motion_crc = self.sample_crc = 0

    def _unchanged(self) -> list[np.ndarray]:
        """What is added to the model's filters where a segment begins."""
        return [np.zeros((3, 3, 12), np.int64)] * 2

    def decode(self, chunk: Chunk) -> Iterator[Planes]:
        """The planes of the pictures of a chunk, in units of samples, not rounded."""
        require(len(chunk.payload) >= 7, "a payload is too short")
        count, quality, how, crc = struct.unpack_from("<BBBI", chunk.payload)
        vectors_coded, cascade = bool(how & 128), how >> 4 & 7
        samples_coded, tree = bool(how & 8), how & 7
        require(quality < 64 and cascade < 6, "head of a payload")
        require(count == len(chunk.pts) and 1 <= count <= motion.LENGTHS[tree], "pictures")
        if not chunk.first:
            require(bool(self.before), "a chunk before its segment")
        self.begin(chunk.first)
        decisions, samples, at = None, None, 7
        if vectors_coded:
            part, at = _part(chunk.payload, at)
            decisions = Decisions(part, self.contexts)
        if samples_coded:
            part, at = _part(chunk.payload, at)
            samples = SampleReader(RangeDecoder(part), self.mixer)
        readers = Readers(Reader(chunk.payload[at:]), decisions, samples)
        frames = self.frames(readers, quality, tree, cascade)
        if decisions is not None:
            decisions.finish()
        if samples is not None:
            samples.coder.finish()
        readers.symbols.finish(crc ^ self.motion_crc ^ self.sample_crc)
        for planes in frames[:count]:
            yield self.values(planes)

    def begin(self, first: bool) -> None:
        """Forget all where a segment starts."""
        if first:
            self.before = {}
            self.memory = self.model.null_memory(self.rows, self.columns)
            self.contexts = self.model.contexts()
            self.mixer = Mixer()
            self.lasting = self._unchanged()

    def frames(self, readers: Readers, quality: int, tree: int, cascade: int) -> list[Planes]:
        """The planes of all 8 or 16 frames of a chunk, padded, from 0 to 1."""
        done = dict(self.before)
        self.motion_crc = self.sample_crc = 0
        self.changes = self.lasting
        for step in motion.steps(tree, done):
            fields = self._fields(readers.decisions, step, done)
            kind = 0 if fields[0] is None else step.kind
            own = quality + self.model.kind_qualities[kind] + motion.CASCADES[cascade][kind]
            made, kept = [], self.changes
            for (_, pair), f in zip(step.frames, fields, strict=True):
                frame, changes = self._frame(readers, pair, kind, own + step.finer, f, done, kept)
                made.append(frame)
                if kind:
                    pairs = zip(changes, self.changes, strict=True)
                    self.changes = [b if a is None else a for a, b in pairs]
            if kind <= 1:
                self.lasting = self.changes
            done.update({number: m for (number, _), m in zip(step.frames, made, strict=True)})
        length = motion.LENGTHS[tree]
        self.before = {-1: self._as_minus_one(done[length - 1], length)}
        if -1 in done:
            self.before[-9] = Frame(done[-1].planes, done[-1].magnitudes, None, done[-1].exact)
        return [done[number].planes for number in range(length)]

    def _as_minus_one(self, frame: Frame, length: int) -> Frame:
        """The last frame of so many, with its time counted from the next chunk's start."""
        field = frame.field
        if field is not None:
            first, second = (None if r is None else r - length for r in field.references)
            field = Field(-1, (first, second), field.vectors, field.modes)
        return Frame(frame.planes, frame.magnitudes, field, frame.exact)

    def _fields(
        self, decisions: Decisions | None, step: motion.Step, done: dict[int, Frame]
    ) -> list[Field] | list[None]:
        if all(r is None for _, pair in step.frames for r in pair):
            return [None] * len(step.frames)
        rows, columns = self.padded[0] // 16, self.padded[1] // 16
        if decisions is None:
            return [motion.still(f, pair, rows, columns) for f, pair in step.frames]
        decisions.set = step.kind - 1
        known = {number: d.field for number, d in done.items() if d.field is not None}
        found = []
        for f, pair in step.frames:
            expected = motion.hints(f, pair, known)
            field = motion.FrameMotion(decisions, pair, expected, rows, columns).read(f)
            for part in (field.modes.astype("u1"), field.vectors.astype("<i2")):
                self.motion_crc = zlib.crc32(part.tobytes(), self.motion_crc)
            found.append(field)
        return found

    def _frame(
        self,
        readers: Readers,
        pair: motion.Pair,
        kind: int,
        quality: int,
        field: Field | None,
        done: dict[int, Frame],
        kept: list[np.ndarray],
    ) -> tuple[Frame, list[loop_filter.Change]]:
        model = self.model
        shape = (self.rows, self.columns, model.channels)
        magnitudes = np.zeros(shape, np.int64)
        for r in pair[:1] if kind == 1 else pair:
            if r is not None:
                magnitudes += done[r].magnitudes
        predicted: Planes | None = None
        if field is None:
            a = np.broadcast_to(model["network.intra_mean"], shape)
        else:
            pictures = [None if r is None else done[r].planes for r in pair]
            predicted = predict(field, (pictures[0], pictures[1]))
            a = self.transform.forward(predicted)
        gain = model["network.step_gain"][kind]
        step = 2 ** (np.log2(96 / 255) + quality * np.log2(2 / 96) / 63 + gain)
        state = self.memory if kind == 1 else model.null_memory(self.rows, self.columns)
        base = model.prior(a, step, state, quality, kind)
        symbols = FrameSymbols(readers.symbols, model, kind, quality, field, magnitudes)
        decoded, mean = self._latents(symbols, base, step, kind, quality)
        if model.works_on(kind):
            coefficients, features = model.filter(decoded, mean, a, step, quality, kind)
            if kind <= 1:
                self.memory = model.remember(self.memory, features)
        else:
            coefficients = decoded
        planes = [np.clip(p, 0, 1) for p in self.transform.inverse(coefficients)]
        exact = Exact(kind, symbols.magnitudes, (model.h, model.w))
        if readers.samples is not None and kind <= 1:
            samples = readers.samples.read(self.rows, self.columns, model.h, model.w)
            if samples is not None:
                self.sample_crc = samples.crc(self.sample_crc)
                exact.code(samples)
        if field is not None and predicted is not None:
            first, second = (None if r is None else done[r].exact.marks for r in pair)
            exact.keep(field, (first, second), predicted)
        planes = exact.put(planes)
        changes: list[loop_filter.Change] = [None, None]
        if model.filters and kind < 4:
            changes = loop_filter.read(readers.symbols, model, kept if kind else self._unchanged())
        for i, planes_of in enumerate((0, 1, 1)):
            change = changes[planes_of]
            if change is not None:
                filters = loop_filter.weights(model, planes_of, kind, quality, change)
                planes[i] = loop_filter.filtered(planes[i], filters)
        return Frame(exact.put(planes), symbols.magnitudes, field, exact), changes

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
                some = near[:, :, : model.predicted].reshape(len(near), -1)
                mean[:, : model.predicted] += some @ model["network.spatial"][s]
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
            change = step * d
            for i, division in enumerate(symbols.divisions(lattice, own)):
                if division:
                    change[i] = self.bases[0] @ (self.bases[division].T @ change[i])
            errors[lattice.r, lattice.c] = mean + change - here
        return base + errors, means

    def values(self, planes: Planes) -> Planes:
        """What is shown of a frame, in units of samples, before it is rounded."""
        half = (self.height + 1) // 2, (self.width + 1) // 2
        sizes = [(self.height, self.width), half, half]
        return [p[:h, :w] * self.peak for p, (h, w) in zip(planes, sizes, strict=True)]


def _part(payload: bytes, at: int) -> tuple[bytes, int]:
    """A part of a payload that begins with its length, and the offset after it."""
    length, at = leb128(payload, at, 5)
    require(at + length <= len(payload), "motion or samples are cut off")
    return payload[at : at + length], at + length
