"""Vectors come back exactly, and still ones cost next to nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stcodec.codec.entropy import SymbolReader, SymbolWriter
from stcodec.codec.model_files import load_model
from stcodec.codec.motion import SECOND, Fields
from stcodec.codec.vectors import LIMIT, FieldShape, code_fields, default_tables
from stcodec.errors import DamagedFileError

TABLES = default_tables()


def random_case(
    seed: int, n: int, rows: int, columns: int, size: int
) -> tuple[Fields, FieldShape, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = FieldShape(n, rows, columns)
    available = rng.random((n, 2)) < 0.7
    available[~available.any(1), 0] = True
    whole = rng.integers(-size, size + 1, (n, 2, 2, rows, columns))
    fine = whole.repeat(2, 3).repeat(2, 4)
    split = (rng.random((n, 1, 1, rows, columns)) < 0.3).repeat(2, 3).repeat(2, 4)
    fine = np.where(split, fine + rng.integers(-2, 3, fine.shape), fine)
    modes = rng.integers(0, 3, (n, rows, columns))
    modes[~available[:, 1]] = 1
    modes[~available[:, 0]] = 2
    hints = rng.integers(-size, size + 1, (n, 2, 2, rows, columns))
    fields = Fields(
        torch.from_numpy(fine.astype(np.int16)), torch.from_numpy(modes.astype(np.uint8))
    )
    return fields, shape, available, hints


@settings(max_examples=40)
@given(
    st.integers(0, 10**6),
    st.integers(1, 4),
    st.integers(1, 11),
    st.integers(1, 13),
    st.sampled_from([0, 3, 60, 4000]),
)
def test_round_trip(seed: int, n: int, rows: int, columns: int, size: int) -> None:
    fields, shape, available, hints = random_case(seed, n, rows, columns, size)
    writer = SymbolWriter()
    written = code_fields(writer, fields, shape, available, hints, TABLES)
    reader = SymbolReader(writer.finish())
    read = code_fields(reader, None, shape, available, hints, TABLES)
    reader.finish()
    assert torch.equal(written.vectors, read.vectors)
    assert torch.equal(written.modes, read.modes)
    assert torch.equal(fields.modes, read.modes)
    fine_modes = fields.modes.repeat_interleave(2, 1).repeat_interleave(2, 2)
    for side, other in ((0, 2), (1, 1)):
        used = (fine_modes != other) & torch.from_numpy(available[:, side])[:, None, None]
        used = used[:, None].expand(-1, 2, -1, -1)
        assert torch.equal(fields.vectors[:, side][used], read.vectors[:, side][used])


@pytest.mark.parametrize("vector", [(0, 0), (3, -17)])
def test_uniform_motion_costs_little(vector: tuple[int, int]) -> None:
    tables = load_model("dct").vector_tables
    vectors = torch.tensor(vector, dtype=torch.int16).view(1, 1, 2, 1, 1).expand(2, 2, 2, 46, 80)
    fields = Fields(vectors, torch.zeros(2, 23, 40, dtype=torch.uint8))
    writer = SymbolWriter()
    code_fields(writer, fields, FieldShape(2, 23, 40), np.ones((2, 2), bool), None, tables)
    assert writer.bits / (2 * 23 * 40) < 0.35


def test_garbage_is_refused_and_never_out_of_range() -> None:
    rng = np.random.default_rng(2)
    shape, available = FieldShape(2, 5, 7), np.ones((2, 2), bool)
    refused = 0
    for words in range(1, 61):
        data = rng.integers(1, 2**32, words, dtype=np.uint32).astype("<u4").tobytes()
        reader = SymbolReader(data)
        try:
            read = code_fields(reader, None, shape, available, None, TABLES)
        except DamagedFileError:
            refused += 1
            continue
        assert read.vectors.shape == (2, 2, 2, 10, 14) and read.modes.shape == (2, 5, 7)
        assert int(read.vectors.abs().max()) <= LIMIT
        assert int(read.modes.max()) <= SECOND
    assert refused < 50, "most of these have to get as far as that"
