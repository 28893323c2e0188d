"""The adaptive loop filter: decoded pictures, nearer to the source by filters that the encoder fits
to them.

A sample is changed by what the samples around it differ from it, under weights that are equal on
opposite sides: 12 of a diamond of 7x7. The weights of a 4x4 block are mixed from a set of nine
filters: three for how much goes on around the block, of three directions each: none, straight and
slanted, where one filter serves lines across and, turned, lines down. Everything is continuous, so
that pictures differ by no more where two machines round differently; the adaptive loop filter of
VVC, which this follows, chooses a class instead (Tsai et al., "Adaptive Loop Filtering for Video
Coding", 2013).

A model has weights, and a frame may bring a change of them, which holds until another brings one.
Each frame but leaves says whether its planes are filtered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stcodec.codec import kernels
from stcodec.codec.entropy import Coder, Tables
from stcodec.codec.loop_filter_classes import (
    BLOCK,
    CASES,
    CLASSES,
    DIRECTION,
    DIRECTIONS,
    EVEN,
    FIRST_NODE,
    LEAST,
    MARGIN,
    NODE_DISTANCE,
    NODES,
    OFFSETS,
    RING,
    SHARPNESS,
    TAPS,
    TURNED,
    TURNS,
)
from stcodec.codec.patches import Frames
from stcodec.codec.tree import LEAF
from stcodec.errors import DamagedFileError

PLANES, GROUPS = 2, 3
"""Luma, and both planes of chroma; intra frames, key frames, all others."""
KNOTS = (4, 22, 40)
"""Qualities of frames at which a model has weights."""
UNIT, START_UNIT = 64, 256
"""Weights that are coded count in one by the first of these, those of a model by the second."""
LARGEST = 1 << 12
_MOST_GAIN = 4.0  # three and a bit is the most that was seen in clips
_KEPT, _OFF, _NEW = 0, 1, -1
_STATE_INDEX, _WEIGHT_INDEX = 20, 28


class Changes(NamedTuple):
    """What is added to a model's filters, for luma and for chroma: int32 [CLASSES, TAPS]; of a
    frame None where its planes are not filtered."""

    luma: np.ndarray | None
    chroma: np.ndarray | None

    def after(self, chosen: Changes) -> Changes:
        """What holds after a frame that has chosen these."""
        pairs = zip(self, chosen, strict=True)
        return Changes(*(kept if new is None else new for kept, new in pairs))


class Filters(NamedTuple):
    """The filters of a frame: what `by_case` gives, or None."""

    luma: Tensor | None
    chroma: Tensor | None

    def given(self) -> list[Tensor]:
        """Those that there are."""
        return [cases for cases in self if cases is not None]

    def replaced(self, given: Iterable[Tensor]) -> Filters:
        """Others in place of those that there are, in their order."""
        others = iter(given)
        return Filters(*(None if cases is None else next(others) for cases in self))


NO_FILTERS = Filters(None, None)


def unchanged() -> Changes:
    """What holds where a segment begins."""
    return Changes(*(np.zeros((CLASSES, TAPS), np.int32) for _ in range(PLANES)))


class LoopFilter:
    """What a model's filters are, and how a frame says which it has.

    start: int16 [PLANES, GROUPS, knots, CLASSES, TAPS], None where a model has no filters."""

    def __init__(self, start: np.ndarray | None, tables: Tables) -> None:
        self._start, self._tables = start, tables
        self._state = np.array([_STATE_INDEX], np.uint8)
        self._weights = np.full(CLASSES * TAPS, _WEIGHT_INDEX, np.uint8)

    def works_on(self, kind: int) -> bool:
        """Whether frames of a kind may be filtered: all but leaves, which gain little."""
        return self._start is not None and kind != LEAF

    def start(self, kind: int, quality: float) -> np.ndarray:
        """The model's weights float32 [PLANES, CLASSES, TAPS] for a frame."""
        assert self._start is not None
        own = self._start[:, min(kind, GROUPS - 1)].astype(np.float32)
        knot, part = place_of(quality)
        mixed = own[:, knot] * np.float32(1 - part) + own[:, knot + 1] * np.float32(part)
        return mixed / np.float32(START_UNIT)

    def filters(self, kind: int, quality: float, chosen: Changes) -> Filters:
        """Those of a frame."""
        if not self.works_on(kind):
            return NO_FILTERS
        pairs = zip(self.start(kind, quality), chosen, strict=True)
        sums = (None if c is None else s + c / np.float32(UNIT) for s, c in pairs)
        return Filters(*(None if weights is None else by_case(weights) for weights in sums))

    def write(self, coder: Coder, kept: Changes, chosen: Changes) -> None:
        """Code what a frame has chosen; kept: what held before."""
        for before, now in zip(kept, chosen, strict=True):
            assert before is not None
            same = now is not None and np.array_equal(now, before)
            state = _OFF if now is None else _KEPT if same else _NEW
            coder.code(np.array([state], np.int32), self._state, self._tables)
            if now is not None and not same:
                difference = (now - before).reshape(-1).astype(np.int32)
                coder.code(difference, self._weights, self._tables)

    def read(self, coder: Coder, kept: Changes) -> Changes:
        """The inverse of `write`. DamagedFileError for filters that none has."""
        read = []
        for before in kept:
            assert before is not None
            state, now = int(coder.code(None, self._state, self._tables)[0]), None
            if state == _KEPT:
                now = before
            elif state == _NEW:
                difference = coder.code(None, self._weights, self._tables)
                now = before + difference.reshape(before.shape)
            if state not in (_OFF, _KEPT, _NEW) or (
                now is not None and np.abs(now).max() > LARGEST
            ):
                raise DamagedFileError("a decoded filter is out of range")
            read.append(now)
        return Changes(*read)


