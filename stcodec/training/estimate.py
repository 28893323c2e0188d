"""Block motion of many pairs of pictures at once, for training: every operation has a fixed size
and nothing waits for the host.

The encoder's search (`encoder/search.py`) looks at chosen blocks alone, which suits a CPU and one
picture. This one tries every candidate on whole pictures; vectors cost the same, so that what is
trained sees predictions like those of the encoder.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stcodec.codec.transfers import upload
from stcodec.encoder import tuning

_CROSS = ((-1, 0), (1, 0), (0, -1), (0, 1))
_AROUND = (*_CROSS, (-1, -1), (-1, 1), (1, -1), (1, 1))
# Half-sample interpolation, close to that of the encoder's search.
_HALF = (0.022, -0.132, 0.610, 0.610, -0.132, 0.022)


@dataclass(frozen=True)
class Found:
    """vectors: int64 [P, 2, H/8, W/8] in quarter samples; prediction [P, 1, H, W]; rate [P, 1,
    H/16, W/16] in bits."""

    vectors: Tensor
    prediction: Tensor
    rate: Tensor


def _median(vectors: Tensor) -> Tensor:
    """Componentwise median of each block and its four neighbours."""
    a, b, c, d, e = (*_neighbours(vectors), vectors)
    low = torch.maximum(torch.minimum(a, b), torch.minimum(c, d))
    high = torch.minimum(torch.maximum(a, b), torch.maximum(c, d))
    return torch.maximum(torch.minimum(low, high), torch.minimum(torch.maximum(low, high), e))


def _neighbours(v: Tensor) -> list[Tensor]:
    above = torch.cat([v[:, :, :1], v[:, :, :-1]], 2)
    below = torch.cat([v[:, :, 1:], v[:, :, -1:]], 2)
    left = torch.cat([v[..., :1], v[..., :-1]], 3)
    right = torch.cat([v[..., 1:], v[..., -1:]], 3)
    return [above, below, left, right]


def _bits(difference: Tensor) -> Tensor:
    """Estimated bits [P, 1, ...] of vector differences [P, 2, ...] in quarter samples."""
    size = difference.abs() * tuning.VECTOR_UNIT + 1.0
    return torch.log2(size).sum(1, keepdim=True) * tuning.VECTOR_BITS


@functools.lru_cache(maxsize=16)
def _taps(device: torch.device) -> Tensor:
    return upload([torch.tensor(_HALF)], device)[0]


@functools.lru_cache(maxsize=64)
def _offset(dy: int, dx: int, device: torch.device) -> Tensor:
    return upload([torch.tensor([float(dy), float(dx)])], device)[0].view(1, 2, 1, 1)


def _doubled(planes: Tensor) -> Tensor:
    """Half-sample interpolation: [P, 1, H, W] -> [P, 1, 2 H, 2 W], sample (2 y, 2 x) being the old
    (y, x)."""
    kernel = _taps(planes.device)
    n, _, height, width = planes.shape
    tall = F.conv2d(F.pad(planes, (0, 0, 2, 3), mode="replicate"), kernel.view(1, 1, 6, 1))
    rows = torch.stack([planes, tall], dim=3).view(n, 1, 2 * height, width)
    wide = F.conv2d(F.pad(rows, (2, 3, 0, 0), mode="replicate"), kernel.view(1, 1, 1, 6))
    return torch.stack([rows, wide], dim=4).view(n, 1, 2 * height, 2 * width)


class _Level:
    """Pictures of one size: what a block differs by at any vector."""

    def __init__(self, current: Tensor, reference: Tensor, unit: float, bit_cost: Tensor) -> None:
        """unit: quarter luma samples per sample here; reference may be larger by a whole factor."""
        self.current, self.reference, self.unit, self.bit_cost = current, reference, unit, bit_cost
        height, width = current.shape[2:]
        factor = reference.shape[2] // height
        device = current.device
        self.scale = (2 * factor / (reference.shape[2] - 1), 2 * factor / (reference.shape[3] - 1))
        self.rows = (torch.arange(height, device=device) * self.scale[0] - 1).view(1, height, 1)
        self.columns = (torch.arange(width, device=device) * self.scale[1] - 1).view(1, 1, width)

    def predict(self, vectors: Tensor, block: int) -> Tensor:
        """The prediction at float vectors [P, 2, gh, gw] in quarter luma samples."""
        samples = vectors / self.unit
        dy = (samples[:, 0] * self.scale[0]).repeat_interleave(block, 1).repeat_interleave(block, 2)
        dx = (samples[:, 1] * self.scale[1]).repeat_interleave(block, 1).repeat_interleave(block, 2)
        grid = torch.stack([self.columns + dx, self.rows + dy], dim=3)
        return F.grid_sample(self.reference, grid, padding_mode="border", align_corners=True)

    def difference(self, vectors: Tensor, block: int) -> Tensor:
        """Sums of absolute differences [P, 1, gh, gw]."""
        return F.avg_pool2d((self.predict(vectors, block) - self.current).abs_(), block) * float(
            block * block
        )


class _State:
    """The best vectors so far of blocks of `block` samples, with their costs."""

    def __init__(self, level: _Level, vectors: Tensor, block: int) -> None:
        self.level, self.block, self.vectors = level, block, vectors
        self.around = _median(vectors)
        self.cost = self._cost(vectors)

    def _cost(self, vectors: Tensor) -> Tensor:
        return self.level.difference(vectors, self.block) + self.level.bit_cost * _bits(
            vectors - self.around
        )

    def attempt(self, vectors: Tensor) -> None:
        """Keep `vectors` wherever they are cheaper."""
        cost = self._cost(vectors)
        better = cost < self.cost
        self.cost = torch.where(better, cost, self.cost)
        self.vectors = torch.where(better, vectors, self.vectors)

    def refine(self, step: int, offsets: Sequence[tuple[int, int]] = _AROUND) -> None:
        """Try the neighbours at distance `step`, in quarter luma samples."""
        centre = self.vectors
        for dy, dx in offsets:
            self.attempt(centre + _offset(dy * step, dx * step, centre.device))

    def propagate(self) -> None:
        """Take the neighbours' present vectors as the prediction, and try them."""
        around = _median(self.vectors)
        self.cost = (
            self.cost
            + (_bits(self.vectors - around) - _bits(self.vectors - self.around))
            * self.level.bit_cost
        )
        self.around = around
        self.attempt(around)
        for vectors in _neighbours(self.vectors):
            self.attempt(vectors)


