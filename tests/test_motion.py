"""Lifting is exact for any motion, and the search finds motion that is known."""

from __future__ import annotations

import numba
import pytest
import torch

from stcodec.codec import compensation
from stcodec.codec.motion import Fields
from stcodec.codec.patches import Frames
from stcodec.codec.tree import TREES, Step, tree_steps
from stcodec.encoder import sample_kernels
from stcodec.encoder.search import SearchSettings, search

SETTINGS = SearchSettings(bit_cost=0.02, effort=1)


def random_frames(count: int, seed: int, height: int = 48, width: int = 64) -> list[Frames]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(1, 1, height, width)] + [(1, 1, height // 2, width // 2)] * 2
    return [Frames(*(torch.rand(s, generator=generator) for s in shapes)) for _ in range(count)]


def random_fields(
    step: Step, seed: int, multiple: int, height: int = 48, width: int = 64
) -> Fields | None:
    if all(pair == (None, None) for pair in step.references):
        return None
    generator = torch.Generator().manual_seed(seed)
    n = len(step.frames)
    vectors = (
        torch.randint(-30, 31, (n, 2, 2, height // 8, width // 8), generator=generator) * multiple
    )
    modes = torch.randint(0, 3, (n, height // 16, width // 16), generator=generator)
    for i, pair in enumerate(step.references):
        if None in pair:
            modes[i] = 2 if pair[0] is None else 1
    return Fields(vectors.to(torch.int16), modes.to(torch.uint8))


@pytest.mark.parametrize("tree", range(len(TREES)))
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("multiple", [1, 4, 25])
def test_lifting_and_its_inverse(tree: int, first: bool, multiple: int) -> None:
    pictures = random_frames(9, tree)
    frames = dict(enumerate(pictures[1:]))
    before = None if first else pictures[0]
    if before is not None:
        frames[-1] = before
    steps = tree_steps(tree, first)
    fields = [random_fields(step, i, multiple) for i, step in enumerate(steps)]
    bands = tree.lift(frames, steps, fields)
    assert sorted(bands) == list(range(8))
    back = tree.unlift(bands, steps, fields, before)
    for number in range(8):
        for a, b in zip(frames[number], back[number], strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


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


def test_prediction_at_whole_samples_is_a_copy() -> None:
    picture = random_frames(1, 3)[0]
    vectors = torch.zeros(1, 2, 2, 6, 8, dtype=torch.int16)
    vectors[:, :, 0], vectors[:, :, 1] = 8, -16  # two rows down, four columns left
    fields = Fields(vectors, torch.ones(1, 3, 4, dtype=torch.uint8))
    predicted = compensation.predict([picture], [None], fields)
    torch.testing.assert_close(predicted.y[..., :-8, 8:], picture.y[..., 2:-6, 4:-4])
    torch.testing.assert_close(predicted.u[..., :-4, 4:], picture.u[..., 1:-3, 2:-2])


def test_loops_compile_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(cache: bool = False, **options: bool) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**options)

    monkeypatch.setattr(sample_kernels, "njit", njit)
    twice = sample_kernels.compiled(lambda x: 2 * x)
    assert twice(21) == 42
