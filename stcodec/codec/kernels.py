"""The codec's compiled loops, where this machine has them ready. Where it has not, or not yet, the
same is done with tensors; but for motion and the words of symbols, whose loops are compiled where
they are wanted."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from stcodec.codec.loop_filter_classes import BLOCK, CASES, MARGIN, TAPS

_LOOK_AGAIN = 1.0  # seconds


class Loops(NamedTuple):
    """The modules that hold them."""

    ans: ModuleType
    compensation: ModuleType
    indices: ModuleType
    loop_filter: ModuleType
    networks: ModuleType
    palettes: ModuleType
    symbols: ModuleType
    transform: ModuleType
    vectors: ModuleType


class _State:
    """Whether the loops may be used: once true, always; else looked up now and then."""

    ready = False
    next_look = 0.0
    off = False


def loops() -> Loops | None:
    """The loops, if they can be called without waiting for a compiler; else tensors must do."""
    if not _State.ready and time.monotonic() >= _State.next_look:
        _State.ready = cached()
        _State.next_look = time.monotonic() + _LOOK_AGAIN
    return _modules() if _State.ready and not _State.off else None


@contextlib.contextmanager
def switched_off() -> Iterator[None]:
    """Within the block tensors do everything, in this whole process: to compare with, or to count
    their products."""
    before, _State.off = _State.off, True
    try:
        yield
    finally:
        _State.off = before


@functools.cache
def _modules() -> Loops | None:
    try:
        from stcodec.codec import (
            ans_kernels,
            compensation_kernels,
            index_kernels,
            loop_filter_kernels,
            network_kernels,
            palette_kernels,
            symbol_kernels,
            transform_kernels,
            vector_kernels,
        )
    except ImportError:  # without the compiler's library there are none
        return None
    return Loops(
        ans_kernels,
        compensation_kernels,
        index_kernels,
        loop_filter_kernels,
        network_kernels,
        palette_kernels,
        symbol_kernels,
        transform_kernels,
        vector_kernels,
    )


def cached() -> bool:
    """Whether what the compiler made of the loops lies on this machine, or there is no compiler."""
    found = _modules()
    if found is None:
        return True
    from stcodec.common.compiled import is_cached

    outer = found.compensation.add_prediction, found.indices.band_sums, found.indices.gather
    inner = found.indices.find, found.ans.read, found.symbols.take, found.vectors.code_field
    others = found.networks.correct, found.networks.product, found.loop_filter.filtered
    both = found.transform.transform, found.transform.restore
    raw = found.palettes.range_kernels.raw_bits
    palettes = found.palettes.code_plane, found.palettes.code_marks, raw
    return all(is_cached(f) for f in (*outer, *inner, *others, *both, *palettes))


def cache_folder() -> Path | None:
    """Where it is kept; None where it cannot be."""
    found = _modules()
    if found is None:
        return None
    from stcodec.common.compiled import cache_folder

    return cache_folder(found.indices.find)


def compile_apart() -> None:
    """Compile them in a process of its own, where the result can be kept."""
    if cache_folder() is not None:
        from stcodec.common.compiled import run_apart

        run_apart("from stcodec.codec.kernels import warm_up; warm_up()")


def warm_up() -> None:
    """Compile the loops, or load what was compiled before; from then on they are used."""
    found = _modules()
    if found is None:
        return
    _warm_up_ans(found.ans)
    _warm_up_compensation(found.compensation)
    _warm_up_index(found.indices)
    _warm_up_networks(found.networks)
    _warm_up_filter(found.loop_filter)
    _warm_up_palettes(found.palettes)
    _warm_up_symbols(found.symbols)
    _warm_up_transform(found.transform)
    _warm_up_vectors(found.vectors)
    _State.ready = True


def _warm_up_ans(module: ModuleType) -> None:
    tables = module.alphabets([np.full(4, 1 << 22)], np.array([0, 1], np.int32))
    index, decoded = np.ones(1, np.uint8), np.zeros(1, np.int32)
    module.read(module.stack(np.ones(1, np.uint32)), index, tables, 1 << 20, decoded)


def _warm_up_compensation(module: ModuleType) -> None:
    plane, ramp = np.zeros((16, 16), np.float32), np.ones(4, np.float32)
    vectors, weights = np.zeros((2, 2, 2), np.int16), np.ones((1, 1), np.float32)
    filters = np.ones((4, 8), np.float32)
    module.add_prediction(plane, plane.copy(), vectors, weights, 8, ramp, filters)


def _warm_up_index(module: ModuleType) -> None:
    magnitudes, slices = np.zeros((2, 24), np.int16), np.zeros((module.BANDS, 2), np.int64)
    bands = np.zeros((1, module.BANDS), np.int32)
    module.band_sums(magnitudes[:1], slices, bands)
    some, scalars = np.zeros(2, np.bool_), np.zeros((1, 2), np.uint8)
    logs = np.zeros(8, np.uint8)
    frame = module.Frame(1, magnitudes, some, magnitudes[:1], bands, slices, scalars, logs)
    inputs = module.Inputs(np.zeros(2, np.int64), np.zeros(64, np.int16), np.zeros(64, np.uint8))
    at, near = np.zeros(1, np.int64), np.ones(4, np.int64)
    module.gather(frame, at, near, False, inputs)
    first = np.zeros((60, 32), np.float32), np.zeros(32, np.float32)
    second = np.zeros((16, 8, 2), np.int16), np.zeros(8, np.int32)
    module.find(frame, at, inputs, 6, first, second, (6, 8), (255, 63), np.zeros((1, 8), np.uint8))


def _warm_up_networks(module: ModuleType) -> None:
    rows, one = np.zeros((1, module.LANES), np.float32), np.zeros(module.LANES, np.float32)

    def layer(inputs: int, outputs: int) -> Any:
        return module.Layer(np.zeros(inputs * outputs, np.float32), one.repeat(2), inputs, outputs)

    same = layer(module.LANES, module.LANES)
    module.product(same, rows, rows.copy())
    layers = module.Layers(
        same, same, one.repeat(10)[None], same, layer(module.LANES, 2 * module.LANES), same, same
    )
    seen = module.Seen(rows, rows[:0], rows[:0], np.zeros((1, 0), np.float32), one, 1)
    features = np.zeros((module.TILE, module.LANES), np.float32)
    module.correct(seen, 1, layers, features[:2].copy(), one, features, rows.copy())


def _warm_up_filter(module: ModuleType) -> None:
    side = BLOCK + 2 * MARGIN
    padded, out = np.zeros((side, side), np.float32), np.zeros((BLOCK, BLOCK), np.float32)
    module.filtered(padded, np.zeros((CASES, TAPS + 1), np.float32), out)


def _warm_up_palettes(module: ModuleType) -> None:
    from stcodec.codec import range_kernels

    stream = range_kernels.stream(
        range_kernels.WRITE, np.zeros(256, np.uint8), np.zeros((0, 4), np.int32)
    )
    side = 2 + 2 * module.MARGIN
    samples, marks = np.zeros((side, side), np.uint16), np.zeros((2, 3), np.uint8)
    plane = module.Plane(samples, np.zeros(257, np.int32), 8, np.ones((1, 1), np.uint8), 2, 2)
    known = stream, module.new_mixer(), module.scratch()
    none = np.zeros((0, 0), np.uint16)
    module.code_marks(*known, marks, marks.copy())
    module.code_plane(*known, plane, none, samples, none, np.zeros((0, 0), np.int64))
    range_kernels.raw_bits(stream, 1, 0)


def _warm_up_symbols(module: ModuleType) -> None:
    index, some = np.ones((1, 2), np.uint8), np.zeros(2, np.bool_)
    centroids, magnitudes = np.zeros((4, 2), np.float32), np.zeros((2, 4), np.int16)
    at, symbols = np.zeros(1, np.int64), np.ones((1, 2), np.int32)
    module.take(symbols, index, at, 0, centroids, 1023, magnitudes, some)


def _warm_up_transform(module: ModuleType) -> None:
    one, quarter = np.zeros(64, np.float32), np.zeros(16, np.int64)
    lines, order = module.Lines(*(one,) * 4), np.zeros(64, np.int64)
    places = module.Order(order, *(quarter,) * 2, order, quarter)
    planes = module.Planes(np.zeros((16, 16), np.float32), *(np.zeros((8, 8), np.float32),) * 2)
    rows = np.zeros((4, 96), np.float32)
    module.transform(planes, lines, places, module.room(2), rows)
    module.restore(rows, lines, places, module.room(2), planes)


def _warm_up_vectors(module: ModuleType) -> None:
    from stcodec.codec import candidate_kernels, range_kernels

    stream = range_kernels.stream(
        range_kernels.WRITE,
        np.zeros(256, np.uint8),
        np.full((module.CONTEXTS, 4), 64, np.int32),
    )
    units = np.zeros((1, 1, candidate_kernels.UNIT_COLUMNS), np.int32)
    field = candidate_kernels.Field(units.copy(), np.zeros((1, 1, 1, 4), np.int32), 1)
    module.code_field(stream, field, units, *candidate_kernels.room())
