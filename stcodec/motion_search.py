"""The encoder's block search: from pictures to rate-aware vectors and modes. Nothing here is normative.

For every pair of a frame and a reference: a full search on quarter-size pictures (range by distance), refinement at half and
full size to integer, half and quarter samples, and passes in which blocks try their neighbours' vectors. The cost of a
vector is the sum of absolute differences plus an estimate of the bits of its difference from its neighbours. At the end 16x16
blocks are split into 8x8 where that pays, and the modes (both references or one) are chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stcodec.motion import BLOCK, Fields

_MARGIN = 72
_TAPS = (
    (0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
    (0.012, -0.086, 0.892, 0.237, -0.062, 0.007),
    (0.022, -0.132, 0.610, 0.610, -0.132, 0.022),
    (0.007, -0.062, 0.237, 0.892, -0.086, 0.012),
)


@dataclass(frozen=True)
class SearchSettings:
    """bit_cost: absolute difference, summed over samples in [0, 1], that is worth one bit. effort 0..9."""

    bit_cost: float
    effort: int = 1


class _Reference:
    """One reference picture at the resolutions of the search: quarter, half, and 16 quarter-sample phases."""

    def __init__(self, luma: Tensor) -> None:
        height, width = luma.shape
        self.quarter = F.avg_pool2d(luma[None, None], 4)[0, 0]
        self.half = _Phases(F.avg_pool2d(luma[None, None], 2), 1)
        self.full = _Phases(luma[None, None], 4)
        self.size = (height, width)


class _Phases:
    """Sub-sample phase planes of a picture with a wide margin; a block at any vector is one gather."""

    def __init__(self, plane: Tensor, phases: int) -> None:
        padded = F.pad(plane, (_MARGIN + 2, _MARGIN + 3) * 2, mode="replicate")[0, 0]
        self.height, self.width = plane.shape[-2] + 2 * _MARGIN, plane.shape[-1] + 2 * _MARGIN
        self.phases = phases
        if phases == 1:
            self.samples = padded[2:-3, 2:-3].reshape(-1)
            return
        taps = torch.tensor(_TAPS, device=plane.device)
        taps = taps / taps.sum(1, keepdim=True)
        lines = (padded.unfold(1, 6, 1) @ taps.T).permute(2, 0, 1)
        planes = torch.zeros(4, 4, self.height, self.width, device=plane.device)
        for y in range(4):
            for k in range(6):
                if taps[y, k] != 0:
                    planes[y].add_(lines[:, k : k + self.height], alpha=float(taps[y, k]))
        self.samples = planes.reshape(-1)

    def difference(self, blocks: Tensor, vectors: Tensor, block: int) -> Tensor:
        """Sum of absolute differences [gh, gw] between blocks [gh*gw, block*block] and the reference at vectors
        [2, gh, gw], in units of one phase."""
        return (self.gather(vectors, block) - blocks).abs_().sum(1).view(vectors.shape[1:])

    def gather(self, vectors: Tensor, block: int) -> Tensor:
        """Samples [gh*gw, block*block] of the blocks at vectors [2, gh, gw]."""
        rows, columns = vectors.shape[1:]
        device = vectors.device
        whole = torch.div(vectors, self.phases, rounding_mode="floor")
        part = vectors - whole * self.phases
        top = (whole[0] + (torch.arange(rows, device=device) * block + _MARGIN)[:, None]).clamp_(0, self.height - block)
        left = (whole[1] + torch.arange(columns, device=device) * block + _MARGIN).clamp_(0, self.width - block)
        plane = (part[0] * self.phases + part[1]) * (self.height * self.width)
        base = (plane + top * self.width + left).view(-1, 1)
        inner = torch.arange(block, device=device)
        offsets = (inner[:, None] * self.width + inner).view(1, -1)
        return torch.take(self.samples, base + offsets)


def _blocks(plane: Tensor, block: int) -> Tensor:
    rows, columns = plane.shape[0] // block, plane.shape[1] // block
    return plane.view(rows, block, columns, block).transpose(1, 2).reshape(rows * columns, block * block)


def _bits(difference: Tensor) -> Tensor:
    """Estimated bits of vector differences [2, ...] in quarter samples."""
    size = difference.abs().float()
    return (torch.log2(1.0 + size) * 2.0 + (size > 0) * 1.0).sum(0) + 0.1


def _neighbour_median(vectors: Tensor) -> Tensor:
    """Componentwise median of the four neighbours and the block itself, [2, gh, gw]."""
    p = F.pad(vectors[None].float(), (1, 1, 1, 1), mode="replicate")[0]
    near = torch.stack([p[:, :-2, 1:-1], p[:, 2:, 1:-1], p[:, 1:-1, :-2], p[:, 1:-1, 2:], p[:, 1:-1, 1:-1]])
    return near.median(0).values.to(vectors.dtype)


def _shifted(vectors: Tensor) -> list[Tensor]:
    p = F.pad(vectors[None].float(), (1, 1, 1, 1), mode="replicate")[0].to(vectors.dtype)
    return [p[:, :-2, 1:-1], p[:, 2:, 1:-1], p[:, 1:-1, :-2], p[:, 1:-1, 2:]]


def _coarse(current: Tensor, reference: Tensor, reach: int, bit_cost: float) -> Tensor:
    """Full search on quarter-size pictures: vectors [2, gh, gw] in quarter-size samples for 16x16 luma blocks."""
    height, width = current.shape
    padded = F.pad(reference[None, None], (reach,) * 4, mode="replicate")[0, 0]
    best = torch.full((height // 4, width // 4), float("inf"), device=current.device)
    where = torch.zeros_like(best, dtype=torch.long)
    span = 2 * reach + 1
    windows = padded.unfold(1, width, 1)  # [height + 2 reach, span, width]
    along = torch.arange(span, device=current.device) - reach
    for dy in range(span):
        moved = windows[dy : dy + height].transpose(0, 1)
        cost = F.avg_pool2d((moved - current).abs_()[:, None], 4)[:, 0]
        cost = F.avg_pool2d(cost[:, None], 3, 1, 1, count_include_pad=False)[:, 0] * 0.5 + cost * 0.5
        length = torch.log2(1.0 + 4.0 * torch.hypot(along.float(), torch.tensor(float(dy - reach))))
        value, at = (cost + (length * (bit_cost / 16))[:, None, None]).min(0)
        better = value < best
        best = torch.where(better, value, best)
        where = torch.where(better, dy * span + at, where)
    return torch.stack([where // span - reach, where % span - reach])


class _State:
    """Best vectors so far on a grid, with their costs."""

    def __init__(self, phases: _Phases, blocks: Tensor, block: int, bit_cost: float, vectors: Tensor) -> None:
        self.phases, self.blocks, self.block, self.bit_cost = phases, blocks, block, bit_cost
        self.unit = 4 // phases.phases * (1 if block == BLOCK * 2 or phases.phases == 4 else 2)
        self.vectors = vectors
        self.around = _neighbour_median(vectors)
        self.cost = self._cost(vectors)

    def _cost(self, vectors: Tensor) -> Tensor:
        rate = _bits((vectors - self.around) * self.unit) * self.bit_cost
        return self.phases.difference(self.blocks, vectors, self.block) + rate

    def renew(self) -> None:
        """Take the neighbours' present vectors as the prediction."""
        around = _neighbour_median(self.vectors)
        rate = _bits((self.vectors - around) * self.unit) - _bits((self.vectors - self.around) * self.unit)
        self.cost = self.cost + rate * self.bit_cost
        self.around = around

    def attempt(self, vectors: Tensor) -> None:
        """Keep `vectors` wherever they are cheaper."""
        cost = self._cost(vectors)
        better = cost < self.cost
        self.cost = torch.where(better, cost, self.cost)
        self.vectors = torch.where(better, vectors, self.vectors)

    def refine(self, step: int, corners: bool = True) -> None:
        """Try the neighbours at distance `step`."""
        centre = self.vectors
        for dy in (-step, 0, step):
            for dx in (-step, 0, step):
                if (dy or dx) and (corners or not (dy and dx)):
                    self.attempt(centre + torch.tensor([dy, dx], device=centre.device).view(2, 1, 1))

    def propagate(self) -> None:
        """Try the neighbours' vectors and their median."""
        self.renew()
        self.attempt(self.around)
        for vectors in _shifted(self.vectors):
            self.attempt(vectors)


