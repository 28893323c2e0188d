"""The loss of a batch of crops: motion, the lifting tree, the passes and the networks, all crops at
once.

Crops are coded chunk by chunk as the codec does: predictions from decoded pictures, the codec's
symbols, the memory from key to key. The loss of a crop is the logarithm of its whole cost in bits:
those of its symbols, and its squared error in units of what the encoder takes for worth a bit at
each kind of frame (so that a picture that others are predicted from weighs more). A logarithm,
because every quality and every clip shall count alike; it is what a BD-rate averages.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stcodec.codec import scales, warp
from stcodec.codec.blocks import QUALITY_LEVELS
from stcodec.codec.contexts import vector_spread
from stcodec.codec.motion import FIRST, SECOND
from stcodec.codec.network import Network
from stcodec.codec.patches import (
    CHUNK_FRAMES,
    MOTION_BLOCK,
    Frames,
    PatchSize,
    patchify,
)
from stcodec.codec.transform import transform_of
from stcodec.codec.tree import BEFORE, EARLIER, INTRA, KEY, Step, tree_steps
from stcodec.encoder import propagation, search, tuning
from stcodec.training import estimate
from stcodec.training.batch import Batch
from stcodec.training.passes import Context, Passes

# Bits per pixel that no crop is taken to cost less than: what is nearly free has nothing to teach.
_LEAST_BITS = 0.003
# Sum of absolute differences, in steps, that is worth one bit of motion: more than in the encoder,
# which drops vectors afterwards.
_MOTION_BIT_COST = 3.0
# Reach of the full search at an eighth of the size, for references up to so many frames away.
_REACHES = ((2, 5), (2 * CHUNK_FRAMES, 8))
# How much planes weigh in the distortion that benchmarks report.
_PLANE_WEIGHTS = (6 / 8, 1 / 8, 1 / 8)
DISTORTIONS = ("steps", "log")
# Qualities are reported in so many bands.
QUALITY_BANDS = 8
_BAND = QUALITY_LEVELS // QUALITY_BANDS


@dataclass(frozen=True)
class Settings:
    """distortion: "steps" (squared errors in units of the quantisation steps) or "log" (planes by
    6:1:1 log-average); through: let gradients pass through references to the frames that are
    predicted from; dense_search: `estimate` instead of the encoder's; bf16: networks in bfloat16
    where the device has it."""

    distortion: str = "steps"
    through: bool = False
    dense_search: bool = False
    bf16: bool = False


@dataclass(frozen=True)
class Outcome:
    """loss: scalar; bits [B] per pixel; squared [B, 3]: mean squared error of each plane."""

    loss: Tensor
    bits: Tensor
    squared: Tensor


class Engine:
    """Computes losses with `network` and `passes`, which it does not own."""

    def __init__(self, network: Network, passes: Passes, settings: Settings) -> None:
        self.network, self.passes, self.settings = network, passes, settings
        self.patch = network.config.patch
        self.plain()
        basis = network.get_buffer("basis")
        device = basis.device
        luma = transform_of(self.patch, network.config.transform).luma
        matrix = basis.cpu()
        middle = self.patch.h * self.patch.w * 5 // 4
        is_u = matrix[:, self.patch.h * self.patch.w : middle].abs().sum(1) > 0
        masks = torch.stack([luma, is_u, ~luma & ~is_u]).float()
        self.planes = masks.to(device)
        self.counts = masks.sum(1).to(device)
        self.weights = torch.tensor(_PLANE_WEIGHTS, device=device)

    def plain(self) -> None:
        """Run networks and passes as they are."""
        self.predict: Callable[..., Tensor] = self.network.predict
        self.restore: Callable[..., tuple[Tensor, Tensor | None]] = self.network.restore
        self.passes.plain()

    def compiled(self) -> None:
        """Compile the networks, for each shape, and what the passes do most: minutes at the start,
        faster after."""
        torch._dynamo.config.cache_size_limit = 64
        self.predict = torch.compile(self.network.predict, dynamic=False)
        self.restore = torch.compile(self.network.restore, dynamic=False)
        self.passes.compiled()

    @torch.no_grad()
    def find_motion(self, batch: Batch) -> Batch:
        """The same batch with the motion of every predicted frame, found on source pictures."""
        kind = torch.full_like(batch.quality, KEY, dtype=torch.long)
        price = self.network.step(batch.quality, kind).amin((1, 2, 3)) * _MOTION_BIT_COST
        find = self._dense if self.settings.dense_search else self._as_encoder
        fields = find(batch, batch.predicted(), price)
        return replace(batch, fields=fields)

    def _as_encoder(
        self,
        batch: Batch,
        wanted: list[tuple[tuple[int, int], int, int | None, int | None]],
        price: Tensor,
    ) -> dict[tuple[int, int], tuple[Tensor, Tensor]]:
        pairs = [(frame, a, b) for _, frame, a, b in wanted]
        found = []
        for crop, cost in zip(batch.y, price.tolist(), strict=True):
            found.append(search.search(crop[:, None], pairs, search.SearchSettings(cost)))
        return {
            key: (torch.cat([f[i].vectors for f in found]), torch.cat([f[i].modes for f in found]))
            for i, (key, *_) in enumerate(wanted)
        }

    def _dense(
        self,
        batch: Batch,
        wanted: list[tuple[tuple[int, int], int, int | None, int | None]],
        price: Tensor,
    ) -> dict[tuple[int, int], tuple[Tensor, Tensor]]:
        count = len(price)
        jobs = [
            (key, side, frame, r)
            for key, frame, *pair in wanted
            for side, r in enumerate(pair)
            if r is not None
        ]
        found: dict[tuple[tuple[int, int], int], estimate.Found] = {}
        least = 0
        for most, reach in _REACHES:
            some = [job for job in jobs if least < abs(job[2] - job[3]) <= most]
            least = most
            if some:
                current = torch.cat([batch.y[:, job[2]] for job in some])[:, None]
                reference = torch.cat([batch.y[:, job[3]] for job in some])[:, None]
                all_found = estimate.search(current, reference, reach, price.repeat(len(some)))
                for i, (key, side, *_) in enumerate(some):
                    part = slice(i * count, (i + 1) * count)
                    found[key, side] = estimate.Found(
                        all_found.vectors[part], all_found.prediction[part], all_found.rate[part]
                    )
        fields = {}
        for key, frame, a, b in wanted:
            sides = [found.get((key, 0)), found.get((key, 1))]
            first, second = sides[0] or sides[1], sides[1] or sides[0]
            assert first is not None and second is not None
            if a is not None and b is not None:
                modes = estimate.choose_modes(batch.y[:, frame][:, None], first, second, price)
            else:
                modes = torch.full_like(first.rate[:, 0], SECOND if a is None else FIRST).long()
            fields[key] = torch.stack([first.vectors, second.vectors], 1), modes
        return fields

    def loss(self, batch: Batch) -> Outcome:
        """The loss of a batch whose motion has been found."""
        count, pixels = len(batch.y), batch.pixels
        cost = torch.full_like(batch.quality, _LEAST_BITS * pixels)
        bits = torch.zeros_like(batch.quality)
        squared = torch.zeros(count, 3, device=batch.y.device)
        memory: Tensor | None = None
        before: dict[int, tuple[Frames, Tensor]] = {}
        for chunk, steps in enumerate(batch.plan()):
            done = dict(before)
            for step in steps:
                spent, errors, memory = self._step(batch, chunk, step, done, memory)
                bits = bits + spent.detach()
                cost = cost + spent + self._in_bits(errors[1])
                squared = squared + errors[0]
            earlier = {EARLIER: done[BEFORE]} if BEFORE in done else {}
            before = {BEFORE: done[max(done)], **earlier}
        patches = pixels // (self.patch.h * self.patch.w)
        return Outcome(cost.log().mean(), bits / pixels, squared / (patches * self.counts))

    def _in_bits(self, own: Tensor) -> Tensor:
        """Errors [B, 3] of the planes, in units of what is worth a bit, as one cost per crop."""
        if self.settings.distortion == "steps":
            return own.sum(1)
        # The gradient of the planes' log-average, at the scale of the sum.
        wanted = self.weights / (own.detach() + 1e-3 * own.detach().sum(1, keepdim=True) + 1e-6)
        wanted = wanted * (
            own.detach().sum(1, keepdim=True) / (wanted * own.detach()).sum(1, keepdim=True)
        )
        return (wanted * own).sum(1)

    def _step(
        self,
        batch: Batch,
        chunk: int,
        step: Step,
        done: dict[int, tuple[Frames, Tensor]],
        memory: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor | None]:
        """Code the frames of a step of all crops: bits [B], errors of the planes ([B, 3] plain and
        in bits), the memory."""
        network, count, frames = self.network, len(batch.quality), step.frames
        n = count * len(frames)
        intra = all(pair == (None, None) for pair in step.references)
        kind = INTRA if intra else step.of_kind
        quality = network.quality_of(batch.quality.repeat(len(frames)), kind)
        kinds = torch.full_like(quality, kind, dtype=torch.long)
        step_sizes = network.step(quality, kinds)
        source = batch.frames([chunk * CHUNK_FRAMES + f for f in frames])
        target = network.coefficients(source)
        rows, columns = target.shape[2:]
        if intra:
            base = network.intra_mean[None, :, None, None].expand(target.shape)
            references = target.new_zeros(n, rows, columns, self.patch.channels)
            context = Context(kind, quality, references, None, None)
        else:
            base, context = self._predicted(
                batch, chunk, step, done, kind, quality, (rows, columns)
            )
        null = network.null_state(n, rows, columns)
        state = memory if kind == KEY and memory is not None else null
        works = network.works_on(kind)
        with self._precision():
            mean = self.predict(base, state, step_sizes, quality, kinds) if works else base
        lattices = scales.lattice_positions(rows, columns, kind, target.device)
        weight = self._rate_weight(batch, chunk, step, kind, step_sizes, rows * columns)
        coded = self.passes(context, target, mean.float(), step_sizes, weight, lattices)
        restored, features = coded.decoded, None
        with self._precision():
            if works:
                restored, features = self.restore(
                    coded.decoded, coded.mean, base, step_sizes, quality, kinds
                )
            if kind <= KEY and features is not None:
                memory = network.remember(null if memory is None else memory, features)
        restored = restored.float()
        with contextlib.nullcontext() if self.settings.through else torch.no_grad():
            pictures = network.pictures(restored)
            pictures = Frames(*(p.clamp(0.0, 1.0) for p in pictures))
        for i, frame in enumerate(frames):
            part = slice(i * count, (i + 1) * count)
            done[frame] = Frames(*(p[part] for p in pictures)), coded.magnitudes[part]
        off = restored - target
        plain = torch.einsum("nchw,pc->np", off.detach() ** 2, self.planes)
        prices = weight.view(n, 1, rows, columns) * self.passes.factors.view(1, -1, 1, 1)
        weighted = (off / step_sizes) ** 2 / prices
        own = torch.einsum("nchw,pc->np", weighted, self.planes)
        plain, own = (t.view(len(frames), count, 3).sum(0) for t in (plain, own))
        return coded.bits.view(len(frames), count).sum(0), (plain, own), memory

    def _rate_weight(
        self, batch: Batch, chunk: int, step: Step, kind: int, step_sizes: Tensor, patches: int
    ) -> Tensor:
        """The price of a bit in each patch of the frames of a step, [N, patches], as the encoder
        has it; where the batch lacks the motion of a picture, nothing moves."""
        factor = _price_factor(batch.quality).repeat(len(step.frames)) * tuning.RATE_WEIGHTS[kind]
        weight = factor[:, None].expand(len(step_sizes), patches)
        if step.level or not batch.trees:
            return weight
        later, earlier, side = propagation.compared(
            step.frames[0], tree_steps(batch.trees[chunk], chunk)
        )
        start = chunk * CHUNK_FRAMES
        pictures = batch.frames([start + earlier])
        if (chunk, later) in batch.fields:
            vectors, modes = batch.fields[chunk, later]
            alone = vectors[:, side : side + 1].expand_as(vectors)
            pictures = warp.predict(pictures, pictures, alone, torch.ones_like(modes))
        change = propagation.mean_squares(
            batch.y[:, start + later][:, None] - pictures.y, self.patch
        )
        squared_step = (step_sizes[:, :, 0, 0].square() @ self.planes[0] / self.counts[0])[:, None]
        return weight * propagation.price_factors(change.flatten(1), squared_step)

    def _predicted(
        self,
        batch: Batch,
        chunk: int,
        step: Step,
        done: dict[int, tuple[Frames, Tensor]],
        kind: int,
        quality: Tensor,
        grid: tuple[int, int],
    ) -> tuple[Tensor, Context]:
        """Coefficients of the motion-compensated prediction, and what the scale networks may look
        at."""
        fields = [batch.fields[chunk, frame] for frame in step.frames]
        vectors, modes = torch.cat([f[0] for f in fields]), torch.cat([f[1] for f in fields])
        sides: list[Frames] = []
        for side in (0, 1):
            pictures = []
            for pair in step.references:
                reference = pair[side] if pair[side] is not None else pair[1 - side]
                assert reference is not None
                pictures.append(done[reference][0])
            sides.append(Frames(*(torch.cat(planes) for planes in zip(*pictures, strict=True))))
        predicted = self.network.mixed(warp.predict(sides[0], sides[1], vectors, modes))
        base = self.network.transform(_patches(predicted, self.patch))
        magnitudes = []
        for pair in step.references:
            parts = [done[r][1] for r in (pair[:1] if kind == KEY else pair) if r is not None]
            magnitudes.append(parts[0] if len(parts) == 1 else parts[0] + parts[1])
        # The mode of a patch is that of the motion block in which its first sample lies.
        for dim, (patches, side) in enumerate(zip(grid, (self.patch.h, self.patch.w), strict=True)):
            at = torch.arange(patches, device=modes.device) * side // MOTION_BLOCK
            modes = modes.index_select(dim + 1, at)
        spread = vector_spread(vectors, grid)
        return base, Context(kind, quality, torch.cat(magnitudes), modes, spread)

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        if not self.settings.bf16:
            return contextlib.nullcontext()
        return torch.autocast(self.planes.device.type, torch.bfloat16, cache_enabled=False)


def _price_factor(quality: Tensor) -> Tensor:
    """What prices are multiplied by at qualities [B] of chunks, as in the encoder."""
    knots = list(zip(tuning.PRICE_QUALITIES, tuning.PRICE_FACTORS, strict=True))
    factor = torch.full_like(quality, knots[0][1])
    for (left, before), (right, after) in itertools.pairwise(knots):
        factor = factor + (quality.clamp(left, right) - left) * ((after - before) / (right - left))
    return factor


def _patches(frames: Frames, patch: PatchSize) -> Tensor:
    """`patchify`, through which gradients pass where there are any."""
    if not frames.y.requires_grad:
        return patchify(frames, patch)
    parts = []
    for index, plane in enumerate(frames):
        h, w = (patch.h, patch.w) if index == 0 else (patch.h // 2, patch.w // 2)
        blocks = plane.unflatten(2, (-1, h)).unflatten(4, (-1, w))
        parts.append(blocks.permute(0, 1, 3, 5, 2, 4).flatten(1, 3))
    return torch.cat(parts, 1)


def psnr(squared: Tensor) -> Tensor:
    """Mean squared errors [B, 3] -> PSNR of the planes, weighted 6:1:1, [B]."""
    each = -10 * torch.log10(squared.clamp(min=1e-7))
    return each @ each.new_tensor(_PLANE_WEIGHTS)


def quality_band(quality: Tensor) -> Tensor:
    """Quality float [B] -> one of `QUALITY_BANDS` bands, int64."""
    return (quality / _BAND).long().clamp(0, QUALITY_BANDS - 1)


def band_name(band: int) -> str:
    """The qualities of a band: 8-15."""
    return f"{_BAND * band}-{_BAND * (band + 1) - 1}"
