"""Lossless coding of motion. Integers only, so every machine decodes the same vectors.

A frame is gone through in blocks of 64x64 luma samples, row by row. A block that does not move as
one is divided into four, down to 16x16, and there the vectors of its 8x8 parts may differ, though
not which references they take (quadtrees as in HEVC, Sullivan et al. 2012). What a block may do is
guessed from its neighbours and from the motion of frames around it: it is merged with one of these
candidates, or has a mode and vectors of its own, as differences from the nearest of theirs. Every
decision is coded under an adaptive probability (`range_kernels`); those of each kind of frame are
apart.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stcodec.codec import candidate_kernels, range_kernels, vector_kernels
from stcodec.codec.candidate_kernels import LIMIT, UNIT_COLUMNS, VECTORS, Field
from stcodec.codec.motion import FIRST, SECOND, Fields
from stcodec.codec.range_kernels import (
    KNOWN,
    PATIENCE,
    PRICE,
    PROBABILITY,
    READ,
    SEEN,
    SET,
    SPENT,
    WRITE,
    Stream,
)
from stcodec.codec.tree import KEY, Step
from stcodec.codec.vector_kernels import CONTEXTS, with_long_prices
from stcodec.errors import DamagedFileError

SETS = 4  # kinds of predicted frames
_ROOM = 1 << 12  # bytes
# Bytes that no unit exceeds: it has at most 300 decisions, each of at most log2(ONE / LEAST) = 10.4
# bits, and 224 raw bits.
_PER_UNIT = 512
_MOST_TRUST = 24


@dataclass(frozen=True)
class FieldShape:
    """n frames, rows x columns blocks of 16x16 luma samples."""

    n: int
    rows: int
    columns: int


@dataclass(frozen=True)
class MotionStart:
    """Where the contexts of a segment start, int32 [SETS, CONTEXTS]: probabilities of a 1, in units
    of 2**-16, and how much they are trusted, 0..PATIENCE."""

    probabilities: np.ndarray
    trust: np.ndarray

    def pack(self) -> dict[str, np.ndarray]:
        """As int32 arrays, to be stored with the weights."""
        return {"probabilities": self.probabilities, "trust": self.trust}

    @classmethod
    def unpack(cls, arrays: Mapping[str, np.ndarray]) -> MotionStart:
        """The inverse of `pack`; KeyError or ValueError on anything else."""
        found = []
        least = range_kernels.LEAST
        for name, low, high in (
            ("probabilities", least, range_kernels.ONE - least),
            ("trust", 0, PATIENCE),
        ):
            values = arrays[name].astype(np.int32)
            if values.shape != (SETS, CONTEXTS) or values.min() < low or values.max() > high:
                raise ValueError(f"the {name} of motion are not those of a model")
            found.append(values)
        return cls(*found)

    @classmethod
    def fitted(cls, seen: np.ndarray) -> MotionStart:
        """From how often each outcome was written, [SETS, CONTEXTS, 2]: the rarer a context, the
        less it is trusted, and no start is so firm that a clip cannot overrule it."""
        total = seen.sum(2)
        share = (seen[..., 1] + 0.4) / (total + 0.8)
        least = range_kernels.LEAST
        probabilities = np.clip(share * range_kernels.ONE, least, range_kernels.ONE - least)
        trust = np.minimum(total // 8, _MOST_TRUST)
        return cls(probabilities.astype(np.int32), trust.astype(np.int32))


def default_start() -> MotionStart:
    """For a model that has not been fitted."""
    half = np.full((SETS, CONTEXTS), range_kernels.ONE // 2, np.int32)
    return MotionStart(half, np.zeros_like(half))


class MotionContexts:
    """The adaptive contexts of a video, from the first chunk of a segment on.

    Steps of different kinds of frames have contexts of their own, so they may be coded side by
    side.
    """

    def __init__(self, start: MotionStart) -> None:
        self._start = np.zeros((SETS * CONTEXTS, 4), np.int32)
        self._start[:, PROBABILITY] = start.probabilities.reshape(-1)
        self._start[:, KNOWN] = start.trust.reshape(-1)
        self.contexts = self._start.copy()
        self._before = self._start.copy()
        self._seen = np.zeros((len(self._start), 2), np.int64)

    def restart(self) -> None:
        """Begin a segment. What was seen is kept, and so are the contexts of the segment before:
        its last chunk may still be being written."""
        self._seen += self._before[:, SEEN:]
        self._before, self.contexts = self.contexts, self._start.copy()

    def seen(self) -> np.ndarray:
        """How often each outcome has been written, int64 [SETS, CONTEXTS, 2]."""
        total = self._seen + self._before[:, SEEN:] + self.contexts[:, SEEN:]
        return total.reshape(SETS, CONTEXTS, 2)

    def stream(self, data: bytes | None) -> MotionStream:
        """A stream that reads the motion of a chunk (None: writes it). DamagedFileError where it
        cannot be motion."""
        mode = WRITE if data is None else READ
        own = np.zeros(_ROOM, np.uint8) if data is None else np.frombuffer(data, np.uint8).copy()
        try:
            return MotionStream(range_kernels.stream(mode, own, self.contexts))
        except ValueError as error:
            raise DamagedFileError("the motion of a chunk starts as none does") from error


class MotionStream:
    """The motion of the frames of a chunk, written or read in the order of coding."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.crc = 0

    @property
    def bits(self) -> float:
        """The ideal size of what has been written."""
        return float(self._stream.state[SPENT]) / PRICE

    def counter(self, kind: int) -> Stream:
        """A stream that counts bits as the next frame of a kind starts to spend them, and changes
        nothing."""
        return with_long_prices(range_kernels.counter(self._stream, _first_context(kind), CONTEXTS))

    def code(self, kind: int, field: Field, wanted: Fields | None) -> Fields:
        """Code the motion of one frame of a kind into `field` (`open_field`); wanted (batch size
        1): None to read it. Returns what a decoder has. DamagedFileError if a vector is out of
        range."""
        units = field.units.shape[0] * field.units.shape[1]
        self._stream = range_kernels.with_room(self._stream, units * _PER_UNIT + 64)
        self._stream.state[SET] = _first_context(kind)
        there = np.zeros((1, 1, UNIT_COLUMNS), np.int32) if wanted is None else _units(wanted)
        if not vector_kernels.code_field(self._stream, field, there, *candidate_kernels.room()):
            raise DamagedFileError("a decoded motion vector is out of range")
        coded = fields_of(field)
        for part in (coded.modes.numpy(), coded.vectors.numpy().astype("<i2")):
            self.crc = zlib.crc32(part.tobytes(), self.crc)
        return coded

    def finish(self) -> bytes:
        """What was written."""
        return range_kernels.finish(self._stream)

    def check_end(self) -> None:
        """DamagedFileError unless all that there was has been read."""
        if range_kernels.left(self._stream):
            raise DamagedFileError("bytes of motion are left over")