def _search_pair(current: Tensor, reference: _Reference, reach: int, settings: SearchSettings) -> tuple[Tensor, Tensor]:
    """Vectors [2, H/8, W/8] of one frame to one reference, and the 16x16 blocks' costs [H/16, W/16]."""
    bit_cost = settings.bit_cost
    small = F.avg_pool2d(current[None, None], 4)[0, 0]
    coarse = _coarse(small, reference.quarter, reach, bit_cost)
    half = F.avg_pool2d(current[None, None], 2)[0, 0]
    # At half size a block of 8 stands for 16x16; the cost per sample of difference is a quarter.
    state = _State(reference.half, _blocks(half, 8), 8, bit_cost / 4, coarse * 2)
    state.attempt(torch.zeros_like(coarse))
    state.propagate()
    state.refine(1)
    state.propagate()
    whole = _State(reference.full, _blocks(current, 16), 16, bit_cost, state.vectors * 8)
    whole.attempt(torch.zeros_like(coarse))
    whole.refine(4)
    whole.propagate()
    whole.refine(2)
    whole.propagate()
    whole.refine(1)
    whole.propagate()
    whole.propagate()
    whole.renew()
    return _split(current, reference, whole, settings)


def _split(current: Tensor, reference: _Reference, whole: _State, settings: SearchSettings) -> tuple[Tensor, Tensor]:
    """Let 8x8 blocks have their own vectors where that saves more than it costs."""
    fine = whole.vectors.repeat_interleave(2, 1).repeat_interleave(2, 2)
    parent = fine
    blocks = _blocks(current, 8)
    cost = reference.full.difference(blocks, fine, 8)
    best = fine
    base = cost
    steps = (8, 4, 2, 1) if settings.effort >= 2 else (4, 2, 1)
    for candidate in _shifted(fine):
        best, cost = _keep(reference, blocks, best, cost, candidate, parent, settings)
    for step in steps:
        centre = best
        for dy, dx in ((-step, 0), (step, 0), (0, -step), (0, step)):
            candidate = centre + torch.tensor([dy, dx], device=fine.device).view(2, 1, 1)
            best, cost = _keep(reference, blocks, best, cost, candidate, parent, settings)
    gain = F.avg_pool2d((base - cost)[None, None], 2)[0, 0] * 4
    split = gain > 6 * settings.bit_cost
    chosen = split.repeat_interleave(2, 0).repeat_interleave(2, 1)
    return torch.where(chosen, best, fine), whole.cost - torch.where(split, gain, 0.0)