def place_of(quality: float) -> tuple[int, float]:
    """Between which of KNOTS, that one and the next, a quality lies, and how far, 0..1."""
    place = (quality - KNOTS[0]) / (KNOTS[1] - KNOTS[0])
    place = min(max(place, 0.0), len(KNOTS) - 1.0)
    knot = min(int(place), len(KNOTS) - 2)
    return knot, place - knot


def bounded(weights: np.ndarray) -> np.ndarray:
    """Weights [..., TAPS] of which no class gives back more than `_MOST_GAIN` times what it is
    given: pictures are filtered in a loop, and what a filter enlarges might grow from frame to
    frame."""
    gain = 2 * np.abs(weights).sum(-1, keepdims=True)
    return weights * np.minimum(1, _MOST_GAIN / np.maximum(gain, 1e-9))


def costs(of_symbols: Tensor) -> np.ndarray:
    """Bits of a difference of a weight, by its size, from those of symbols (`Tables.costs`)."""
    return of_symbols[_WEIGHT_INDEX].numpy()


def reach(filters: Filters) -> int:
    """How many luma samples around a part filters look at: a part may end within a block, which is
    classified by the samples beside its ring. An even number."""
    most = max(MARGIN, BLOCK - 1 + RING + 1)
    own = 0 if filters.luma is None else most + most % 2
    return max(own, 0 if filters.chroma is None else 2 * most)


def filtered(frames: Frames, filters: Filters) -> Frames:
    """One picture, filtered."""
    sets = filters.luma, filters.chroma, filters.chroma
    pairs = zip(frames, sets, strict=True)
    return Frames(*(p if chosen is None else plane(p, chosen) for p, chosen in pairs))


def plane(samples: Tensor, cases: Tensor) -> Tensor:
    """A plane [1, 1, H, W] filtered by what `by_case` gives, on the same device; H and W are
    multiples of 4."""
    loops = kernels.loops() if samples.device.type == "cpu" else None
    if loops is None:
        return _with_tensors(samples, cases)
    padded, out = pad(samples)[0, 0], torch.empty(samples.shape)
    loops.loop_filter.filtered(padded.numpy(), cases.numpy(), out[0, 0].numpy())
    return out


