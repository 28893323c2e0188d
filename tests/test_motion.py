"""The search finds motion that is known."""

from __future__ import annotations

import numba
import pytest
import torch

from stcodec.common import compiled
from stcodec.encoder.search import SearchSettings, search

SETTINGS = SearchSettings(bit_cost=0.02, effort=1)


def texture(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A smooth random texture at any position: a sum of waves of many directions."""
    generator = torch.Generator().manual_seed(5)
    total = torch.zeros_like(x)
    for _ in range(24):
        fy, fx, phase = (torch.rand(3, generator=generator) * 2 - 1).tolist()
        total += torch.sin(0.6 * fy * y + 0.6 * fx * x + 6 * phase)
    return 0.5 + total / 30


def grid(height: int = 96, width: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    return y, x


def found_between(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Vectors in samples from the second picture to the first, [2, H/8, W/8]."""
    fields = search(torch.stack([a, b])[:, None], [(1, 0, None)], SETTINGS)[0]
    return fields.vectors[0, 0].float() / 4


@pytest.mark.parametrize(
    "shift", [(0.0, 0.0), (1.0, -3.0), (2.25, 0.5), (-10.5, 17.75), (0.0, -30.0)]
)
def test_a_pan_is_found_within_a_quarter_sample(shift: tuple[float, float]) -> None:
    y, x = grid()
    found = found_between(texture(y, x), texture(y + shift[0], x + shift[1]))
    inner = found[:, 2:-2, 4:-4]
    wanted = torch.tensor(shift).view(2, 1, 1)
    error = (inner - wanted).abs().amax(0)
    assert (error <= 0.2501).float().mean() > 0.9


def test_a_zoom_is_found_within_a_quarter_sample() -> None:
    y, x = grid()
    scale = 1.03
    found = found_between(texture(y - 48, x - 64), texture((y - 48) * scale, (x - 64) * scale))
    centre_y, centre_x = (torch.arange(n) * 8 + 3.5 for n in (12, 16))
    wanted = torch.stack(
        torch.meshgrid((centre_y - 48) * 0.03, (centre_x - 64) * 0.03, indexing="ij")
    )
    error = (found - wanted).abs()[:, 1:-1, 1:-1]
    # A block has one vector for a motion that varies by 0.24 samples across it.
    assert (error <= 0.3).float().mean() > 0.8


def test_a_moving_foreground_is_separated() -> None:
    y, x = grid()

    def picture(t: int) -> torch.Tensor:
        inside = (x >= 32 + 4 * t) & (x < 96 + 4 * t) & (y >= 32) & (y < 80)
        return torch.where(inside, texture(y * 0.8 + 40, (x - 4 * t) * 0.8), texture(y, x + 2 * t))

    found = found_between(picture(0), picture(1))
    # From the second picture back to the first: the foreground came from the left, the background
    # from the right.
    assert (found[1, 5:9, 5:11] + 4).abs().max() <= 0.25
    assert (found[1, :3] - 2).abs().median() <= 0.25


def test_noise_does_not_move() -> None:
    y, x = grid()
    generator = torch.Generator().manual_seed(1)
    a, b = (texture(y, x) + 0.008 * torch.randn(y.shape, generator=generator) for _ in range(2))
    assert (found_between(a, b) == 0).float().mean() > 0.97


@pytest.mark.parametrize("effort", [0, 1, 2])
def test_a_still_picture_stays(effort: int) -> None:
    y, x = grid()
    picture = texture(y, x)[None, None]
    settings = SearchSettings(bit_cost=0.05, effort=effort)
    pictures = torch.cat([picture] * 3)
    for fields in search(pictures, [(1, 0, 2), (2, 0, None)], settings):
        assert not fields.vectors.any()


def test_loops_compile_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(cache: bool = False, **options: bool) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**options)

    monkeypatch.setattr(compiled, "njit", njit)
    twice = compiled.compiled(lambda x: 2 * x)
    assert twice(21) == 42
