"""Gradient training of the prior, filter and memory networks, inside the real codec.

Every step codes a clip chunk by chunk with the present weights: true motion, true quantisation, its own decoded pictures as
references. The losses are what each network is there for, relative to what there is without it, so that every quality and
every clip counts alike:

* filter: squared error of the restored coefficients,
* prior: log2(1 + 2 x**2) of the latents x (in units of the step) that are left after its mean, a smooth stand-in for their rate.

The state of the memory carries gradients from each key frame to the next ones of the clip.
"""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stcodec import motion
from stcodec.chunk_encoder import ChunkEncoder, CodecSettings, PreparedChunk
from stcodec.codec import _RATE_WEIGHTS, KEY, ChunkCoder, Decoded, Source
from stcodec.entropy import Coder, Tables
from stcodec.latents import StepContext
from stcodec.media import Planes
from stcodec.motion import Fields, Step
from stcodec.patches import CHUNK_FRAMES, Frames, patchify, unpatchify
from stcodec.weights import Model, config_to_json

# Parameters that `fit` finds; gradients leave them alone.
FITTED = ("spatial", "centroids", "intra_mean", "step_gain")

# Added to what a loss is divided by: a frame that is predicted perfectly has nothing to teach.
_LEAST = 1e-3


class NullCoder:
    """Takes symbols and forgets them."""

    def code(self, symbols: np.ndarray | None, index: np.ndarray, tables: Tables) -> np.ndarray:
        """See `entropy.Coder`."""
        assert symbols is not None
        return symbols


@dataclass
class Losses:
    """Sums over the frames of a clip."""

    total: Tensor | float = 0.0
    values: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, value: Tensor) -> None:
        """Add a loss that is trained."""
        self.total = self.total + value
        self.values[name] = self.values.get(name, 0.0) + float(value.detach())


class TrainingCoder(ChunkCoder):
    """Codes prepared chunks and collects losses; gradients stay within a step, but for the memory."""

    losses: Losses

    def run(self, chunks: Sequence[PreparedChunk], quality: int) -> Losses:
        """Code a segment at `quality`; returns the losses."""
        self.losses = Losses()
        self.start_segment()
        for number, chunk in enumerate(chunks):
            steps = motion.steps(chunk.tree, number == 0)
            source = Source(chunk.frames, chunk.before, chunk.fields)
            with torch.enable_grad():
                self.run_chunk(NullCoder(), steps, quality, True, source, pictures=True)
        return self.losses

    def _code_step(
        self,
        coder: Coder,
        step: Step,
        context: StepContext,
        fields: Fields | None,
        done: dict[int, Decoded],
        source: Source | None,
        pictures: bool,
    ) -> None:
        assert source is not None
        n, network = len(step.frames), self.network
        kind = torch.full((n,), context.kind, dtype=torch.long, device=self.device)
        quality = torch.full((n,), float(context.quality), device=self.device)
        with torch.no_grad():
            size = network.step(quality, kind)
            before = {number: frame.picture for number, frame in done.items() if frame.picture is not None}
            base = self._predict(step, fields, before, n)
            target = network.transform(patchify(source.frames.take(step.frames), self.patch))
        state = self._state(n) if context.kind == KEY else self._null_state(n)
        with torch.enable_grad():
            mean = network.predict(base, state, size, quality, kind)
            left = (target - mean) / size
            with torch.no_grad():
                plain = torch.log2(1 + 2 * ((target - base) / size) ** 2).mean()
            self.losses.add("prior", torch.log2(1 + 2 * left**2).mean() / (plain + _LEAST) * n)
        with torch.no_grad():
            self.latents.rate_weight = _RATE_WEIGHTS[context.kind]
            coded = self.latents.code(coder, context, target, mean.detach(), size)
            assert coded.decoded is not None and coded.mean is not None
        with torch.enable_grad():
            restored, features = network.restore(coded.decoded, coded.mean, base, size, quality, kind)
            plain = (((coded.decoded - target) / size) ** 2).mean()
            self.losses.add("filter", (((restored - target) / size) ** 2).mean() / (plain + _LEAST) * n)
            if context.kind <= KEY and features is not None:
                self._memory = network.memory(self._state(n), features)
        with torch.no_grad():
            frames = unpatchify(network.inverse(restored), self.patch)
            frames = Frames(*(plane.clamp(0.0, 1.0) for plane in frames))
        for i, frame in enumerate(step.frames):
            done[frame] = Decoded(frames.take([i]), coded.magnitudes[i : i + 1])