def by_case(filters: np.ndarray) -> Tensor:
    """Weights float32 [CLASSES, TAPS] as blocks of each case have them, turned or not, and the
    weight of a sample itself behind its taps: [CASES, TAPS + 1], on the CPU."""
    own = filters.reshape(NODES, DIRECTIONS, TAPS)[:, DIRECTION]
    turned = np.take_along_axis(own, TURNED[TURNS][None].repeat(NODES, 0), 2)
    taps = turned.reshape(CASES, TAPS)
    middle = 1 - 2 * taps.sum(1, keepdims=True)
    return torch.from_numpy(np.concatenate([taps, middle], 1).astype(np.float32))


def pad(samples: Tensor) -> Tensor:
    """[1, 1, H, W] and the nearest samples beyond its edges, MARGIN wide."""
    return F.pad(samples, (MARGIN,) * 4, mode="replicate")


def _with_tensors(samples: Tensor, cases: Tensor) -> Tensor:
    """What `loop_filter_kernels.filtered` computes, of [1, 1, H, W]."""
    padded = pad(samples)
    share = _shares(padded)
    taps = torch.zeros_like(share[: TAPS + 1])
    for case in range(CASES):
        taps += share[case] * cases[case].view(-1, 1, 1)
    out = _wide(taps[TAPS]) * samples
    for k, (dy, dx) in enumerate(OFFSETS.tolist()):
        out += _wide(taps[k]) * (_moved(padded, dy, dx) + _moved(padded, -dy, -dx))
    return out.clamp_(0.0, 1.0)


def _wide(blocks: Tensor) -> Tensor:
    """A number of each block for each of its samples."""
    return blocks.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)


def _moved(padded: Tensor, dy: int, dx: int, ring: int = 0) -> Tensor:
    """What lies so far down and to the right of each sample, and of a ring of samples around."""
    high, wide = padded.shape[2] - 2 * MARGIN, padded.shape[3] - 2 * MARGIN
    top, left = MARGIN - ring + dy, MARGIN - ring + dx
    return padded[..., top : top + high + 2 * ring, left : left + wide + 2 * ring]


def _shares(padded: Tensor) -> Tensor:
    """What share each case has in each block, [CASES, H / 4, W / 4]."""
    window, middle = BLOCK + 2 * RING, 2 * _moved(padded, 0, 0, RING)
    scale = 255.0 / window**2
    sums = []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        beside = _moved(padded, dy, dx, RING) + _moved(padded, -dy, -dx, RING)
        size = F.avg_pool2d((middle - beside).abs(), window, BLOCK, divisor_override=1)
        sums.append(size[0, 0] * scale)
    across, down, falling, rising = sums
    bits = (across + down + LEAST).contiguous().view(torch.int32)
    logarithm = (bits >> 23).float() - 127 + (bits & 0x7FFFFF).float() * 2.0**-23
    place = ((logarithm - FIRST_NODE) / NODE_DISTANCE).clamp(0, NODES - 1)
    straight = ((across - down).abs() * SHARPNESS / (across + down + EVEN)).clamp(max=1)
    slanted = ((falling - rising).abs() * SHARPNESS / (falling + rising + EVEN)).clamp(max=1)
    whole = (straight + slanted).clamp(min=1)
    straight, slanted = straight / whole, slanted / whole
    lying, mirrored = (down > across).float(), (rising > falling).float()
    ways = (
        1 - straight - slanted,
        *(straight * (1 - lying), straight * lying),
        *(slanted * (1 - mirrored), slanted * mirrored),
    )
    near = [(1 - (place - node).abs()).clamp(min=0) for node in range(NODES)]
    return torch.stack([part * way for part in near for way in ways])
