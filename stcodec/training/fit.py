"""What is fitted rather than trained by gradient through the codec: tables, scale networks, linear
predictors, centroids.

The codec runs over training pictures with the model so far; an observer keeps a sample of what
every pass saw. From that the spatial predictors come by least squares, the scale networks by
gradient descent on the code length with the integer arithmetic in the loop (straight-through
rounding), and the tables and centroids by counting. Two or three rounds, since rate-distortion
optimised quantisation makes the symbols depend on the model.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from stcodec.codec import divisions, scales
from stcodec.codec.entropy import Tables
from stcodec.codec.model_files import Model
from stcodec.codec.network import ModelConfig, Network
from stcodec.codec.patches import CHUNK_FRAMES, PatchSize
from stcodec.codec.scales import GroupNetwork, ScaleNetworks
from stcodec.codec.transform import transform_of
from stcodec.codec.vector_kernels import CONTEXTS
from stcodec.codec.vectors import SETS, MotionStart, default_start
from stcodec.common.values import Planes
from stcodec.encoder.encoder import ChunkEncoder, CodecSettings
from stcodec.training.scale_twin import ScaleTwin, code_length, index_costs

# log2 of the steps of intra, key and the three levels of two-sided frames against the quality's own
# step: the finer, the more pictures are predicted from a frame; chroma is finer everywhere. Chosen
# by BD-rate on training clips.
STEP_GAINS = (-0.87, -0.85, -0.25, 0.15, 0.45)
CHROMA_GAIN = -0.75
NARROWEST, WIDEST = 0.06, 300.0
_ESCAPE = 1e-5
_SYMBOLS_AT_ONCE = 1536 * 96  # of patches, that scale networks learn from in a step
_DIVISIONS_UNSEEN = 20.0  # of each division, as if seen before


def laplace_rows() -> list[np.ndarray]:
    """Discretised Laplacians, one per scale index 1..63, log-spaced in scale; the last entry of a
    row is the escape."""
    rows = []
    for scale in np.geomspace(NARROWEST, WIDEST, scales.SCALE_COUNT - 1):
        k = int(min(2000, max(3, np.ceil(6 * scale))))
        size = np.abs(np.arange(-k, k + 1)).astype(np.float64)
        tail = np.exp(-(size - 0.5) / scale) * (1 - np.exp(-1 / scale)) / 2
        row = np.where(size == 0, 1 - np.exp(-0.5 / scale), tail)
        rows.append(np.append(row + 1e-9, _ESCAPE))
    return rows


def initial_model(config: ModelConfig) -> Model:
    """An unfitted model: every symbol under one moderate scale, no spatial prediction."""
    scale_networks = ScaleNetworks([], [])
    for networks, hidden, classes in (
        (scale_networks.intra, config.intra_scale_hidden, scales.INTRA_LATTICES),
        (scale_networks.other, config.scale_hidden, scales.CLASSES),
    ):
        inputs, start = (
            scales.input_size(config.patch.channels, networks is scale_networks.intra),
            0,
        )
        for end in config.groups:
            bias = torch.full((classes, end - start), 10.0 * 2**scales.SHIFT_2)
            zeros = (
                torch.zeros(inputs, hidden),
                torch.zeros(classes, hidden),
                torch.zeros(hidden, end - start),
            )
            networks.append(GroupNetwork(*zeros, bias))
            start = end
    network = Network(config).eval().requires_grad_(False)
    unknown = np.zeros((divisions.TABLES, config.divisions))
    tables = Tables.from_probabilities([*laplace_rows(), *_division_rows(unknown)])
    return Model("initial", bytes(32), config, network, scale_networks, tables, default_start())


def groups_of(patch: PatchSize) -> tuple[int, ...]:
    """Ends of the frequency groups for a patch of any size: the same shares of its channels as in
    one of 8x8."""
    usual = ModelConfig()
    return tuple(end * patch.channels // usual.patch.channels for end in usual.groups)


def linear_model(config: ModelConfig) -> Model:
    """The start of a fit: `initial_model` with the steps of each kind of frame."""
    model = initial_model(config)
    luma = transform_of(config.patch, config.transform).luma.float()
    gains = torch.tensor(STEP_GAINS)[:, None] + CHROMA_GAIN * (1 - luma)[None]
    with torch.no_grad():
        model.network.step_gain.copy_(gains)
    return model


@dataclass
class Sample:
    """Kept passes of one frequency group: inputs uint8 [n, F], context int64 [n], magnitudes int16
    [n, outputs]."""

    inputs: list[Tensor] = field(default_factory=list)
    contexts: list[Tensor] = field(default_factory=list)
    magnitudes: list[Tensor] = field(default_factory=list)


class Collector:
    """The observer: a random subset of patches per pass, normal equations, centroid sums."""

    def __init__(self, config: ModelConfig, patches_per_pass: int, seed: int = 0) -> None:
        self.samples: defaultdict[str, Sample] = defaultdict(Sample)
        self.channels = config.patch.channels
        channels = self._predicted = config.predicted_channels
        self.normal = torch.zeros(
            scales.PREDICTORS, 4 * channels, 4 * channels, dtype=torch.float64
        )
        self.moment = torch.zeros(scales.PREDICTORS, 4 * channels, channels, dtype=torch.float64)
        self.divisions = np.zeros((divisions.TABLES, config.divisions))
        self.centroid_sum = torch.zeros(scales.SCALE_COUNT, 2, dtype=torch.float64)
        self.centroid_count = torch.zeros(scales.SCALE_COUNT, 2, dtype=torch.float64)
        self._keep = patches_per_pass
        self._random = torch.Generator().manual_seed(seed)

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
        """See `latents.Observer`."""
        keep = torch.randperm(len(inputs), generator=self._random)[: self._keep]
        sample = self.samples[scales.network_name(kind, group)]
        sample.inputs.append(inputs[keep].to(torch.uint8))
        sample.contexts.append(torch.full((len(keep),), context))
        sample.magnitudes.append(symbols[keep].abs().clamp(max=32767).to(torch.int16))
        at = torch.nonzero(symbols.reshape(-1))[:, 0]
        size = symbols.reshape(-1)[at].abs()
        key = index.reshape(-1)[at].long() * 2 + (size > 1)
        off = scaled.reshape(-1)[at].abs() - size
        self.centroid_sum.view(-1).index_add_(0, key, off.clamp(-1, 1).double())
        self.centroid_count.view(-1).index_add_(0, key, torch.ones_like(off, dtype=torch.float64))

    def spatial(self, kind: int, lattice: int, near: Tensor, error: Tensor) -> None:
        """See `latents.Observer`."""
        some = self._predicted
        near = near.view(len(near), 4, -1)[..., :some].flatten(1).clamp(-200, 200)
        error = error[:, :some].clamp(-200, 200)
        number = scales.predictor_number(kind, lattice)
        self.normal[number] += (near.T @ near).double()
        self.moment[number] += (near.T @ error).double()

    def divided(self, index: np.ndarray, chosen: Tensor) -> None:
        """See `latents.Observer`."""
        np.add.at(self.divisions, (index.astype(np.int64) - scales.SCALE_COUNT, chosen.numpy()), 1)

    def spatial_predictors(self, ridge: float = 0.02) -> Tensor:
        """Least-squares predictors [predictors, 4 C, C] with a ridge relative to the mean
        energy."""
        solved = torch.zeros_like(self.moment)
        for number, (normal, moment) in enumerate(zip(self.normal, self.moment, strict=True)):
            energy = float(normal.diagonal().mean())
            if energy > 0:
                eye = torch.eye(len(normal), dtype=torch.float64)
                solved[number] = torch.linalg.solve(normal + ridge * energy * eye, moment)
        return solved.float()

    def centroids(self) -> Tensor:
        """Mean offsets [64, 2], shrunk towards zero where there is little evidence."""
        return (self.centroid_sum / (self.centroid_count + 50)).clamp(-0.4, 0.4).float()


def train_scales(
    collector: Collector,
    start: ScaleNetworks,
    tables: Tables,
    steps: int,
    log: Callable[[str], None] = print,
) -> ScaleNetworks:
    """Scale networks that minimise the code length of the collected symbols, from those that the
    symbols were coded with."""
    costs = index_costs(tables)
    return start.map(
        lambda name, network: _train_scales(
            collector.samples[name],
            network,
            costs,
            steps,
            collector.channels,
            f"scale network {name}",
            log,
        )
    )


def _train_scales(
    sample: Sample,
    start: GroupNetwork,
    costs: Tensor,
    steps: int,
    channels: int,
    name: str,
    log: Callable[[str], None],
) -> GroupNetwork:
    if not sample.inputs:
        return start
    x, context = torch.cat(sample.inputs), torch.cat(sample.contexts)
    size = torch.cat(sample.magnitudes).long().clamp_(max=costs.shape[1] - 1)
    new = float(start.w1.abs().sum()) == 0
    (inputs, hidden), outputs = start.w1.shape, start.w2.shape[1]
    net = ScaleTwin(inputs, hidden, outputs, len(start.b1)) if new else ScaleTwin.of(start)
    rate = 6e-3 if new else 3e-3
    count = max(1, _SYMBOLS_AT_ONCE // channels)
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    total, before = 0.0, 0.0
    for step in range(steps):
        left = 0.5 * (1 + np.cos(np.pi * step / steps))
        optimiser.param_groups[0]["lr"] = rate * left + 2e-5
        pick = torch.randint(len(x), (count,))
        bits = code_length(net(x[pick].float(), context[pick]), size[pick], costs)
        loss = bits.sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 50.0)
        optimiser.step()
        total = loss.item() if step == 0 else 0.99 * total + 0.01 * loss.item()
        before = before or total
    log(f"{name}: {len(x)} samples, {before:.2f} -> {total:.2f} bits per patch and frame")
    return net.eval().integers()


def fit_tables(
    collector: Collector, scale_networks: ScaleNetworks, weight: float = 2000.0
) -> Tables:
    """Tables from the magnitudes counted at each index, on a Laplacian prior worth `weight`
    symbols."""
    rows = laplace_rows()
    largest = max((len(row) - 2) // 2 for row in rows)
    counts = np.zeros((scales.SCALE_COUNT, largest + 2))
    for name, group in scale_networks.named():
        sample = collector.samples[name]
        for x, context, size in zip(sample.inputs, sample.contexts, sample.magnitudes, strict=True):
            index = group.indices(x.float(), int(context[0])).long() if len(x) else x.long()
            key = index * (largest + 2) + size.long().clamp(max=largest + 1)
            counts += np.bincount(key.reshape(-1).numpy(), minlength=counts.size).reshape(
                counts.shape
            )
    fitted = []
    for i, row in enumerate(rows, start=1):
        k = (len(row) - 2) // 2
        prior = np.append(row[k : 2 * k + 1] * np.append(1, np.full(k, 2.0)), row[-1])
        seen = np.append(counts[i, : k + 1], counts[i, k + 1 :].sum())
        mixed = seen + weight * prior / prior.sum()
        mixed /= mixed.sum()
        sides = mixed[1:-1] / 2
        fitted.append(
            np.concatenate([sides[::-1], mixed[:1], sides, np.maximum(mixed[-1:], _ESCAPE)])
        )
    return Tables.from_probabilities([*fitted, *_division_rows(collector.divisions)])


def _division_rows(counts: np.ndarray) -> list[np.ndarray]:
    """Tables of divisions by how often [tables, divisions] each was chosen; none where patches are
    whole."""
    most = counts.shape[1] - 1
    if not most:
        return []
    seen = counts + _DIVISIONS_UNSEEN
    seen /= seen.sum(1, keepdims=True)
    # Tables have as many letters below zero as above; those and the escape are never used.
    unused = np.full((len(counts), most), 1e-9), np.full((len(counts), 1), 1e-9)
    return list(np.concatenate([unused[0], seen, unused[1]], axis=1))


def fit_round(
    model: Model,
    clips: Sequence[Sequence[Planes]],
    qualities: Sequence[int],
    steps: int,
    patches_per_pass: int = 48,
    effort: int = 0,
    log: Callable[[str], None] = print,
    predictors: bool = True,
) -> Model:
    """Run the codec over `clips` (each a list of pictures, 8-bit) and fit everything that this
    module fits.

    Clip i is coded at quality qualities[i % len(qualities)]. Returns the fitted model; its id and
    hash are placeholders. predictors: fit the spatial predictors too, which takes hundreds of
    clips: they have 384 inputs.
    """
    collector = Collector(model.config, patches_per_pass)
    seen = np.zeros((SETS, CONTEXTS, 2), np.int64)
    bits = 0.0
    for i, clip in enumerate(clips):
        height, width = clip[0][0].shape
        settings = CodecSettings(quality=qualities[i % len(qualities)], effort=effort)
        encoder = ChunkEncoder(model, width, height, 8, settings, observer=collector)
        for start in range(0, len(clip), CHUNK_FRAMES):
            bits += encoder.encode(clip[start : start + CHUNK_FRAMES], start == 0).stats.total_bits
        seen += encoder.motion_seen()
    log(f"coded {len(clips)} clips into {bits / 8:.0f} bytes")
    network = copy.deepcopy(model.network)
    with torch.no_grad():
        if predictors:
            network.spatial.copy_(collector.spatial_predictors().half().float())
        network.centroids.copy_(collector.centroids())
    scale_networks = train_scales(collector, model.scale_networks, model.tables, steps, log)
    tables = fit_tables(collector, scale_networks)
    return dataclasses.replace(
        model,
        network=network,
        scale_networks=scale_networks,
        tables=tables,
        motion_start=MotionStart.fitted(seen),
    )
