"""A training run: batches, steps, averages, checkpoints and a log, until so many steps or minutes
are over.

Everything random comes from the seed and the number of the step, so a run that was killed goes on
as if nothing had happened but for the steps since its last checkpoint.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from stcodec.codec.model_files import Model, config_to_json
from stcodec.codec.scales import GroupNetwork
from stcodec.common.arithmetic import flush_denormals
from stcodec.errors import StcodecError
from stcodec.training import checkpoint
from stcodec.training.ahead import Ahead
from stcodec.training.batch import Batch
from stcodec.training.captured import Captured
from stcodec.training.data import Data
from stcodec.training.engine import (
    QUALITY_BANDS,
    Engine,
    Outcome,
    Settings,
    psnr,
    quality_band,
)
from stcodec.training.passes import Passes
from stcodec.training.scale_twin import ScaleTwin
from stcodec.training.soap import Soap

# Parameters that are fitted at export; gradients leave them alone.
FITTED = ("spatial", "centroids", "intra_mean", "step_gain")
# Parts that only intra frames use.
_INTRA = ("surroundings.", "intra.")
OPTIMISERS = ("soap", "adamw")
T = TypeVar("T")


@dataclass(frozen=True)
class RunSettings:
    """steps, minutes: of the whole run, whichever ends first. rate_scales: learning rate of the
    scale networks against that of the others. reuse: how often a batch is trained on, in random
    order out of `pool` of them (where motion and pictures cost more than networks). compiled:
    compile the networks. captured: record steps and replay them. intra: train what only intra
    frames use, and nothing else. every, log_every: steps between checkpoints and lines of the log.
    """

    steps: int = 10_000
    minutes: float = 60.0
    learning_rate: float = 1e-3
    rate_scales: float = 1.0
    warm_up: int = 50
    clip: float = 1.0
    average: float = 0.999
    optimiser: str = "soap"
    reuse: int = 1
    pool: int = 12
    compiled: bool = False
    captured: bool = False
    intra: bool = False
    every: int = 200
    log_every: int = 20
    seed: int = 1


class Trained(nn.Module):
    """All that learns: the networks of the codec and the twins of its scale networks."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = model.network
        self.passes = Passes(model.network, model.scale_networks, model.tables)

    def parameters_of(self, part: str, intra: bool = False) -> list[nn.Parameter]:
        """The trained parameters of "network" or "passes"; `intra`: those alone that only intra
        frames use."""
        named = [
            (n, p)
            for n, p in getattr(self, part).named_parameters()
            if part == "passes" or n not in FITTED
        ]
        return [p for name, p in named if not intra or name.startswith(_INTRA)]


