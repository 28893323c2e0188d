"""The encoder's block search: from pictures to rate-aware vectors and modes. Nothing here is normative.

For every pair of a frame and a reference: a full search on pictures of an eighth of the size (range by distance), refinement at
a quarter, half and full size to integer, half and quarter samples, and passes in which blocks try their neighbours' vectors. The
cost of a vector is the sum of absolute differences plus an estimate of the bits of its difference from its neighbours. At the
end 16x16 blocks are split into 8x8 where that pays, and the modes (both references or one) are chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stcodec.motion import SECOND, Fields
from stcodec.motion_blocks import MARGIN, Grid, Phases, absolute_difference, blocks_of

# How much better a shorter step must predict to be worth more frames at the key's quality: trees 0, 1, 2.
_SHORTER = (1.0, 1.8, 2.8)
# A 16x16 block whose whole difference is worth less than this many bits is not searched further.
_FOCUS = 16.0


@dataclass(frozen=True)
class SearchSettings:
    """bit_cost: absolute difference, summed over samples in [0, 1], that is worth one bit. effort 0..9."""

    bit_cost: float
    effort: int = 1


def _pyramid(luma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means over 2x2, 4x4 and 8x8 samples of pictures [N, H, W]."""
    half = F.avg_pool2d(luma[:, None], 2)
    quarter = F.avg_pool2d(half, 2)
    return half[:, 0], quarter[:, 0], F.avg_pool2d(quarter, 2)[:, 0]


def _bits(difference: Tensor) -> Tensor:
    """Estimated bits of vector differences [2, ...] in quarter samples."""
    return torch.log2(difference.abs().float() * 3.0 + 1.0).mul_(1.7).sum(0)


def _flat(vectors: Tensor) -> Tensor:
    """[P, 2, gh, gw] -> [2, P * gh * gw]."""
    return vectors.transpose(0, 1).reshape(2, -1)


def _around(vectors: Tensor) -> list[Tensor]:
    """The vectors [P, 2, gh, gw] above, below, left and right of every block (its own at the edge)."""
    above, left = torch.empty_like(vectors), torch.empty_like(vectors)
    below, right = torch.empty_like(vectors), torch.empty_like(vectors)
    above[:, :, 1:], above[:, :, :1] = vectors[:, :, :-1], vectors[:, :, :1]
    below[:, :, :-1], below[:, :, -1:] = vectors[:, :, 1:], vectors[:, :, -1:]
    left[..., 1:], left[..., :1] = vectors[..., :-1], vectors[..., :1]
    right[..., :-1], right[..., -1:] = vectors[..., 1:], vectors[..., -1:]
    return [above, below, left, right]


def _neighbour_median(vectors: Tensor) -> Tensor:
    """Componentwise median of the four neighbours and the block itself."""
    above, below, left, right = _around(vectors)
    return _median5(above, below, left, right, vectors)


def _median5(a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor) -> Tensor:
    """Elementwise median of five, by minima and maxima."""
    low = torch.maximum(torch.minimum(a, b), torch.minimum(c, d))
    high = torch.minimum(torch.maximum(a, b), torch.maximum(c, d))
    return torch.maximum(torch.minimum(low, high), torch.minimum(torch.maximum(low, high), e))


def _coarse(current: Tensor, reference: Tensor, reach: int, bit_cost: float) -> Tensor:
    """Full search between pictures [P, H/8, W/8] of an eighth of the size: vectors [P, 2, gh, gw] in their samples.

    A block is compared over itself and its surroundings, 6x6 samples, since its own 2x2 say little.
    """
    count, height, width = current.shape
    padded = F.pad(reference[:, None], (reach,) * 4, mode="replicate")[:, 0]
    span = 2 * reach + 1
    windows = padded.unfold(1, height, 1).unfold(2, width, 1)  # [P, span, span, height, width]
    cost = (windows - current[:, None, None]).abs_().reshape(count, span * span, height, width)
    cost = F.avg_pool2d(cost, 2)
    cost = F.avg_pool2d(cost, 3, 1, 1, count_include_pad=False) + cost
    along = (torch.arange(span, device=current.device) - reach).float()
    length = torch.log2(1.0 + torch.hypot(along[:, None], along[None, :]))
    cost += length.view(-1, 1, 1) * (bit_cost / 32)
    where = cost.min(1).indices
    return torch.stack([torch.div(where, span, rounding_mode="floor") - reach, where % span - reach], dim=1)


