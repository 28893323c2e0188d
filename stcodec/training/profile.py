"""Where the time of a training step goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch.utils.flop_counter import FlopCounterMode

from stcodec.codec.model_files import Model
from stcodec.training.data import Data
from stcodec.training.engine import Engine, Settings
from stcodec.training.run import Trained

# What counts as arithmetic: convolutions and matrix products, forward and backward, under the names
# of both kinds of device.
_ARITHMETIC = ("conv", "gemm", "bmm", "aten::mm", "addmm", "cutlass", "xmma", "cudnn", "sgemm")


class _Clock:
    """Seconds of each stage of a step, the device's work included."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def mark(self, name: str | None) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if name is not None:
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self.last
        self.last = now


def profile(
    model: Model, data: Data, losses: Settings, compiled: bool, steps: int, table: int
) -> Iterator[str]:
    """Lines of a report: stages of a step, arithmetic per pixel and per second, and operators by
    their own time."""
    trained = Trained(model).to(data.device)
    engine = Engine(trained.network, trained.passes, losses)
    parameters = trained.parameters_of("network") + trained.parameters_of("passes")
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(parameters, lr=0.0, fused=data.device.type == "cuda")
    # Counted without compilation: what is fused is not seen.
    batch = engine.find_motion(data.batch(0))
    with FlopCounterMode(display=False) as counter:
        engine.loss(batch).loss.backward()
    flops = counter.get_total_flops()
    if compiled:
        engine.compiled()
    clock = _Clock(data.device)

    def step(number: int, clock: _Clock | None) -> None:
        def mark(name: str | None) -> None:
            if clock is not None:
                clock.mark(name)

        mark(None)
        batch = data.batch(number)
        mark("pictures")
        batch = engine.find_motion(batch)
        mark("motion")
        loss = engine.loss(batch).loss
        mark("forward")
        loss.backward()
        mark("backward")
        optimiser.step()
        mark("optimiser")

    began = time.perf_counter()
    for number in range(steps):
        step(number, None)
    warm_up = time.perf_counter() - began
    for number in range(steps, 2 * steps):
        step(number, clock)
    total = sum(clock.seconds.values())
    pixels = len(batch.y) * batch.pixels
    crops, frames, height, width = batch.y.shape
    yield f"{crops} crops of {width}x{height}, {frames} frames, on {data.device}"
    more = ", compilation included" if compiled else ""
    yield f"{'warm-up':10} {1000 * warm_up:9.1f} ms, {steps} steps{more}"
    for name, seconds in clock.seconds.items():
        yield f"{name:10} {1000 * seconds / steps:9.1f} ms  {100 * seconds / total:5.1f} %"
    yield f"{'step':10} {1000 * total / steps:9.1f} ms, {steps * pixels / total / 1e6:.2f} Mpixel/s"
    yield (
        f"arithmetic of forward and backward: {flops / pixels / 1000:.1f} kFLOP per pixel, "
        f"{flops / 1e9:.0f} GFLOP a step, {flops * steps / total / 1e9:.0f} GFLOP/s"
    )
    yield from _operators(step, data.device, 2 * steps, table)


def _operators(
    step: Callable[[int, _Clock | None], None], device: torch.device, number: int, table: int
) -> Iterator[str]:
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as trace:
        step(number, None)
    events = trace.key_averages()
    on_gpu = device.type == "cuda"
    own = {
        e.key: (e.self_device_time_total if on_gpu else e.self_cpu_time_total, e.count)
        for e in events
    }
    total = sum(seconds for seconds, _ in own.values())
    arithmetic = sum(
        t for name, (t, _) in own.items() if any(word in name.lower() for word in _ARITHMETIC)
    )
    share = 100 * arithmetic / max(total, 1e-9)
    yield f"convolutions and matrix products: {share:.0f} % of the operators' time"
    for name, (spent, count) in sorted(own.items(), key=lambda item: -item[1][0])[:table]:
        yield f"{100 * spent / max(total, 1e-9):6.1f} %  {count:6d} x  {name[:80]}"
