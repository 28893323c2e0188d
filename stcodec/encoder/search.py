"""The encoder's block search: from pictures to rate-aware vectors and modes. Nothing here is
normative.

For every pair of a frame and a reference: a full search on pictures of an eighth of the size (range
by distance), then sweeps over the blocks at a quarter, half and full size, in which each tries its
neighbours' vectors and refines the best to integer, half and quarter samples. The cost of a vector
is the sum of absolute differences plus an estimate of the bits of its difference from its
neighbours. At the end 16x16 blocks are split into 8x8 where that pays, and modes (both references
or one) are chosen. What is coded in the end `choice` decides. The loops are in
`search_kernels.py`; they run on the CPU whatever the device of the networks is.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stcodec.codec.candidate_kernels import LIMIT
from stcodec.codec.motion import FIRST, SECOND, Fields
from stcodec.encoder import drawn_kernels, sample_kernels, scroll, search_kernels, tuning


@dataclass(frozen=True)
class SearchSettings:
    """bit_cost: absolute difference, summed over samples in [0, 1], that is worth one bit. effort
    0..2."""

    bit_cost: float
    effort: int = 1


def _reach(distance: int, per_frame: int, width: int = 0) -> int:
    """Samples that the full search looks around, over a distance of so many pictures, which are so
    wide if that matters. At an eighth of the size it stays within margins."""
    most = max(tuning.MOST_REACH, width // tuning.REACHES_ACROSS)
    return min(most, 8 * sample_kernels.MARGIN, tuning.REACH + per_frame * abs(distance))


def in_bytes(pictures: Tensor) -> np.ndarray:
    """Pictures in [0, 1] as bytes of the same shape."""
    return (pictures * 255.0 + 0.5).clamp_(0, 255).to(torch.uint8).cpu().numpy()


class SourcePicture:
    """Luma bytes [H, W] at full size and at a half, a quarter and an eighth, and what references
    need, made when it is needed: margins, phases."""

    def __init__(self, luma: np.ndarray) -> None:
        self.sizes = [luma]
        for _ in range(3):
            a = self.sizes[-1].astype(np.uint16)
            means = a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2]
            self.sizes.append(((means + 2) >> 2).astype(np.uint8))

    @functools.cached_property
    def padded(self) -> list[np.ndarray]:
        """The pictures of a half, a quarter and an eighth of the size, with margins."""
        return [np.pad(a, sample_kernels.MARGIN, mode="edge") for a in self.sizes[1:]]

    @functools.cached_property
    def phases(self) -> np.ndarray:
        """Quarter-sample phases [4, 4, H, W], with margins: 16 times the picture (see
        `let_go`)."""
        margin = sample_kernels.MARGIN
        padded = np.pad(self.sizes[0], (margin + 2, margin + 3), mode="edge")
        out = np.empty((4, 4, padded.shape[0] - 5, padded.shape[1] - 5), np.uint8)
        sample_kernels.phase_planes(padded, out)
        return out

    @functools.cached_property
    def drawn(self) -> bool:
        """Whether it was drawn rather than filmed."""
        return scroll.is_drawn(self.sizes[0])

    @functools.cached_property
    def hashes(self) -> np.ndarray:
        """Of all its 8x8 blocks; 8 bytes for each sample (see `let_go`)."""
        return drawn_kernels.block_hashes(self.sizes[0], 1)

    def let_go(self) -> None:
        """Forget the phases and hashes, which are made again where they are wanted after all."""
        self.__dict__.pop("phases", None)
        self.__dict__.pop("hashes", None)

    def reference(self, size: int) -> search_kernels.Reference:
        """This picture at 1 / 2**size of the full size, to be predicted from."""
        planes, phases = (self.padded[size - 1], 1) if size else (self.phases, 4)
        height, width = planes.shape[-2:]
        return search_kernels.Reference(planes.reshape(-1), height, width, phases)


Pictures = Sequence[SourcePicture] | Mapping[int, SourcePicture]
"""Pictures by number, one of which is 0, in order of time."""


def source_pictures(luma: Tensor) -> list[SourcePicture]:
    """Pictures of luma [N, H, W] in [0, 1]."""
    return [SourcePicture(picture) for picture in in_bytes(luma)]


class _Search:
    """What the searches between pairs of pictures have in common. Prices are in units of bytes."""

    def __init__(self, pictures: Pictures, settings: SearchSettings) -> None:
        self.pictures = pictures
        self.price = np.float32(settings.bit_cost * 255.0)
        self.effort = settings.effort
        self._table = search_kernels.bit_table()
        self._moved: dict[tuple[int, int], np.ndarray] = {}

    def coarse(
        self, frame: int, reference: int, reach: int, steps: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Vectors int32 [2, rows, columns] of 16x16 blocks in samples of a quarter of the size, and
        their costs there."""
        current, other = self.pictures[frame], self.pictures[reference]
        vectors = search_kernels.full_search(
            current.sizes[3], other.padded[2], -(-reach // 8), self.price
        ) * np.int32(2)
        moves = self._moves(frame, reference)
        return vectors, self._sweep(current, other, 2, vectors, steps, moves)

    def pair(self, frame: int, reference: int) -> np.ndarray:
        """Vectors int32 [2, H / 8, W / 8] of a frame from a reference, in quarter samples, none of
        them longer than can be coded."""
        # Each block goes on from where those beside it have come to, so that there is no end.
        return np.clip(self._pair(frame, reference), -LIMIT, LIMIT)

    def _pair(self, frame: int, reference: int) -> np.ndarray:
        current, other = self.pictures[frame], self.pictures[reference]
        width = current.sizes[0].shape[1]
        reach = _reach(frame - reference, tuning.REACH_PER_FRAME, width)
        vectors, _ = self.coarse(frame, reference, reach, (2, 1))
        moves = self._moves(frame, reference)
        vectors *= 2
        self._sweep(current, other, 1, vectors, (1,), moves)
        vectors *= 8
        self._sweep(current, other, 0, vectors, (4,), moves)
        costs = self._sweep(current, other, 0, vectors, (2, 1), moves, backwards=True, causal=False)
        if self.effort >= 2:
            costs = self._sweep(current, other, 0, vectors, (4, 2, 1), moves, causal=False)
        if self.effort == 0:
            return vectors.repeat(2, 1).repeat(2, 2)
        steps = np.array((8, 4, 2, 1) if self.effort >= 2 else (4, 2, 1), np.int32)
        return search_kernels.split(
            other.reference(0), current.sizes[0], vectors, costs, self._rate(0), steps
        )

    def modes(self, frame: int, references: tuple[int, int], vectors: np.ndarray) -> np.ndarray:
        """Modes uint8 [H / 16, W / 16] of a frame, for vectors [2, 2, H / 8, W / 8] from both
        references."""
        first, second = (self.pictures[r].reference(0) for r in references)
        return search_kernels.modes(
            first, second, self.pictures[frame].sizes[0], vectors, self._rate(0)
        )

    def _moves(self, frame: int, reference: int) -> np.ndarray:
        """What all blocks are offered, vectors int32 [n, 2] in samples: none, and by how much parts
        of a drawn frame have moved."""
        current, other = self.pictures[frame], self.pictures[reference]
        if not (tuning.MOVES and current.drawn and other.drawn):
            return np.zeros((1, 2), np.int32)
        pair = frame, reference
        if pair not in self._moved:
            moved = scroll.moves(current.sizes[0], other.hashes)
            self._moved[pair] = np.concatenate([np.zeros((1, 2), np.int32), moved])
        return self._moved[pair]

    def _rate(self, size: int) -> search_kernels.Rate:
        """What vectors at 1 / 2**size of the full size cost: a bit is worth less where a block has
        fewer samples."""
        price = np.float32(self.price / 4**size)
        return search_kernels.Rate(self._table, price, 4 << size if size else 1)

    def _sweep(
        self,
        current: SourcePicture,
        other: SourcePicture,
        size: int,
        vectors: np.ndarray,
        steps: tuple[int, ...],
        moves: np.ndarray,
        backwards: bool = False,
        causal: bool = True,
    ) -> np.ndarray:
        """A sweep over the blocks at 1 / 2**size of the full size; returns their costs."""
        rate = self._rate(size)
        costs = np.zeros(vectors.shape[1:], np.float32)
        least = np.float32(0 if size else tuning.FOCUS_BITS * rate.price)
        blocks = (other.reference(size), current.sizes[size], 16 >> size, vectors, costs)
        offers = (moves * 4 if size == 0 else moves >> size).astype(np.int32)
        search_kernels.sweep(
            *blocks, rate, np.array(steps, np.int32), offers, least, backwards, causal
        )
        return costs


def search(
    pictures: Tensor,
    pairs: list[tuple[int, int | None, int | None]],
    settings: SearchSettings,
    choose_modes: bool = True,
) -> list[Fields]:
    """As `search_pictures`, of luma [N, 1, H, W] in [0, 1], on the device of which the fields are,
    too."""
    found = search_pictures(source_pictures(pictures[:, 0]), pairs, settings, choose_modes)
    device = pictures.device
    return [Fields(f.vectors.to(device), f.modes.to(device)) for f in found]


def search_pictures(
    pictures: Pictures,
    pairs: list[tuple[int, int | None, int | None]],
    settings: SearchSettings,
    choose_modes: bool = True,
    known: Mapping[tuple[int, int], np.ndarray] | None = None,
) -> list[Fields]:
    """Fields (batch size 1) for each (frame, first reference, second reference) of `pairs`; with or
    without a choice of modes.

    pictures: by the numbers in `pairs`; sizes multiples of 16; known:
    vectors [2, H / 8, W / 8] by frame and reference, which are not searched again.
    """
    found, known = _Search(pictures, settings), known or {}
    height, width = pictures[0].sizes[0].shape

    def fields(pair: tuple[int, int | None, int | None]) -> Fields:
        frame, first, second = pair
        vectors = np.zeros((2, 2, height // 8, width // 8), np.int32)
        for side, reference in enumerate((first, second)):
            if reference is not None:
                before = known.get((frame, reference))
                vectors[side] = found.pair(frame, reference) if before is None else before
        modes = np.full((height // 16, width // 16), SECOND if first is None else FIRST, np.uint8)
        if first is not None and second is not None and choose_modes:
            modes = found.modes(frame, (first, second), vectors)
        return Fields(
            torch.from_numpy(vectors.astype(np.int16))[None], torch.from_numpy(modes)[None]
        )

    made: dict[int, Fields] = {}
    threads = torch.get_num_threads()
    # A few pairs at a time, since phases take memory: what later pairs do not use is let go. In the
    # order of the tree its last step would want the phases of all references.
    by_time = sorted(range(len(pairs)), key=lambda i: pairs[i][0])
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(pairs), threads):
            numbers = by_time[start : start + threads]
            now, later = (
                [pairs[i] for i in some] for some in (numbers, by_time[start + threads :])
            )
            wanted, kept = (
                {r for _, *both in some for r in both if r is not None} for some in (now, later)
            )
            list(pool.map(lambda r: found.pictures[r].phases, sorted(wanted)))
            made.update(zip(numbers, pool.map(fields, now), strict=True))
            for number in wanted - kept:
                found.pictures[number].let_go()
    return [made[i] for i in range(len(pairs))]


def choose_tree(pictures: Sequence[SourcePicture], settings: SearchSettings) -> int:
    """Which of `tree.TREES` suits a chunk: how much worse motion is predicted over 8 frames than
    over 4 and 2. pictures: the one before the chunk, and its 8."""
    found = _Search(pictures[::2], settings)

    def error(pairs: Sequence[tuple[int, int]]) -> float:
        """Mean cost of predicting every second picture, at a quarter of the size."""
        costs = [
            found.coarse(a, b, _reach(a - b, tuning.TREE_REACH_PER_FRAME), (1,))[1]
            for a, b in pairs
        ]
        for _, b in pairs:
            found.pictures[b].let_go()
        return float(np.sum(costs)) / len(pairs)

    far, middle = error([(4, 0)]), error([(2, 0), (4, 2)])
    if middle * tuning.SHORTER_STEPS[1] > far * tuning.SHORTER_STEPS[0]:
        return 0
    near = error([(1, 0), (2, 1), (3, 2), (4, 3)])
    return 2 if near * tuning.SHORTER_STEPS[2] < middle * tuning.SHORTER_STEPS[1] else 1


def is_steady(pictures: Sequence[SourcePicture], settings: SearchSettings) -> bool:
    """Whether two chunks suit one tree: whether pictures are predicted well over 16 frames, and
    nearly as well as over 8. pictures: the one before the chunks, and their 16."""
    found = _Search(pictures[::8], settings)
    reach = _reach(8, tuning.TREE_REACH_PER_FRAME)
    far, first, second = (
        float(np.sum(found.coarse(a, b, reach, (1,))[1])) for a, b in ((2, 0), (1, 0), (2, 1))
    )
    for picture in pictures[::8]:
        picture.let_go()
    well = far <= tuning.LONGER_ERROR * pictures[0].sizes[2].size
    return well and far <= tuning.LONGER_STEP * (first + second) / 2
