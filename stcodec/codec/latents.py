"""The lattice passes: latents of a frame <-> coded symbols.

`write` and `read` go through the same passes under the same indices, which never see a floating-
point number (see `indices.py`), so a decoder that lacks the means, or has them with other rounding
errors, still reads the same symbols; `reconstruct` makes latents of them afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stcodec.codec import scales
from stcodec.codec.blocks import rows_of
from stcodec.codec.divisions import FrameDivisions, turns
from stcodec.codec.entropy import Coder, Tables
from stcodec.codec.indices import (
    FrameIndices,
    Group,
    Pass,
    Sparse,
    StepContext,
    frequency_groups,
)
from stcodec.codec.means import Expected, Means
from stcodec.codec.network import Network
from stcodec.codec.scales import ScaleNetworks
from stcodec.codec.transfers import upload
from stcodec.codec.tree import INTRA, KEY
from stcodec.common.timing import stage
from stcodec.errors import DamagedFileError

# The table of the flags that say whether index 0 is in use: it gives "yes" a sixth of a bit.
_FLOOR_INDEX = np.array([12], dtype=np.uint8)


@dataclass(frozen=True)
class SparseValues:
    """A float matrix [rows * columns, C] that is mostly zero: where in the flat matrix it is not,
    and what is there."""

    at: Tensor
    values: Tensor

    def dense(self, shape: tuple[int, int]) -> Tensor:
        """The whole matrix."""
        full = torch.zeros(shape, device=self.values.device)
        full.view(-1)[self.at] = self.values
        return full

    def rows(self, shape: tuple[int, int]) -> Tensor:
        """Which rows have values, bool [rows * columns]."""
        some = torch.zeros(shape[0], dtype=torch.bool, device=self.values.device)
        return some.index_fill_(0, self.at // shape[1], True)

    @staticmethod
    def join(parts: Sequence[SparseValues], size: int) -> SparseValues:
        """Matrices of so many values each, one after the other."""
        at = [part.at + i * size for i, part in enumerate(parts)]
        return SparseValues(torch.cat(at), torch.cat([part.values for part in parts]))

    @classmethod
    def of_passes(cls, parts: Sequence[tuple[Tensor, Sparse]], channels: int) -> SparseValues:
        """What is not zero in the patches of each part (numbers [p])."""
        at = [patches[some.rows] * channels + some.columns for patches, some in parts]
        return cls(torch.cat(at), torch.cat([some.values for _, some in parts]))


@dataclass
class WrittenLatents:
    """What was decoded; of each pass and frequency group the patches and their symbols,
    dequantised in units of the step; magnitudes [1, rows, columns, C]."""

    means: Means
    parts: list[tuple[Tensor, Sparse]]
    magnitudes: Tensor

    def values(self) -> SparseValues:
        """All dequantised symbols."""
        return SparseValues.of_passes(self.parts, self.magnitudes.shape[-1])


@dataclass
class ReadLatents:
    """values: dequantised symbols in units of the step; magnitudes [1, rows, columns, C]."""

    values: SparseValues
    magnitudes: Tensor


class Quantiser(Protocol):
    """The encoder's choice of symbols; see `encoder.quantiser`."""

    def __call__(
        self, scaled: Tensor, index: Tensor, at: Tensor, channels: slice
    ) -> tuple[Tensor, bool]:
        """Symbols int32 [p, outputs] for latents [p, outputs] of the patches `at` [p] and these
        channels, in units of the step, under table indices uint8 [p, outputs], and whether index 0
        counts as 1 in this call. Where the index is 0 a symbol is 0."""
        ...

    def divide(self, candidates: Sequence[Tensor], at: Tensor) -> Tensor:
        """Which of several divisions, int64 [p], the patches `at` [p] shall have: latents [p, C] in
        units of the step under each. Asked only where patches may be divided."""
        ...


class Observer(Protocol):
    """What training sees of every pass; see `LatentCoder.observer`."""

    def symbols(
        self,
        kind: int,
        group: int,
        context: int,
        inputs: Tensor,
        index: Tensor,
        symbols: Tensor,
        scaled: Tensor,
    ) -> None:
        """Of a frame of `kind` (0 intra), frequency group and context class: scale network inputs
        [n, inputs], indices, symbols and latents in units of the step [n, outputs]."""
        ...

    def spatial(self, kind: int, lattice: int, near: Tensor, error: Tensor) -> None:
        """Decoded errors of the four neighbours [n, 4 C] and the error to predict [n, C], in units
        of the step."""
        ...

    def divided(self, index: np.ndarray, chosen: Tensor) -> None:
        """Divisions int64 [n] of patches, and under which tables they are coded, uint8 [n]."""
        ...


