"""Palette patches: samples that are told as they are, for what was drawn rather than filmed.

A transform spreads the edges of letters over all coefficients. So an intra or key frame may name
patches whose samples are coded one by one instead, each a value of the frame's palette, under what
is around it and what has been drawn before (`palette_kernels`). Networks and loop filters leave
these patches alone; and so they do what is predicted from them alone by whole samples and needs no
symbols (`exact.copied`), so that a page that stands still or is scrolled stays as it is.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np

from stcodec.codec import palette_kernels, range_kernels
from stcodec.codec.palette_kernels import MARGIN, Mixer, Plane
from stcodec.codec.patches import Geometry
from stcodec.codec.range_kernels import PRICE, READ, SPENT, WRITE, Stream
from stcodec.errors import DamagedFileError

DEPTHS = (8, 10)
"""Bits of a sample."""
_ROOM = 1 << 12
_PER_MARK, _PER_SAMPLE = 2, 20  # bytes that a decision and a sample never exceed
_NONE = np.zeros((0, 0), np.uint16)
_NOT_ASKED = np.zeros((0, 0), np.int64)


class Samples(NamedTuple):
    """The palette patches of a frame: chosen bool [rows, columns], at least one; planes Y, U and V,
    uint16 of the padded sizes: what the samples of these patches are, in so many `bits`."""

    chosen: np.ndarray
    planes: tuple[np.ndarray, np.ndarray, np.ndarray]
    bits: int


class PaletteContexts:
    """What has been learnt of samples since the first chunk of a segment."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._known: _Known | None = None

    def restart(self) -> None:
        """Begin a segment."""
        self._known = None

    def stream(self, data: bytes | None) -> PaletteStream:
        """A stream that reads the palette patches of a chunk (None: writes them). DamagedFileError
        where it cannot be one."""
        mode = WRITE if data is None else READ
        own = np.zeros(_ROOM, np.uint8) if data is None else np.frombuffer(data, np.uint8).copy()
        try:
            stream = range_kernels.stream(mode, own, np.zeros((0, 4), np.int32))
        except ValueError as error:
            raise DamagedFileError("the samples of a chunk start as none do") from error
        if self._known is None:
            self._known = _Known.new(self._geometry)
        return PaletteStream(stream, self._known, self._geometry)


class _Known(NamedTuple):
    """The mixer, and what the frame before had: marks uint8 [rows + 1, columns + 2], palettes uint8
    [3, 2, values + 2], with margins of zeros (see `palette_kernels.code_marks`)."""

    mixer: Mixer
    marks: np.ndarray
    palettes: np.ndarray

    @classmethod
    def new(cls, geometry: Geometry) -> _Known:
        """Nothing is known."""
        rows, columns = geometry.grid
        marks = np.zeros((rows + 1, columns + 2), np.uint8)
        palettes = np.zeros((3, 2, (1 << max(DEPTHS)) + 2), np.uint8)
        return cls(palette_kernels.new_mixer(), marks, palettes)

    def copy(self) -> _Known:
        """The same, to be changed apart."""
        mixer = Mixer(self.mixer.tables.copy(), self.mixer.weights.copy())
        return _Known(mixer, self.marks.copy(), self.palettes.copy())


