"""The encoder's choice of motion: it keeps what pays, drops what does not, and says exactly what a
decoder will have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from stcodec.codec.entropy import SymbolReader, SymbolWriter
from stcodec.codec.model_files import load_model
from stcodec.codec.motion import BI, FIRST, SECOND, Fields
from stcodec.codec.vectors import FieldShape, code_fields
from stcodec.encoder.choice import Prices, choose_fields
from stcodec.encoder.search import in_bytes

TABLES = load_model("dct").vector_tables
ROWS, COLUMNS = 5, 7


def chosen_fields(current: torch.Tensor, *others: Any) -> Fields:
    """What is chosen for a picture in [0, 1]."""
    return choose_fields(in_bytes(current), *others)


def texture(seed: int) -> torch.Tensor:
    """Smooth noise [ROWS 16, COLUMNS 16] in [0, 1]."""
    noise = torch.from_numpy(
        np.random.default_rng(seed).random((1, 1, ROWS * 8, COLUMNS * 8))
    ).float()
    return torch.nn.functional.interpolate(noise, scale_factor=2, mode="bicubic").clamp(0, 1)[0, 0]


def fields(vector: tuple[int, int], noise: int = 0) -> Fields:
    """The same vector in all blocks and of both references, or with random 8x8 differences."""
    vectors = (
        torch.tensor(vector, dtype=torch.int16)
        .view(1, 1, 2, 1, 1)
        .repeat(1, 2, 1, ROWS * 2, COLUMNS * 2)
    )
    if noise:
        vectors += torch.from_numpy(
            np.random.default_rng(1).integers(-noise, noise + 1, vectors.shape).astype(np.int16)
        )
    return Fields(vectors, torch.zeros(1, ROWS, COLUMNS, dtype=torch.uint8))


def prices(step: float = 0.05) -> Prices:
    return Prices.of(torch.full((8, 8), step), 0.25, TABLES)


def test_motion_that_pays_is_kept_and_splits_that_do_not_are_dropped() -> None:
    reference = texture(0)
    current = reference.roll((-2, 3), (0, 1))  # from (y + 2, x - 3) of the reference
    moved = chosen_fields(current, (reference, None), fields((8, -12)), None, prices())
    inner = moved.vectors[0, 0, :, 2:-2, 2:-2]
    assert (inner == torch.tensor([8, -12], dtype=torch.int16).view(2, 1, 1)).all()
    # Nothing moves, so no vector can be worth its bits.
    still = chosen_fields(reference, (reference, None), fields((0, 0), noise=9), None, prices())
    assert not still.vectors[0, 0].any()
    assert (moved.modes == FIRST).all() and (still.modes == FIRST).all()


def test_the_reference_that_predicts_is_taken_alone_and_both_where_they_average_out() -> None:
    current, other = texture(0), texture(1)
    found = fields((0, 0))
    assert (chosen_fields(current, (current, other), found, None, prices()).modes == FIRST).all()
    assert (chosen_fields(current, (other, current), found, None, prices()).modes == SECOND).all()
    noise = 0.2 * (texture(2) - 0.5)
    middle = 0.25 + 0.5 * current
    assert (
        chosen_fields(middle, (middle + noise, middle - noise), found, None, prices()).modes == BI
    ).all()


@pytest.mark.parametrize("pair", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("hinted", [False, True])
def test_what_is_chosen_is_what_a_decoder_has(pair: tuple[bool, bool], hinted: bool) -> None:
    references = tuple(texture(3 + i) if there else None for i, there in enumerate(pair))
    current = torch.stack([r for r in references if r is not None]).mean(0).roll(1, 1)
    hints = (
        np.random.default_rng(5).integers(-20, 20, (1, 2, 2, ROWS, COLUMNS)).astype(np.int32)
        if hinted
        else None
    )
    chosen = chosen_fields(
        current, (references[0], references[1]), fields((3, -5), noise=6), hints, prices(0.02)
    )
    shape, available = FieldShape(1, ROWS, COLUMNS), np.array([pair])
    writer = SymbolWriter()
    written = code_fields(writer, chosen, shape, available, hints, TABLES)
    read = code_fields(SymbolReader(writer.finish()), None, shape, available, hints, TABLES)
    assert torch.equal(read.modes, chosen.modes) and torch.equal(written.modes, chosen.modes)
    assert torch.equal(read.vectors, written.vectors)
    for side, other in ((0, SECOND), (1, FIRST)):
        used = (chosen.modes != other).repeat_interleave(2, 1).repeat_interleave(2, 2) & pair[side]
        assert torch.equal(
            read.vectors[:, side].permute(0, 2, 3, 1)[used],
            chosen.vectors[:, side].permute(0, 2, 3, 1)[used],
        )