class _State:
    """Best vectors [P, 2, gh, gw] so far, with their costs. `unit`: quarter luma samples per unit of the vectors."""

    def __init__(
        self,
        phases: Phases,
        planes: Tensor,
        pictures: Tensor,
        block: int,
        bit_cost: float,
        vectors: Tensor,
        unit: int,
    ) -> None:
        self.phases, self.block, self.bit_cost, self.unit = phases, block, bit_cost, unit
        self.grid = Grid(vectors.shape[2], vectors.shape[3], block, pictures)
        self.blocks = blocks_of(planes, block)
        self.active: Tensor | None = None
        self.vectors = vectors
        self.around = _neighbour_median(vectors)
        self.cost = self._cost(vectors)

    def _cost(self, vectors: Tensor) -> Tensor:
        """Cost of every block that is being looked at, infinite for the others."""
        flat, grid, at = _flat(vectors), self.grid, self.active
        if at is None:
            samples = self.phases.gather(flat, grid.top, grid.left, grid.picture, self.block)
            difference = absolute_difference(samples, self.blocks)
        else:
            samples = self.phases.gather(flat[:, at], grid.top[at], grid.left[at], grid.picture[at], self.block)
            difference = samples.new_full((len(self.blocks),), torch.inf)
            difference[at] = absolute_difference(samples, self.active_blocks)
        rate = _bits((vectors - self.around).transpose(0, 1) * self.unit)
        return difference.view(vectors[:, 0].shape).add_(rate, alpha=self.bit_cost)

    def focus(self, bits: float) -> None:
        """From now on leave blocks alone whose whole difference is worth less than `bits`."""
        at = torch.nonzero(self.cost.view(-1) > bits * self.bit_cost)[:, 0]
        if len(at) < 0.8 * len(self.blocks):
            self.active, self.active_blocks = at, self.blocks[at]

    def renew(self) -> None:
        """Take the neighbours' present vectors as the prediction."""
        around = _neighbour_median(self.vectors)
        now, before = (_bits((self.vectors - a).transpose(0, 1) * self.unit) for a in (around, self.around))
        self.cost = self.cost + (now - before) * self.bit_cost
        self.around = around

    def attempt(self, vectors: Tensor) -> None:
        """Keep `vectors` wherever they are cheaper."""
        cost = self._cost(vectors)
        better = cost < self.cost
        self.cost = torch.where(better, cost, self.cost)
        self.vectors = torch.where(better[:, None], vectors, self.vectors)

    def refine(self, step: int) -> None:
        """Try the eight neighbours at distance `step`."""
        centre = self.vectors
        for dy, dx in (*_CROSS, (-1, -1), (-1, 1), (1, -1), (1, 1)):
            self.attempt(_moved(centre, dy * step, dx * step))

    def propagate(self) -> None:
        """Try the neighbours' vectors and their median."""
        self.renew()
        self.attempt(self.around)
        for vectors in _around(self.vectors):
            self.attempt(vectors)


_CROSS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def _moved(vectors: Tensor, dy: int, dx: int) -> Tensor:
    """Vectors [P, 2, ...] or [2, n], all moved by the same."""
    offset = torch.tensor([dy, dx], device=vectors.device)
    return vectors + (offset.view(1, 2, 1, 1) if vectors.dim() == 4 else offset.view(2, 1))


