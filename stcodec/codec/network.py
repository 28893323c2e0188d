"""The floating-point networks of the codec, each once, top to bottom.

They are built of the layers of `blocks`. Every residual branch ends in a zero-initialised layer, so
that an untrained network *is* the linear DCT codec, and training starts from there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType
from typing import TypeVar

import torch
from torch import Tensor, nn

from stcodec.codec import kernels, overlap
from stcodec.codec.blocks import (
    QUALITY_KNOTS,
    QUALITY_LEVELS,
    Memory,
    Pointwise,
    between_knots,
    by_bands,
    concatenate,
    zeroed,
)
from stcodec.codec.corrector import Corrector
from stcodec.codec.patches import Frames, PatchSize, patchify, unpatchify
from stcodec.codec.products import Products
from stcodec.codec.scales import FRAME_KINDS, INTRA_LATTICES, PREDICTORS, SCALE_COUNT
from stcodec.codec.separable import Separable
from stcodec.codec.transform import LINES, transform_of
from stcodec.codec.trunk import BLOCKS, Trunk

DIVISIONS = 3
"""Of which a patch may name one."""
COARSEST_STEP, FINEST_STEP = 96 / 255, 2 / 255
Quality = TypeVar("Quality", int, Tensor)


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a model; stored with its weights. `width` 0 leaves the linear codec without
    networks."""

    patch: PatchSize = PatchSize()
    # Ends of the frequency groups in the channel order of `transform_of`.
    groups: tuple[int, ...] = (6, 24, 48, 96)
    width: int = 0
    prior_blocks: int = 3
    filter_blocks: int = 4
    memory: int = 32  # 0: key frames are all that is known of those before
    intra_width: int = 0  # 0: intra frames are predicted from neighbours linearly
    scale_hidden: int = 64
    intra_scale_hidden: int = 96
    # Added to the quality of each kind of frame. Those that others are predicted from are finer by
    # `Network.step_gain` already.
    kind_qualities: tuple[int, ...] = (3, -2, 0, 2, 3)
    # Which kinds of frames the prior and the filter work on; the others are what is predicted and
    # what is coded, and nothing else.
    networks: tuple[bool, ...] = (True,) * FRAME_KINDS
    # Names of `transform.LINES` and `trunk.BLOCKS`.
    transform: str = "dct"
    block: str = "convolution"
    overlap: bool = False  # between neighbouring patches
    # How many channels, from the lowest on, are predicted from the same ones of neighbours; 0: all.
    predicted: int = 0
    # How a patch may be divided: 1 not at all, 2 in four, 3 each of these again.
    divisions: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError if the groups do not cover the channels, kinds of frames lack a quality,
        or there is nothing of a name."""
        if self.transform not in LINES or self.block not in BLOCKS:
            raise ValueError(f"there is no transform {self.transform!r} or block {self.block!r}")
        if (
            not 1 <= self.divisions <= DIVISIONS
            or min(self.patch.h, self.patch.w) >> self.divisions < 1
        ):
            raise ValueError("patches cannot be divided like that")
        if self.divisions > 1 and self.intra_width:
            raise ValueError("surroundings say nothing of divided patches")
        if self.predicted > self.patch.channels:
            raise ValueError("more channels are predicted than there are")
        if len(self.kind_qualities) != FRAME_KINDS or len(self.networks) != FRAME_KINDS:
            raise ValueError("each kind of frame needs its quality, and networks or none")
        if list(self.groups) != sorted(set(self.groups)) or self.groups[-1] != self.patch.channels:
            raise ValueError("frequency groups must increase and end at the number of channels")

    @property
    def predicted_channels(self) -> int:
        """How many channels are predicted from neighbours."""
        return self.predicted or self.patch.channels


class Surroundings(nn.Module):
    """What a patch of an intra frame looks like, from its four decoded neighbours and its own lower
    frequencies.

    Works on rows of patches [..., C], not on grids, in units of the quantisation step. What it says
    is added to the linear prediction. Contrasts are divided by their size, and what comes out is
    multiplied by it: an edge goes on whatever its height.
    """

    def __init__(self, width: int, channels: int, groups: tuple[int, ...], dc: int) -> None:
        super().__init__()
        self._dc, self._groups, self._inputs = dc, groups, 4 * channels
        self.quality = nn.Parameter(torch.zeros(QUALITY_KNOTS, 2 * width))
        self.lattice = nn.Parameter(torch.zeros(INTRA_LATTICES, 2 * width))
        # Diagonal neighbours, direct ones.
        self.enter = nn.ModuleList(nn.Linear(4 * channels + 1, width) for _ in range(2))
        self.mix = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
        half = width // 2
        self.begin = nn.ModuleList(
            nn.Linear(width + (2 * start - dc if start else 0) + 1, half) for start in self.starts()
        )
        self.middle = nn.ModuleList(nn.Linear(half, half) for _ in groups)
        last = [
            nn.Linear(half, end - start) for start, end in zip(self.starts(), groups, strict=True)
        ]
        for layer in last:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.end = nn.ModuleList(last)
        self._products = Products()

    def starts(self) -> tuple[int, ...]:
        """First channel of each group."""
        return (0, *self._groups[:-1])

    def look(
        self, near: Tensor | None, lattice: int, quality: Tensor, shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Features [n, p, width] and squared contrast [n, p, 1] of neighbours' decoded errors [n,
        p, 4 C] (None: there are none).

        Errors are relative to the mean of all pictures; quality float [n] in 0..63.
        """
        n, p = shape
        if near is None:
            near = self.quality.new_zeros(n, p, self._inputs)
        near = near.unflatten(2, (4, -1))
        dc = near[..., : self._dc]
        near = torch.cat([dc - dc.mean(2, keepdim=True), near[..., self._dc :]], dim=3).flatten(2)
        contrast = (near * near).sum(2, keepdim=True) * 0.25
        gain = (contrast + 1.0).sqrt()
        through = self._products.of
        x = through(self.enter[lattice % 2], torch.cat([near / gain, gain.log()], dim=2))
        vector = between_knots(self.quality, quality) + self.lattice[lattice]
        scale, shift = vector[:, None].chunk(2, dim=2)
        x = x * (1 + scale) + shift
        for first, second in zip(self.mix[::2], self.mix[1::2], strict=True):
            more = through(first, nn.functional.leaky_relu(x, 0.1))
            x = x + through(second, nn.functional.leaky_relu(more, 0.1))
        return x, contrast

    def correct(
        self, group: int, features: Tensor, contrast: Tensor, own: Tensor, values: Tensor
    ) -> Tensor:
        """What is added to the expected latents [n, p, outputs] of a frequency group.

        own [n, p, start]: decoded errors of the groups before, relative to the mean of all
        pictures; values: those to what was expected, that is, the dequantised symbols.
        """
        own = torch.cat([own[..., self._dc :], values], dim=2) if group else values
        size = (contrast + (own * own).sum(2, keepdim=True) + 1.0).sqrt()
        through = self._products.of
        x = through(self.begin[group], torch.cat([features, own / size, size.log()], dim=2))
        x = nn.functional.leaky_relu(x, 0.1)
        x = x + through(self.middle[group], x)
        return through(self.end[group], nn.functional.leaky_relu(x, 0.1)) * size


