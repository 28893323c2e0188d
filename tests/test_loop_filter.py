"""The adaptive loop filter: both ways to compute it, how frames say which they have, and what the
encoder chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from stcodec.codec import kernels, loop_filter
from stcodec.codec.contexts import Known
from stcodec.codec.entropy import SymbolReader, SymbolWriter
from stcodec.codec.loop_filter import Changes, Filters, LoopFilter
from stcodec.codec.loop_filter_classes import CLASSES, OFFSETS, TAPS, TURNED
from stcodec.codec.model_files import load_model
from stcodec.codec.tree import tree_steps
from stcodec.encoder import filter_fit, fit_kernels
from stcodec.errors import DamagedFileError

MODEL = load_model("stc-1")
COSTS = loop_filter.costs(torch.from_numpy(MODEL.tables.costs()))
NOTHING = np.zeros((CLASSES, TAPS), np.int32)
FLAT = np.zeros((CLASSES, TAPS), np.float32)


@pytest.fixture(autouse=True)
def ready() -> None:
    kernels.warm_up()


def plane(seed: int, height: int = 48, width: int = 64) -> Tensor:
    """Edges of all directions, smooth parts and noise, in [0, 1]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = sum(np.sign(np.sin(y * a + x * b)) for a, b in random.normal(0, 0.3, (5, 2)))
    noise = random.normal(0, 0.05, (height, width)) * (x > width // 2)
    return torch.from_numpy((0.5 + 0.08 * waves + noise).clip(0, 1)).float()[None, None]


def filtered(samples: Tensor, weights: np.ndarray) -> Tensor:
    return loop_filter.plane(samples, loop_filter.by_case(weights))


def filters(seed: int) -> np.ndarray:
    """Any weights, float32 [CLASSES, TAPS]."""
    return np.random.default_rng(seed).normal(0, 0.05, (CLASSES, TAPS)).astype(np.float32)


@pytest.mark.parametrize("size", [(48, 64), (16, 16), (4, 20)])
def test_loops_and_tensors_agree(size: tuple[int, int]) -> None:
    samples, weights = plane(1, *size), filters(2)
    fast = filtered(samples, weights)
    with kernels.switched_off():
        slow = filtered(samples, weights)
    assert fast.shape == samples.shape
    torch.testing.assert_close(fast, slow, rtol=0, atol=2e-6)
    assert float((fast - samples).abs().mean()) > 1e-3


@pytest.mark.parametrize(("way", "turned"), [(1, lambda p: p.mT), (2, lambda p: p.flip(-1))])
def test_one_filter_serves_both_directions(way: int, turned: Callable[[Tensor], Tensor]) -> None:
    """A picture that is turned, filtered and turned back is the picture filtered."""
    weights = filters(3).reshape(3, 3, TAPS)
    # What has no direction has to be alike both ways.
    for other in {0, 1, 2} - {way}:
        weights[:, other] += weights[:, other][:, TURNED[way]]
    samples, used = plane(4, 64, 64), weights.reshape(CLASSES, TAPS)
    there = filtered(turned(samples).contiguous(), used)
    torch.testing.assert_close(turned(there), filtered(samples, used), rtol=0, atol=2e-6)


def test_flat_pictures_stay() -> None:
    samples = torch.full((1, 1, 16, 16), 0.25)
    torch.testing.assert_close(filtered(samples, filters(5)), samples)


def test_turning_twice_turns_back() -> None:
    for turned in TURNED:
        assert (turned[turned] == np.arange(TAPS)).all()
    across, down = [(0, 1), (0, 2), (0, 3)], [(2, -1), (2, 0), (2, 1), (3, 0)]
    assert OFFSETS.tolist() == [list(o) for o in (*across, *((1, x) for x in range(-2, 3)), *down)]


@pytest.mark.parametrize("luma", [True, False])
def test_a_part_is_filtered_as_in_the_whole(luma: bool) -> None:
    """Whatever the rows and columns are that are wanted of it."""
    samples, cases = plane(9, 64, 64), loop_filter.by_case(filters(10))
    whole = loop_filter.plane(samples, cases)
    used = Filters(cases if luma else None, None if luma else cases)
    around = loop_filter.reach(used) // (1 if luma else 2)
    for top in range(20, 33):
        for bottom in range(top + 1, 44):
            # Out to whole motion blocks, as parts are made.
            block = 16 if luma else 8
            first, last = (top - around) // block * block, -(-(bottom + around) // block) * block
            part = loop_filter.plane(samples[:, :, first:last].contiguous(), cases)
            inner = part[:, :, top - first : bottom - first]
            torch.testing.assert_close(inner, whole[:, :, top:bottom], rtol=0, atol=1e-6)


def test_what_holds_in_a_chunk_and_beyond() -> None:
    """Only what key frames bring lasts, since a reader may leave out all other levels; of the
    frames of a step the last one counts, but one that keeps what holds changes nothing."""
    key, level, pair, *_ = tree_steps(4, 1)
    sets = [np.full((CLASSES, TAPS), i, np.int32) for i in range(4)]
    known = Known()
    known.take(key, [Changes(sets[0], None)])
    known.take(level, [Changes(sets[1], sets[2])])
    assert known.filters.luma is sets[1] and known.filters.chroma is sets[2]
    known.take(pair, [Changes(sets[3], None), Changes(None, sets[0])])
    assert known.filters.luma is sets[3] and known.filters.chroma is sets[0]
    assert known.lasting.luma is sets[0] and not np.any(known.lasting.chroma)
    intra = tree_steps(4, 0)[0]
    known = Known()
    known.take(intra, [Changes(sets[1], sets[1])])
    assert not np.any(known.filters.luma) and not np.any(known.lasting.luma)


def test_equations_are_solved() -> None:
    random = np.random.default_rng(12)
    half, wanted, found = random.normal(0, 1, (50, 30)), random.normal(0, 1, 30), np.empty(30)
    a = half.T @ half
    fit_kernels.solve(a.copy(), a @ wanted, found)
    np.testing.assert_allclose(found, wanted, rtol=1e-8)


def test_filters_enlarge_little() -> None:
    """What is fitted to faint texture that noise hides could do so by much."""
    random = np.random.default_rng(11)
    source = torch.from_numpy(0.5 + random.normal(0, 0.02, (1, 1, 64, 64))).float()
    decoded = 0.5 + 0.05 * (source - 0.5)
    found = filter_fit.choose([decoded], [source], FLAT, NOTHING, COSTS, 0.001)
    assert found is not None
    assert (2 * np.abs(found / loop_filter.UNIT).sum(1) < 4.5).all()


def changes() -> Iterator[Changes]:
    """What frames choose, one after the other."""
    random = np.random.default_rng(6)
    for _ in range(3):
        new = random.integers(-40, 41, (CLASSES, TAPS)).astype(np.int32)
        yield Changes(new, None)
        yield Changes(None, new - 2)


def test_what_frames_choose_comes_back() -> None:
    coder, writer = LoopFilter(None, MODEL.tables), SymbolWriter()
    kept, written = loop_filter.unchanged(), []
    for chosen in changes():
        for one in (chosen, Changes(kept.luma, kept.chroma)):
            coder.write(writer, kept, one)
            written.append(one)
            kept = kept.after(one)
    reader, kept = SymbolReader(writer.finish()), loop_filter.unchanged()
    for wanted in written:
        found = coder.read(reader, kept)
        for a, b in zip(found, wanted, strict=True):
            assert (a is None and b is None) or np.array_equal(a, b)
        kept = kept.after(found)
    reader.finish()


@pytest.mark.parametrize("state", [2, -2])
def test_a_choice_that_there_is_not_is_damage(state: int) -> None:
    writer, index = SymbolWriter(), np.array([20], np.uint8)
    writer.code(np.array([state], np.int32), index, MODEL.tables)
    coder = LoopFilter(None, MODEL.tables)
    with pytest.raises(DamagedFileError, match="filter is out of range"):
        coder.read(SymbolReader(writer.finish()), loop_filter.unchanged())


def test_weights_out_of_range_are_damage() -> None:
    writer, coder = SymbolWriter(), LoopFilter(None, MODEL.tables)
    kept = loop_filter.unchanged()
    coder.write(writer, kept, Changes(np.full((CLASSES, TAPS), 5000, np.int32), None))
    with pytest.raises(DamagedFileError, match="filter is out of range"):
        coder.read(SymbolReader(writer.finish()), kept)


def blurred(samples: Tensor) -> Tensor:
    """Each sample mixed with the four beside it."""
    wide = torch.nn.functional.pad(samples, (1, 1, 1, 1), mode="replicate")
    around = wide[..., 1:-1, 2:] + wide[..., 1:-1, :-2] + wide[..., 2:, 1:-1] + wide[..., :-2, 1:-1]
    return 0.6 * samples + 0.1 * around


def error(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().sum()) * 255**2


def test_what_is_fitted_saves_error_and_is_worth_its_bits() -> None:
    source = plane(7, 128, 192)
    decoded = blurred(source)
    found = filter_fit.choose([decoded], [source], FLAT, NOTHING, COSTS, 1.0)
    assert found is not None and found.any()
    after = filtered(decoded, (found / loop_filter.UNIT).astype(np.float32))
    saved = error(decoded, source) - error(after, source)
    assert saved > 0.5 * error(decoded, source)
    # What costs more than all that can be saved is not chosen.
    assert filter_fit.choose([decoded], [source], FLAT, NOTHING, COSTS, saved) is None


def test_what_holds_is_kept_where_it_serves() -> None:
    source = plane(8, 128, 192)
    decoded = blurred(source)
    held = filter_fit.choose([decoded], [source], FLAT, NOTHING, COSTS, 1.0)
    assert held is not None
    for costs in (COSTS, None):
        price = error(decoded, source) if costs is not None else 1.0
        again = filter_fit.choose([decoded], [source], FLAT, held, costs, price)
        assert again is not None and np.array_equal(again, held)
        assert filter_fit.choose([source], [source], FLAT, held, costs, price) is None
