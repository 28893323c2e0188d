"""The integer scale network: which table codes each symbol, from integers alone.

A probability that two machines compute differently turns a file into noise, so nothing here may
round. Inputs are small integers (magnitudes of symbols decoded before, mapped to a logarithmic
scale; quality; motion modes), weights are int8, sums stay below 2**24, and the result is divided by
a power of two with floor. Floating-point arithmetic on such integers is exact in any summation
order, so the network runs as ordinary float32 matrix products on a CPU, and as float64 on an
accelerator (where float32 products may be taken in reduced precision).

Per patch and frequency group: `hidden = clamp(floor((x W1 + b1[c]) / 2**6), 0, 255)`, `index =
clamp(floor((hidden W2 + b2[c]) / 2**8), 0, 63)`, with `c` the context class: one for every lattice
pass of the five kinds of frame.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SCALE_COUNT = 64
FRAME_KINDS = 5  # intra, key, and the three levels of two-sided frames
LATTICES, INTRA_LATTICES = 3, 7
CLASSES = (FRAME_KINDS - 1) * LATTICES  # of all kinds but intra
PREDICTORS = INTRA_LATTICES + CLASSES - FRAME_KINDS
SHIFT_1, SHIFT_2 = 6, 8
HIDDEN_MAX = 255
INPUT_MAX = 63
LARGEST_QUALITY = 63
BANDS = 8
SCALARS = 12
QUALITY_KNOTS = (12, 24, 36, 48)  # quality beyond each is an input, too
ON = 32.0  # the input that says that something is so
_EXACT = 1 << 24


def _rounded_log(m: int) -> int:
    """round(6 log2(1 + m)) in integers: the largest k with 2**(2k - 1) <= (1 + m)**12."""
    return ((1 + m) ** 12).bit_length() // 2


# Larger magnitudes count as this one, which also keeps every sum of them exact in float32.
LARGEST_MAGNITUDE = 1023
LOG_TABLE = torch.tensor([min(INPUT_MAX, _rounded_log(m)) for m in range(LARGEST_MAGNITUDE + 1)])


def log_magnitude(magnitude: Tensor) -> Tensor:
    """Integer magnitudes (any float or int tensor >= 0) -> about 6 log2(1 + m), integers 0..60, by
    table."""
    table = _log_table(magnitude.device)
    # 32-bit indices are twice as fast as 64-bit ones.
    index = magnitude.clamp(max=LARGEST_MAGNITUDE).to(torch.int32)
    return table.index_select(0, index.reshape(-1)).view(magnitude.shape)


@functools.lru_cache(maxsize=8)
def _log_table(device: torch.device) -> Tensor:
    return LOG_TABLE.to(device, torch.float32)


def input_size(channels: int, intra: bool) -> int:
    """Number of inputs of the scale networks for patches of `channels` coefficients: of intra
    frames, or of all others."""
    return 5 * channels + BANDS + SCALARS if intra else 3 * channels + 2 * BANDS + SCALARS


def lattices(kind: int) -> int:
    """Number of passes over the patches of a frame of `kind`."""
    return INTRA_LATTICES if kind == 0 else LATTICES


def context_class(kind: int, lattice: int) -> int:
    """Which biases of the scale networks serve a pass: intra frames have networks of their own,
    other kinds share theirs."""
    return lattice if kind == 0 else (kind - 1) * LATTICES + lattice


def predictor_number(kind: int, lattice: int) -> int:
    """Which predictor from neighbours serves a pass; the first pass of a frame has none."""
    return (
        lattice - 1 if kind == 0 else INTRA_LATTICES - 1 + (kind - 1) * (LATTICES - 1) + lattice - 1
    )


def lattice_positions(
    rows: int, columns: int, kind: int, device: torch.device
) -> tuple[tuple[Tensor, Tensor | None], ...]:
    """Positions of the patches of each lattice of a frame of `kind`, and of their four neighbours
    that are decoded before them.

    The first lattice has every d-th row and column, d = 8 in intra frames and 2 in others, and no
    neighbours. Then, for each d halved, B adds the middles of squares, with the diagonal
    neighbours, and C the middles of sides, with those left, right, above and below, until d is 1.
    Positions int64 [p] count through the grid; neighbours int64 [p * 4] likewise, rows * columns
    standing for "outside the picture".
    """
    return _positions(rows, columns, 1 << (lattices(kind) - 1) // 2, device)


@functools.lru_cache(maxsize=8)
def _positions(
    rows: int, columns: int, spacing: int, device: torch.device
) -> tuple[tuple[Tensor, Tensor | None], ...]:
    row, column = (n.ravel() for n in np.indices((rows, columns)))
    first = np.flatnonzero((row % spacing == 0) & (column % spacing == 0))
    found: list[tuple[Tensor, Tensor | None]] = [(torch.from_numpy(first).to(device), None)]
    while spacing > 1:
        spacing //= 2
        on_grid = (row % spacing == 0) & (column % spacing == 0)
        odd_row, odd_column = row // spacing % 2 == 1, column // spacing % 2 == 1
        for chosen, offsets in ((odd_row & odd_column, _DIAGONAL), (odd_row ^ odd_column, _DIRECT)):
            at = np.flatnonzero(chosen & on_grid)
            near = []
            for dy, dx in offsets:
                y, x = row[at] + dy * spacing, column[at] + dx * spacing
                inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
                near.append(np.where(inside, y * columns + x, rows * columns))
            around = np.stack(near, 1).reshape(-1)
            found.append((torch.from_numpy(at).to(device), torch.from_numpy(around).to(device)))
    return tuple(found)


_DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
_DIRECT = ((0, -1), (0, 1), (-1, 0), (1, 0))


def box_sum(grid: Tensor) -> Tensor:
    """Sum over the 3x3 neighbourhood of [N, rows, columns, C], zero outside the picture."""
    padded = torch.nn.functional.pad(grid, (0, 0, 1, 1, 1, 1))
    tall = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return tall[:, :, :-2] + tall[:, :, 1:-1] + tall[:, :, 2:]


def band_sums(grid: Tensor) -> Tensor:
    """Sums over `BANDS` slices of the channels, narrow at low frequencies: integers [..., C] ->
    [..., BANDS]."""
    if grid.device.type in ("cpu", "mps"):
        return grid @ _band_matrix(grid.shape[-1], grid.device)
    # CUDA may round in products of float32.
    return (grid.double() @ _band_matrix(grid.shape[-1], grid.device).double()).to(grid.dtype)


@functools.lru_cache(maxsize=8)
def _band_matrix(channels: int, device: torch.device) -> Tensor:
    matrix = torch.zeros(channels, BANDS)
    for band, (start, end) in enumerate(band_slices(channels)):
        matrix[start:end, band] = 1.0
    return matrix.to(device)


def band_slices(channels: int) -> list[tuple[int, int]]:
    """Where each of the `BANDS` slices of the channels starts and ends."""
    edges = [round(channels * (i / BANDS) ** 2) for i in range(BANDS + 1)]
    return [(a, max(b, a + 1)) for a, b in itertools.pairwise(edges)]


def scalar_inputs(
    quality: int, count: int, modes: Tensor | None, motion: Tensor | None, device: torch.device
) -> Tensor:
    """The inputs that are not magnitudes, [count, SCALARS] integers as float32.

    quality: of the frame, taken for 0 or 63 beyond them; modes: int [count] motion mode of each
    patch (0 both references, 1 or 2 one of them), None where nothing is predicted; motion: int
    [count, 2], how far the vectors of a patch and of its neighbours lie apart, per reference, in
    quarter samples.
    """
    scalars = torch.zeros(count, SCALARS, device=device)
    quality = min(max(quality, 0), LARGEST_QUALITY)
    scalars[:, 0] = quality
    for i, knot in enumerate(QUALITY_KNOTS):
        scalars[:, 1 + i] = max(0, quality - knot)
    if modes is not None:
        for mode in range(3):
            scalars[:, 5 + mode] = (modes == mode) * ON
    if motion is not None:
        scalars[:, 8:10] = log_magnitude(motion)
    scalars[:, 10] = ON
    return scalars


@dataclass
class GroupNetwork:
    """The network of one frequency group; all tensors hold integers as float32 (float64 on an
    accelerator).

    w1 [inputs, hidden] int8, b1 [classes, hidden]; w2 [hidden, outputs] int8, b2 [classes,
    outputs]; see `context_class`.
    """

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor

    def __post_init__(self) -> None:
        """Raise ValueError where a sum could leave the range in which float32 is exact on
        integers."""
        # In numpy, whose operations are too small here to be worth threads that wait for a core.
        w1, b1, w2, b2 = (t.cpu().numpy() for t in (self.w1, self.b1, self.w2, self.b2))
        for weight, bias, largest in ((w1, b1, INPUT_MAX), (w2, b2, HIDDEN_MAX)):
            size = np.abs(weight)
            # As a negation, which takes what is no number for wrong, too.
            whole = all((np.rint(part) == part).all() for part in (weight, bias))
            if not (whole and size.max() <= 127):
                raise ValueError(
                    "the scale network's weights must be integers, int8 for the products"
                )
            bound = size.sum(0, dtype=np.float64) * largest + np.abs(bias).max(0)
            if bound.max() >= _EXACT:
                raise ValueError("the scale network's sums could exceed 2**24")

    @functools.cached_property
    def layers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What compiled loops want, with as many units as fill their vectors; those that are added
        are zero. First layer: weights float32 [inputs, hidden], biases [classes, hidden]; second:
        weights int16 [hidden / 2, outputs, 2], biases int32 [classes, outputs]."""
        w1, b1, w2, b2 = (t.cpu().numpy() for t in (self.w1, self.b1, self.w2, self.b2))
        hidden, outputs = (0, -w2.shape[0] % 32), (0, -w2.shape[1] % 8)
        w1, b1 = (np.pad(t, ((0, 0), hidden)).astype(np.float32) for t in (w1, b1))
        w2 = np.pad(w2, (hidden, outputs)).astype(np.int16)
        pairs = w2.reshape(len(w2) // 2, 2, w2.shape[1]).transpose(0, 2, 1)
        offsets = np.pad(b2, ((0, 0), outputs)).astype(np.int32)
        return w1, b1, np.ascontiguousarray(pairs), offsets

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> GroupNetwork:
        """The same on `device` (itself, if it is there); the arithmetic is exact in `dtype`
        float32 (CPU only), float64 and int64."""
        device = torch.device(device)
        if dtype is None:
            dtype = torch.float32 if device.type in ("cpu", "mps") else torch.float64
        if (self.w1.device, self.w1.dtype) == (device, dtype):
            return self
        return GroupNetwork(*(t.to(device, dtype) for t in (self.w1, self.b1, self.w2, self.b2)))

    def indices(self, x: Tensor, context: int, own: Tensor | None = None) -> Tensor:
        """Integer inputs [n, ...] in 0..63 and a context class -> table indices uint8 [n, outputs].

        `x` holds the last inputs of the network, `own` the first ones; those in between are zero.
        """
        dtype = self.w1.dtype
        hidden = torch.addmm(self.b1[context], x.to(dtype), self.w1[-x.shape[1] :])
        if own is not None:
            hidden = hidden.addmm_(own.to(dtype), self.w1[: own.shape[1]])
        hidden = _shift_down(hidden, SHIFT_1).clamp_(0, HIDDEN_MAX)
        index = _shift_down(torch.addmm(self.b2[context], hidden, self.w2), SHIFT_2).clamp_(
            0, SCALE_COUNT - 1
        )
        return index.to(torch.uint8)


def network_name(kind: int, group: int) -> str:
    """What the network of a frequency group is called: intra.0, other.3."""
    return f"{'other' if kind else 'intra'}.{group}"


@dataclass
class ScaleNetworks:
    """The networks of all frequency groups: of intra frames, and of all other kinds."""

    intra: list[GroupNetwork]
    other: list[GroupNetwork]

    def of(self, kind: int) -> list[GroupNetwork]:
        """Those of a kind of frame, 0 for intra."""
        return self.other if kind else self.intra

    def named(self) -> list[tuple[str, GroupNetwork]]:
        """All of them with their names, those of intra frames first: see `network_name`."""
        return [
            (network_name(kind, g), group)
            for kind in (0, 1)
            for g, group in enumerate(self.of(kind))
        ]

    def map(self, change: Callable[[str, GroupNetwork], GroupNetwork]) -> ScaleNetworks:
        """What `change` makes of each, given its name."""
        new = iter([change(name, group) for name, group in self.named()])
        return ScaleNetworks([next(new) for _ in self.intra], [next(new) for _ in self.other])

    def to(self, device: torch.device | str) -> ScaleNetworks:
        """The same on `device`."""
        return self.map(lambda _, group: group.to(device))


def _shift_down(value: Tensor, bits: int) -> Tensor:
    if value.dtype == torch.int64:
        return value >> bits
    return value.mul_(2.0**-bits).floor_()