def compress(x: Tensor) -> Tensor:
    """Coefficients in units of the step -> network input: linear around zero, logarithmic far
    out."""
    if x.requires_grad:
        return torch.asinh(x)
    # The same, several times faster than the library's.
    return (x * x).add_(1.0).sqrt_().add_(x.abs()).log_().copysign_(x)


def _compressed(dc: Tensor, parts: list[Tensor], step: Tensor) -> Tensor:
    """What the networks see of coefficients and differences of these, each [N, C, rows, columns],
    one after the other along the channels; instead of the first ones `dc`, and all in units of the
    step [N, C, 1, 1]."""
    own = concatenate([dc, parts[0][:, dc.shape[1] :]])
    return concatenate([compress(part / step) for part in (own, *parts[1:])])


def _loops(coefficients: Tensor) -> ModuleType | None:
    """The loops of `Corrector`, where they can take these coefficients [N, C, rows, columns]."""
    if coefficients.device.type != "cpu" or len(coefficients) > 1 or torch.is_grad_enabled():
        return None
    loops = kernels.loops()
    return None if loops is None else loops.networks


class Network(nn.Module):
    """Everything floating point: the linear basis and mean predictor, and the prior and filter
    around them."""

    basis: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.patch.channels
        self._layout = transform_of(config.patch, config.transform)
        basis = self._layout.matrix
        self.register_buffer("basis", basis.clone())
        self._dc = int((self._layout.frequency == 0).sum())
        self._by_lines = Separable(config.patch, config.transform, self._layout)
        self.overlap = overlap.Overlap(config.patch) if config.overlap else None
        # Linear prediction of a patch from the decoded errors of four neighbours; see
        # `scales.predictor_number`.
        near = config.predicted_channels
        self.spatial = nn.Parameter(torch.zeros(PREDICTORS, 4 * near, near))
        self._products = Products()
        self.intra_mean = nn.Parameter(basis.sum(1) * 0.5)
        # log2 of the step of each kind of frame and channel, relative to that of the quality level.
        self.step_gain = nn.Parameter(torch.zeros(FRAME_KINDS, channels))
        # Where magnitudes 1 and >= 2 are reconstructed, relative to the integer, per scale index.
        self.centroids = nn.Parameter(torch.zeros(SCALE_COUNT, 2))
        if config.width:
            shape = config.width, config.prior_blocks, config.block
            self.prior = Trunk(channels + config.memory, *shape)
            self.prior_out = zeroed(Pointwise(config.width, channels))
            shape = config.width, config.filter_blocks, config.block
            self.filter = Trunk(3 * channels, *shape)
            self.filter_out = zeroed(Pointwise(config.width, channels))
            self._correct_prior = Corrector(self.prior, self.prior_out)
            self._correct_decoded = Corrector(self.filter, self.filter_out)
            if config.memory:
                self.memory = Memory(config.width, config.memory)
        if config.intra_width:
            self.surroundings = Surroundings(config.intra_width, channels, config.groups, self._dc)

    def quality_of(self, quality: Quality, kind: int) -> Quality:
        """The quality that a frame of a kind (0..4) has in a chunk of `quality` 0..63 (a tensor:
        [N]); may lie outside."""
        return quality + self.config.kind_qualities[kind]

    def works_on(self, kind: int) -> bool:
        """Whether the prior and the filter work on a kind of frame."""
        return self.config.width > 0 and self.config.networks[kind]

    def reach(self, kind: int) -> int:
        """How many patches around a patch the prior and the filter look at: in each block, for each
        mean that contrasts are relative to, and where patches overlap, on the way in and out."""
        if not self.works_on(kind):
            return 0
        blocks = self.config.prior_blocks + self.config.filter_blocks
        around = 2 * overlap.REACH if self.overlap is not None else 0
        return blocks * BLOCKS[self.config.block].REACH + 2 + around

    def step(self, quality: Tensor, kind: Tensor) -> Tensor:
        """Quantisation steps [N, C, 1, 1] in sample units of [0, 1], for quality float [N] (of the
        frame) and kind int64 [N]."""
        log_step = math.log2(COARSEST_STEP) + quality * (
            math.log2(FINEST_STEP / COARSEST_STEP) / (QUALITY_LEVELS - 1)
        )
        return torch.exp2(log_step[:, None] + self.step_gain[kind])[:, :, None, None]

    def luma_steps(self, quality: float, kind: int) -> Tensor:
        """Quantisation steps [h, w] of the luma coefficients of a patch, by frequency; see
        `step`."""
        device = self.step_gain.device
        step = self.step(
            torch.tensor([float(quality)], device=device), torch.tensor([kind], device=device)
        )
        return step.view(-1)[self._layout.luma_grid.to(device)]

    @property
    def luma(self) -> Tensor:
        """Which channels are luma's, bool [C], on the CPU."""
        return self._layout.luma

    def coefficients(self, frames: Frames) -> Tensor:
        """The coefficients [N, C, rows, columns] of padded pictures, or of parts of them."""
        frames, patch = self.mixed(frames), self.config.patch
        grid = frames.y.shape[2] // patch.h, frames.y.shape[3] // patch.w
        if self._by_lines.fits(frames.y, len(frames.y), *grid, self.basis):
            return self._by_lines.coefficients(frames)
        return self.transform(patchify(frames, patch))

    def pictures(self, coefficients: Tensor) -> Frames:
        """The inverse of `coefficients`."""
        count, _, rows, columns = coefficients.shape
        if self._by_lines.fits(coefficients, count, rows, columns, self.basis):
            frames = self._by_lines.pictures(coefficients)
        else:
            frames = unpatchify(self.inverse(coefficients), self.config.patch)
        return frames if self.overlap is None else self.overlap.after(frames)

    def mixed(self, frames: Frames) -> Frames:
        """What is cut into patches: pictures as they are, unless patches overlap."""
        return frames if self.overlap is None else self.overlap.before(frames)

    def null_state(self, count: int, rows: int, columns: int) -> Tensor:
        """The memory before the first key frame, [count, M, rows, columns]."""
        if not self.config.width or not self.config.memory:
            return self.basis.new_zeros(count, 0, rows, columns)
        return self.memory.start(count, rows, columns)

    def remember(self, state: Tensor, features: Tensor | None) -> Tensor:
        """The memory after a key frame, from that before and the features of the filter."""
        if features is None or not self.config.memory:
            return state
        return self.memory(state, features)

    def transform(self, patches: Tensor) -> Tensor:
        """Patch vectors [N, C, rows, columns] -> coefficients of the same shape (orthonormal)."""
        return (patches.permute(0, 2, 3, 1) @ self.basis.T).permute(0, 3, 1, 2)

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Coefficients -> patch vectors; the inverse of `transform`."""
        return (coefficients.permute(0, 2, 3, 1) @ self.basis).permute(0, 3, 1, 2)

    def neighbours(self, number: int, near: Tensor) -> Tensor:
        """What predictor `number` makes of the decoded errors [p, 4 C] of patches' neighbours, [p,
        C], of as many channels as it predicts."""
        return self._products(number, near, (self.spatial[number].T, None))

    def _contrast(self, x: Tensor) -> Tensor:
        """The DC rows of coefficients, less the mean of the 3x3 neighbourhood: the networks see
        contrast, not brightness."""
        dc = x[:, : self._dc]
        # Not `pad`: the compiler is wrong about the layout of its gradient.
        wide = torch.cat([dc[..., :1], dc, dc[..., -1:]], dim=3)
        mean = nn.functional.avg_pool2d(
            torch.cat([wide[:, :, :1], wide, wide[:, :, -1:]], dim=2), 3, 1
        )
        return dc - mean

    def predict(
        self, predicted: Tensor, state: Tensor, step: Tensor, quality: Tensor, kind: Tensor
    ) -> Tensor:
        """The mean of the latent: motion-compensated coefficients plus what the prior network
        corrects.

        predicted: coefficients [N, C, rows, columns] of the prediction; state: memory [N, M, rows,
        columns]; step [N, C, 1, 1]; quality float [N]; kind int64 [N].
        """
        if not self.config.width:
            return predicted

        loops = _loops(predicted)
        if loops is not None and self._correct_prior.fits:
            condition = self.prior.condition.of(quality, kind)
            seen = predicted, None, None
            return self._correct_prior(loops, seen, state, self._dc, step, condition)[0]

        def inputs(dc: Tensor, predicted: Tensor, state: Tensor) -> Tensor:
            return concatenate([_compressed(dc, [predicted], step), state])

        grids = self._contrast(predicted), predicted, state
        features = self.prior(inputs, grids, quality, kind)
        return self._corrected(predicted, step, self.prior_out, features)

    def restore(
        self,
        decoded: Tensor,
        mean: Tensor,
        predicted: Tensor,
        step: Tensor,
        quality: Tensor,
        kind: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """In-loop restoration of decoded coefficients; also the features that the memory is updated
        from."""
        if not self.config.width:
            return decoded, None

        loops = _loops(decoded)
        if loops is not None and self._correct_decoded.fits:
            condition = self.filter.condition.of(quality, kind)
            seen = decoded, mean, predicted
            return self._correct_decoded(loops, seen, None, self._dc, step, condition)

        def inputs(dc: Tensor, decoded: Tensor, mean: Tensor, predicted: Tensor) -> Tensor:
            return _compressed(dc, [decoded, decoded - mean, decoded - predicted], step)

        grids = self._contrast(decoded), decoded, mean, predicted
        features = self.filter(inputs, grids, quality, kind)
        return self._corrected(decoded, step, self.filter_out, features), features

    @staticmethod
    def _corrected(x: Tensor, step: Tensor, out: Pointwise, features: Tensor) -> Tensor:
        """Coefficients and what a network says about them, in units of the step."""
        return by_bands(lambda x, features: x + step * out(features), x, features)
