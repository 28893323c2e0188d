"""The encoder's choice of motion: it keeps what pays, drops what does not, and says exactly what a
decoder will have."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from stcodec.codec import candidate_kernels, vector_kernels, vectors
from stcodec.codec.model_files import load_model
from stcodec.codec.motion import BI, FIRST, SECOND, Fields
from stcodec.codec.range_kernels import PRICE, SPENT
from stcodec.codec.vectors import FieldShape, MotionContexts, MotionStream, open_field
from stcodec.encoder import tuning
from stcodec.encoder.choice import Prices, choose_fields, padded
from stcodec.encoder.search import in_bytes

START = load_model("dct").motion_start
ROWS, COLUMNS = 5, 7
KIND = 2
Pair = tuple[torch.Tensor | None, torch.Tensor | None]


def no_hints(rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    return np.zeros((0, rows, columns, 4), np.int32)


def new_stream() -> MotionStream:
    return MotionContexts(START).stream(None)


def chosen_fields(
    current: torch.Tensor, references: Pair, found: Fields, prices: Prices, hints: np.ndarray
) -> Fields:
    """What is chosen for a picture in [0, 1]."""
    counter = new_stream().counter(KIND)
    first, second = (None if r is None else padded(r[None, None]) for r in references)
    return choose_fields(in_bytes(current), (first, second), found, hints, counter, prices)


def texture(seed: int, rows: int = ROWS, columns: int = COLUMNS) -> torch.Tensor:
    """Smooth noise [rows 16, columns 16] in [0, 1]."""
    noise = torch.from_numpy(
        np.random.default_rng(seed).random((1, 1, rows * 8, columns * 8))
    ).float()
    return torch.nn.functional.interpolate(noise, scale_factor=2, mode="bicubic").clamp(0, 1)[0, 0]


def fields(
    vector: tuple[int, int], noise: int = 0, rows: int = ROWS, columns: int = COLUMNS
) -> Fields:
    """The same vector in all blocks and of both references, or with random 8x8 differences."""
    vectors = (
        torch.tensor(vector, dtype=torch.int16)
        .view(1, 1, 2, 1, 1)
        .repeat(1, 2, 1, rows * 2, columns * 2)
    )
    if noise:
        vectors += torch.from_numpy(
            np.random.default_rng(1).integers(-noise, noise + 1, vectors.shape).astype(np.int16)
        )
    return Fields(vectors, torch.zeros(1, rows, columns, dtype=torch.uint8))


def prices(step: float = 0.05) -> Prices:
    return Prices.of(torch.full((8, 8), step), 0.25)


def test_motion_that_pays_is_kept_and_parts_that_do_not_are_dropped() -> None:
    reference = texture(0)
    current = reference.roll((-2, 3), (0, 1))  # from (y + 2, x - 3) of the reference
    moved = chosen_fields(current, (reference, None), fields((8, -12)), prices(), no_hints())
    inner = moved.vectors[0, 0, :, 2:-2, 2:-2]
    assert (inner == torch.tensor([8, -12], dtype=torch.int16).view(2, 1, 1)).all()
    # Nothing moves, so no vector can be worth its bits.
    noise = fields((0, 0), noise=9)
    still = chosen_fields(reference, (reference, None), noise, prices(), no_hints())
    assert not still.vectors[0, 0].any()
    assert (moved.modes == FIRST).all() and (still.modes == FIRST).all()


def test_the_reference_that_predicts_is_taken_alone_and_both_where_they_average_out() -> None:
    current, other = texture(0), texture(1)
    found = fields((0, 0))

    def modes(picture: torch.Tensor, *references: torch.Tensor) -> torch.Tensor:
        pair = references[0], references[1]
        return chosen_fields(picture, pair, found, prices(), no_hints()).modes

    assert (modes(current, current, other) == FIRST).all()
    assert (modes(current, other, current) == SECOND).all()
    noise = 0.2 * (texture(2) - 0.5)
    middle = 0.25 + 0.5 * current
    assert (modes(middle, middle + noise, middle - noise) == BI).all()


def test_parts_that_move_differently_are_told() -> None:
    reference = texture(0)
    current = reference.clone()
    current[32:40, 48:56] = reference[34:42, 45:53]
    found = fields((0, 0))
    found.vectors[0, :, :, 4, 6] = torch.tensor([8, -12], dtype=torch.int16)
    chosen = chosen_fields(current, (reference, None), found, prices(0.02), no_hints())
    wanted = torch.zeros_like(found.vectors[0, 0])
    wanted[:, 4, 6] = torch.tensor([8, -12], dtype=torch.int16)
    assert torch.equal(chosen.vectors[0, 0], wanted)


def random_hints(count: int, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.integers(-20, 20, (count, rows, columns, 4)).astype(np.int32)


@pytest.mark.parametrize("pair", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("hinted", [0, 1, 2])
def test_what_is_chosen_is_what_a_decoder_has(pair: tuple[bool, bool], hinted: int) -> None:
    references = tuple(texture(3 + i) if there else None for i, there in enumerate(pair))
    current = torch.stack([r for r in references if r is not None]).mean(0).roll(1, 1)
    hints, shape = random_hints(hinted), FieldShape(1, ROWS, COLUMNS)
    both = references[0], references[1]
    chosen = chosen_fields(current, both, fields((3, -5), noise=6), prices(0.02), hints)
    stream = new_stream()
    written = stream.code(KIND, open_field(shape, pair, hints), chosen)
    reader = MotionContexts(START).stream(stream.finish())
    read = reader.code(KIND, open_field(shape, pair, hints), None)
    reader.check_end()
    assert torch.equal(read.modes, chosen.modes) and torch.equal(written.modes, chosen.modes)
    assert torch.equal(read.vectors, written.vectors)
    for side, other in ((0, SECOND), (1, FIRST)):
        used = (chosen.modes != other).repeat_interleave(2, 1).repeat_interleave(2, 2) & pair[side]
        assert torch.equal(
            read.vectors[:, side].permute(0, 2, 3, 1)[used],
            chosen.vectors[:, side].permute(0, 2, 3, 1)[used],
        )


STEP, BIT = 0.03, 0.25


def units_of(motion: Fields) -> np.ndarray:
    """What `code_field` takes: a row of integers for each unit."""
    units = np.zeros((*motion.modes.shape[1:], candidate_kernels.UNIT_COLUMNS), np.int32)
    units[..., 0] = motion.modes[0].numpy()
    units[..., candidate_kernels.VECTORS :] = vectors.parts_of(motion.vectors[0].numpy())
    return units


def bits_of(motion: Fields, pair: tuple[bool, bool], hints: np.ndarray) -> float:
    """What a frame's motion takes, if nothing is learned from it."""
    _, rows, columns = motion.modes.shape
    units = units_of(motion)
    counter = new_stream().counter(KIND)
    field = open_field(FieldShape(1, rows, columns), pair, hints)
    assert vector_kernels.code_field(counter, field, units, *candidate_kernels.room())
    return float(counter.state[SPENT]) / PRICE


