"""The bytes of a chunk (see docs/format.md): frame count, quality, tree, a CRC-32 of what is
decoded; motion, after its length; ANS words."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from stcodec.codec.network import Network
from stcodec.codec.tree import CASCADES, TREES, Step, tree_length, tree_steps
from stcodec.errors import DamagedFileError

_HEADER = struct.Struct("<BBBI")
# Of the byte of the tree.
_VECTORS_FLAG, _CASCADE_SHIFT, _TREE_MASK = 0x80, 4, 0x0F
_QUALITIES = 64


@dataclass(frozen=True)
class Plan:
    """How a chunk is coded: frames that are shown (1..`length`), quality 0..63, tree (a number of
    `tree.TREES`), whether vectors are coded, how many chunks of its segment come before it, cascade
    (a number of `tree.CASCADES`)."""

    count: int
    quality: int
    tree: int
    vectors: bool
    before: int
    cascade: int = 0

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


def pack(plan: Plan, crc: int, motion: bytes, words: bytes) -> bytes:
    """The payload of a chunk. crc: CRC-32 of its symbols and motion."""
    tree = plan.tree | plan.cascade << _CASCADE_SHIFT
    tree |= _VECTORS_FLAG if plan.vectors else 0
    header = _HEADER.pack(plan.count, plan.quality, tree, crc)
    return header + (_length(len(motion)) + motion if plan.vectors else b"") + words


def unpack(payload: bytes, before: int) -> tuple[Plan, int, bytes, bytes]:
    """The inverse of `pack`: plan, CRC-32, motion, ANS words; before: as `Plan` has it.
    DamagedFileError for what cannot be a payload."""
    if len(payload) < _HEADER.size:
        raise DamagedFileError("a chunk is too short")
    count, quality, tree, crc = _HEADER.unpack_from(payload)
    vectors, cascade = bool(tree & _VECTORS_FLAG), (tree & ~_VECTORS_FLAG) >> _CASCADE_SHIFT
    tree &= _TREE_MASK
    if tree >= len(TREES) or cascade >= len(CASCADES):
        raise DamagedFileError("a chunk has a tree that there is not")
    if quality >= _QUALITIES or not 1 <= count <= tree_length(tree):
        raise DamagedFileError("a chunk header holds impossible values")
    plan = Plan(count, quality, tree, vectors, before, cascade)
    return plan, crc, *_split(payload, vectors)


def _length(value: int) -> bytes:
    """A length, 7 bits a byte, lowest first; the highest bit says that another byte follows."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _split(payload: bytes, vectors: bool) -> tuple[bytes, bytes]:
    """The motion and the ANS words of a chunk."""
    at, length, shift = _HEADER.size, 0, 0
    while vectors:
        if at >= len(payload) or shift > 28:
            raise DamagedFileError("the motion of a chunk has no length")
        byte = payload[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    if at + length > len(payload):
        raise DamagedFileError("the motion of a chunk is cut off")
    return payload[at : at + length], payload[at + length :]
