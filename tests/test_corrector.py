"""Prior and filter: loops and tensors must say the same, but for the last bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stcodec.codec import kernels
from stcodec.codec.network import ModelConfig, Network
from stcodec.codec.patches import PatchSize


def network(width: int, memory: int, patch: PatchSize) -> Network:
    """One with random weights, which say something."""
    torch.manual_seed(width)
    groups = (6, 24, 48, patch.channels)
    made = Network(ModelConfig(patch, groups, width, 1, 2, memory)).requires_grad_(False)
    for layer in made.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
            nn.init.normal_(layer.bias, std=0.1)
    nn.init.normal_(made.prior.condition.kind, std=0.1)
    nn.init.normal_(made.filter.condition.quality, std=0.1)
    return made


@torch.no_grad()
def said(made: Network, rows: int, columns: int) -> list[Tensor]:
    """What prior and filter make of random coefficients: relative to those, and in all."""
    generator = torch.Generator().manual_seed(rows)

    def grid(channels: int, size: float) -> Tensor:
        return torch.randn((1, channels, rows, columns), generator=generator) * size

    channels = made.config.patch.channels
    quality, kind = torch.tensor([21.5]), torch.tensor([1])
    step = made.step(quality, kind)
    predicted = grid(channels, 0.3)
    mean = made.predict(predicted, grid(made.config.memory, 1.0), step, quality, kind)
    decoded = mean + (grid(channels, 0.5) * (grid(1, 1.0) < 0)).round()
    restored, features = made.restore(decoded, mean, predicted, step, quality, kind)
    assert features is not None
    return [mean - predicted, restored - decoded, features]


@pytest.mark.parametrize("grid", [(1, 1), (3, 7), (9, 20)])
@pytest.mark.parametrize(
    ("width", "memory", "patch"),
    [
        (96, 24, PatchSize()),
        (24, 0, PatchSize()),
        (48, 4, PatchSize()),
        (32, 5, PatchSize(h=16, w=8)),
    ],
)
def test_loops_and_tensors_agree(
    width: int, memory: int, patch: PatchSize, grid: tuple[int, int]
) -> None:
    made = network(width, memory, patch)
    assert kernels.loops() is not None
    looped = said(made, *grid)
    with kernels.switched_off():
        wanted = said(made, *grid)
    for one, other in zip(looped, wanted, strict=True):
        assert one.shape == other.shape
        assert other.abs().max() > 0.01
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-5)


def test_weights_that_change_are_laid_out_anew() -> None:
    made = network(16, 0, PatchSize())
    before = said(made, 2, 3)
    made.filter_out.bias.add_(1.0)
    made.prior.blocks[0].merge.weight.data = torch.zeros(16, 16, 1, 1)
    looped = said(made, 2, 3)
    with kernels.switched_off():
        wanted = said(made, 2, 3)
    for one, old, other in zip(looped, before, wanted, strict=True):
        assert not torch.allclose(one, old)
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-5)