def _search_pairs(
    levels: _Levels, current: Tensor, reference: Tensor, distance: Tensor, settings: SearchSettings
) -> tuple[Tensor, Tensor]:
    """Vectors [P, 2, H/8, W/8] of P pairs of pictures, and the samples of their predictions, every second row.

    current and reference: int64 [P], numbers of pictures; distance: int64 [P], how far they lie apart in time.
    """
    bit_cost, thorough = settings.bit_cost, settings.effort >= 2
    vectors = torch.zeros(len(current), 2, *(n // 2 for n in levels.eighth.shape[1:]), dtype=torch.long)
    vectors = vectors.to(current.device)
    for d in torch.unique(distance).tolist():
        at = torch.nonzero(distance == d)[:, 0]
        reach = -(-min(64, 16 + 12 * int(d)) // 8)
        vectors[at] = _coarse(levels.eighth[current[at]], levels.eighth[reference[at]], reach, bit_cost) * 2
    # A difference summed over a picture of half the size counts a quarter, so a bit does too.
    state = _State(levels.quarter_phases, levels.quarter[current], reference, 4, bit_cost / 16, vectors, 16)
    state.attempt(torch.zeros_like(vectors))
    state.refine(2)
    state.propagate()
    state.refine(1)
    state = _State(levels.half_phases, levels.half[current], reference, 8, bit_cost / 4, state.vectors * 2, 8)
    state.attempt(torch.zeros_like(vectors))
    state.refine(1)
    state.propagate()
    wanted, where = torch.unique(reference, return_inverse=True)
    full = Phases(levels.luma[wanted], 4)
    pictures = levels.luma[current]
    state = _State(full, pictures, where, 16, bit_cost, state.vectors * 8, 1)
    state.attempt(torch.zeros_like(vectors))
    state.focus(_FOCUS)
    state.refine(4)
    if thorough:
        state.propagate()
    state.refine(2)
    state.propagate()
    state.refine(1)
    state.propagate()
    fine = state.vectors.repeat_interleave(2, 2).repeat_interleave(2, 3)
    grid = Grid(fine.shape[2], fine.shape[3], 8, where)
    if settings.effort > 0:
        fine = _split(full, pictures, grid, state, fine, settings)
    samples = full.gather(_flat(fine), grid.top, grid.left, grid.picture, 8, 2)
    full.release()
    return fine, samples.view(len(current), -1, samples.shape[1])


def _split(full: Phases, pictures: Tensor, grid: Grid, whole: _State, fine: Tensor, settings: SearchSettings) -> Tensor:
    """Let 8x8 blocks have their own vectors where that saves more than it costs."""
    # Where the whole difference is worth less than a split's bits there is nothing to gain.
    busy = (whole.cost > 16 * settings.bit_cost).repeat_interleave(2, 1).repeat_interleave(2, 2)
    at = torch.nonzero(busy.view(-1))[:, 0]
    if not len(at):
        return fine
    blocks = blocks_of(pictures, 8)[at]
    parent = _flat(fine)[:, at]
    around = [_flat(v) for v in _around(fine)]
    gain, best = torch.zeros(busy.shape, device=at.device), _flat(fine)

    def difference(vectors: Tensor) -> Tensor:
        samples = full.gather(vectors, grid.top[at], grid.left[at], grid.picture[at], 8)
        return absolute_difference(samples, blocks)

    base = cost = difference(parent)
    own = parent
    for step in (0, 8, 4, 2, 1) if settings.effort >= 2 else (0, 4, 2, 1):
        centre = own
        tries = [_moved(centre, dy * step, dx * step) for dy, dx in _CROSS]
        if not step:
            tries = [v[:, at] for v in around]
        for candidate in tries:
            value = difference(candidate).add_(_bits(candidate - parent), alpha=settings.bit_cost)
            better = value < cost
            own, cost = torch.where(better, candidate, own), torch.where(better, value, cost)
        gain.view(-1)[at] = base - cost
        best[:, at] = own
        if step == 4 and settings.effort < 5:
            # What has gained nothing from coarse steps is not going to pay for a split.
            hope = F.avg_pool2d(gain[:, None], 2)[:, 0].mul_(4).repeat_interleave(2, 1).repeat_interleave(2, 2)
            keep = hope.reshape(-1)[at] > 0
            at, blocks, parent = at[keep], blocks[keep], parent[:, keep]
            base, cost, own = base[keep], cost[keep], own[:, keep]
    chosen = (
        (F.avg_pool2d(gain[:, None], 2) * 4 > 6 * settings.bit_cost).repeat_interleave(2, 2).repeat_interleave(2, 3)
    )
    return torch.where(chosen, best.view(2, len(fine), *fine.shape[2:]).transpose(0, 1), fine)


class _Levels:
    """Pictures [N, H, W] at the resolutions of the search, but for the phases, which are large."""

    def __init__(self, luma: Tensor) -> None:
        self.luma = luma
        self.half, self.quarter, self.eighth = _pyramid(luma)
        self.half_phases, self.quarter_phases = Phases(self.half, 1), Phases(self.quarter, 1)


# The largest buffer of phases, in samples: bounds memory where pictures are large.
_MOST_SAMPLES = 40 << 20


def search(pictures: Tensor, pairs: list[tuple[int, int | None, int | None]], settings: SearchSettings) -> list[Fields]:
    """Fields (batch size 1) for each (frame, first reference, second reference) of `pairs`.

    pictures: luma [N, 1, H, W] in [0, 1], sizes multiples of 16, indexed by the numbers in `pairs` in order of time.
    """
    levels = _Levels(pictures[:, 0])
    device, (height, width) = pictures.device, pictures.shape[2:]
    jobs = sorted((r, frame, k) for k, (frame, *both) in enumerate(pairs) for r in both if r is not None)
    grid = (height // 8, width // 8)
    vectors = torch.zeros(len(pairs), 2, 2, *grid, dtype=torch.long, device=device)
    samples: dict[tuple[int, int], Tensor] = {}
    most = max(1, _MOST_SAMPLES // (16 * (height + 2 * MARGIN) * (width + 2 * MARGIN)))
    references = sorted({r for r, _, _ in jobs})
    for start in range(0, len(references), most):
        some = [j for j in jobs if j[0] in references[start : start + most]]
        reference, current = (torch.tensor([j[i] for j in some], device=device) for i in (0, 1))
        found, predicted = _search_pairs(levels, current, reference, (current - reference).abs(), settings)
        for i, (r, _, k) in enumerate(some):
            side = 0 if pairs[k][1] == r else 1
            vectors[k, side] = found[i]
            samples[k, side] = predicted[i]
    results = []
    for k, (frame, *_) in enumerate(pairs):
        modes = torch.ones(grid[0] // 2, grid[1] // 2, dtype=torch.uint8, device=device)
        if (k, 0) not in samples:
            modes.fill_(SECOND)
        elif (k, 1) in samples:
            blocks = blocks_of(pictures[frame], 8, 2)
            modes = _choose_modes(blocks, samples[k, 0], samples[k, 1], vectors[k], settings)
        results.append(Fields(vectors[k : k + 1].to(torch.int16), modes[None]))
    return results


def _choose_modes(blocks: Tensor, first: Tensor, second: Tensor, vectors: Tensor, settings: SearchSettings) -> Tensor:
    """Both references, or the one that is so much better that the other's vector is not worth its bits."""
    costs = []
    grid = vectors.shape[2:]
    rates = _bits((vectors - _neighbour_median(vectors)).transpose(0, 1))[:, ::2, ::2]
    for mode, prediction in enumerate(((first + second) * 0.5, first, second)):
        difference = F.avg_pool2d(absolute_difference(prediction, blocks).view(1, 1, *grid), 2)[0, 0] * 8
        rate = rates[0] + rates[1] if mode == 0 else rates[mode - 1] + 1.5
        costs.append(difference + settings.bit_cost * rate)
    return torch.stack(costs).argmin(0).to(torch.uint8)


def choose_tree(before: Tensor, pictures: Tensor, settings: SearchSettings) -> int:
    """Which of `motion.TREES` suits a chunk: how much worse motion is predicted over 8 frames than over 4 and 2.

    before: luma [1, 1, H, W] of the frame before the chunk; pictures [8, 1, H, W].
    """
    _, quarter, eighth = _pyramid(torch.cat([before, pictures])[::2, 0])
    phases = Phases(quarter, 1)

    def error(frames: list[int], references: list[int]) -> float:
        """Mean prediction error over pairs of every second picture, in units of samples, at quarter size."""
        current, reference = torch.tensor(frames, device=before.device), torch.tensor(references, device=before.device)
        reach = -(-min(64, 16 + 24 * abs(frames[0] - references[0])) // 8)
        v = _coarse(eighth[current], eighth[reference], reach, settings.bit_cost) * 2
        state = _State(phases, quarter[current], reference, 4, settings.bit_cost / 16, v, 16)
        state.refine(1)
        return float(state.cost.sum()) / len(frames)

    far, middle = error([4], [0]), error([2, 4], [0, 2])
    if middle * _SHORTER[1] > far * _SHORTER[0]:
        return 0
    near = error([1, 2, 3, 4], [0, 1, 2, 3])
    return 2 if near * _SHORTER[2] < middle * _SHORTER[1] else 1
