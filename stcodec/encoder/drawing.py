"""Which patches of a drawn picture are told sample by sample, and with which palettes: those for
which squared error and bits come to less than symbols would. Nothing here is normative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stcodec.codec.chunk import Situation
from stcodec.codec.latents import Quantiser
from stcodec.codec.palette import PaletteStream, Samples
from stcodec.encoder import drawn_kernels, scroll, tuning

Grid = np.ndarray
Planes = tuple[np.ndarray, np.ndarray, np.ndarray]
_ROUNDS = 2


@dataclass(frozen=True)
class Task:
    """One frame: its source samples, padded, of so many bits; squared errors in units of step**2
    that are worth one bit in each patch [rows, columns]; luma: which channels are luma's, bool [C];
    how symbols would be chosen, and what they cost, in bits [indices, magnitudes]."""

    planes: Planes
    bits: int
    prices: Grid
    luma: Tensor
    seen: Situation
    quantiser: Quantiser
    costs: Tensor


def choose(
    task: Task, trial: Callable[[], PaletteStream] | None
) -> tuple[Samples | None, Grid | None]:
    """The palette patches of a frame (None: there are none), and which patches shall have no
    symbols, bool [rows, columns]; trial: see `chunk.Guide.exact`."""
    costs, seen = _symbol_costs(task, trial is not None), task.seen
    empty = np.zeros(costs.shape, bool)
    if seen.copies is not None and seen.predicted is not None:
        most = (1 << task.bits) - 1
        y, u, v = ((plane[0, 0].clamp(0.0, 1.0) * most).numpy() for plane in seen.predicted)
        errors = np.where(seen.copies, _errors(task, (y, u, v)), np.inf)
        empty, costs = errors <= costs, np.minimum(errors, costs)
    samples = None if trial is None else _palettes(task, costs, trial)
    if samples is not None:
        empty |= samples.chosen
    return samples, empty if empty.any() else None


class _Costs:
    """A `latents.Quantiser` that sees what patches cost with symbols, in units of step**2."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.costs = torch.zeros(task.seen.latents[0, 0].numel())

    def __call__(
        self, scaled: Tensor, index: Tensor, at: Tensor, channels: slice
    ) -> tuple[Tensor, bool]:
        """As the quantiser that it looks at."""
        symbols, raised = self._task.quantiser(scaled, index, at, channels)
        table = index.long().clamp_(min=int(raised))
        size = symbols.abs().long().clamp_(max=self._task.costs.shape[1] - 1)
        prices = torch.from_numpy(self._task.prices).view(-1)[at][:, None]
        cost = torch.square(scaled - symbols) + prices * self._task.costs[table, size]
        self.costs[at] += cost.sum(1)
        return symbols, raised

    def divide(self, candidates: Sequence[Tensor], at: Tensor) -> Tensor:
        """As the quantiser that it looks at."""
        return self._task.quantiser.divide(candidates, at)


def _symbol_costs(task: Task, really: bool) -> Grid:
    """What patches cost with symbols [rows, columns], in units of step**2: really, or about."""
    if really:
        seen = _Costs(task)
        task.seen.attempt(seen)
        tried: Grid = seen.costs.view(task.seen.latents.shape[2:]).numpy()
        return tried
    size = (task.seen.latents / task.seen.step_sizes)[0].abs()
    octaves = torch.log2(size.clamp(min=1.0))
    bits = tuning.FIRST_BITS + tuning.BITS_PER_OCTAVE * octaves
    coded = tuning.ROUNDING_ERROR + torch.from_numpy(task.prices) * bits
    costs: Grid = torch.minimum(size * size, coded).sum(0).numpy()
    return costs


def _errors(task: Task, planes: Planes) -> Grid:
    """Squared errors of patches [rows, columns] in units of step**2, if samples were these."""
    rows, columns = task.prices.shape
    total = np.zeros((rows, columns), np.float32)
    for own, plane, weight in zip(planes, task.planes, _weights(task), strict=True):
        squares = np.square(own.astype(np.float32) - plane)
        width = squares.shape[1] // columns
        total += weight * squares.reshape(rows, -1, columns, width).sum((1, 3))
    return total


