"""The scale networks in compiled loops, patch by patch: most inputs of most patches are zero, so
only the others are looked at. `indices` says what is computed, and does the same with tensors.

All numbers are integers below 2**24, so float32 is exact in any order of summation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import int32

from stcodec.common.compiled import compiled, inner
from stcodec.common.simd_kernels import add_pairs_of_8, add_rows_of_32, add_rows_of_64

BANDS = 8


class Frame(NamedTuple):
    """What is known of a frame of patches [patches] in `columns` columns, C channels each.

    magnitudes int16 [patches + 1, C] of its symbols so far (zero in the last row, which is outside
    the picture), and whether there are `some` bool [patches + 1]; references int16 [patches, C]:
    magnitudes of the references' symbols, no rows in an intra frame; bands int32 [patches, BANDS]:
    their sums over `slices` int64 [BANDS, 2] of the channels; scalars uint8 [patches,
    S]: inputs that are not magnitudes; logs uint8: of magnitudes, see `scales.log_magnitude`.
    """

    columns: int
    magnitudes: np.ndarray
    some: np.ndarray
    references: np.ndarray
    bands: np.ndarray
    slices: np.ndarray
    scalars: np.ndarray
    logs: np.ndarray


class Inputs(NamedTuple):
    """Inputs other than zero of the p patches of a pass: those of patch i have the numbers
    number[k] and the values value[k] for k from starts[i] up to starts[i + 1]."""

    starts: np.ndarray
    number: np.ndarray
    value: np.ndarray


@compiled
def band_sums(references: np.ndarray, slices: np.ndarray, out: np.ndarray) -> None:
    """Sums of magnitudes int16 [patches, C] over `slices` of the channels, int32 [patches,
    BANDS]."""
    for i in range(len(references)):
        row = references[i]
        for band in range(BANDS):
            total = int32(0)
            for c in range(slices[band, 0], slices[band, 1]):
                total += int32(row[c])
            out[i, band] = total


@inner
def _append(inputs: Inputs, n: int, number: int, magnitude: int, logs: np.ndarray) -> int:
    """Append an input, the logarithm of a magnitude that is not zero; how many there are then."""
    inputs.number[n] = number
    inputs.value[n] = logs[min(magnitude, len(logs) - 1)]
    return n + 1


@inner
def _around(frame: Frame, patch: int, band_totals: np.ndarray) -> None:
    """Sums of the references' bands over the 3x3 patches around one, int32 [BANDS]."""
    columns = frame.columns
    rows = len(frame.bands) // columns
    row, column = patch // columns, patch % columns
    for band in range(BANDS):
        band_totals[band] = 0
    for y in range(max(row - 1, 0), min(row + 2, rows)):
        for x in range(max(column - 1, 0), min(column + 2, columns)):
            for band in range(BANDS):
                band_totals[band] += frame.bands[y * columns + x, band]


