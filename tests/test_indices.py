"""Indices, symbols and what these stand for: loops and tensors must find the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stcodec.codec import kernels
from stcodec.codec.indices import FrameIndices, StepContext, frequency_groups
from stcodec.codec.model_files import Model, load_model
from stcodec.encoder.quantiser import in_loop, with_tensors

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


def found(model: Model, kind: int) -> tuple[list[Tensor], list[Tensor]]:
    """Of a frame with random symbols, the indices of all groups of all passes, and what symbols
    stand for."""
    generator = torch.Generator().manual_seed(kind)
    frame = FrameIndices(context(kind, generator))
    indices: list[Tensor] = []
    values: list[Tensor] = []
    for these in frame.passes():
        for group in frequency_groups(model.config.groups, model.scale_networks, kind):
            indices.append(these.indices(group))
            symbols = sparse(generator, tuple(indices[-1].shape), 1500).to(torch.int32)
            values += these.take(group, symbols, indices[-1], model.network.centroids)
    return indices, [*values, frame.magnitudes, frame.some]


@pytest.mark.parametrize("kind", range(5))
def test_loops_and_tensors_agree(model: Model, kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels.loops() is not None
    by_loops, looped = found(model, kind)
    with kernels.switched_off():
        by_tensors, with_tensors = found(model, kind)
    assert len(by_loops) == len(by_tensors) >= 12
    assert all(torch.equal(a, b) for a, b in zip(by_loops, by_tensors, strict=True))
    assert len(torch.unique(torch.cat([i.view(-1) for i in by_loops]))) > 20
    assert all(torch.equal(a, b) for a, b in zip(looped, with_tensors, strict=True))
    assert sum(len(t) for t in looped) > 1000


@pytest.mark.parametrize("least", [0, 1])
def test_symbols_are_chosen_alike(model: Model, least: int) -> None:
    generator = torch.Generator().manual_seed(least)
    costs = torch.from_numpy(model.tables.costs())
    scaled = torch.randn((900, 48), generator=generator) * 3
    scaled[0, :3] = torch.tensor([1e9, -1e9, 0.0])
    index = torch.randint(0, len(costs), scaled.shape, generator=generator).to(torch.uint8)
    price = torch.rand(900, generator=generator) * 0.2 + 0.05
    prices = price, torch.rand(48, generator=generator) + 0.5
    symbols, lost = in_loop(scaled, index, least, costs, prices)
    wanted, wanted_lost = with_tensors(scaled, index, least, costs, prices)
    # Where two candidates cost the same, the last bit decides.
    assert (symbols != wanted).sum() <= 2
    assert lost == pytest.approx(wanted_lost, rel=1e-3, abs=1e-3)
    assert (lost > 100) == (least == 0)


def test_networks_see_alike(model: Model) -> None:
    """To the last bits of float32: the logarithm is one of our own."""
    generator = torch.Generator().manual_seed(3)
    size = torch.rand((3, 1, CHANNELS, 5, 7), generator=generator) * 12 - 6
    grids = list(torch.randn(size.shape, generator=generator) * 10**size)
    grids = [grid.contiguous(memory_format=torch.channels_last) for grid in grids]
    quality, kind = torch.tensor([30.0]), torch.tensor([1])
    step = model.network.step(quality, kind)
    with torch.no_grad():
        restored, _ = model.network.restore(*grids, step, quality, kind)
        with kernels.switched_off():
            wanted, _ = model.network.restore(*grids, step, quality, kind)
    assert torch.allclose(restored, wanted, rtol=1e-4, atol=1e-4 * float(step.max()))
    assert not torch.equal(wanted, grids[0])
