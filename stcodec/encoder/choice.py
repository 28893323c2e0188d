"""The encoder's last word on motion: modes, splits and vectors, each block's the cheapest of what
the search found and what the decoder expects.

The search (`search`) goes by absolute differences of source pictures, and estimates the bits
of a vector from its neighbours on all sides. Only in the order of coding is it known what a vector
is predicted by, which table codes the difference, and what the decoded references look like. Here
blocks are gone through in that order, and priced by what their residuals cost once transformed and
quantised (rate-distortion optimised decisions, Sullivan and Wiegand 1998). Nothing here is
normative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stcodec.codec import ans_kernels, kernels, vector_kernels
from stcodec.codec.compensation import LUMA_PHASES, LUMA_TAPS, filter_taps
from stcodec.codec.dct import dct_matrix
from stcodec.codec.entropy import SymbolWriter, Tables
from stcodec.codec.motion import Fields
from stcodec.codec.range_kernels import PRICE, Stream
from stcodec.codec.vectors import (
    FieldShape,
    MotionContexts,
    default_start,
    fields_of,
    open_field,
    parts_of,
)
from stcodec.common import compiled as compiled_loops
from stcodec.encoder import (
    choice_kernels,
    drawing,
    drawn_kernels,
    filter_fit,
    filter_kernels,
    fit_kernels,
    quantiser,
    quantiser_kernels,
    sample_kernels,
    search,
    search_kernels,
    temporal_filter,
    tuning,
    unit_kernels,
)
from stcodec.encoder.search import in_bytes

_TRANSFORM = 8


def cache_folder() -> Path | None:
    """Where compiled loops are kept; None where they cannot be."""
    return compiled_loops.cache_folder(choice_kernels.choose)


def compiled() -> bool:
    """Whether this machine has compiled the loops of search and choice before, and those of the
    codec; if not, the first chunk takes longer."""
    search = search_kernels
    functions = (
        *(search.full_search, search.sweep, search.split, search.modes),
        *(sample_kernels.phase_planes, vector_kernels.fill_prices, choice_kernels.choose),
        *(quantiser_kernels.cheapest, filter_kernels.mix),
        *(fit_kernels.normal, fit_kernels.solve, fit_kernels.refine, fit_kernels.errors),
        *(ans_kernels.places, ans_kernels.write, ans_kernels.are),
        *(drawn_kernels.count_drawn, drawn_kernels.block_hashes, drawn_kernels.repetitions),
    )
    return kernels.cached() and all(compiled_loops.is_cached(f) for f in functions)


def compile_apart() -> None:
    """Compile the loops in a process of its own. Where the result cannot be kept, do nothing: the
    first chunk compiles."""
    if cache_folder() is not None:
        compiled_loops.run_apart("from stcodec.encoder.choice import warm_up; warm_up()")


def warm_up() -> None:
    """Compile the loops, or load what was compiled before, which the first chunk would do."""
    kernels.warm_up()
    temporal_filter.warm_up()
    pictures = torch.zeros(2, 1, 16, 16)
    found = search.search(pictures, [(1, 0, 0)], search.SearchSettings(1.0))[0]
    choose_fields(
        in_bytes(pictures[1, 0]),
        (padded(pictures[:1]), None),
        found,
        np.zeros((0, 1, 1, 4), np.int32),
        MotionContexts(default_start()).stream(None).counter(1),
        Prices.of(torch.ones(8, 8), 1.0),
    )
    filter_fit.warm_up()
    drawing.warm_up()
    writer = SymbolWriter()
    writer.code(np.ones(1, np.int32), np.ones(1, np.uint8), Tables([np.full(4, 1 << 22)]))
    writer.check(writer.finish())
    index = torch.zeros(1, 1, dtype=torch.uint8)
    quantiser.in_loop(torch.ones(1, 1), index, 0, torch.ones(1, 2), (torch.ones(1), torch.ones(1)))


def _coding_costs(bit: float) -> np.ndarray:
    """Tangents (at zero, slope) [6] to what coding a coefficient of x steps costs: the rounding
    error and its bits."""
    x = np.array(tuning.TANGENTS)
    slope = bit * tuning.BITS_PER_OCTAVE / (math.log(2) * x)
    cost = tuning.ROUNDING_ERROR + bit * (tuning.FIRST_BITS + tuning.BITS_PER_OCTAVE * np.log2(x))
    return np.stack([cost - slope * x, slope], axis=1).reshape(-1).astype(np.float32)


@dataclass(frozen=True)
class Prices:
    """What is spent on the frames of a kind: `bit` in units of step**2, and the transform with its
    steps."""

    bit: float
    transform: unit_kernels.Transform

    @classmethod
    def of(cls, steps: Tensor, bit: float) -> Prices:
        """steps [h, w]: quantisation steps of the luma coefficients of a patch, in sample units of
        [0, 1]; bit: squared error, in units of step**2, that is worth one bit."""
        h, w = steps.shape
        row, column = (
            torch.arange(_TRANSFORM) * h // _TRANSFORM,
            torch.arange(_TRANSFORM) * w // _TRANSFORM,
        )
        basis = dct_matrix(_TRANSFORM).astype(np.float32)
        filters = filter_taps(LUMA_TAPS, LUMA_PHASES).numpy()
        own = 255.0 * steps[row][:, column].cpu().numpy()
        return cls(bit, unit_kernels.transform(basis, own, _coding_costs(bit), filters))


def padded(picture: Tensor) -> np.ndarray:
    """Luma [1, 1, H, W] in [0, 1] as `choose_fields` wants a reference."""
    before = sample_kernels.MARGIN + LUMA_TAPS // 2 - 1
    return np.pad(in_bytes(picture[0, 0]).astype(np.float32), (before, before + 1), mode="edge")


def choose_fields(
    current: np.ndarray,
    references: tuple[np.ndarray | None, np.ndarray | None],
    found: Fields,
    hints: np.ndarray,
    counter: Stream,
    prices: Prices,
) -> Fields:
    """The motion to code for one frame.

    current: source luma, uint8 [H, W]; references: of `padded`, at least one; found: what the
    search found, batch size 1, of which modes do not matter; hints: of `vectors.frame_hints`;
    counter: of `vectors.MotionStream.counter`.
    """
    given = (np.zeros((1, 1), np.float32) if r is None else r for r in references)
    both = (unit_kernels.Padded(r.reshape(-1), *r.shape) for r in given)
    available = references[0] is not None, references[1] is not None
    field = open_field(FieldShape(1, *found.modes.shape[1:]), available, hints)
    task = choice_kernels.Task(
        unit_kernels.Pictures(current, *both),
        parts_of(found.vectors[0].cpu().numpy().astype(np.int64)),
        prices.bit / PRICE,
        prices.transform,
        counter,
        field,
    )
    choice_kernels.choose(task, choice_kernels.room(unit_kernels.work()))
    return fields_of(field)
