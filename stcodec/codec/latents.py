"""The lattice passes: latents of the frames of one step <-> coded symbols.

One class is both encoder and decoder; it differs only in the coder that it is given and in whether
it has the latents. Scale indices never see a floating-point number (see `scales.py`), so a decoder
that lacks the means, or has them with other rounding errors, still reads the same symbols.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stcodec.codec import scales
from stcodec.codec.entropy import Coder, Tables
from stcodec.codec.network import Network
from stcodec.codec.scales import ScaleNetworks
from stcodec.common.timing import stage
from stcodec.errors import DamagedFileError

# The table of the flags that say whether index 0 is in use: it gives "yes" a sixth of a bit.
_FLOOR_INDEX = np.array([12], dtype=np.uint8)
# What raising index 0 in a call costs an encoder, in bits: per symbol, and by the flag itself.
FLOOR_BITS, FLAG_BITS = 0.001, 4.0


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
class CodedLatents:
    """decoded [N, C, rows, columns] float, mean likewise (both None without means); magnitudes [N,
    rows, columns, C].

    values: without means, the dequantised symbols in units of the step (see `SparseValues`).
    """

    decoded: Tensor | None
    mean: Tensor | None
    magnitudes: Tensor
    values: SparseValues | None = None


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


def _rows(grid: Tensor) -> Tensor:
    """[N, C, rows, columns] -> [N, rows * columns, C]."""
    return grid.permute(0, 2, 3, 1).reshape(len(grid), -1, grid.shape[1])


class _Means:
    """The floating-point side of the passes: means, refined by what neighbours turned out to be,
    and decoded latents."""

    def __init__(
        self, mean: Tensor, step: Tensor, network: Network, kind: int, quality: float
    ) -> None:
        self.base = _rows(mean)
        self.refined = self.base.clone()
        n, patches, channels = self.base.shape
        self.errors = torch.zeros(n, patches + 1, channels, device=mean.device)
        self.step = step.view(n, 1, channels)
        self.inverse = 1.0 / self.step
        self._kind = kind
        self._network = network
        self._quality = torch.full((n,), float(quality), device=mean.device)

    def look(self, lattice: int, at: Tensor, near: Tensor | None) -> _Expected:
        """What is expected of the patches `at`, given their decoded neighbours."""
        n, _, channels = self.errors.shape
        here = self.base.index_select(1, at)
        close = None
        if near is not None:
            close = self.errors.index_select(1, near).view(n, len(at), 4 * channels)
            here = (
                here + close @ self._network.spatial[scales.predictor_number(self._kind, lattice)]
            )
        features = None
        if self._kind == 0 and self._network.config.intra_width:
            scaled = None if close is None else close * self.inverse.repeat(1, 1, 4)
            features = self._network.surroundings.look(scaled, lattice, self._quality, (n, len(at)))
        return _Expected(at, here, features)

    def group(
        self, expected: _Expected, group: int, start: int, end: int, values: Tensor
    ) -> Tensor:
        """Means [N, p, end - start] of a frequency group, given the dequantised symbols `values`
        [N, p, C] of those before."""
        here = expected.here
        if expected.features is not None:
            features, contrast = expected.features
            lower = values[..., :start]
            own = here[..., :start] - self.base.index_select(1, expected.at)[..., :start]
            own = own * self.inverse[..., :start] + lower
            more = self._network.surroundings.correct(group, features, contrast, own, lower)
            here[..., start:end] += more * self.step[..., start:end]
        return here[..., start:end]

    def put(self, expected: _Expected, values: Tensor) -> None:
        """Take dequantised symbols [N, p, C] of patches whose means are complete."""
        at, here = expected.at, expected.here
        self.refined.index_copy_(1, at, here)
        self.errors.index_copy_(1, at, here + values * self.step - self.base.index_select(1, at))

    def grids(self, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """Decoded latents and refined means, [N, C, rows, columns]."""
        both = (self.base + self.errors[:, :-1], self.refined)
        decoded, refined = (t.view(len(t), rows, columns, -1).permute(0, 3, 1, 2) for t in both)
        return decoded, refined


@dataclass
class _Expected:
    """Patches `at` of a pass; `here` [N, p, C]: their means, as far as they are known; what the
    network makes of the neighbours."""

    at: Tensor
    here: Tensor
    features: tuple[Tensor, Tensor] | None


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
        self, network: Network, groups: ScaleNetworks, tables: Tables, device: torch.device
    ) -> None:
        self._network = network
        self._groups = groups
        self._tables = tables
        self._costs = torch.from_numpy(tables.costs()).to(device)
        self._device = device
        self.observer: Observer | None = None

    def code(
        self,
        coder: Coder,
        context: StepContext,
        latents: Tensor | None,
        mean: Tensor | None,
        step: Tensor | None,
        rate_weight: float | Tensor,
    ) -> CodedLatents:
        """Code the frames of one step.

        latents [N, C, rows, columns] when encoding, else None; mean (the same shape) and step [N,
        C, 1, 1] None to read symbols alone. rate_weight: encoder only, squared error, in units of
        step**2, that is worth one bit (rate-distortion optimised quantisation); a positive number,
        or one for each patch [N, rows * columns].
        """
        n, rows, columns, channels = context.references.shape
        patches = rows * columns
        # One row more than there are patches: what lies outside the picture is zero.
        magnitudes = torch.zeros(n, patches + 1, channels, device=self._device)
        with stage("scales"):
            fixed = self._fixed_inputs(context).view(n, patches, -1)
        means = None
        if mean is not None and step is not None:
            means = _Means(mean, step, self._network, context.kind, context.quality)
        else:
            everything = torch.zeros(n, patches, channels, device=self._device)
        target = None if latents is None else _rows(latents)
        weights = torch.as_tensor(rate_weight, device=self._device).expand(n, patches)
        ends, groups = self._network.config.groups, self._groups.of(context.kind)
        for lattice, (at, near) in enumerate(
            scales.lattice_positions(rows, columns, context.kind, self._device)
        ):
            if not len(at):
                continue
            own = torch.zeros(n, len(at), channels, device=self._device)
            with stage("scales"):
                known = self._known_inputs(
                    context.kind, magnitudes, near, fixed.index_select(1, at)
                )
            expected = wanted_here = None
            weight = weights.index_select(1, at).reshape(-1)
            if means is not None:
                expected = means.look(lattice, at, near)
                if target is not None:
                    wanted_here = target.index_select(1, at)
                    self._observe_spatial(means, target, lattice, context.kind, at, near)
            context_class = scales.context_class(context.kind, lattice)
            values = torch.zeros(n, len(at), channels, device=self._device)
            start = 0
            for number, (group, end) in enumerate(zip(groups, ends, strict=True)):
                with stage("scales"):
                    lower = (
                        scales.log_magnitude(own[..., :start]).view(n * len(at), start)
                        if start
                        else None
                    )
                    index = group.indices(known, context_class, lower)
                scaled = None
                if means is not None and expected is not None:
                    mean_here = means.group(expected, number, start, end, values)
                    if wanted_here is not None:
                        off = (wanted_here[..., start:end] - mean_here).mul_(
                            means.inverse[..., start:end]
                        )
                        scaled = off.reshape(n * len(at), -1)
                index, wanted = self._code_floor(coder, index, scaled, weight)
                if self.observer is not None and wanted is not None and scaled is not None:
                    inputs = torch.cat(
                        [scales.log_magnitude(own).view(n * len(at), -1), known], dim=-1
                    )
                    self.observer.symbols(
                        context.kind, number, context_class, inputs, index, wanted, scaled
                    )
                symbols = self._code(coder, wanted, index).view(n, len(at), end - start)
                own[..., start:end] = symbols.abs().clamp_(max=scales.LARGEST_MAGNITUDE)
                values[..., start:end] = self._dequantise(symbols, index)
                start = end
            magnitudes.index_copy_(1, at, own)
            if means is None:
                everything.index_copy_(1, at, values)
            elif expected is not None:
                means.put(expected, values)
        shape = (n, rows, columns, channels)
        magnitudes = magnitudes[:, :-1].reshape(shape)
        if means is None:
            return CodedLatents(None, None, magnitudes, SparseValues.of(everything))
        return CodedLatents(*means.grids(rows, columns), magnitudes)

    def reconstruct(
        self, values: SparseValues, mean: Tensor, step: Tensor, kind: int, quality: float
    ) -> tuple[Tensor, Tensor]:
        """Decoded latents and refined means [N, C, rows, columns] of frames of `quality` from
        symbols that were read without means."""
        n, channels, rows, columns = mean.shape
        means = _Means(mean, step, self._network, kind, quality)
        dense = values.dense((n, rows * columns, channels))
        for lattice, (at, near) in enumerate(
            scales.lattice_positions(rows, columns, kind, self._device)
        ):
            if not len(at):
                continue
            expected, here = means.look(lattice, at, near), dense.index_select(1, at)
            if expected.features is not None:
                start = 0
                for number, end in enumerate(self._network.config.groups):
                    means.group(expected, number, start, end, here)
                    start = end
            means.put(expected, here)
        return means.grids(rows, columns)

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
        close = sides.flatten(2) if kind == 0 else around
        logs = scales.log_magnitude(close), scales.log_magnitude(scales.band_sums(around))
        return torch.cat([*logs, fixed], dim=-1).view(n * p, -1)

    def _observe_spatial(
        self,
        means: _Means,
        target: Tensor,
        lattice: int,
        kind: int,
        at: Tensor,
        near: Tensor | None,
    ) -> None:
        if self.observer is None or near is None:
            return
        channels = target.shape[-1]
        errors = (means.errors / means.step).index_select(1, near).view(-1, 4 * channels)
        wanted = ((target - means.base) / means.step).index_select(1, at).view(-1, channels)
        self.observer.spatial(kind, lattice, errors, wanted)

    def _fixed_inputs(self, context: StepContext) -> Tensor:
        count = context.references[..., 0].numel()
        if context.kind == 0:
            return scales.scalar_inputs(context.quality, count, None, None, self._device)
        bands = scales.box_sum(scales.band_sums(context.references))
        modes = None if context.modes is None else context.modes.reshape(count)
        motion = None if context.motion is None else context.motion.reshape(count, 2)
        scalars = scales.scalar_inputs(context.quality, count, modes, motion, self._device)
        logs = [scales.log_magnitude(context.references), scales.log_magnitude(bands)]
        return torch.cat([*(t.reshape(count, -1) for t in logs), scalars], dim=-1)

    def _code_floor(
        self, coder: Coder, index: Tensor, scaled: Tensor | None, rate_weight: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Code whether index 0 is in use in this call; returns the indices that are, and the
        symbols when encoding.

        Index 0 costs nothing but cannot code what the scale network did not expect; then the
        encoder raises all indices to 1 at least.
        """
        wanted = flag = None
        if scaled is not None:
            wanted, loss = self._quantise(scaled, index, rate_weight)
            flag = int(loss > FLOOR_BITS * index.numel() + FLAG_BITS)
        flags = None if flag is None else np.array([flag], dtype=np.int32)
        floor = int(coder.code(flags, _FLOOR_INDEX, self._tables)[0])
        if floor not in (0, 1):
            raise DamagedFileError("a decoded index floor is out of range")
        if floor:
            index = index.clamp_(min=1)
            if scaled is not None:
                wanted, _ = self._quantise(scaled, index, rate_weight)
        return index, wanted

    def _quantise(self, x: Tensor, index: Tensor, rate_weight: Tensor) -> tuple[Tensor, float]:
        """Symbols int32 for latents [n, outputs] in units of the step, whose bits have the price
        rate_weight [n]: of the nearest integer, the one below it and zero, the cheapest.

        Also what index 0 costs, in bits: the squared error that another index would save, less the
        bits of coding it.
        """
        symbols = torch.zeros(x.shape, dtype=torch.int32, device=x.device)
        flat = x.reshape(-1)
        at = torch.nonzero(flat.abs() > 0.5)[:, 0]
        value, table = flat[at], index.view(-1)[at].long()
        size, skipped = value.abs(), table == 0
        weight = rate_weight[at // x.shape[1]]
        nearest = size.round().clamp_(max=1 << 19)
        best, best_cost = torch.zeros_like(nearest), size * size + weight * self._costs[table, 0]
        last = self._costs.shape[1] - 1
        table = table.clamp_(min=1)
        lost = 0.0
        for candidate in (nearest, nearest - 1):
            bits = self._costs[table, candidate.long().clamp_(max=last)]
            cost = (size - candidate) ** 2 + weight * bits
            if candidate is nearest and bool(skipped.any()):
                lost = float(((best_cost - cost) / weight)[skipped].clamp_(min=0).sum())
            better = (cost < best_cost) & (candidate > 0) & ~skipped
            best, best_cost = (
                torch.where(better, candidate, best),
                torch.where(better, cost, best_cost),
            )
        symbols.view(-1)[at] = (best * value.sign()).to(torch.int32)
        return symbols, lost

    def _dequantise(self, symbols: Tensor, index: Tensor) -> Tensor:
        values = symbols.to(torch.float32)
        at = torch.nonzero(symbols.reshape(-1) != 0)[:, 0]
        flat = values.view(-1)
        some = flat[at]
        large = (some.abs() > 1).long()
        flat[at] = some + some.sign() * self._network.centroids[index.reshape(-1)[at].long(), large]
        return values

    def _code(self, coder: Coder, wanted: Tensor | None, index: Tensor) -> Tensor:
        symbols = None if wanted is None else wanted.reshape(-1).cpu().numpy()
        with stage("entropy"):
            coded = coder.code(symbols, index.reshape(-1).cpu().numpy(), self._tables)
        if wanted is not None:
            return wanted
        return torch.from_numpy(np.ascontiguousarray(coded)).to(self._device)
