"""The bytes of a chunk (see docs/format.md): frame count, quality, tree, a CRC-32 of what is
decoded; motion and samples, each after its length, where there are any; ANS words."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from stcodec.codec.network import Network
from stcodec.codec.tree import CASCADES, Step, tree_length, tree_steps
from stcodec.errors import DamagedFileError

_HEADER = struct.Struct("<BBBI")
# Of the byte of the tree.
_VECTORS_FLAG, _CASCADE_SHIFT, _CASCADE_MASK, _SAMPLES_FLAG, _TREE_MASK = 0x80, 4, 7, 8, 7
_QUALITIES = 64


@dataclass(frozen=True)
class Plan:
    """How a chunk is coded: frames that are shown (1..`length`), quality 0..63, tree (a number of
    `tree.TREES`), whether vectors are coded, how many chunks of its segment come before it, cascade
    (a number of `tree.CASCADES`), whether samples are coded (see `palette`)."""

    count: int
    quality: int
    tree: int
    vectors: bool
    before: int
    cascade: int = 0
    samples: bool = False

    @property
    def first(self) -> bool:
        """Whether it is the first of a segment."""
        return self.before == 0

    @property
    def length(self) -> int:
        """Frames that are coded: 8 or 16."""
        return tree_length(self.tree)

    def finer(self, step: Step) -> int:
        """What is added to the quality of the kind of frames of a step."""
        return step.finer + CASCADES[self.cascade][step.kind]

    def quality_of(self, network: Network, step: Step) -> int:
        """The quality that the frames of a step have."""
        return network.quality_of(self.quality, step.kind) + self.finer(step)

    def steps(self) -> tuple[Step, ...]:
        """The steps of its tree."""
        return tree_steps(self.tree, self.before)


class Parts(NamedTuple):
    """What follows the plan and CRC-32 of a chunk: bytes of motion and of samples, ANS words."""

    motion: bytes
    samples: bytes
    words: bytes


def pack(plan: Plan, crc: int, parts: Parts) -> bytes:
    """The payload of a chunk. crc: CRC-32 of its symbols, motion and samples."""
    tree = plan.tree | plan.cascade << _CASCADE_SHIFT
    tree |= (_VECTORS_FLAG if plan.vectors else 0) | (_SAMPLES_FLAG if plan.samples else 0)
    payload = _HEADER.pack(plan.count, plan.quality, tree, crc)
    for there, part in ((plan.vectors, parts.motion), (plan.samples, parts.samples)):
        payload += _length(len(part)) + part if there else b""
    return payload + parts.words


def unpack(payload: bytes, before: int) -> tuple[Plan, int, Parts]:
    """The inverse of `pack`: plan, CRC-32, parts; before: as `Plan` has it. DamagedFileError for
    what cannot be a payload."""
    if len(payload) < _HEADER.size:
        raise DamagedFileError("a chunk is too short")
    count, quality, flags, crc = _HEADER.unpack_from(payload)
    vectors, samples = bool(flags & _VECTORS_FLAG), bool(flags & _SAMPLES_FLAG)
    tree, cascade = flags & _TREE_MASK, flags >> _CASCADE_SHIFT & _CASCADE_MASK
    if cascade >= len(CASCADES):
        raise DamagedFileError("a chunk has a cascade that there is not")
    if quality >= _QUALITIES or not 1 <= count <= tree_length(tree):
        raise DamagedFileError("a chunk header holds impossible values")
    plan = Plan(count, quality, tree, vectors, before, cascade, samples)
    at = _HEADER.size
    own, at = _part(payload, at, "motion") if vectors else (b"", at)
    told, at = _part(payload, at, "samples") if samples else (b"", at)
    return plan, crc, Parts(own, told, payload[at:])


def _length(value: int) -> bytes:
    """A length, 7 bits a byte, lowest first; the highest bit says that another byte follows."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _part(payload: bytes, at: int, name: str) -> tuple[bytes, int]:
    """A part of a chunk that begins with its length, and where it ends."""
    length, shift = 0, 0
    while True:
        if at >= len(payload) or shift > 28:
            raise DamagedFileError(f"a chunk has no length of its {name}")
        byte = payload[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    if at + length > len(payload):
        raise DamagedFileError(f"a chunk is cut off in its {name}")
    return payload[at : at + length], at + length