class PaletteStream:
    """The palette patches of the frames of a chunk, written or read in the order of coding."""

    def __init__(self, stream: Stream, known: _Known, geometry: Geometry) -> None:
        self._stream, self._known, self._geometry = stream, known, geometry
        self._room = palette_kernels.scratch()
        self.crc = 0

    @property
    def bits(self) -> float:
        """The ideal size of what has been written."""
        return float(self._stream.state[SPENT]) / PRICE

    def trial(self) -> PaletteStream:
        """A stream that counts bits, learns for itself, and leaves this one as it is."""
        state = np.array([range_kernels.COUNT, 0, 0, 0, 0, 0, 0, 0], np.int64)
        stream = self._stream._replace(state=state)
        return PaletteStream(stream, self._known.copy(), self._geometry)

    def code(self, wanted: Samples | None) -> np.ndarray:
        """Write the palette patches of a frame; what they cost, bits [rows, columns]."""
        spent = np.zeros(self._geometry.grid, np.int64)
        self._raw(1, int(wanted is not None))
        if wanted is not None:
            self._raw(1, DEPTHS.index(wanted.bits))
            self._planes(wanted.bits, wanted, spent)
        return spent / PRICE

    def read(self) -> Samples | None:
        """Read the palette patches of a frame. DamagedFileError where there are no values."""
        if not self._raw(1, 0):
            return None
        return self._planes(DEPTHS[self._raw(1, 0)], None, _NOT_ASKED)

    def _raw(self, count: int, value: int) -> int:
        self._stream = range_kernels.with_room(self._stream, 8)
        return int(range_kernels.raw_bits(self._stream, count, value))

    def _planes(self, bits: int, wanted: Samples | None, spent: np.ndarray) -> Samples:
        """Write the samples that are wanted, or read some; `spent`: see `code_plane`."""
        patch, (rows, columns) = self._geometry.patch, self._geometry.grid
        marks = self._marks(np.zeros((rows, columns)) if wanted is None else wanted.chosen)
        patches = int(marks.sum())
        done: list[np.ndarray] = []
        for i in range(3):
            high, wide = (patch.h, patch.w) if i == 0 else (patch.h // 2, patch.w // 2)
            values = None if wanted is None else wanted.planes[i]
            below = self._palette(i, bits, marks, values)
            shape = rows * high + 2 * MARGIN, columns * wide + 2 * MARGIN
            plane = Plane(np.zeros(shape, np.uint16), below, bits, marks, high, wide)
            needed = patches * high * wide * _PER_SAMPLE
            self._stream = range_kernels.with_room(self._stream, needed + 64)
            known = self._stream, self._known.mixer, self._room, plane
            luma = _NONE if i == 0 else done[0]
            other = done[1] if i == 2 else np.zeros_like(plane.samples)
            own = _NONE if values is None else values
            with np.errstate(over="ignore"):  # of hashes, where loops are not compiled
                palette_kernels.code_plane(*known, luma, other, own, spent)
            done.append(plane.samples)
        inner = slice(MARGIN, -MARGIN)
        y, u, v = (np.ascontiguousarray(plane[inner, inner]) for plane in done)
        samples = Samples(marks.astype(bool), (y, u, v), bits)
        for part in (samples.chosen.astype(np.uint8), *samples.planes):
            self.crc = zlib.crc32(part.astype(part.dtype.newbyteorder("<")).tobytes(), self.crc)
        return samples

    def _marks(self, chosen: np.ndarray) -> np.ndarray:
        """Code which patches are chosen, uint8 [rows, columns]."""
        marks = np.zeros_like(self._known.marks)
        marks[1:, 1:-1] = chosen
        self._code_marks(marks, self._known.marks)
        self._known.marks[:] = marks
        return np.ascontiguousarray(marks[1:, 1:-1])

    def _palette(
        self, number: int, bits: int, marks: np.ndarray, wanted: np.ndarray | None
    ) -> np.ndarray:
        """Code the palette of a plane; how many of its values are below each, int32 [2**bits +
        1]."""
        size = 1 << bits
        there = np.zeros((2, size + 2), np.uint8)
        if wanted is not None:
            high, wide = wanted.shape[0] // marks.shape[0], wanted.shape[1] // marks.shape[1]
            there[1, 1 + np.unique(wanted[marks.repeat(high, 0).repeat(wide, 1) > 0])] = 1
        before = self._known.palettes[number]
        self._code_marks(there, np.ascontiguousarray(before[:, : size + 2]))
        before[:] = 0
        before[:, : size + 2] = there
        if not there.any():
            raise DamagedFileError("a palette has no values")
        return np.concatenate([[0], np.cumsum(there[1, 1:-1])]).astype(np.int32)

    def _code_marks(self, marks: np.ndarray, before: np.ndarray) -> None:
        self._stream = range_kernels.with_room(self._stream, marks.size * _PER_MARK + 64)
        with np.errstate(over="ignore"):
            palette_kernels.code_marks(self._stream, self._known.mixer, self._room, marks, before)

    def finish(self) -> bytes:
        """What was written."""
        return range_kernels.finish(self._stream)

    def check_end(self) -> None:
        """DamagedFileError unless all that there was has been read."""
        if range_kernels.left(self._stream):
            raise DamagedFileError("bytes of samples are left over")