def _first_context(kind: int) -> int:
    return (kind - KEY) * CONTEXTS


def open_field(shape: FieldShape, available: tuple[bool, bool], hints: np.ndarray) -> Field:
    """The motion of a frame of which nothing is known but what is expected of it: hints of
    `frame_hints`; available: which of its two references exist, at least one."""
    units = np.zeros((shape.rows, shape.columns, UNIT_COLUMNS), np.int32)
    return Field(units, hints, available[0] + 2 * available[1])


def fields_of(field: Field) -> Fields:
    """The motion of a frame as plain tensors (batch size 1)."""
    rows, columns, _ = field.units.shape
    parts = field.units[..., VECTORS:].reshape(rows, columns, 2, 2, 2, 2)
    vectors = parts.transpose(2, 5, 0, 3, 1, 4).reshape(1, 2, 2, 2 * rows, 2 * columns)
    modes = np.ascontiguousarray(field.units[None, ..., 0]).astype(np.uint8)
    return Fields(torch.from_numpy(vectors.astype(np.int16)), torch.from_numpy(modes))


def _units(fields: Fields) -> np.ndarray:
    """The inverse of `fields_of`: units of which modes and vectors are there."""
    _, rows, columns = fields.modes.shape
    units = np.zeros((rows, columns, UNIT_COLUMNS), np.int32)
    units[..., 0] = fields.modes[0].cpu().numpy()
    units[..., VECTORS:] = parts_of(fields.vectors[0].cpu().numpy())
    return units


