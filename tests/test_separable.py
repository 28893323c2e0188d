"""The transform of a picture: loops and tensors must say the same, but for the last bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stcodec.codec import kernels
from stcodec.codec.network import ModelConfig, Network
from stcodec.codec.patches import Frames, PatchSize


def network(transform: str = "dct", patch: PatchSize | None = None) -> Network:
    patch = patch or PatchSize()
    config = ModelConfig(patch, (6, 24, 48, patch.channels), transform=transform)
    return Network(config).requires_grad_(False)


def picture(height: int, width: int) -> Frames:
    generator = torch.Generator().manual_seed(height)
    sizes = (height, width), *((height // 2, width // 2),) * 2
    return Frames(*(torch.rand(1, 1, *size, generator=generator) for size in sizes))


def both(made: Network, frames: Frames) -> list[tuple[Tensor, Frames]]:
    """Coefficients, and pictures of others, with loops and without."""
    assert kernels.loops() is not None
    with torch.no_grad():
        looped = made.coefficients(frames), made.pictures(made.coefficients(frames) * 0.5)
        with kernels.switched_off():
            wanted = made.coefficients(frames)
            return [looped, (wanted, made.pictures(wanted * 0.5))]


@pytest.mark.parametrize("transform", ["dct", "dwt"])
@pytest.mark.parametrize("size", [(16, 16), (48, 80), (32, 368), (24, 40)])
def test_loops_and_tensors_agree(transform: str, size: tuple[int, int]) -> None:
    frames = picture(*size)
    looped, wanted = both(network(transform), frames)
    assert looped[0].shape == wanted[0].shape
    torch.testing.assert_close(looped[0], wanted[0], rtol=0.0, atol=1e-5)
    for one, other, source in zip(looped[1], wanted[1], frames, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=0.0, atol=1e-5)
        torch.testing.assert_close(one, source * 0.5, rtol=0.0, atol=1e-5)


def test_planes_that_lie_apart_in_memory_are_transformed() -> None:
    frames = Frames(*(plane.transpose(2, 3) for plane in picture(48, 80)))
    looped, wanted = both(network(), frames)
    torch.testing.assert_close(looped[0], wanted[0], rtol=0.0, atol=1e-5)


def test_a_basis_of_a_models_own_counts() -> None:
    made = network()
    frames = picture(32, 32)
    both(made, frames)
    made.basis.copy_(made.basis.flip(1))
    looped, wanted = both(made, frames)
    torch.testing.assert_close(looped[0], wanted[0], rtol=0.0, atol=1e-5)
    torch.testing.assert_close(looped[1].y, wanted[1].y, rtol=0.0, atol=1e-5)
