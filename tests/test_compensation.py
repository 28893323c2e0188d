"""Prediction against a plain reading of docs/format.md: one pixel after the other, in double
precision."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from stcodec.codec import compensation, kernels
from stcodec.codec.motion import BI, FIRST, SECOND, Fields
from stcodec.codec.patches import Frames

HEIGHT, WIDTH = 32, 48


def picture(seed: int) -> Frames:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(1, 1, HEIGHT, WIDTH)] + [(1, 1, HEIGHT // 2, WIDTH // 2)] * 2
    return Frames(*(torch.rand(s, generator=generator) for s in shapes))


@functools.cache
def filter_of(part: float, taps: int) -> np.ndarray:
    """Weights of the `taps` samples around a position `part` (0..1) after a sample; the first is
    taps / 2 - 1 samples before that one."""
    weights = []
    for k in range(1 - taps // 2, taps // 2 + 1):
        x = k - part
        sinc = 1.0 if x == 0 else math.sin(math.pi * x) / (math.pi * x)
        weights.append(sinc * math.cos(math.pi * x / (taps + 1)))
    return np.array(weights) / sum(weights)


def sample(plane: np.ndarray, y: int, x: int, vector: np.ndarray, taps: int, units: int) -> float:
    """The value at (y, x) + vector / units; beyond the edge the nearest sample counts."""
    (top, down), (left, right) = (divmod(int(v), units) for v in vector)
    near = np.arange(1 - taps // 2, taps // 2 + 1)
    rows = np.clip(y + top + near, 0, plane.shape[0] - 1)
    columns = np.clip(x + left + near, 0, plane.shape[1] - 1)
    window = plane[np.ix_(rows, columns)]
    return float(filter_of(down / units, taps) @ window @ filter_of(right / units, taps))


def shares(at: int, block: int, overlap: int, count: int) -> list[tuple[int, float]]:
    """The blocks that reach a row or column, and their weights; one outside the picture is a copy
    of the nearest inside."""
    found = []
    own = at // block
    for number in (own - 1, own, own + 1):
        inside = at - number * block + overlap  # position in the block with its margins
        if 0 <= inside < block + 2 * overlap:
            from_edge = min(inside, block + 2 * overlap - 1 - inside)
            weight = min(1.0, (from_edge + 0.5) / (2 * overlap))
            found.append((min(max(number, 0), count - 1), weight))
    return found


def plain_plane(
    first: np.ndarray | None,
    second: np.ndarray | None,
    vectors: np.ndarray,
    modes: np.ndarray,
    luma: bool,
) -> np.ndarray:
    """One plane of one frame: vectors [2, 2, H/8, W/8], modes [H/16, W/16]."""
    block, overlap, taps, units = (8, 2, 8, 4) if luma else (4, 1, 4, 8)
    rows, columns = vectors.shape[2:]
    predicted = np.zeros((rows * block, columns * block))
    for y in range(rows * block):
        for x in range(columns * block):
            for row, down in shares(y, block, overlap, rows):
                for column, right in shares(x, block, overlap, columns):
                    mode = modes[row // 2, column // 2]
                    values = [
                        sample(plane, y, x, vectors[side, :, row, column], taps, units)
                        for side, plane in enumerate((first, second))
                        if plane is not None and mode in (BI, side + 1)
                    ]
                    predicted[y, x] += down * right * sum(values) / len(values)
    return predicted


@pytest.fixture(params=["loops", "tensors"], autouse=True)
def _arithmetic(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test here is one of both ways to compute the same."""
    assert kernels.loops() is not None
    with kernels.switched_off() if request.param == "tensors" else contextlib.nullcontext():
        yield


def motion(seed: int, size: int, split: float, modes: tuple[int, ...]) -> Fields:
    """Motion of two frames: vectors up to `size`; so many of the 16x16 blocks are split; each
    mode as often as the others."""
    rng = np.random.default_rng(seed)
    rows, columns = HEIGHT // 16, WIDTH // 16
    whole = rng.integers(-size, size + 1, (2, 2, 2, rows, columns)).repeat(2, 3).repeat(2, 4)
    own = rng.integers(-size, size + 1, whole.shape)
    chosen = (rng.random((2, 1, 1, rows, columns)) < split).repeat(2, 3).repeat(2, 4)
    return Fields(
        torch.from_numpy(np.where(chosen, own, whole).astype(np.int16)),
        torch.from_numpy(
            rng.permutation(np.resize(modes, 2 * rows * columns)).reshape(2, rows, columns)
        ).to(torch.uint8),
    )