def prepare(model: Model, clip: Sequence[Planes], quality: int, effort: int = 1) -> list[PreparedChunk]:
    """Search the motion of a clip's chunks (whole ones only)."""
    height, width = clip[0][0].shape
    encoder = ChunkEncoder(model, width, height, 8, CodecSettings(quality, effort=effort))
    whole = range(0, len(clip) - CHUNK_FRAMES + 1, CHUNK_FRAMES)
    return [encoder.prepare(clip[start : start + CHUNK_FRAMES], start == 0) for start in whole]


def train(
    model: Model,
    segments: Sequence[Sequence[PreparedChunk]],
    steps: int,
    minutes: float,
    checkpoint: Path | None = None,
    learning_rate: float = 1.5e-3,
    log: Callable[[str], None] = print,
) -> Model:
    """Train for `steps` segments or `minutes`, whichever ends first; returns the model with averaged weights.

    With `checkpoint`, goes on from it if it exists, and writes it every 100 steps and at the end.
    """
    model.network.requires_grad_(True)
    for name in FITTED:
        getattr(model.network, name).requires_grad_(False)
    network = model.network
    trained = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=1e-4, betas=(0.9, 0.98))
    average = copy.deepcopy(network.state_dict())
    begin = 0
    if checkpoint is not None and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        # What is fitted is the present model's: the checkpoint may come from before a new fit.
        kept = {name: average[name] for name in FITTED}
        network.load_state_dict({**saved["network"], **kept})
        average = {**saved["average"], **{name: value.clone() for name, value in kept.items()}}
        optimiser.load_state_dict(saved["optimiser"])
        begin = saved["step"]
        log(f"goes on from step {begin}")
    height, width = segments[0][0].frames.y.shape[2:]
    coders: dict[tuple[int, int], TrainingCoder] = {}
    rng, start, sums = random.Random(begin), time.monotonic(), {"n": 0.0}
    done = begin
    for step in range(begin, steps):
        spent = (time.monotonic() - start) / 60
        if spent > minutes:
            break
        progress = max(step / steps, spent / minutes)
        warm = min(1.0, (step - begin + 1) / 30)
        optimiser.param_groups[0]["lr"] = (
            learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        )
        segment = segments[rng.randrange(len(segments))]
        height, width = segment[0].frames.y.shape[2:]
        coder = coders.setdefault((height, width), TrainingCoder(model, width, height, 8))
        losses = coder.run(segment, rng.randrange(2, 62))
        assert isinstance(losses.total, Tensor)
        frames = CHUNK_FRAMES * len(segment)
        optimiser.zero_grad()
        (losses.total / frames).backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, 0.5)
        optimiser.step()
        decay = min(0.997, (step + 1) / (step + 10))
        with torch.no_grad():
            for key, value in network.state_dict().items():
                average[key].lerp_(value, 1 - decay)
        for key, value in losses.values.items():
            sums[key] = sums.get(key, 0.0) + value / frames
        sums["n"] += 1
        sums["norm"] = sums.get("norm", 0.0) + float(norm)
        if (step + 1) % 50 == 0:
            count = sums.pop("n")
            log(f"{step + 1} {spent:.1f}min " + " ".join(f"{k} {v / count:.4f}" for k, v in sums.items()))
            sums = {"n": 0.0}
        if checkpoint is not None and (step + 1) % 100 == 0:
            _save(checkpoint, step + 1, model, average, optimiser)
        done = step + 1
    if checkpoint is not None:
        _save(checkpoint, done, model, average, optimiser)
    network.load_state_dict(average)
    network.requires_grad_(False)
    return model


def _save(path: Path, step: int, model: Model, average: dict[str, Tensor], optimiser: torch.optim.Optimizer) -> None:
    partial = path.with_suffix(".partial")
    state = {
        "step": step,
        "config": config_to_json(model.config),
        "network": model.network.state_dict(),
        "average": average,
        "optimiser": optimiser.state_dict(),
    }
    torch.save(state, partial)
    partial.replace(path)