def only_intra(average: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of averaged weights those that only intra frames use."""
    prefixes = tuple(f"{part}.{name}" for part in ("network", "passes") for name in _INTRA)
    return {k: v for k, v in average.items() if k.startswith(prefixes)}


def with_average(model: Model, average: dict[str, Tensor]) -> Model:
    """The model with averaged weights; the scale networks as integers."""
    network = copy.deepcopy(model.network)
    # What is fitted stays: it may have been fitted again, in another shape, since the run.
    fitted = {"network." + name for name in FITTED}
    own = {
        k.removeprefix("network."): v
        for k, v in average.items()
        if k.startswith("network.") and k not in fitted
    }
    network.load_state_dict(own, strict=False)
    network.requires_grad_(False)

    def scales(name: str, group: GroupNetwork) -> GroupNetwork:
        twin, prefix = ScaleTwin.of(group), f"passes.{name}."
        state = {k.removeprefix(prefix): v for k, v in average.items() if k.startswith(prefix)}
        if {k: v.shape for k, v in state.items()} == {
            k: v.shape for k, v in twin.state_dict().items()
        }:
            twin.load_state_dict(state)
        return twin.integers()

    return dataclasses.replace(
        model, network=network, scale_networks=model.scale_networks.map(scales)
    )


class Run:
    """One run in `folder`: starts from `model`, or goes on where the folder's checkpoint stops."""

    def __init__(
        self,
        model: Model,
        data: Data | Ahead,
        folder: Path,
        settings: RunSettings,
        losses: Settings,
        say: Callable[[str], None],
    ) -> None:
        self.device, self.data, self.folder, self.settings, self.say = (
            data.device,
            data,
            folder,
            settings,
            say,
        )
        folder.mkdir(parents=True, exist_ok=True)
        self.config = model.config
        self.trained = Trained(model).to(self.device)
        self.trained.requires_grad_(False)
        self.parameter_groups = [
            self.trained.parameters_of(part, settings.intra) for part in ("network", "passes")
        ]
        for parameter in (p for group in self.parameter_groups for p in group):
            parameter.requires_grad_(True)
        if self.device.type == "cuda":
            self.trained.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.engine = Engine(self.trained.network, self.trained.passes, losses)
        if settings.compiled:
            self.engine.compiled()
        self._captured: Captured | None = None
        if settings.captured:
            self._captured = Captured(self.engine, [p for g in self.parameter_groups for p in g])
        # What may fail, and what goes on without.
        self._faster = settings.compiled or settings.captured
        self.optimiser = self._optimiser()
        self.average = {k: v.clone() for k, v in self.trained.state_dict().items()}
        self.step, self.spent = 0, 0.0
        self._iterator = self._batches()
        self._resume()

    def _optimiser(self) -> torch.optim.Optimizer:
        settings = self.settings
        groups: list[dict[str, Any]] = [
            {"params": self.parameter_groups[0], "factor": 1.0, "weight_decay": 1e-4},
            {
                "params": self.parameter_groups[1],
                "factor": settings.rate_scales,
                "weight_decay": 0.0,
            },
        ]
        if settings.optimiser == "soap":
            return Soap(groups, lr=settings.learning_rate)
        fused = self.device.type == "cuda"
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), fused=fused)

    def _resume(self) -> None:
        state = checkpoint.load(self.folder)
        if state is None:
            return
        # What is fitted is the present model's: the checkpoint may come from before a new fit.
        fitted = {f"network.{name}" for name in FITTED}
        now = self.trained.state_dict()
        kept = {k: now[k].clone() for k in fitted}
        self.trained.load_state_dict({**state["trained"], **kept})
        self.average = {
            k: v.to(self.device).clone() for k, v in {**state["average"], **kept}.items()
        }
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.spent = state["step"], state["spent"]
        self.say(f"goes on from step {self.step}, after {self.spent:.1f} minutes")

    def save(self) -> None:
        """Write the checkpoint and the averaged weights."""
        state = {
            "step": self.step,
            "spent": self.spent,
            "config": config_to_json(self.config),
            "trained": self.trained.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        checkpoint.save(self.folder, state, self.average)

    def progress(self) -> float:
        """How much of the run is over, 0..1."""
        return max(
            self.step / max(1, self.settings.steps), self.spent / max(1e-6, self.settings.minutes)
        )

    def _batches(self) -> Iterator[Batch]:
        """Batches with their motion; with a pool, each comes several times, at a new quality."""
        settings = self.settings
        pool: list[Batch] = []
        while True:
            fresh = self.step // settings.reuse
            if self.step % settings.reuse == 0 or not pool:
                batch = self._with_motion(self.data.batch(fresh))
                pool = [*pool, batch][-settings.pool :]
                yield batch
                continue
            generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
            at = int(torch.randint(len(pool), (1,), generator=generator))
            # Vectors are those of the first quality: not far away, they are nearly the same.
            moved = torch.randint(-10, 11, pool[at].quality.shape, generator=generator).to(
                self.device
            )
            yield dataclasses.replace(pool[at], quality=(pool[at].quality + moved).clamp(0, 63))

    def train(self) -> None:
        """Train to the end; the checkpoint is written now and then, at the end, and when
        interrupted or told to end. StcodecError where the loss is no number any more."""
        signal.signal(signal.SIGTERM, _interrupt)
        if self.device.type == "cpu":
            flush_denormals()
        settings, log = self.settings, checkpoint.Log(self.folder, self.step)
        window = _Window(self.device)
        began, before = time.monotonic(), self.spent
        try:
            while self.step < settings.steps and self.spent < settings.minutes:
                window.add(*self.advance())
                self.spent = before + (time.monotonic() - began) / 60
                if self.step % settings.log_every == 0:
                    self._report(window, log)
                    window = _Window(self.device)
                if self.step % settings.every == 0:
                    self.save()
        except KeyboardInterrupt:
            self.say("interrupted")
        if window.steps:
            self._report(window, log)
        self.save()
        self.say(f"step {self.step}, {self.spent:.1f} minutes: {self.folder / 'ema.safetensors'}")

    def _report(self, window: _Window, log: checkpoint.Log) -> None:
        """Write and say what the steps in `window` came to."""
        rate = self.optimiser.param_groups[0]["lr"]
        minutes = round(self.spent, 3)
        row = {"step": self.step, "minutes": minutes, "rate": rate, **window.result()}
        if not math.isfinite(row["loss"]):
            raise StcodecError(f"the loss of step {self.step} is {row['loss']}")
        log.write(**row)
        self.say(_line(row))

    def advance(self) -> tuple[Batch, Outcome, Tensor]:
        """One step: the batch, what came of it, and the norm of the gradient."""
        batch = next(self._iterator)
        self._set_rate()
        result = self._attempt(self._one, batch)
        self.step += 1
        return batch, *result

    def _with_motion(self, batch: Batch) -> Batch:
        def find(batch: Batch) -> Batch:
            return (self._captured or self.engine).find_motion(batch)

        return self._attempt(find, batch)

    def _attempt(self, work: Callable[[Batch], T], batch: Batch) -> T:
        """`work(batch)`; where what makes it faster fails, again without that."""
        try:
            return work(batch)
        except Exception as error:
            # Compilers and recordings fail in many ways, some of them only when they are run.
            if not self._faster or isinstance(error, torch.OutOfMemoryError):
                raise
            failure = (str(error) or repr(error)).splitlines()[0]
        # Not in the handler: until it is left, the exception holds what the failed attempt had in
        # memory.
        self.say(f"goes on without compilation and recording, one of which failed: {failure}")
        self.engine.plain()
        self._faster, self._captured = False, None
        return work(batch)

    def _set_rate(self) -> None:
        settings = self.settings
        warm = min(1.0, (self.step + 1) / max(1, settings.warm_up))
        rate = (
            settings.learning_rate
            * warm
            * 0.5
            * (1 + math.cos(math.pi * min(1.0, self.progress())))
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]

    def _one(self, batch: Batch) -> tuple[Outcome, Tensor]:
        if self._captured is not None:
            outcome = self._captured.loss(batch)
        else:
            self.optimiser.zero_grad(set_to_none=True)
            outcome = self.engine.loss(batch)
            outcome.loss.backward()
        norms = [
            torch.nn.utils.clip_grad_norm_(group, self.settings.clip)
            for group in self.parameter_groups
        ]
        self.optimiser.step()
        # Short runs average over a part of themselves.
        decay = min(self.settings.average, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            floating = [
                (self.average[k], v)
                for k, v in self.trained.state_dict().items()
                if v.is_floating_point()
            ]
            torch._foreach_lerp_([a for a, _ in floating], [v for _, v in floating], 1 - decay)
        return outcome, norms[0]


def _interrupt(*_: object) -> None:
    # A compiler may swallow the exception: told a second time, the process ends.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise KeyboardInterrupt


class _Window:
    """Sums over some steps, on the device: nothing waits for it until they are asked for."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), device=device)
        self.norm = torch.zeros((), device=device)
        self.bands = torch.zeros(QUALITY_BANDS, 3, device=device)
        self.steps, self.pixels, self.start = 0, 0, time.monotonic()

    def add(self, batch: Batch, outcome: Outcome, norm: Tensor) -> None:
        self.loss += outcome.loss.detach()
        self.norm += norm
        each = torch.stack(
            [torch.ones_like(outcome.bits), outcome.bits, psnr(outcome.squared.detach())], 1
        )
        self.bands.index_add_(0, quality_band(batch.quality), each)
        self.steps += 1
        self.pixels += len(batch.y) * batch.pixels

    def result(self) -> dict[str, Any]:
        loss, norm, bands = float(self.loss), float(self.norm), self.bands.cpu()
        seconds = time.monotonic() - self.start
        count = bands[:, 0].clamp(min=1)
        seen = (bands[:, 0] > 0).tolist()
        means = (bands[:, 1:] / count[:, None]).tolist()
        return {
            "loss": loss / self.steps,
            "norm": norm / self.steps,
            "steps_per_second": self.steps / seconds,
            "megapixels_per_second": self.pixels / seconds / 1e6,
            "bits_per_pixel": [
                round(m[0], 5) if s else None for m, s in zip(means, seen, strict=True)
            ],
            "psnr": [round(m[1], 3) if s else None for m, s in zip(means, seen, strict=True)],
        }


def _line(row: dict[str, Any]) -> str:
    middle = [
        (b, p) for b, p in zip(row["bits_per_pixel"], row["psnr"], strict=True) if b is not None
    ]
    bits, quality = (sum(column) / len(middle) for column in zip(*middle, strict=True))
    return (
        f"{row['step']} {row['minutes']:.1f}min loss {row['loss']:.4f} norm {row['norm']:.3f} "
        f"{bits:.4f} bit/pixel {quality:.2f} dB {row['megapixels_per_second']:.2f} Mpixel/s"
    )