def assert_predicted(
    first: list[Frames | None], second: list[Frames | None], fields: Fields
) -> Frames:
    """Compare all planes of all frames with the plain reading."""
    found = compensation.predict(first, second, fields)
    vectors, modes = fields.vectors.numpy(), fields.modes.numpy()
    for i, pair in enumerate(zip(first, second, strict=True)):
        for index, plane in enumerate(found):
            sides = [None if r is None else list(r)[index][0, 0].double().numpy() for r in pair]
            wanted = plain_plane(sides[0], sides[1], vectors[i], modes[i], index == 0)
            np.testing.assert_allclose(plane[i, 0].numpy(), wanted, atol=2e-6, rtol=0)
    return found


# A vector of 12 is three luma samples; 150 leave the picture; 4000 leave it and all its margins.
@pytest.mark.parametrize("size", [12, 150, 4000])
@pytest.mark.parametrize("split", [0.0, 0.5])
def test_any_motion(size: int, split: float) -> None:
    fields = motion(size, size, split, (BI, FIRST, SECOND))
    assert_predicted([picture(0), picture(1)], [picture(2), picture(3)], fields)


@pytest.mark.parametrize("mode", [FIRST, SECOND])
def test_one_reference(mode: int) -> None:
    """The other one may be missing, and its vectors do not matter."""
    fields = motion(7, 40, 0.5, (mode,))
    there: list[Frames | None] = [picture(0), picture(1)]
    sides = (there, [None, None]) if mode == FIRST else ([None, None], there)
    found = assert_predicted(*sides, fields)
    unused = fields.vectors.clone()
    unused[:, 2 - mode] += 5
    again = compensation.predict(*sides, Fields(unused, fields.modes))
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


@pytest.mark.parametrize("phase", range(16))
def test_every_phase(phase: int) -> None:
    """All 4 x 4 positions between luma samples, and as many of the 8 x 8 of chroma, a frame
    each."""
    vectors = torch.zeros(1, 2, 2, HEIGHT // 8, WIDTH // 8, dtype=torch.int16)
    vectors[:, 0, 0], vectors[:, 0, 1] = phase // 4 - 4, phase % 4 + 4
    fields = Fields(vectors, torch.full((1, HEIGHT // 16, WIDTH // 16), FIRST, dtype=torch.uint8))
    found = compensation.predict([picture(4)], [None], fields)
    for index, plane in enumerate(found):
        taps, units = (8, 4) if index == 0 else (4, 8)
        reference = list(picture(4))[index][0, 0].double().numpy()
        # Where all vectors are equal, blending changes nothing.
        wanted = [
            [
                sample(reference, y, x, vectors[0, 0, :, 0, 0].numpy(), taps, units)
                for x in range(16)
            ]
            for y in range(16)
        ]
        np.testing.assert_allclose(plane[0, 0, :16, :16].numpy(), wanted, atol=2e-6, rtol=0)


def test_whole_samples_are_copied() -> None:
    there = picture(3)
    vectors = torch.zeros(1, 2, 2, HEIGHT // 8, WIDTH // 8, dtype=torch.int16)
    vectors[:, :, 0], vectors[:, :, 1] = 8, -16  # two rows down, four columns left
    fields = Fields(vectors, torch.ones(1, HEIGHT // 16, WIDTH // 16, dtype=torch.uint8))
    predicted = compensation.predict([there], [None], fields)
    torch.testing.assert_close(predicted.y[..., :-8, 8:], there.y[..., 2:-6, 4:-4])
    torch.testing.assert_close(predicted.u[..., :-4, 4:], there.u[..., 1:-3, 2:-2])


def test_a_missing_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="missing"):
        compensation.predict([picture(0)] * 2, [None, None], motion(1, 9, 0.5, (BI,)))
