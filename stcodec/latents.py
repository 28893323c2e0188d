"""The lattice passes: latents of the frames of one step <-> coded symbols.

One class is both encoder and decoder; it differs only in the coder that it is given and in whether it has the latents.
Scale indices never see a floating-point number (see `scales.py`), so a decoder that lacks the means, or has them with other
rounding errors, still reads the same symbols.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stcodec import scales
from stcodec.entropy import Coder, Tables
from stcodec.network import Network
from stcodec.scales import GroupNetwork


@dataclass
class StepContext:
    """What is known about the frames of one step before their symbols, all integers.

    kind: 0 intra, 1 key, 2..4 two-sided levels. quality 0..63. references: magnitudes of the references' symbols, summed
    over both, [N, rows, columns, C]. modes int [N, rows, columns] or None; motion int [N, rows, columns, 2] or None.
    """

    kind: int
    quality: int
    references: Tensor
    modes: Tensor | None
    motion: Tensor | None


@dataclass
class CodedLatents:
    """decoded [N, C, rows, columns] float, mean likewise (both None without means); magnitudes [N, rows, columns, C]."""

    decoded: Tensor | None
    mean: Tensor | None
    magnitudes: Tensor


class Observer(Protocol):
    """What training sees of every pass; see `LatentCoder.observer`."""

    def symbols(self, group: int, context: int, inputs: Tensor, index: Tensor, symbols: Tensor, scaled: Tensor) -> None:
        """Scale network inputs [n, inputs], indices, symbols and latents in units of the step [n, outputs]."""
        ...

    def spatial(self, kind: int, lattice: int, near: Tensor, error: Tensor) -> None:
        """Decoded errors of the four neighbours [n, 4 C] and the error to predict [n, C], in units of the step."""
        ...


class LatentCoder:
    """Codes latents under a model's scale networks and tables, on one device."""

    def __init__(self, network: Network, groups: list[GroupNetwork], tables: Tables, device: torch.device) -> None:
        self._network = network
        self._groups = groups
        self._tables = tables
        self._costs = torch.from_numpy(tables.costs()).to(device)
        self._device = device
        self._ends = network.config.groups
        self.observer: Observer | None = None
        self.rate_weight = 0.0
        """Encoder only: squared error, in units of step**2, that is worth one bit (rate-distortion optimised quantisation)."""
        self.index_floor = 0
        """Lowest index in use: 1 codes every symbol, even those that the scale network is certain of."""
        self.largest_loss = 0.0
        """Encoder only: the largest latent of the last step, in units of the step, that index 0 turned to zero."""

    def code(
        self, coder: Coder, context: StepContext, latents: Tensor | None, mean: Tensor | None, step: Tensor | None
    ) -> CodedLatents:
        """Code the frames of one step.

        latents [N, C, rows, columns] when encoding, else None; mean (the same shape) and step [N, C, 1, 1] None to read
        symbols alone.
        """
        n, rows, columns, channels = context.references.shape
        patches = rows * columns
        self.largest_loss = 0.0
        positions = scales.lattice_positions(rows, columns, self._device)
        magnitudes = torch.zeros(n, rows, columns, channels, device=self._device)
        flat = magnitudes.view(n, patches, channels)
        fixed = self._fixed_inputs(context).view(n, patches, -1)
        errors = target = base = steps = None
        if mean is not None and step is not None:
            base = mean.permute(0, 2, 3, 1).reshape(n, patches, channels)
            errors = torch.zeros(n, rows, columns, channels, device=self._device)
            refined = base.clone()
            steps = step.view(n, 1, channels)
        if latents is not None:
            target = latents.permute(0, 2, 3, 1).reshape(n, patches, channels)
        for lattice, at in enumerate(positions):
            if not len(at):
                continue
            around = scales.neighbours(magnitudes, lattice)
            near = torch.zeros(n, len(at), channels, device=self._device)
            if around is not None:
                near = sum(around).view(n, patches, channels)[:, at]  # type: ignore[union-attr]
            bands = scales.band_sums(scales.box_sum(magnitudes)).view(n, patches, -1)[:, at]
            own = torch.zeros(n, len(at), channels, device=self._device)
            inputs = [
                scales.log_magnitude(own),
                scales.log_magnitude(near),
                scales.log_magnitude(bands),
                fixed[:, at],
            ]
            here = None
            if base is not None and errors is not None:
                here = base[:, at] + self._spatial_mean(errors, lattice, at, context.kind)
                refined[:, at] = here
                if self.observer is not None and lattice and target is not None and steps is not None:
                    around = scales.neighbours(errors / steps[:, None], lattice)
                    assert around is not None
                    near_errors = [t.reshape(n, patches, channels)[:, at] for t in around]
                    error = (target[:, at] - base[:, at]) / steps
                    flat_near = torch.cat(near_errors, -1).reshape(-1, 4 * channels)
                    self.observer.spatial(context.kind, lattice, flat_near, error.reshape(-1, channels))
            index_class = context.kind * scales.LATTICES + lattice
            start = 0
            for group, end in zip(self._groups, self._ends, strict=True):
                x = torch.cat(inputs, dim=-1).view(n * len(at), -1)
                index = group.indices(x, index_class).clamp_(min=self.index_floor)
                wanted = None
                if target is not None and here is not None and steps is not None:
                    scaled = (target[:, at, start:end] - here[..., start:end]) / steps[..., start:end]
                    wanted = self._quantise(scaled.reshape(n * len(at), -1), index)
                symbols = self._code(coder, wanted, index).view(n, len(at), end - start)
                if self.observer is not None and wanted is not None:
                    self.observer.symbols(
                        self._ends.index(end), index_class, x, index, wanted, scaled.reshape(wanted.shape)
                    )
                own[..., start:end] = symbols.abs()
                inputs[0] = scales.log_magnitude(own)
                if here is not None and errors is not None and base is not None and steps is not None:
                    values = self._dequantise(symbols, index.view_as(symbols))
                    decoded = here[..., start:end] + values * steps[..., start:end]
                    errors.view(n, patches, channels)[:, at, start:end] = decoded - base[:, at, start:end]
                start = end
            flat[:, at] = own
        if base is None or errors is None:
            return CodedLatents(None, None, magnitudes)
        shape = (n, rows, columns, channels)
        decoded = (base.view(shape) + errors).permute(0, 3, 1, 2)
        return CodedLatents(decoded, refined.view(shape).permute(0, 3, 1, 2), magnitudes)

    def _fixed_inputs(self, context: StepContext) -> Tensor:
        count = context.references[..., 0].numel()
        bands = scales.band_sums(scales.box_sum(context.references))
        modes = None if context.modes is None else context.modes.reshape(count)
        motion = None if context.motion is None else context.motion.reshape(count, 2)
        scalars = scales.scalar_inputs(context.quality, count, modes, motion, self._device)
        logs = [scales.log_magnitude(context.references), scales.log_magnitude(bands)]
        return torch.cat([*(t.reshape(count, -1) for t in logs), scalars], dim=-1)

    def _spatial_mean(self, errors: Tensor, lattice: int, at: Tensor, kind: int) -> Tensor | float:
        around = scales.neighbours(errors, lattice)
        if around is None:
            return 0.0
        n, _, _, channels = errors.shape
        near = torch.cat([t.reshape(n, -1, channels)[:, at] for t in around], dim=-1)
        return near @ self._network.spatial[kind, lattice - 1]

    def _quantise(self, x: Tensor, index: Tensor) -> Tensor:
        """Symbols int32 for latents in units of the step: of the nearest integer, the one below it and zero, the cheapest."""
        symbols = torch.zeros(x.shape, dtype=torch.int32, device=x.device)
        if self.index_floor == 0:
            self.largest_loss = max(self.largest_loss, float((x.abs() * (index == 0)).max()))
        at = torch.nonzero(((x.abs() > 0.5) & (index > 0)).view(-1))[:, 0]
        value = x.reshape(-1)[at]
        size, table = value.abs(), index.view(-1)[at].long()
        nearest = size.round().clamp_(max=1 << 19)
        best, best_cost = torch.zeros_like(nearest), size * size + self.rate_weight * self._costs[table, 0]
        last = self._costs.shape[1] - 1
        for candidate in (nearest, nearest - 1):
            bits = self._costs[table, candidate.long().clamp(max=last)]
            cost = (size - candidate) ** 2 + self.rate_weight * bits
            better = (cost < best_cost) & (candidate > 0)
            best, best_cost = torch.where(better, candidate, best), torch.where(better, cost, best_cost)
        symbols.view(-1)[at] = (best * value.sign()).to(torch.int32)
        return symbols

    def _dequantise(self, symbols: Tensor, index: Tensor) -> Tensor:
        values = symbols.to(torch.float32)
        at = torch.nonzero(symbols.reshape(-1))[:, 0]
        flat = values.view(-1)
        some = flat[at]
        large = (some.abs() > 1).long()
        flat[at] = some + some.sign() * self._network.centroids[index.reshape(-1)[at].long(), large]
        return values

    def _code(self, coder: Coder, wanted: Tensor | None, index: Tensor) -> Tensor:
        symbols = None if wanted is None else wanted.reshape(-1).cpu().numpy()
        coded = coder.code(symbols, index.reshape(-1).cpu().numpy(), self._tables)
        if wanted is not None:
            return wanted
        return torch.from_numpy(np.ascontiguousarray(coded)).to(self._device)
