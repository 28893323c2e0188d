"""Motion comes back exactly; what stays or moves as one costs little; garbage is refused."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stcodec.codec import candidate_kernels, range_kernels, vector_kernels, vectors
from stcodec.codec.candidate_kernels import LIMIT
from stcodec.codec.model_files import load_model
from stcodec.codec.motion import BI, FIRST, SECOND, Fields
from stcodec.codec.range_kernels import PRICE, SPENT
from stcodec.codec.tree import Step
from stcodec.codec.vectors import (
    CodedField,
    FieldShape,
    MotionContexts,
    MotionStart,
    MotionStream,
    default_start,
    frame_hints,
    open_field,
)
from stcodec.errors import DamagedFileError

START = load_model("dct").motion_start


class Case(NamedTuple):
    """The motion of a frame, what is there to predict it from, and what is expected of it."""

    fields: Fields
    shape: FieldShape
    available: tuple[bool, bool]
    hints: np.ndarray
    kind: int


def in_blocks(rng: np.random.Generator, rows: int, columns: int, size: int) -> np.ndarray:
    """Random integers [rows, columns] that are alike in blocks of up to `size`, in 4s at most."""
    side = int(rng.choice([s for s in (1, 2, 4) if s <= size]))
    coarse = rng.integers(0, 1 << 30, (-(-rows // side), -(-columns // side)))
    return coarse.repeat(side, 0).repeat(side, 1)[:rows, :columns]


def random_case(rng: np.random.Generator, rows: int, columns: int, size: int) -> Case:
    """Blocks of any size with any vectors up to `size`; some in parts; what is expected is true
    here and there."""
    first, second = rng.random(2) < 0.75
    available = bool(first or not second), bool(second)
    blocks = in_blocks(rng, rows, columns, 4)
    motions = rng.integers(-size, size + 1, (1 + int(rng.integers(0, 9)), 2, 2))
    whole = motions[blocks % len(motions)].transpose(2, 3, 0, 1)
    fine = whole.repeat(2, 2).repeat(2, 3)
    parts = (rng.random((rows, columns)) < rng.choice([0, 0.3])).repeat(2, 0).repeat(2, 1)
    moved = fine + rng.integers(-2, 3, (*fine.shape[:2], 1, 1)) * rng.integers(0, 2, fine.shape)
    fine = np.clip(np.where(parts, moved, fine), -LIMIT, LIMIT)
    modes = blocks // 16 % 3 if all(available) else np.full((rows, columns), 1 + available[1])
    hints = rng.integers(-size, size + 1, (int(rng.integers(0, 3)), rows, columns, 4))
    true = whole.transpose(2, 3, 0, 1).reshape(rows, columns, 4)
    hints = np.where(rng.random((rows, columns, 1)) < rng.choice([0, 0.9]), true, hints)
    fields = Fields(
        torch.from_numpy(fine[None].astype(np.int16)),
        torch.from_numpy(modes[None].astype(np.uint8)),
    )
    shape = FieldShape(1, rows, columns)
    return Case(fields, shape, available, hints.astype(np.int32), int(rng.integers(1, 5)))


def write(cases: list[Case], start: MotionStart) -> tuple[bytes, list[Fields], int]:
    """The bytes of the motion of some frames, what a decoder should have, and its CRC."""
    stream = MotionContexts(start).stream(None)
    written = [
        stream.code(c.kind, open_field(c.shape, c.available, c.hints), c.fields) for c in cases
    ]
    data = stream.finish()
    assert abs(8 * len(data) - stream.bits) < 16 + stream.bits / 50
    return data, written, stream.crc


def read(cases: list[Case], data: bytes, start: MotionStart) -> tuple[list[Fields], int]:
    """What a decoder reads; of the cases it knows all but the fields."""
    stream = MotionContexts(start).stream(data)
    found = [stream.code(c.kind, open_field(c.shape, c.available, c.hints), None) for c in cases]
    stream.check_end()
    return found, stream.crc


def assert_motion(found: Fields, wanted: Fields, available: tuple[bool, bool]) -> None:
    """Modes, and the vectors of references that modes take."""
    assert torch.equal(found.modes, wanted.modes)
    fine = wanted.modes.repeat_interleave(2, 1).repeat_interleave(2, 2)
    for side, other in ((0, SECOND), (1, FIRST)):
        used = ((fine != other) & available[side])[:, None].expand(-1, 2, -1, -1)
        assert torch.equal(found.vectors[:, side][used], wanted.vectors[:, side][used])


@settings(max_examples=60)
@given(
    st.integers(0, 10**6),
    st.integers(1, 4),
    st.integers(1, 11),
    st.integers(1, 13),
    st.sampled_from([0, 3, 60, LIMIT]),
    st.booleans(),
)
def test_round_trip(seed: int, n: int, rows: int, columns: int, size: int, fitted: bool) -> None:
    rng = np.random.default_rng(seed)
    cases = [random_case(rng, rows, columns, size) for _ in range(n)]
    start = START if fitted else default_start()
    data, written, crc = write(cases, start)
    back, crc_back = read(cases, data, start)
    assert crc == crc_back
    for case, one, other in zip(cases, written, back, strict=True):
        assert torch.equal(one.vectors, other.vectors) and torch.equal(one.modes, other.modes)
        assert_motion(other, case.fields, case.available)
    # Whatever follows is told from it, and no byte is there in vain.
    with pytest.raises(DamagedFileError, match="left over"):
        read(cases, data + bytes(5), start)
    assert not data.endswith(b"\0")


def moving(rows: int, columns: int, motion: np.ndarray) -> Case:
    """Both references by one vector [2, 2] or those of each unit [2, 2, rows, columns]."""
    cells = motion.reshape(2, 2, *(motion.shape[2:] or (1, 1)))
    wide = np.broadcast_to(cells, (2, 2, rows, columns))
    fine = wide.repeat(2, 2).repeat(2, 3).astype(np.int16)[None]
    fields = Fields(torch.from_numpy(fine), torch.zeros(1, rows, columns, dtype=torch.uint8))
    none = np.zeros((0, rows, columns, 4), np.int32)
    return Case(fields, FieldShape(1, rows, columns), (True, True), none, 4)


@pytest.mark.parametrize(("vector", "most"), [((0, 0), 10), ((3, -17), 24)])
def test_uniform_motion_costs_next_to_nothing(vector: tuple[int, int], most: int) -> None:
    """In bytes of two frames of 920 units, before anything was seen of the video."""
    cases = [moving(23, 40, np.array([vector, vector]))] * 2
    data, _, _ = write(cases, START)
    assert len(data) <= most


def test_large_blocks_cost_less_than_small_ones() -> None:
    rng = np.random.default_rng(3)
    sizes = []
    for side in (4, 2, 1):
        coarse = rng.integers(-30, 31, (2, 2, 12 // side, 12 // side))
        case = moving(12, 12, coarse.repeat(side, 2).repeat(side, 3))
        sizes.append(len(write([case], START)[0]))
    assert sizes[0] * 2 < sizes[1] and sizes[1] * 2 < sizes[2]


def test_what_is_expected_costs_less() -> None:
    rng = np.random.default_rng(4)
    case = moving(8, 8, rng.integers(-30, 31, (2, 2, 8, 8)))
    true = case.fields.vectors[0, :, :, ::2, ::2].permute(2, 3, 0, 1).reshape(8, 8, 4).numpy()
    wrong = rng.integers(-30, 31, true.shape)
    told = [
        len(write([case._replace(hints=np.array(kinds, np.int32))], START)[0])
        for kinds in ([true], [wrong, true], [wrong])
    ]
    assert told[0] < told[1] < told[2]


def test_contexts_learn_and_start_anew() -> None:
    contexts = MotionContexts(default_start())
    case = random_case(np.random.default_rng(5), 9, 9, 20)
    sizes = []
    for again in range(3):
        if again == 2:
            contexts.restart()
        stream = contexts.stream(None)
        stream.code(case.kind, open_field(case.shape, case.available, case.hints), case.fields)
        sizes.append(len(stream.finish()))
    assert sizes[1] < 0.9 * sizes[0] and sizes[2] == sizes[0]


def units_of(fields: Fields) -> np.ndarray:
    """What `code_field` takes: a row of integers for each unit."""
    _, rows, columns = fields.modes.shape
    units = np.zeros((rows, columns, candidate_kernels.UNIT_COLUMNS), np.int32)
    units[..., 0] = fields.modes[0].numpy()
    units[..., candidate_kernels.VECTORS :] = vectors.parts_of(fields.vectors[0].numpy())
    return units


def test_a_segment_ends_under_its_own_contexts() -> None:
    """The last chunk of one is still being written while the next one begins."""
    contexts, rng = MotionContexts(START), np.random.default_rng(7)
    cases = [random_case(rng, 6, 6, 30)._replace(kind=4) for _ in range(3)]

    def code(stream: MotionStream, case: Case) -> None:
        stream.code(case.kind, open_field(case.shape, case.available, case.hints), case.fields)

    first = contexts.stream(None)
    code(first, cases[0])
    contexts.restart()
    second = contexts.stream(None)
    code(first, cases[1])
    code(second, cases[2])
    assert first.finish() == write(cases[:2], START)[0]
    assert second.finish() == write(cases[2:], START)[0]
    alone = MotionContexts(START)
    for case in cases:
        code(alone.stream(None), case)
    contexts.restart()
    contexts.restart()
    # Contexts say what decisions cost, not which there are.
    assert (contexts.seen() == alone.seen()).all() and contexts.seen().sum() > 100


def counted(case: Case, contexts: MotionContexts) -> float:
    """The bits of a frame, if nothing is learned from it."""
    counter = contexts.stream(None).counter(case.kind)
    before = contexts.contexts.copy()
    field = open_field(case.shape, case.available, case.hints)
    assert vector_kernels.code_field(
        counter, field, units_of(case.fields), *candidate_kernels.room()
    )
    assert (contexts.contexts == before).all()
    assert_motion(vectors.fields_of(field), case.fields, case.available)
    return float(counter.state[SPENT]) / PRICE


def spent(case: Case, contexts: MotionContexts) -> float:
    """The bits of a frame that is written."""
    stream = contexts.stream(None)
    stream.code(case.kind, open_field(case.shape, case.available, case.hints), case.fields)
    return stream.bits


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([0, 3, 500]))
def test_what_is_counted_is_what_is_written(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    # No context is asked twice of a unit that moves in one direction from one reference.
    vector = np.zeros((2, 2), int)
    vector[:, int(rng.integers(0, 2))] = rng.integers(-size, size + 1)
    alone = moving(1, 1, vector)
    modes = torch.full((1, 1, 1), int(rng.integers(FIRST, SECOND + 1)), dtype=torch.uint8)
    alone = alone._replace(fields=Fields(alone.fields.vectors, modes))
    contexts = MotionContexts(START)
    assert counted(alone, contexts) == spent(alone, contexts)
    # And as good as none is moved by a frame of a few, once much is known.
    settled = MotionStart(START.probabilities, np.full_like(START.trust, range_kernels.PATIENCE))
    case, contexts = random_case(rng, 2, 3, size), MotionContexts(settled)
    once = counted(case, contexts)
    assert spent(case, contexts) == pytest.approx(once, rel=0.1, abs=1)


@pytest.mark.parametrize("sure", [range_kernels.LEAST, range_kernels.ONE - range_kernels.LEAST])
def test_no_motion_needs_more_room_than_there_is(sure: int) -> None:
    """Vectors as far apart as can be, where every context is sure of the opposite."""
    contexts = MotionContexts(default_start())
    rng = np.random.default_rng(6)
    most = 0.0
    for _ in range(20):
        contexts.contexts[:, :2] = sure, range_kernels.PATIENCE
        case = moving(1, 1, np.zeros((2, 2)))
        wild = torch.from_numpy(rng.choice([-LIMIT, LIMIT], (1, 2, 2, 2, 2)).astype(np.int16))
        most = max(most, spent(case._replace(fields=Fields(wild, case.fields.modes)), contexts))
    assert 400 < most < 8 * vectors._PER_UNIT


@settings(max_examples=150)
@given(
    st.binary(max_size=300),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([(True, True), (True, False), (False, True)]),
    st.integers(0, 2),
    st.booleans(),
)
def test_any_bytes_are_refused_or_are_motion(
    data: bytes, rows: int, columns: int, available: tuple[bool, bool], h: int, fitted: bool
) -> None:
    rng = np.random.default_rng(len(data))
    hints = rng.integers(-LIMIT, LIMIT + 1, (h, rows, columns, 4)).astype(np.int32)
    allowed = {BI, FIRST, SECOND} if all(available) else {1 + available[1]}
    refusals = "decoded motion vector is out of range|starts as none does"
    try:
        stream = MotionContexts(START if fitted else default_start()).stream(data)
        for kind in (1, 4, 4):
            field = open_field(FieldShape(1, rows, columns), available, hints)
            found = stream.code(kind, field, None)
            assert found.vectors.shape == (1, 2, 2, 2 * rows, 2 * columns)
            assert int(found.vectors.abs().max()) <= LIMIT
            assert set(found.modes.flatten().tolist()) <= allowed
    except DamagedFileError as refused:
        if not re.search(refusals, str(refused)):
            raise


def test_what_no_range_holds_is_refused() -> None:
    for data in (b"\xff" * 4, b"\xff" * 50):
        with pytest.raises(DamagedFileError, match="starts as none does"):
            MotionContexts(START).stream(data)
    MotionContexts(START).stream(b"\xff\xff\xff\xfe")


def test_vectors_out_of_range_are_refused() -> None:
    """By a reader, and by a writer, who is asked for what cannot be read."""
    case = moving(1, 1, np.array([[LIMIT + 1, 0], [0, 0]]))
    with pytest.raises(DamagedFileError, match="out of range"):
        write([case], START)


def coded(frame: int, references: tuple[int | None, int | None], seed: int) -> CodedField:
    rng = np.random.default_rng(seed)
    modes = rng.integers(0, 3, (2, 3))
    if None in references:
        modes[:] = FIRST if references[1] is None else SECOND
    return CodedField(rng.integers(-99, 100, (2, 2, 4, 6)), modes, frame, references)


def step(frame: int, first: int | None, second: int | None) -> Step:
    return Step((frame,), ((first, second),), 1, 2)


SHAPE = FieldShape(1, 2, 3)


def test_what_is_expected_of_the_middle_is_half_of_the_way() -> None:
    far = coded(7, (-1, None), 0)
    hints = frame_hints(step(3, -1, 7), {7: far}, SHAPE)
    assert hints.shape == (1, 2, 3, 4) and hints.dtype == np.int32
    v = far.vectors[0, :, ::2, ::2].transpose(1, 2, 0)
    np.testing.assert_array_equal(hints[0, ..., :2], np.floor(v / 2 + 0.5))
    np.testing.assert_array_equal(hints[0, ..., 2:], np.floor(-v / 2 + 0.5))


def test_there_are_as_many_kinds_of_hints_as_references_that_moved() -> None:
    first, second = coded(3, (-1, 7), 1), coded(7, (-1, None), 2)
    assert frame_hints(step(5, 3, 7), {}, SHAPE).shape == (0, 2, 3, 4)
    assert frame_hints(step(5, 3, 7), {7: second}, SHAPE).shape == (1, 2, 3, 4)
    both = frame_hints(step(5, 3, 7), {3: first, 7: second}, SHAPE)
    # That of 3 leads to 7, along the way of 5: it comes first.
    np.testing.assert_array_equal(both[:1], frame_hints(step(5, 3, 7), {3: first}, SHAPE))
    np.testing.assert_array_equal(both[1:], frame_hints(step(5, 3, 7), {7: second}, SHAPE))
    toward = np.where(first.modes == FIRST, 0, 1)
    v = first.vectors[:, :, ::2, ::2].transpose(2, 3, 0, 1)
    own = (
        np.take_along_axis(v, toward[..., None, None], 2)[:, :, 0]
        * (np.where(toward, 2 / 4, -2 / 4)[..., None])
    )
    np.testing.assert_array_equal(both[0, ..., 2:], np.floor(own + 0.5))


def test_a_key_takes_the_motion_of_the_key_before() -> None:
    before = coded(-1, (-17, None), 3)
    hints = frame_hints(step(7, -1, None), {-1: before}, SHAPE)
    v = before.vectors[0, :, ::2, ::2].transpose(1, 2, 0)
    np.testing.assert_array_equal(hints[0, ..., :2], np.floor(v * 8 / 16 + 0.5))
    assert not hints[0, ..., 2:].any()


def test_what_is_expected_stays_in_range() -> None:
    wild = CodedField(np.full((2, 2, 4, 6), -LIMIT), np.full((2, 3), FIRST), -1, (-2, None))
    hints = frame_hints(step(15, -1, None), {-1: wild}, SHAPE)
    assert (hints[..., :2] == -LIMIT).all()