def _palettes(task: Task, costs: Grid, trial: Callable[[], PaletteStream]) -> Samples | None:
    """The palette patches that cost less than `costs`, after looking twice: what all patches would
    cost, of a predicted frame those that cost much, and what those cost that are left."""
    least = 0.0 if task.seen.predicted is None else tuning.DRAWN_ANEW
    chosen = costs >= least * task.prices
    for _ in range(_ROUNDS if chosen.any() else 0):
        samples = _quantised(task, chosen)
        spent = _errors(task, samples.planes) + task.prices * trial().code(samples)
        chosen = chosen & (spent < tuning.DRAWN_GAIN * costs + tuning.DRAWN_BITS * task.prices)
        saved = float((costs - spent)[chosen].sum())
        if saved < tuning.DRAWN_LEAST * float(task.prices.mean()):
            chosen[:] = False
            break
    if not chosen.any():
        return None
    return _quantised(task, chosen)


def _weights(task: Task) -> tuple[float, float, float]:
    """What a squared error of 1 in a sample of each plane is worth, in units of step**2."""
    inverse, most = task.seen.step_sizes.view(-1) ** -2, (1 << task.bits) - 1
    y, c = (float(inverse[some].mean()) / most**2 for some in (task.luma, ~task.luma))
    return y, c, c


def _quantised(task: Task, chosen: Grid) -> Samples:
    """The samples of the chosen patches, each the nearest of a palette."""
    planes, price = [], float(task.prices[chosen].mean())
    for plane, weight in zip(task.planes, _weights(task), strict=True):
        high, wide = plane.shape[0] // chosen.shape[0], plane.shape[1] // chosen.shape[1]
        mask = chosen.repeat(high, 0).repeat(wide, 1)
        counts = np.bincount(plane[mask].reshape(-1), minlength=1 << task.bits)
        nearest = palette(counts, weight / price)
        planes.append(np.where(mask, nearest[plane], 0).astype(np.uint16))
    return Samples(chosen, (planes[0], planes[1], planes[2]), task.bits)


def palette(counts: np.ndarray, weight: float) -> np.ndarray:
    """For each value the one of a palette that stands for it.

    counts: how often each occurs; weight: bits that a squared error of 1 is worth. Intervals of
    values get one colour each, so that squared errors and about the bits of all samples come to
    least (entropy-constrained scalar quantisation: Chou et al. 1989; the best intervals by dynamic
    programming)."""
    values, total = np.arange(len(counts), dtype=np.float64), float(counts.sum())
    sums = [np.concatenate([[0.0], np.cumsum(counts * values**k)]) for k in range(3)]
    best, start = np.full(len(counts) + 1, np.inf), np.zeros(len(counts) + 1, np.int64)
    best[0] = 0.0
    for end in range(1, len(counts) + 1):
        n, first, second = (s[end] - s[:end] for s in sums)
        colour = np.rint(first / np.maximum(n, 1))
        errors = second - 2 * colour * first + colour * colour * n
        bits = n * -np.log2(np.maximum(n, 1) / total)
        cost = weight * errors + tuning.PALETTE_BITS * bits + tuning.COLOUR_BITS * (n > 0)
        at = int(np.argmin(best[:end] + cost))
        best[end], start[end] = best[at] + cost[at], at
    out, end = np.zeros(len(counts), np.int64), len(counts)
    while end:
        at = int(start[end])
        n = sums[0][end] - sums[0][at]
        out[at:end] = round((sums[1][end] - sums[1][at]) / n) if n else at
        end = at
    return out


def warm_up() -> None:
    """Compile the loops, or load what was compiled before."""
    luma = np.zeros((16, 16), np.uint8)
    scroll.is_drawn(luma)
    scroll.moves(luma, drawn_kernels.block_hashes(luma, 1))
