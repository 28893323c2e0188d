"""The lattice passes of many crops at once, with gradients: what `latents.LatentCoder` does as an
encoder, without a coder.

Symbols, scale indices and decoded latents are those of the codec (a test compares them). Items of a
batch may differ in quality. Gradients:

* A latent whose symbol is zero is decoded as its mean, so the distortion pulls at the mean. Of any
  other the rounding error does not depend on the mean (straight through), but its size, and so its
  rate, does: by the difference of two entries of its table. Together that is the slope of the
  encoder's own cost, with the sawtooth of the rounding taken out.
* The scale networks learn from the bits of the symbols, between the two nearest tables, through
  straight-through rounding of their integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stcodec.codec import scales
from stcodec.codec.entropy import Tables
from stcodec.codec.motion import BI, FIRST, SECOND
from stcodec.codec.network import Network
from stcodec.codec.scales import ScaleNetworks
from stcodec.encoder import tuning
from stcodec.encoder.quantiser import frequency_factors
from stcodec.training.scale_twin import ScaleTwin, code_length, index_costs


@dataclass(frozen=True)
class Context:
    """What is known about N frames of one kind before their symbols, as in `latents.StepContext`,
    but quality [N] float."""

    kind: int
    quality: Tensor
    references: Tensor
    modes: Tensor | None
    motion: Tensor | None


@dataclass(frozen=True)
class Coded:
    """decoded, mean [N, C, rows, columns] (mean refined by neighbours); magnitudes [N, rows,
    columns, C]; bits [N]."""

    decoded: Tensor
    mean: Tensor
    magnitudes: Tensor
    bits: Tensor


@dataclass(frozen=True)
class _Part:
    """Patches of one pass: inputs of the scale networks that do not depend on themselves; what
    their surroundings say (intra frames); means [N, p, C] before and after linear prediction from
    neighbours; latents; steps [N, 1, C]."""

    known: Tensor
    features: tuple[Tensor, Tensor] | None
    start: Tensor
    mean: Tensor
    target: Tensor
    size: Tensor


class Passes(nn.Module):
    """The scale networks, trainable, and the frozen tables."""

    costs: Tensor
    logs: Tensor
    bands: Tensor
    factors: Tensor
    """What a bit costs in each channel, float32 [C]: see `frequency_factors`."""

    def __init__(self, network: Network, groups: ScaleNetworks, tables: Tables) -> None:
        super().__init__()
        # Not a submodule: its parameters belong to the network.
        self._network = [network]
        self.intra = nn.ModuleList(ScaleTwin.of(group) for group in groups.intra)
        self.other = nn.ModuleList(ScaleTwin.of(group) for group in groups.other)
        self.register_buffer("costs", index_costs(tables), persistent=False)
        sizes = torch.arange(scales.LARGEST_MAGNITUDE + 1)
        self.register_buffer("logs", scales.log_magnitude(sizes), persistent=False)
        self.register_buffer("factors", frequency_factors(network.config), persistent=False)
        self.register_buffer(
            "bands", scales.band_sums(torch.eye(network.config.patch.channels)), persistent=False
        )
        self.plain()

    def plain(self) -> None:
        """Run what `compiled` compiles as it is."""
        self.group: Callable[..., tuple[Tensor, Tensor, Tensor]] = self._group

    def compiled(self) -> None:
        """Compile what there is most of, quantisation and rate of a frequency group: a few small
        graphs for all shapes. All passes of an intra frame as one graph would have thousands of
        operations, too many for a compiler."""
        self.group = torch.compile(self._group, dynamic=True)

    def _log(self, magnitudes: Tensor) -> Tensor:
        """See `scales.log_magnitude`."""
        return self.logs[magnitudes.clamp(max=scales.LARGEST_MAGNITUDE).long()]

    def _fixed_inputs(self, context: Context) -> Tensor:
        """The inputs of the scale network that do not change from pass to pass, [N, patches, F]."""
        n, rows, columns, _ = context.references.shape
        quality = (
            context.quality.clamp(0, scales.LARGEST_QUALITY)
            .view(n, 1, 1)
            .expand(n, rows * columns, 1)
        )
        scalars = [quality, *((quality - knot).clamp(min=0) for knot in scales.QUALITY_KNOTS)]
        zero = torch.zeros_like(quality)
        if context.modes is None:
            scalars += [zero, zero, zero]
        else:
            scalars += [
                (context.modes.reshape(n, -1, 1) == mode).float() * scales.ON
                for mode in (BI, FIRST, SECOND)
            ]
        if context.motion is None:
            scalars += [zero, zero]
        else:
            scalars.append(self._log(context.motion.reshape(n, -1, 2)))
        scalars += [zero + scales.ON, zero]
        if context.kind == 0:
            return torch.cat(scalars, dim=2)
        bands = scales.box_sum(context.references @ self.bands)
        logs = [self._log(t).view(n, rows * columns, -1) for t in (context.references, bands)]
        return torch.cat([*logs, *scalars], dim=2)

    def forward(
        self,
        context: Context,
        latents: Tensor,
        mean: Tensor,
        step: Tensor,
        rate_weight: Tensor,
        lattices: Sequence[tuple[Tensor, Tensor | None]],
    ) -> Coded:
        """Code latents [N, C, rows, columns] with `mean` and steps [N, C, 1, 1]; rate_weight [N,
        patches]: the price of a bit, which `factors` multiply; lattices as in `scales`."""
        n, channels, rows, columns = latents.shape
        device = latents.device
        network = self._network[0]
        target, base = (t.permute(0, 2, 3, 1).reshape(n, -1, channels) for t in (latents, mean))
        size = step.view(n, 1, channels)
        magnitudes = torch.zeros(n, rows * columns + 1, channels, device=device)
        errors = torch.zeros(n, rows * columns + 1, channels, device=device)
        fixed = self._fixed_inputs(context)
        order, decoded, refined = [], [], []
        bits = torch.zeros(n, device=device)
        for lattice, (at, near) in enumerate(lattices):
            p = len(at)
            start = base.index_select(1, at)
            here, close = start, None
            sides = torch.zeros(n, p, 4, channels, device=device)
            if near is not None:
                close = errors.index_select(1, near).view(n, p, 4 * channels)
                here = here + _predicted(network, context.kind, lattice, close)
                sides = magnitudes.index_select(1, near).view(n, p, 4, channels)
            around = sides.sum(2)
            logs = (
                self._log(around if context.kind else sides.flatten(2)),
                self._log(around @ self.bands),
            )
            known = torch.cat([*logs, fixed.index_select(1, at)], dim=2)
            features = None
            if context.kind == 0 and network.config.intra_width:
                scaled = None if close is None else close / size.repeat(1, 1, 4)
                features = network.surroundings.look(scaled, lattice, context.quality, (n, p))
            part = _Part(known, features, start, here, target.index_select(1, at), size)
            here, symbols, values, spent = self._symbols(
                part, context.kind, lattice, rate_weight.index_select(1, at)[..., None]
            )
            bits = bits + spent
            fixed_here = (here + values * size).detach()
            found = torch.where(symbols == 0, here, fixed_here)
            own = symbols.abs().clamp(max=scales.LARGEST_MAGNITUDE)
            magnitudes = magnitudes.index_copy(1, at, own)
            errors = errors.index_copy(1, at, (found - start).detach())
            order.append(at)
            decoded.append(found)
            refined.append(here)
        back = torch.cat(order).argsort()

        def grid(parts: list[Tensor]) -> Tensor:
            whole = torch.cat(parts, 1).index_select(1, back)
            return whole.view(n, rows, columns, channels).permute(0, 3, 1, 2)

        return Coded(
            grid(decoded), grid(refined), magnitudes[:, :-1].view(n, rows, columns, channels), bits
        )

    def _symbols(
        self, part: _Part, kind: int, lattice: int, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means, symbols and dequantised values [N, p, C] of latents, and bits [N] with
        gradients."""
        network = self._network[0]
        parts: list[Tensor] = []
        values: list[Tensor] = []
        means: list[Tensor] = []
        bits = torch.zeros(len(part.target), device=part.target.device)
        context, start = scales.context_class(kind, lattice), 0
        for number, group in enumerate(self.other if kind else self.intra):
            assert isinstance(group, ScaleTwin)
            end = start + group.outputs
            mean = part.mean[..., start:end]
            if part.features is not None:
                lower = torch.cat(values, 2) if values else part.mean[..., :0]
                own = torch.cat(means, 2).detach() if means else lower
                own = (own - part.start[..., :start]) / part.size[..., :start] + lower
                more = network.surroundings.correct(number, *part.features, own, lower)
                mean = mean + more * part.size[..., start:end]
            logs = self._log(torch.cat(parts, 2).abs()) if parts else None
            scaled = (part.target[..., start:end] - mean) / part.size[..., start:end]
            price = weight * self.factors[start:end]
            symbols, value, spent = self.group(group, part.known, context, logs, scaled, price)
            bits = bits + spent
            parts.append(symbols)
            values.append(value)
            means.append(mean)
            start = end
        return torch.cat(means, 2), torch.cat(parts, 2), torch.cat(values, 2), bits

    def _group(
        self,
        twin: ScaleTwin,
        known: Tensor,
        context: int,
        logs: Tensor | None,
        scaled: Tensor,
        weight: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Symbols, dequantised values [N, p, outputs] and bits [N] of one frequency group's
        latents, in units of their steps."""
        position = twin(known, context, logs)
        largest = self.costs.shape[1] - 1
        flat_costs = self.costs.view(-1)
        with torch.no_grad():
            index = position.detach().floor().clamp(0, scales.SCALE_COUNT - 1).long()
            above = index.clamp(min=1) * (largest + 1)
            size = scaled.detach().abs()
            nearest = size.round().clamp(max=largest)
            # Index 0 codes nothing. A call that would lose too much by it raises all its indices to
            # 1.
            skipped = index == 0
            best, best_cost = (
                torch.zeros_like(nearest),
                size * size + weight * flat_costs.take(above),
            )
            lost = torch.zeros_like(size)
            for candidate in (nearest, nearest - 1):
                bits = flat_costs.take(above + candidate.long().clamp(min=0))
                cost = (size - candidate) ** 2 + weight * bits
                if candidate is nearest:
                    saved = (size * size - cost).clamp(min=0) / weight
                    lost = (saved * (skipped & (candidate > 0))).sum((1, 2))
                better = (candidate > 0) & (cost < best_cost)
                best, best_cost = (
                    torch.where(better, candidate, best),
                    torch.where(better, cost, best_cost),
                )
            count = index[0].numel()
            floor = (lost > tuning.FLOOR_BITS_PER_SYMBOL * count + tuning.FLOOR_BITS).view(-1, 1, 1)
            skipped = skipped & ~floor
            best = best * ~skipped
            index = torch.where(floor, index.clamp(min=1), index)
            at = index * (largest + 1) + best.long()
            exact = torch.where(skipped, 0.0, flat_costs.take(at))
            slope = torch.where(best > 0, flat_costs.take(at + (best < largest)) - exact, 0.0)
            symbols = best * scaled.detach().sign()
            off = (
                self._network[0]
                .centroids[index.reshape(-1), (best > 1).long().reshape(-1)]
                .view(best.shape)
            )
            values = symbols + symbols.sign() * off
        position = torch.where(floor, position.clamp(min=1.0), position)
        between = code_length(position, best.long(), self.costs)
        moved = scaled.abs()
        spent = exact + (between - between.detach()) + slope * (moved - moved.detach())
        return symbols, values, spent.sum((1, 2))


def _predicted(network: Network, kind: int, lattice: int, close: Tensor) -> Tensor:
    """What neighbours' errors [N, p, 4 C] add to means, [N, p, C]; see `Means.look`."""
    predictor = network.spatial[scales.predictor_number(kind, lattice)]
    some, channels = predictor.shape[1], network.config.patch.channels
    found = close.unflatten(2, (4, channels))[..., :some].flatten(2) @ predictor
    return nn.functional.pad(found, (0, channels - some))
