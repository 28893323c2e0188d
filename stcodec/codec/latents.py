"""The lattice passes: latents of a frame <-> coded symbols.

`write` and `read` go through the same passes under the same indices, which never see a floating-
point number (see `indices.py`), so a decoder that lacks the means, or has them with other rounding
errors, still reads the same symbols; `reconstruct` makes latents of them afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stcodec.codec import scales
from stcodec.codec.entropy import Coder, Tables
from stcodec.codec.indices import FrameIndices, Group, Pass, StepContext, frequency_groups
from stcodec.codec.means import Expected, Means, rows_of
from stcodec.codec.network import Network
from stcodec.codec.scales import ScaleNetworks
from stcodec.common.timing import stage
from stcodec.errors import DamagedFileError

# The table of the flags that say whether index 0 is in use: it gives "yes" a sixth of a bit.
_FLOOR_INDEX = np.array([12], dtype=np.uint8)


@dataclass
class WrittenLatents:
    """What was decoded, and the magnitudes [1, rows, columns, C]."""

    means: Means
    magnitudes: Tensor


@dataclass
class ReadLatents:
    """values: dequantised symbols in units of the step; magnitudes [1, rows, columns, C]."""

    values: SparseValues
    magnitudes: Tensor


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
        some[self.at // shape[1]] = True
        return some


class Quantiser(Protocol):
    """The encoder's choice of symbols; see `encoder.quantiser`."""

    def __call__(self, scaled: Tensor, index: Tensor, at: Tensor) -> tuple[Tensor, bool]:
        """Symbols int32 [p, outputs] for latents [p, outputs] of the patches `at` [p] in units of
        the step, under table indices uint8 [p, outputs], and whether index 0 counts as 1 in this
        call. Where the index is 0 a symbol is 0."""
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


class LatentCoder:
    """Codes latents under a model's scale networks and tables, on one device."""

    def __init__(
        self, network: Network, networks: ScaleNetworks, tables: Tables, device: torch.device
    ) -> None:
        self._network = network
        self._networks = networks
        self._tables = tables
        self._device = device
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
        frame = FrameIndices(context)
        for these in frame.passes():
            expected = means.look(these.lattice, these.at, these.near)
            wanted = target.index_select(0, these.at)
            values = torch.zeros_like(wanted)
            self._observe_spatial(means, target, context.kind, these)
            for group in self._groups(context.kind):
                index = these.indices(group)
                channels = slice(group.start, group.end)
                means.group(expected, group.number, group.start, group.end, values)
                scaled = _without(wanted[:, channels], expected, channels)
                scaled.mul_(means.inverse[:, channels])
                symbols, raised = quantise(scaled, index, these.at)
                index = self._code_floor(coder, index, raised)
                self._observe(context.kind, group, these, index, symbols, scaled)
                with stage("entropy"):
                    flat = symbols.reshape(-1).cpu().numpy()
                    coder.code(flat, index.reshape(-1).cpu().numpy(), self._tables)
                some = these.take(group, symbols, index, self._network.centroids)
                values[some.rows, some.columns] = some.values
            rows = torch.nonzero(values.any(1))[:, 0]
            means.put(expected, rows, values[rows])
        return WrittenLatents(means, frame.grid())

    def read(self, coder: Coder, context: StepContext) -> ReadLatents:
        """Read the symbols of a frame, which takes no means."""
        frame = FrameIndices(context)
        channels = context.references.shape[-1]
        where, what = [], []
        for these in frame.passes():
            for group in self._groups(context.kind):
                index = self._code_floor(coder, these.indices(group), None)
                with stage("entropy"):
                    read = coder.code(None, index.reshape(-1).cpu().numpy(), self._tables)
                symbols = torch.from_numpy(np.ascontiguousarray(read)).to(self._device)
                some = these.take(group, symbols.view_as(index), index, self._network.centroids)
                where.append(these.at[some.rows] * channels + some.columns)
                what.append(some.values)
        return ReadLatents(SparseValues(torch.cat(where), torch.cat(what)), frame.grid())

    def reconstruct(
        self, values: SparseValues, step: Tensor, grid: tuple[int, int], kind: int, quality: float
    ) -> Means:
        """Decoded latents and refined means of a frame of `quality` with a grid of rows and columns
        of patches, from what `read` gave; step as in `write`."""
        means = Means(step, grid, self._network, kind, quality)
        shape = (grid[0] * grid[1], step.shape[1])
        dense, some = values.dense(shape), values.rows(shape)
        positions = scales.lattice_positions(*grid, kind, self._device)
        for lattice, (at, near) in enumerate(positions):
            if not len(at):
                continue
            expected = means.look(lattice, at, near)
            if expected.features is not None:
                here = dense.index_select(0, at)
                for group in self._groups(kind):
                    means.group(expected, group.number, group.start, group.end, here)
                means.put(expected, None, here)
            else:
                coded = torch.nonzero(some[at])[:, 0]
                means.put(expected, coded, dense.index_select(0, at[coded]))
        return means

    def _groups(self, kind: int) -> list[Group]:
        return frequency_groups(self._network.config.groups, self._networks, kind)

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


def _without(wanted: Tensor, expected: Expected, channels: slice) -> Tensor:
    """Latents [p, outputs] of some channels, less what is expected of them."""
    delta = expected.delta[:, channels]
    if expected.rows is None:
        return wanted - delta
    return wanted.clone().index_add_(0, expected.rows, delta, alpha=-1)
