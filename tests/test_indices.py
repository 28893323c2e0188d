"""Table indices: compiled loops and tensors must find the same, to the last one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stcodec.codec import kernels
from stcodec.codec.indices import FrameIndices, StepContext, frequency_groups
from stcodec.codec.model_files import Model, load_model

ROWS, COLUMNS, CHANNELS = 11, 14, 96


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("stc-1")


def sparse(generator: torch.Generator, shape: tuple[int, ...], largest: int) -> Tensor:
    """Integers of which most are zero, in many rows all."""
    values = torch.randint(-largest, largest + 1, shape, generator=generator)
    some = torch.rand(shape, generator=generator) < 0.05
    rows = torch.rand((*shape[:-1], 1), generator=generator) < 0.5
    return values * some * rows


def context(kind: int, generator: torch.Generator) -> StepContext:
    """A frame between references with symbols, some of them larger than any table."""
    grid = (1, ROWS, COLUMNS)
    references = sparse(generator, (*grid, CHANNELS), 2046).abs().to(torch.int16)
    if kind == 0:
        return StepContext(0, 63, references * 0, None, None)
    modes = torch.randint(0, 3, grid, generator=generator)
    spread = torch.randint(0, 2000, (*grid, 2), generator=generator)
    return StepContext(kind, -2, references, modes, spread)


def found(model: Model, kind: int) -> list[Tensor]:
    """The indices of all groups of all passes of a frame with random symbols."""
    generator = torch.Generator().manual_seed(kind)
    frame = FrameIndices(context(kind, generator))
    indices = []
    for these in frame.passes():
        for group in frequency_groups(model.config.groups, model.scale_networks, kind):
            indices.append(these.indices(group))
            symbols = sparse(generator, tuple(indices[-1].shape), 1500).to(torch.int32)
            rows = torch.nonzero(symbols.any(1))[:, 0]
            these.take(group, rows, symbols[rows])
    return indices


@pytest.mark.parametrize("kind", range(5))
def test_loops_and_tensors_agree(model: Model, kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels.loops() is not None
    by_loops = found(model, kind)
    with kernels.switched_off():
        by_tensors = found(model, kind)
    assert len(by_loops) == len(by_tensors) >= 12
    assert all(torch.equal(a, b) for a, b in zip(by_loops, by_tensors, strict=True))
    assert len(torch.unique(torch.cat([i.view(-1) for i in by_loops]))) > 20