class LatentCoder:
    """Codes latents under a model's scale networks and tables, on the CPU."""

    def __init__(self, network: Network, networks: ScaleNetworks, tables: Tables) -> None:
        self._network = network
        self._networks = networks
        self._tables = tables
        config = network.config
        self._turns = turns(config.patch, config.transform, config.divisions)
        self.observer: Observer | None = None

    def write(
        self,
        coder: Coder,
        context: StepContext,
        latents: Tensor,
        step: Tensor,
        quantise: Quantiser,
    ) -> WrittenLatents:
        """Code the latents [1, C, rows, columns] of a frame, relative to the means that its
        prediction starts with; step [1, C, 1, 1]: quantisation step sizes."""
        grid = latents.shape[2], latents.shape[3]
        means = Means(step, grid, self._network, context.kind, context.quality)
        target = rows_of(latents)
        frame, parts = FrameIndices(context), []
        divisions = self._divisions(step, context.kind, grid)
        for these in frame.passes():
            expected = means.look(these.lattice, these.at, these.near)
            wanted = target.index_select(0, these.at)
            values = torch.zeros_like(wanted)
            rest, chosen = None, None
            if divisions is not None:
                rest, chosen = _divided(divisions, wanted, expected, these, means, quantise)
            self._observe_spatial(means, target, context.kind, these)
            for group in self._groups(context.kind):
                index = these.indices(group)
                channels = slice(group.start, group.end)
                means.group(expected, group.number, group.start, group.end, values)
                if rest is None:
                    scaled = _without(wanted[:, channels], expected, channels)
                    scaled.mul_(means.inverse[:, channels])
                else:
                    scaled = rest[:, channels]
                symbols, raised = quantise(scaled, index, these.at, channels)
                index = self._code_floor(coder, index, raised)
                self._observe(context.kind, group, these, index, symbols, scaled)
                with stage("entropy"):
                    flat = symbols.reshape(-1).numpy()
                    coder.code(flat, index.reshape(-1).numpy(), self._tables)
                some = these.take(group, symbols, index, self._network.centroids)
                values[some.rows, some.columns] = some.values
                if divisions is None:
                    parts.append((these.at, some))
            rows = torch.nonzero(frame.some[these.at])[:, 0]
            if divisions is not None and chosen is not None:
                self._code_divisions(coder, divisions, these, rows, values, chosen)
                parts.append((these.at, _sparse(values)))
            means.put(expected, rows, values[rows])
        return WrittenLatents(means, parts, frame.grid())

    def read(self, coder: Coder, context: StepContext) -> ReadLatents:
        """Read the symbols of a frame, which takes no means."""
        frame = FrameIndices(context)
        parts: list[tuple[Tensor, Sparse]] = []
        channels, divisions = context.references.shape[-1], None
        if self._turns:
            quality, kind = torch.tensor([float(context.quality)]), torch.tensor([context.kind])
            step, grid = self._network.step(quality, kind), context.references.shape[1:3]
            divisions = self._divisions(step, context.kind, (grid[0], grid[1]))
        for these in frame.passes():
            before = len(parts)
            for group in self._groups(context.kind):
                index = self._code_floor(coder, these.indices(group), None)
                with stage("entropy"):
                    read = coder.code(None, index.reshape(-1).numpy(), self._tables)
                symbols = torch.from_numpy(np.ascontiguousarray(read))
                some = these.take(group, symbols.view_as(index), index, self._network.centroids)
                parts.append((these.at, some))
            if divisions is not None:
                values = torch.zeros(len(these.at), channels)
                for _, some in parts[before:]:
                    values[some.rows, some.columns] = some.values
                rows = torch.nonzero(frame.some[these.at])[:, 0]
                self._code_divisions(coder, divisions, these, rows, values, None)
                parts[before:] = [(these.at, _sparse(values))]
        return ReadLatents(SparseValues.of_passes(parts, channels), frame.grid())

    def _groups(self, kind: int) -> list[Group]:
        return frequency_groups(self._network.config.groups, self._networks, kind)

    def _divisions(self, step: Tensor, kind: int, grid: tuple[int, int]) -> FrameDivisions | None:
        """Those of a frame; None where patches are whole."""
        if not self._turns:
            return None
        return FrameDivisions(self._turns, step.view(-1), kind, grid[0] * grid[1])

    def _code_divisions(
        self,
        coder: Coder,
        divisions: FrameDivisions,
        these: Pass,
        rows: Tensor,
        values: Tensor,
        chosen: Tensor | None,
    ) -> None:
        """Code the divisions int64 [p] (None: read them) of those patches of a pass that have
        symbols, `rows` [r]; `values` [p, C] become what they are of whole patches."""
        index = divisions.tables(these.near, rows)
        some = None if chosen is None else chosen[rows]
        found = divisions.code(coder, self._tables, index, some)
        values[rows] = divisions.whole(values[rows], these.at[rows], found)
        if self.observer is not None:
            self.observer.divided(index, found)

    def _code_floor(self, coder: Coder, index: Tensor, raised: bool | None) -> Tensor:
        """Code whether index 0 counts as 1 in this call (None: read it); the indices that are in
        use. Index 0 costs nothing but cannot code what the scale network did not expect."""
        flags = None if raised is None else np.array([raised], dtype=np.int32)
        floor = int(coder.code(flags, _FLOOR_INDEX, self._tables)[0])
        if floor not in (0, 1):
            raise DamagedFileError("a decoded index floor is out of range")
        return index.clamp_(min=1) if floor else index

    def _observe(
        self, kind: int, group: Group, these: Pass, index: Tensor, symbols: Tensor, scaled: Tensor
    ) -> None:
        if self.observer is not None:
            place = kind, group.number, these.context_class
            self.observer.symbols(*place, these.dense_inputs(), index, symbols, scaled)

    def _observe_spatial(self, means: Means, target: Tensor, kind: int, these: Pass) -> None:
        if self.observer is None or these.near is None:
            return
        near = (means.errors / means.step).index_select(0, these.near)
        error = (target / means.step).index_select(0, these.at)
        self.observer.spatial(kind, these.lattice, near.view(len(error), -1), error)