@compiled
def gather(frame: Frame, at: np.ndarray, near: np.ndarray, apart: bool, inputs: Inputs) -> None:
    """The inputs of the patches `at` int64 [p] but for their own magnitudes.

    near int64 [4 p] or [0]: neighbours, whose magnitudes are inputs each (`apart`), or their sum.
    """
    channels = frame.magnitudes.shape[1]
    sides = 4 * channels if apart else channels
    own_bands = sides + BANDS
    scalars = own_bands + (channels + BANDS if len(frame.references) else 0)
    total, bands = np.zeros(channels, np.int32), np.zeros(BANDS, np.int32)
    n = 0
    for i in range(len(at)):
        inputs.starts[i] = n
        patch = at[i]
        seen = False
        for k in range(4 if len(near) else 0):
            neighbour = near[4 * i + k]
            if not frame.some[neighbour]:
                continue
            row, seen = frame.magnitudes[neighbour], True
            for c in range(channels):
                if row[c]:
                    total[c] += int32(row[c])
                    if apart:
                        n = _append(inputs, n, k * channels + c, row[c], frame.logs)
        if seen:
            if not apart:
                for c in range(channels):
                    if total[c]:
                        n = _append(inputs, n, c, total[c], frame.logs)
            for band in range(BANDS):
                here = int32(0)
                for c in range(frame.slices[band, 0], frame.slices[band, 1]):
                    here += total[c]
                if here:
                    n = _append(inputs, n, sides + band, here, frame.logs)
            total[:] = 0
        if len(frame.references):
            if frame.bands[patch].any():
                row = frame.references[patch]
                for c in range(channels):
                    if row[c]:
                        n = _append(inputs, n, own_bands + c, row[c], frame.logs)
            _around(frame, patch, bands)
            for band in range(BANDS):
                if bands[band]:
                    n = _append(inputs, n, own_bands + channels + band, bands[band], frame.logs)
        for k in range(frame.scalars.shape[1]):
            if frame.scalars[patch, k]:
                inputs.number[n] = scalars + k
                inputs.value[n] = frame.scalars[patch, k]
                n += 1
    inputs.starts[len(at)] = n


@inner
def _add(
    sums: np.ndarray, rows: np.ndarray, first: int, inputs: Inputs, begin: int, end: int
) -> None:
    """Add the weights of the inputs from `begin` up to `end` to as many sums, a multiple of 32; the
    row of input 0 is `first`."""
    width, at = len(sums), 0
    while at < width:
        place = first * width + at
        if width - at >= 64:
            add_rows_of_64(sums, at, rows, place, width, inputs.number, inputs.value, begin, end)
            at += 64
        else:
            add_rows_of_32(sums, at, rows, place, width, inputs.number, inputs.value, begin, end)
            at += 32


@inner
def _own(frame: Frame, patch: int, lower: int, own: Inputs) -> int:
    """Write the inputs that are a patch's own magnitudes in the channels below `lower`; how many
    there are."""
    row, n = frame.magnitudes[patch], 0
    for c in range(lower):
        if row[c]:
            n = _append(own, n, c, row[c], frame.logs)
    return n


@compiled
def find(
    frame: Frame,
    at: np.ndarray,
    inputs: Inputs,
    lower: int,
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    shifts: tuple[int, int],
    most: tuple[int, int],
    out: np.ndarray,
) -> None:
    """Table indices uint8 [p, outputs] of the patches `at`, given `inputs` and their own magnitudes
    of the channels below `lower`.

    first, second: see `scales.GroupNetwork.layers`; shifts and largest values of both layers: see
    `scales`.
    """
    weights, biases = first[0].reshape(-1), first[1]
    outer, offsets = second[0].reshape(-1), second[1]
    hidden, outputs, channels = len(biases), len(offsets), frame.magnitudes.shape[1]
    sums, units = np.empty(hidden, np.float32), np.empty(hidden, np.int16)
    results = np.empty(outputs, np.int32)
    own = Inputs(inputs.starts, np.empty(channels, np.int16), np.empty(channels, np.uint8))
    down, limit = (int32(shifts[0]), int32(shifts[1])), (int32(most[0]), int32(most[1]))
    for i in range(len(at)):
        for h in range(hidden):
            sums[h] = biases[h]
        # A patch's own magnitudes come first.
        _add(sums, weights, channels, inputs, inputs.starts[i], inputs.starts[i + 1])
        if lower and frame.some[at[i]]:
            _add(sums, weights, 0, own, 0, _own(frame, at[i], lower, own))
        for h in range(hidden):
            units[h] = min(max(int32(sums[h]) >> down[0], int32(0)), limit[0])
        for o in range(outputs):
            results[o] = offsets[o]
        for o in range(0, outputs, 8):
            add_pairs_of_8(results, o, outer, 2 * o, 2 * outputs, units, hidden >> 1)
        for o in range(out.shape[1]):
            out[i, o] = min(max(results[o] >> down[1], int32(0)), limit[1])