def cost_of(current: torch.Tensor, references: Pair, motion: Fields, hints: np.ndarray) -> float:
    """What a frame costs under vectors of whole samples, in units of step**2: its motion, and the
    DCT of what is left of each 8x8 samples, coded or dropped."""
    picture = in_bytes(current).astype(float)
    height, width = picture.shape
    planes = [None if r is None else np.pad(in_bytes(r), 64, mode="edge") for r in references]
    residual = np.zeros_like(picture)
    for y, x in itertools.product(range(0, height, 8), range(0, width, 8)):
        mode, seen = int(motion.modes[0, y // 16, x // 16]), []
        for side in (0, 1):
            plane = planes[side]
            if mode == 2 - side or plane is None:
                continue
            dy, dx = (int(v) // 4 for v in motion.vectors[0, side, :, y // 8, x // 8])
            seen.append(plane[64 + y + dy : 72 + y + dy, 64 + x + dx : 72 + x + dx])
        residual[y : y + 8, x : x + 8] = picture[y : y + 8, x : x + 8] - np.mean(seen, 0)
    k, i = np.arange(8)[:, None], np.arange(8)[None]
    basis = np.sqrt(np.where(k, 2, 1) / 8) * np.cos(np.pi * (2 * i + 1) * k / 16)
    blocks = residual.reshape(height // 8, 8, width // 8, 8).transpose(0, 2, 1, 3)
    sizes = np.abs(basis @ blocks @ basis.T) / (255 * STEP)
    options = [sizes**2]
    for t in tuning.TANGENTS:
        slope = BIT * tuning.BITS_PER_OCTAVE / (math.log(2) * t)
        bits = tuning.FIRST_BITS + tuning.BITS_PER_OCTAVE * math.log2(t)
        options.append(tuning.ROUNDING_ERROR + BIT * bits + slope * (sizes - t))
    pair = references[0] is not None, references[1] is not None
    return float(np.min(options, axis=0).sum()) + BIT * bits_of(motion, pair, hints)


def uniform(mode: int, motion: tuple[int, ...], rows: int, columns: int) -> Fields:
    """One mode and one motion (y and x of the first reference, then of the second)."""
    whole = torch.tensor(motion, dtype=torch.int16).view(1, 2, 2, 1, 1)
    modes = torch.full((1, rows, columns), mode, dtype=torch.uint8)
    return Fields(whole.repeat(1, 1, 1, 2 * rows, 2 * columns), modes)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("pair", [(True, True), (True, False), (False, True)])
def test_nothing_that_is_known_is_cheaper(seed: int, pair: tuple[bool, bool]) -> None:
    """Of a frame of one unit every combination of what the search found and what is expected."""
    rng = np.random.default_rng(seed)
    base = texture(seed, 3, 3)
    current = base[16:32, 16:32]
    offsets = rng.integers(-3, 4, (2, 2))
    noise = torch.from_numpy(0.05 * rng.random((2, 16, 16))).float()
    moved = [base.roll(tuple(o), (0, 1))[16:32, 16:32] + noise[i] for i, o in enumerate(offsets)]
    references = moved[0] if pair[0] else None, moved[1] if pair[1] else None
    found = uniform(BI, tuple(4 * int(v) for v in offsets.reshape(-1)), 1, 1)
    hints = 4 * rng.integers(-3, 4, (int(rng.integers(0, 3)), 1, 1, 4)).astype(np.int32)
    chosen = chosen_fields(
        current, references, found, Prices.of(torch.full((8, 8), STEP), BIT), hints
    )
    cost = cost_of(current, references, chosen, hints)
    modes = [BI, FIRST, SECOND] if all(pair) else [1 + pair[1]]
    searched = found.vectors[0, :, :, 0, 0].flatten().tolist()
    tried = [uniform(mode, tuple(searched), 1, 1) for mode in modes]
    whole = modes[0]
    tried += [uniform(whole, tuple(m), 1, 1) for m in ([0] * 4, *hints.reshape(-1, 4).tolist())]
    # The counter and the sum are of single precision.
    for other in tried:
        assert cost <= 1.0001 * cost_of(current, references, other, hints) + 0.01


@pytest.mark.parametrize("seed", range(4))
def test_a_small_frame_is_no_dearer_than_what_was_found(seed: int) -> None:
    """Whole, by either reference or both, as the search has it in each block."""
    rng = np.random.default_rng(seed)
    first, second = texture(seed, 4, 4), texture(seed + 9, 4, 4)
    current = 0.5 * (first.roll((1, 2), (0, 1)) + second.roll((-2, 0), (0, 1)))
    current[:32, :32] = first[:32, :32]
    found = uniform(BI, (-4, -8, 8, 0), 4, 4)
    found.vectors[0, :, :, :4, :4] = 0
    odd = torch.from_numpy(4 * rng.integers(-1, 2, (2, 2, 4, 4)).astype(np.int16))
    found.vectors[0] += odd.repeat_interleave(2, 2).repeat_interleave(2, 3)
    hints = random_hints(seed % 3, 4, 4)
    chosen = chosen_fields(
        current, (first, second), found, Prices.of(torch.full((8, 8), STEP), BIT), hints // 4 * 4
    )
    cost = cost_of(current, (first, second), chosen, hints // 4 * 4)
    for mode in (BI, FIRST, SECOND):
        other = Fields(found.vectors, torch.full_like(found.modes, mode))
        assert cost < cost_of(current, (first, second), other, hints // 4 * 4)
    still = uniform(BI, (0, 0, 0, 0), 4, 4)
    assert cost < cost_of(current, (first, second), still, hints // 4 * 4)


def test_an_attempt_leaves_the_candidates_as_they_were() -> None:
    """That the second reference moves against the first is expected of this attempt alone."""
    motion = uniform(BI, (4, -8, -4, 9), 1, 1)
    room = candidate_kernels.room()
    field = open_field(FieldShape(1, 1, 1), (True, True), no_hints(1, 1))
    units = units_of(motion)
    assert vector_kernels.code_field(new_stream().counter(KIND), field, units, *room)
    predictors = room[0][candidate_kernels.CANDIDATES, 2:4]
    assert predictors.tolist() == [1, 1]