def parts_of(vectors: np.ndarray) -> np.ndarray:
    """Vectors [2, 2, 2 rows, 2 columns] as rows of 16, by reference, part and component, for each
    unit [rows, columns]."""
    rows, columns = vectors.shape[2] // 2, vectors.shape[3] // 2
    split = vectors.reshape(2, 2, rows, 2, columns, 2).transpose(2, 4, 0, 3, 5, 1)
    return np.ascontiguousarray(split).reshape(rows, columns, 16)


@dataclass(frozen=True)
class CodedField:
    """Vectors [2, 2, H/8, W/8] and modes [H/16, W/16] of a coded frame, where it and its references
    lie in time (frames of the chunk)."""

    vectors: np.ndarray
    modes: np.ndarray
    frame: int
    references: tuple[int | None, int | None]


def frame_hints(step: Step, coded: Mapping[int, CodedField], shape: FieldShape) -> np.ndarray:
    """Expected vectors int32 [h, rows, columns, 4] of the one frame of a step, by reference and
    component: those of h = 0 to 2 frames coded before, scaled by the distance in time.

    These are its references that have motion themselves; first comes one that is predicted along
    the way to the other reference, or else the later one. A key takes the motion of the key before.
    """
    frame, pair = step.frames[0], step.references[0]
    parents = [coded[r] for r in (pair[1], pair[0]) if r is not None and r in coded]
    parents.sort(key=lambda p: not set(p.references) & set(pair) - {None})
    found = [_scaled(p, frame, pair) for p in parents]
    hints = np.array(found, np.int32).reshape(len(found), 4, shape.rows, shape.columns)
    return np.ascontiguousarray(hints.transpose(0, 2, 3, 1))


def _scaled(parent: CodedField, frame: int, pair: tuple[int | None, int | None]) -> np.ndarray:
    """The motion of a coded frame along the way of another one, [2, 2, rows, columns]."""
    sides = [k for k in (0, 1) if parent.references[k] is not None]
    sides.sort(key=lambda k: parent.references[k] not in pair)
    out = np.zeros((2, 2, *parent.modes.shape), np.int32)
    for k, reference in enumerate(pair):
        if reference is None:
            continue
        scaled = [_along(parent, side, reference - frame) for side in sides]
        if len(sides) == 2:
            # Blocks that do not take the reference of the one side have what the other says.
            missing = parent.modes == (FIRST if sides[0] == 1 else SECOND)
            scaled[0] = np.where(missing, scaled[1], scaled[0])
        out[k] = scaled[0]
    return np.clip(out, -LIMIT, LIMIT)


def _along(parent: CodedField, side: int, distance: int) -> np.ndarray:
    """The vectors of one side of a frame, stretched to a distance in time, halves upwards."""
    reference = parent.references[side]
    assert reference is not None
    span = reference - parent.frame
    field = parent.vectors[side][:, ::2, ::2].astype(np.int32) * (1 if span > 0 else -1)
    stretched: np.ndarray = (2 * field * distance + abs(span)) // (2 * abs(span))
    return stretched


def code_fields(
    stream: MotionStream,
    step: Step,
    fields: Sequence[Field],
    wanted: Fields | None,
) -> Fields:
    """Code the motion of the frames of a step, one after the other; see `MotionStream.code`."""
    parts = [
        stream.code(step.kind, field, None if wanted is None else wanted.take(i))
        for i, field in enumerate(fields)
    ]
    return Fields.join(parts)
