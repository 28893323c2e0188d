"""Patches that are left as they are, and the numbers that their samples are told by."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch

from stcodec.codec.exact import copied
from stcodec.codec.motion import Fields
from stcodec.codec.palette_kernels import _SQUASH, _STRETCH
from stcodec.codec.patches import PatchSize

HEIGHT, WIDTH = 48, 80


def random_fields(rng: np.random.Generator) -> Fields:
    """Motion of 48x80 samples: mostly by whole ones, also to beyond the edges, and often none."""
    shape = 1, 2, 2, HEIGHT // 8, WIDTH // 8
    vectors = 4 * rng.integers(-12, 13, shape)
    vectors[rng.random(shape) < 0.1] *= 25
    vectors += np.where(rng.random(shape) < 0.05, rng.integers(1, 4, shape), 0)
    vectors *= rng.random((*shape[:2], 1, *shape[3:])) < 0.6
    modes = rng.integers(0, 3, (1, HEIGHT // 16, WIDTH // 16))
    return Fields(
        torch.from_numpy(vectors.astype(np.int16)), torch.from_numpy(modes.astype(np.uint8))
    )


def is_copy(
    fields: Fields, exact: list[np.ndarray | None], h: int, w: int, row: int, column: int
) -> bool:
    """Whether the 8x8 samples in a place are copied, sample by sample."""
    mode = int(fields.modes[0, row // 2, column // 2])
    for side in [(0, 1), (0,), (1,)][mode]:
        known = exact[side]
        dy, dx = fields.vectors[0, side, :, row, column].tolist()
        if known is None or dy % 4 or dx % 4:
            return False
        for y in range(8 * row, 8 * row + 8):
            for x in range(8 * column, 8 * column + 8):
                from_y = min(max(y + dy // 4, 0), HEIGHT - 1)
                from_x = min(max(x + dx // 4, 0), WIDTH - 1)
                if not known[from_y // h, from_x // w]:
                    return False
    return True


def expected(fields: Fields, exact: list[np.ndarray | None], h: int, w: int) -> np.ndarray:
    found = np.ones((HEIGHT // h, WIDTH // w), bool)
    for row, column in np.ndindex(HEIGHT // 8, WIDTH // 8):
        if not is_copy(fields, exact, h, w, row, column):
            for y in range(8 * row, 8 * row + 8):
                found[y // h, 8 * column // w : (8 * column + 7) // w + 1] = False
    return found


@pytest.mark.parametrize(("h", "w"), [(4, 4), (8, 8), (16, 16), (8, 16), (16, 8), (4, 8)])
def test_copies_are_found(h: int, w: int) -> None:
    rng = np.random.default_rng(h + 100 * w)
    total = 0
    for round_ in range(6):
        fields = random_fields(rng)
        shape = HEIGHT // h, WIDTH // w
        exact: list[np.ndarray | None] = [rng.random(shape) < 1 - 0.0002 * h * w for _ in range(2)]
        if round_ > 3:
            exact[round_ % 2] = None
        wanted, found = expected(fields, exact, h, w), copied(fields, exact, PatchSize(8, h, w))
        total += int(wanted.sum())
        assert (found is None) == (not wanted.any())
        if found is not None:
            np.testing.assert_array_equal(found, wanted)
    assert total > 10


def test_what_is_copied_from_nothing_is_nothing() -> None:
    fields = random_fields(np.random.default_rng(1))
    assert copied(fields, [None, None], PatchSize(8, 8, 8)) is None
    nowhere = np.zeros((HEIGHT // 8, WIDTH // 8), bool)
    assert copied(fields, [nowhere, nowhere], PatchSize(8, 8, 8)) is None


def test_tables_of_the_mixer_are_the_same_on_every_machine() -> None:
    """They are made by floating point and rounded: no value lies where that could go either way."""
    least = Decimal("1e-7")
    with localcontext() as context:
        context.prec = 40
        for at in range(1, 4096):
            logit = Decimal(at - 2048) / 256
            value = 4096 / (1 + (-logit).exp())
            # Half is found exactly.
            assert at == 2048 or abs(value - value.to_integral_value()) > least
            assert min(max(int(value), 1), 4095) == _SQUASH[at]
        for at in range(4096):
            p = Decimal(at) + Decimal("0.5")
            value = 256 * (p / (4096 - p)).ln()
            assert abs(abs(value % 1) - Decimal("0.5")) > least
            assert min(max(int(value.to_integral_value()), -2047), 2047) == _STRETCH[at]