def _coarse(current: Tensor, reference: Tensor, reach: int, bit_cost: Tensor) -> Tensor:
    """Full search between pictures [P, 1, H/8, W/8]: vectors [P, 2, H/16, W/16] in quarter luma
    samples."""
    count, _, height, width = current.shape
    span = 2 * reach + 1
    padded = F.pad(reference, (reach,) * 4, mode="replicate")[:, 0]
    windows = padded.unfold(1, height, 1).unfold(2, width, 1)
    cost = (windows - current[:, :, None]).abs().reshape(count, span * span, height, width)
    cost = F.avg_pool2d(cost, 2)
    cost = F.avg_pool2d(cost, 3, 1, 1, count_include_pad=False) + cost
    along = torch.arange(-reach, reach + 1, device=current.device).float()
    length = torch.log2(1.0 + torch.hypot(along[:, None], along[None, :])).view(1, -1, 1, 1)
    where = (cost + length * bit_cost / 32).argmin(1)
    rows = torch.div(where, span, rounding_mode="floor") - reach
    return torch.stack([rows, where % span - reach], dim=1).float() * 32


def search(current: Tensor, reference: Tensor, reach: int, bit_cost: Tensor) -> Found:
    """Motion of P pairs of pictures [P, 1, H, W] in [0, 1], H and W multiples of 16.

    reach: of the full search at an eighth of the size, in samples there. bit_cost [P]: absolute
    difference that is worth a bit.
    """
    price = bit_cost.view(-1, 1, 1, 1)
    halves = F.avg_pool2d(current, 2), F.avg_pool2d(reference, 2)
    eighths = F.avg_pool2d(halves[0], 4), F.avg_pool2d(halves[1], 4)
    vectors = _coarse(*eighths, reach, price)
    half = _State(_Level(*halves, 8.0, price / 4), vectors, 8)
    half.attempt(torch.zeros_like(vectors))
    half.refine(16)
    half.propagate()
    half.refine(8)
    half.propagate()
    level = _Level(current, _doubled(reference), 4.0, price)
    full = _State(level, half.vectors, 16)
    full.attempt(torch.zeros_like(vectors))
    full.refine(4)
    full.propagate()
    full.refine(2)
    full.refine(1)
    full.propagate()
    fine = _split(level, full)
    rate = _bits(full.vectors - _median(full.vectors))
    return Found(fine.long(), level.predict(fine, 8), rate)


def _split(level: _Level, whole: _State) -> Tensor:
    """Vectors of 8x8 blocks: their own where that saves more than it costs, else those of their
    16x16 block."""
    parent = whole.vectors.repeat_interleave(2, 2).repeat_interleave(2, 3)
    base = cost = level.difference(parent, 8)
    own = parent
    for step in (0, 4, 2, 1):
        centre = own
        tries = [centre + _offset(dy * step, dx * step, centre.device) for dy, dx in _CROSS]
        for candidate in tries if step else _neighbours(parent):
            value = level.difference(candidate, 8) + level.bit_cost * _bits(candidate - parent)
            better = value < cost
            own, cost = torch.where(better, candidate, own), torch.where(better, value, cost)
    gain = F.avg_pool2d(base - cost, 2) * 4 > tuning.SPLIT_BITS * level.bit_cost
    return torch.where(gain.repeat_interleave(2, 2).repeat_interleave(2, 3), own, parent)


def choose_modes(current: Tensor, first: Found, second: Found, bit_cost: Tensor) -> Tensor:
    """For pictures with two references, int64 [P, H/16, W/16]: 0 both, 1 the first alone, 2 the
    second alone."""
    price = bit_cost.view(-1, 1, 1, 1)
    costs = []
    both = (first.prediction + second.prediction) / 2, first.rate + second.rate
    alone = [(one.prediction, one.rate + tuning.ALONE_BITS) for one in (first, second)]
    for prediction, rate in (both, *alone):
        costs.append(F.avg_pool2d((prediction - current).abs(), 16) * 256 + price * rate)
    return torch.cat(costs, 1).argmin(1)