def _keep(
    reference: _Reference,
    blocks: Tensor,
    best: Tensor,
    cost: Tensor,
    candidate: Tensor,
    parent: Tensor,
    settings: SearchSettings,
) -> tuple[Tensor, Tensor]:
    rate = _bits(candidate - parent) * settings.bit_cost
    value = reference.full.difference(blocks, candidate, 8) + rate
    better = value < cost
    return torch.where(better, candidate, best), torch.where(better, value, cost)


def _pool16(per_block: Tensor) -> Tensor:
    return F.avg_pool2d(per_block[None, None], 2)[0, 0] * 4


def search(pictures: Tensor, pairs: list[tuple[int, int | None, int | None]], settings: SearchSettings) -> list[Fields]:
    """Fields (batch size 1) for each (frame, first reference, second reference) of `pairs`.

    pictures: luma [N, 1, H, W] in [0, 1], sizes multiples of 16, indexed by the numbers in `pairs` in order of time.
    """
    references = {r: _Reference(pictures[r, 0]) for _, *both in pairs for r in both if r is not None}
    results = []
    for frame, *both in pairs:
        current = pictures[frame, 0]
        blocks = _blocks(current, 8)
        grid = (current.shape[0] // 8, current.shape[1] // 8)
        vectors = torch.zeros(2, 2, *grid, dtype=torch.long, device=current.device)
        samples: list[Tensor | None] = [None, None]
        costs: list[Tensor | None] = [None, None]
        for side, r in enumerate(both):
            if r is None:
                continue
            reach = min(16, 5 + 3 * abs(frame - r)) if settings.effort >= 1 else min(12, 4 + 2 * abs(frame - r))
            vectors[side], costs[side] = _search_pair(current, references[r], reach, settings)
            samples[side] = references[r].full.gather(vectors[side], 8)
        modes = torch.ones(grid[0] // 2, grid[1] // 2, dtype=torch.uint8, device=current.device)
        if samples[0] is None:
            modes.fill_(2)
        elif samples[1] is not None:
            modes = _choose_modes(blocks, samples[0], samples[1], vectors, grid, settings)
        results.append(Fields(vectors[None].to(torch.int16), modes[None]))
    return results


def _choose_modes(
    blocks: Tensor, first: Tensor, second: Tensor, vectors: Tensor, grid: tuple[int, int], settings: SearchSettings
) -> Tensor:
    """Both references, or the one that is so much better that the other's vector is not worth its bits."""
    costs = []
    predictions = ((first + second) * 0.5, first, second)
    rates = [_bits(v - _neighbour_median(v))[::2, ::2] for v in vectors]
    for mode, prediction in enumerate(predictions):
        difference = _pool16((prediction - blocks).abs().sum(1).view(grid))
        rate = rates[0] + rates[1] if mode == 0 else rates[mode - 1] + 1.5
        costs.append(difference + settings.bit_cost * rate)
    return torch.stack(costs).argmin(0).to(torch.uint8)


def choose_tree(before: Tensor, pictures: Tensor, settings: SearchSettings) -> int:
    """Which of `motion.TREES` suits a chunk: how much worse motion is predicted over 8 frames than over 4 and 2.

    before: luma [1, 1, H, W] of the frame before the chunk; pictures [8, 1, H, W].
    """
    small = F.avg_pool2d(torch.cat([before, pictures]), 4)[:, 0]

    def error(frame: int, reference: int) -> float:
        reach = min(16, 5 + 3 * abs(frame - reference))
        v = _coarse(small[frame], small[reference], reach, settings.bit_cost)
        phases = _Phases(small[reference][None, None], 1)
        return float(phases.difference(_blocks(small[frame], 4), v, 4).sum())

    far = error(8, 0)
    middle = 0.5 * (error(4, 0) + error(8, 4))
    near = 0.25 * sum(error(f, f - 2) for f in (2, 4, 6, 8)) if middle * 1.05 < far else middle
    # A shorter step predicts better but spends key-frame quality on more frames.
    scores = (far, 1.35 * middle, 1.9 * near)
    return min(range(3), key=lambda i: scores[i])