def _divided(
    divisions: FrameDivisions,
    wanted: Tensor,
    expected: Expected,
    these: Pass,
    means: Means,
    quantise: Quantiser,
) -> tuple[Tensor, Tensor]:
    """Latents [p, C] less what is expected of them, in units of the step and under the divisions
    int64 [p] that the encoder has chosen."""
    every = slice(0, wanted.shape[1])
    rest = divisions.candidates(_without(wanted, expected, every))
    candidates = torch.stack([candidate * means.inverse for candidate in rest])
    chosen = quantise.divide(list(candidates), these.at)
    return candidates[chosen, torch.arange(len(wanted))], chosen


def _sparse(values: Tensor) -> Sparse:
    """What is not zero of [p, C]."""
    rows, columns = torch.nonzero(values, as_tuple=True)
    return Sparse(rows, columns, values[rows, columns])


def _without(wanted: Tensor, expected: Expected, channels: slice) -> Tensor:
    """Latents [p, outputs] of some channels, less what is expected of them."""
    delta = expected.delta[:, channels]
    if expected.rows is None:
        return wanted - delta
    return wanted.clone().index_add_(0, expected.rows, delta, alpha=-1)


def reconstruct(
    network: Network,
    values: SparseValues,
    step: Tensor,
    grid: tuple[int, int],
    kind: int,
    quality: float,
    count: int = 1,
) -> Means:
    """Decoded latents and refined means of a frame of `quality` with a grid of rows and columns of
    patches, from what `LatentCoder.read` gave; step [1, C, 1, 1].

    count: of frames of that kind and quality, off a CPU: their values one after the other."""
    means = Means(step, grid, network, kind, quality, count)
    shape = (count * grid[0] * grid[1], step.shape[1])
    dense = values.dense(shape)
    some = values.rows(shape) if means.sparse else None
    ends = network.config.groups
    for lattice, (at, near) in enumerate(_positions(count, *grid, kind, step.device)):
        if not len(at):
            continue
        expected = means.look(lattice, at, near)
        if some is None:
            here = dense.index_select(0, at)
            for group, (start, end) in enumerate(zip((0, *ends[:-1]), ends, strict=True)):
                means.group(expected, group, start, end, here)
            means.put(expected, None, here)
        else:
            coded = torch.nonzero(some[at])[:, 0]
            means.put(expected, coded, dense.index_select(0, at[coded]))
    return means


def _positions(
    count: int, rows: int, columns: int, kind: int, device: torch.device
) -> Sequence[tuple[Tensor, Tensor | None]]:
    """As `scales.lattice_positions`, of so many frames one after the other."""
    if device.type == "cpu":
        return scales.lattice_positions(rows, columns, kind, device)
    return _positions_on(device, count, rows, columns, kind == INTRA)


@functools.lru_cache(maxsize=16)
def _positions_on(
    device: torch.device, count: int, rows: int, columns: int, intra: bool
) -> list[tuple[Tensor, Tensor | None]]:
    kind, patches = INTRA if intra else KEY, rows * columns
    first = torch.arange(count)[:, None] * patches
    parts = []
    for at, near in scales.lattice_positions(rows, columns, kind, torch.device("cpu")):
        near = at[:0] if near is None else near
        near = torch.where(near == patches, count * patches, near + first)
        parts += [(at + first).view(-1), near.view(-1)]
    parts = upload(parts, device)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [(at, near if len(near) else None) for at, near in pairs]
