"""The lattice passes: latents of the frames of one step <-> coded symbols.

`write` and `read` go through the same passes under the same indices. Scale indices never see a
floating-point number (see `scales.py`), so a decoder that lacks the means, or has them with other
rounding errors, still reads the same symbols; `reconstruct` makes latents of them afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from stcodec.codec import scales
from stcodec.codec.entropy import Coder, Tables
from stcodec.codec.means import Means, rows_of
from stcodec.codec.network import Network
from stcodec.codec.scales import GroupNetwork, ScaleNetworks
from stcodec.codec.tree import INTRA
from stcodec.common.timing import stage
from stcodec.errors import DamagedFileError

# The table of the flags that say whether index 0 is in use: it gives "yes" a sixth of a bit.
_FLOOR_INDEX = np.array([12], dtype=np.uint8)


@dataclass
class StepContext:
    """What is known about the frames of one step before their symbols, all integers.

    kind: 0 intra, 1 key, 2..4 two-sided levels. quality: of the frame (`Network.quality_of`).
    references: magnitudes of the references' symbols, summed over both, [N, rows, columns, C].
    modes int [N, rows, columns] or None; motion int [N, rows, columns, 2] or None.
    """

    kind: int
    quality: int
    references: Tensor
    modes: Tensor | None
    motion: Tensor | None


@dataclass
class WrittenLatents:
    """decoded [N, C, rows, columns] float, mean likewise; magnitudes [N, rows, columns, C]."""

    decoded: Tensor
    mean: Tensor
    magnitudes: Tensor


@dataclass
class ReadLatents:
    """values: dequantised symbols in units of the step; magnitudes [N, rows, columns, C]."""

    values: SparseValues
    magnitudes: Tensor


@dataclass(frozen=True)
class SparseValues:
    """A float tensor [N, rows * columns, C] that is mostly zero: where in the flat tensor it is
    not, and what is there."""

    at: Tensor
    values: Tensor

    @classmethod
    def of(cls, dense: Tensor) -> SparseValues:
        """The non-zero elements of `dense`."""
        at = torch.nonzero(dense.view(-1))[:, 0]
        return cls(at, dense.view(-1)[at])

    def dense(self, shape: tuple[int, ...]) -> Tensor:
        """The whole tensor."""
        full = torch.zeros(shape, device=self.values.device)
        full.view(-1)[self.at] = self.values
        return full


class Quantiser(Protocol):
    """The encoder's choice of symbols; see `encoder.quantiser`."""

    def __call__(self, scaled: Tensor, index: Tensor, at: Tensor) -> tuple[Tensor, bool]:
        """Symbols int32 [n, outputs] for latents [n, outputs] in units of the step under table
        indices uint8 [n, outputs], and whether index 0 counts as 1 in this call. Rows are the
        patches `at` [p] of every frame. Where the index is 0 a symbol is 0."""
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


class _Group(NamedTuple):
    """A frequency group: its number, channels from `start` up to `end`, scale network."""

    number: int
    start: int
    end: int
    network: GroupNetwork


class _Pass:
    """One lattice of patches: which they are, and the indices under which they are coded."""

    def __init__(
        self, kind: int, lattice: int, at: Tensor, near: Tensor | None, known: Tensor, shape: Tensor
    ) -> None:
        """known [n * p, F]: the inputs of the scale networks that do not depend on the patches;
        shape: zeros [n, p, C]."""
        self.lattice, self.at, self.near = lattice, at, near
        self.context_class = scales.context_class(kind, lattice)
        self.known, self.own = known, shape
        self.values = torch.zeros_like(shape)

    def index(self, group: _Group) -> Tensor:
        """Table indices uint8 [n * p, outputs] of a group, given the groups before."""
        rows, start = self.own.shape[0] * self.own.shape[1], group.start
        with stage("scales"):
            lower = None
            if start:
                lower = scales.log_magnitude(self.own[..., :start]).view(rows, start)
            return group.network.indices(self.known, self.context_class, lower)

    def take(self, group: _Group, symbols: Tensor, values: Tensor) -> None:
        """Keep a group's symbols [n, p, outputs] and what they stand for."""
        self.own[..., group.start : group.end] = symbols.abs().clamp_(max=scales.LARGEST_MAGNITUDE)
        self.values[..., group.start : group.end] = values


