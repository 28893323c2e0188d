"""The gradients of the training loss against finite differences, in double precision.

Quantisation has no useful derivative. What stands for it is documented in `training/passes.py`, and
written with values that gradients do not pass (`detach`). Those are kept from the first evaluation
and used again in the others, so that the loss is the smooth function that the gradient is one of.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from stcodec.codec import compensation, warp
from stcodec.codec.model_files import load_model
from stcodec.training.engine import Batch, Engine, Settings
from stcodec.training.run import Trained
from stcodec.training.start import start_from
from tests.test_training_parts import random_clip

STEP = 1e-7


def may_stop(frame: FrameType) -> bool:
    """Whether gradients may end in the code of a frame: only where something stands for
    quantisation."""
    return Path(frame.f_code.co_filename).name in ("passes.py", "scale_twin.py")


class Held(TorchFunctionMode):
    """Runs everything in double precision; values that gradients do not pass are those of the first
    run in all others."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Tensor] = []
        self._next: int | None = None

    def again(self) -> Held:
        """For the next run."""
        self._next = 0
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.float:
            return args[0].double()
        result = func(*args, **(kwargs or {}))
        if func is not Tensor.detach or not may_stop(sys._getframe(1)):
            return result
        if self._next is None:
            self._kept.append(result.clone())
        else:
            result = self._kept[self._next]
            self._next += 1
        return result


def forget_filters() -> None:
    """They are cached in the precision in which they are first asked for."""
    for cached in (
        compensation.filter_taps,
        compensation.interpolation,
        compensation.blending,
        warp._filters,
        warp._window,
    ):
        cached.cache_clear()


@pytest.fixture
def double() -> Iterator[None]:
    forget_filters()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    forget_filters()


def batch_of(chunks: int, keys_only: bool) -> Batch:
    """A crop of 32x48 samples."""
    y, u, v = (p.float()[None] / 255 for p in random_clip(3, 8 * chunks, 32, 48))
    return Batch(y, u, v, torch.tensor([30.0]), (1,) * chunks, {}, keys_only)


def by_network(trained: Trained) -> dict[str, list[nn.Parameter]]:
    """The parameters that learn, by the network that they belong to."""
    learning = {id(p) for part in ("network", "passes") for p in trained.parameters_of(part)}
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in trained.named_parameters():
        if id(parameter) in learning:
            found.setdefault(".".join(name.split(".")[:2]), []).append(parameter)
    return found


def is_felt(parameter: nn.Parameter) -> bool:
    """Whether the loss depends on a parameter."""
    return parameter.grad is not None and bool(parameter.grad.any())


# Key frames alone, over two chunks, for the memory between them; and a whole chunk.
@pytest.mark.parametrize(("chunks", "keys_only"), [(2, True), (1, False)])
def test_gradients_are_slopes(double: None, chunks: int, keys_only: bool) -> None:
    torch.set_default_dtype(torch.float32)
    model = load_model("stc-1")
    trained = Trained(start_from(model, model.config))
    settings = Settings(through=True)
    batch = batch_of(chunks, keys_only)
    batch = Engine(trained.network, trained.passes, settings).find_motion(batch)
    torch.set_default_dtype(torch.float64)
    trained.double()
    batch = Batch(
        *(p.double() for p in (batch.y, batch.u, batch.v, batch.quality)),
        batch.trees,
        batch.fields,
        keys_only,
    )
    networks = by_network(trained)
    if not keys_only:
        networks = {
            part: [p for name, some in networks.items() if name.startswith(part) for p in some]
            for part in ("network", "passes")
        }
    for parameters in networks.values():
        for parameter in parameters:
            parameter.requires_grad_(True)
    held = Held()
    with held:
        engine = Engine(trained.network, trained.passes, settings)
        loss = engine.loss(batch).loss
    loss.backward()
    without = [n for n, p in trained.named_parameters() if p.requires_grad and not is_felt(p)]
    assert without == []
    generator = torch.Generator().manual_seed(chunks)

    def loss_at(parameters: list[nn.Parameter], direction: list[Tensor], by: float) -> float:
        before = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            torch._foreach_add_(parameters, direction, alpha=by)
        with held.again():
            found = engine.loss(batch).loss
        with torch.no_grad():
            torch._foreach_copy_(parameters, before)
        return float(found.detach())

    for name, parameters in networks.items():
        # Every number moves, by a part of what is usual in its tensor: up where its gradient is
        # positive, so that nothing cancels.
        direction = []
        for p in parameters:
            size = p.detach().abs().mean() + 1e-3
            up = torch.zeros_like(p) if p.grad is None else p.grad.sign()
            direction.append(size * up.where(up != 0, torch.randn(p.shape, generator=generator)))
        slope = sum(
            float((p.grad * along).sum())
            for p, along in zip(parameters, direction, strict=True)
            if p.grad is not None
        )
        up, down = (loss_at(parameters, direction, by) for by in (STEP, -STEP))
        # Integer networks have units that lie exactly on a kink, with a slope on either side.
        near = 5e-3 if name.startswith("passes") else 1e-5
        assert slope != 0, name
        assert (up - down) / (2 * STEP) == pytest.approx(slope, rel=near), name