class LatentCoder:
    """Codes latents under a model's scale networks and tables, on one device."""

    def __init__(
        self, network: Network, groups: ScaleNetworks, tables: Tables, device: torch.device
    ) -> None:
        self._network = network
        self._groups = groups
        self._tables = tables
        self._device = device
        self.observer: Observer | None = None

    def write(
        self,
        coder: Coder,
        context: StepContext,
        latents: Tensor,
        mean: Tensor,
        step: Tensor,
        quantise: Quantiser,
    ) -> WrittenLatents:
        """Code the latents [N, C, rows, columns] of the frames of one step, given their means of
        the same shape and their quantisation step sizes [N, C, 1, 1]."""
        means = Means(mean, step, self._network, context.kind, context.quality)
        target = rows_of(latents)
        n, rows, columns, channels = context.references.shape
        magnitudes = self._magnitudes(context)
        for these in self._passes(context, magnitudes):
            expected = means.look(these.lattice, these.at, these.near)
            wanted = target.index_select(1, these.at)
            self._observe_spatial(means, target, context.kind, these)
            for group in self._frequency_groups(context.kind):
                index = these.index(group)
                channel = slice(group.start, group.end)
                here = means.group(expected, group.number, group.start, group.end, these.values)
                off = (wanted[..., channel] - here).mul_(means.inverse[..., channel])
                scaled = off.reshape(n * len(these.at), -1)
                symbols, raised = quantise(scaled, index, these.at)
                index = self._code_floor(coder, index, raised)
                self._observe(context.kind, group, these, index, symbols, scaled)
                with stage("entropy"):
                    flat = symbols.reshape(-1).cpu().numpy()
                    coder.code(flat, index.reshape(-1).cpu().numpy(), self._tables)
                self._take(these, group, symbols, index)
            magnitudes.index_copy_(1, these.at, these.own)
            means.put(expected, these.values)
        decoded, refined = means.grids(rows, columns)
        return WrittenLatents(
            decoded, refined, magnitudes[:, :-1].reshape(n, rows, columns, channels)
        )

    def read(self, coder: Coder, context: StepContext) -> ReadLatents:
        """Read the symbols of the frames of one step, which takes no means."""
        n, rows, columns, channels = context.references.shape
        magnitudes = self._magnitudes(context)
        everything = torch.zeros(n, rows * columns, channels, device=self._device)
        for these in self._passes(context, magnitudes):
            for group in self._frequency_groups(context.kind):
                index = self._code_floor(coder, these.index(group), None)
                with stage("entropy"):
                    read = coder.code(None, index.reshape(-1).cpu().numpy(), self._tables)
                symbols = torch.from_numpy(np.ascontiguousarray(read)).to(self._device)
                self._take(these, group, symbols.view_as(index), index)
            magnitudes.index_copy_(1, these.at, these.own)
            everything.index_copy_(1, these.at, these.values)
        return ReadLatents(
            SparseValues.of(everything), magnitudes[:, :-1].reshape(n, rows, columns, channels)
        )

    def reconstruct(
        self, values: SparseValues, mean: Tensor, step: Tensor, kind: int, quality: float
    ) -> tuple[Tensor, Tensor]:
        """Decoded latents and refined means [N, C, rows, columns] of frames of `quality` from what
        `read` gave; mean and step as in `write`."""
        n, channels, rows, columns = mean.shape
        means = Means(mean, step, self._network, kind, quality)
        dense = values.dense((n, rows * columns, channels))
        for lattice, (at, near) in enumerate(self._positions(rows, columns, kind)):
            if not len(at):
                continue
            expected, here = means.look(lattice, at, near), dense.index_select(1, at)
            if expected.features is not None:
                for group in self._frequency_groups(kind):
                    means.group(expected, group.number, group.start, group.end, here)
            means.put(expected, here)
        return means.grids(rows, columns)

    def _positions(
        self, rows: int, columns: int, kind: int
    ) -> tuple[tuple[Tensor, Tensor | None], ...]:
        return scales.lattice_positions(rows, columns, kind, self._device)

    def _magnitudes(self, context: StepContext) -> Tensor:
        """Zeros [N, patches + 1, C]: one row more than there are patches, since what lies outside
        the picture is zero."""
        n, rows, columns, channels = context.references.shape
        return torch.zeros(n, rows * columns + 1, channels, device=self._device)

    def _frequency_groups(self, kind: int) -> Iterator[_Group]:
        start = 0
        ends, networks = self._network.config.groups, self._groups.of(kind)
        for number, (network, end) in enumerate(zip(networks, ends, strict=True)):
            yield _Group(number, start, end, network)
            start = end

    def _passes(self, context: StepContext, magnitudes: Tensor) -> Iterator[_Pass]:
        """The passes in order; each sees the `magnitudes` [N, patches + 1, C] of those before."""
        n, rows, columns, channels = context.references.shape
        with stage("scales"):
            fixed = self._fixed_inputs(context).view(n, rows * columns, -1)
        for lattice, (at, near) in enumerate(self._positions(rows, columns, context.kind)):
            if not len(at):
                continue
            with stage("scales"):
                known = self._known_inputs(
                    context.kind, magnitudes, near, fixed.index_select(1, at)
                )
            zeros = torch.zeros(n, len(at), channels, device=self._device)
            yield _Pass(context.kind, lattice, at, near, known, zeros)

    def _known_inputs(
        self, kind: int, magnitudes: Tensor, near: Tensor | None, fixed: Tensor
    ) -> Tensor:
        """The inputs of the scale networks [n * p, F] that do not depend on the patch; fixed [n, p,
        ...]: of all passes."""
        n, p, channels = len(fixed), fixed.shape[1], magnitudes.shape[2]
        if near is None:
            sides = torch.zeros(n, p, 4, channels, device=self._device)
        else:
            sides = magnitudes.index_select(1, near).view(n, p, 4, channels)
        around = sides.sum(2)
        close = sides.flatten(2) if kind == INTRA else around
        logs = scales.log_magnitude(close), scales.log_magnitude(scales.band_sums(around))
        return torch.cat([*logs, fixed], dim=-1).view(n * p, -1)

    def _fixed_inputs(self, context: StepContext) -> Tensor:
        count = context.references[..., 0].numel()
        if context.kind == INTRA:
            return scales.scalar_inputs(context.quality, count, None, None, self._device)
        bands = scales.box_sum(scales.band_sums(context.references))
        modes = None if context.modes is None else context.modes.reshape(count)
        motion = None if context.motion is None else context.motion.reshape(count, 2)
        scalars = scales.scalar_inputs(context.quality, count, modes, motion, self._device)
        logs = [scales.log_magnitude(context.references), scales.log_magnitude(bands)]
        return torch.cat([*(t.reshape(count, -1) for t in logs), scalars], dim=-1)

    def _code_floor(self, coder: Coder, index: Tensor, raised: bool | None) -> Tensor:
        """Code whether index 0 counts as 1 in this call (None: read it); the indices that are in
        use. Index 0 costs nothing but cannot code what the scale network did not expect."""
        flags = None if raised is None else np.array([raised], dtype=np.int32)
        floor = int(coder.code(flags, _FLOOR_INDEX, self._tables)[0])
        if floor not in (0, 1):
            raise DamagedFileError("a decoded index floor is out of range")
        return index.clamp_(min=1) if floor else index

    def _take(self, these: _Pass, group: _Group, symbols: Tensor, index: Tensor) -> None:
        shape = (*these.own.shape[:2], group.end - group.start)
        these.take(group, symbols.view(shape), self._dequantise(symbols, index).view(shape))

    def _dequantise(self, symbols: Tensor, index: Tensor) -> Tensor:
        """Values in units of the step for symbols under indices of the same shape."""
        values = symbols.to(torch.float32)
        at = torch.nonzero(symbols.reshape(-1) != 0)[:, 0]
        flat = values.view(-1)
        some = flat[at]
        large = (some.abs() > 1).long()
        flat[at] = some + some.sign() * self._network.centroids[index.view(-1)[at].long(), large]
        return values

    def _observe(
        self, kind: int, group: _Group, these: _Pass, index: Tensor, symbols: Tensor, scaled: Tensor
    ) -> None:
        if self.observer is None:
            return
        own = scales.log_magnitude(these.own).view(len(scaled), -1)
        inputs = torch.cat([own, these.known], dim=-1)
        self.observer.symbols(
            kind, group.number, these.context_class, inputs, index, symbols, scaled
        )

    def _observe_spatial(self, means: Means, target: Tensor, kind: int, these: _Pass) -> None:
        if self.observer is None or these.near is None:
            return
        channels = target.shape[-1]
        near = (means.errors / means.step).index_select(1, these.near).view(-1, 4 * channels)
        error = ((target - means.base) / means.step).index_select(1, these.at)
        self.observer.spatial(kind, these.lattice, near, error.view(-1, channels))
