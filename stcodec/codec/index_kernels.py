"""The scale networks in compiled loops, patch by patch: most inputs of most patches are zero, so
only the others are looked at. `indices` says what is computed, and does the same with tensors.

All numbers are integers below 2**24, so float32 is exact in any order of summation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import float32, int32

from stcodec.common.compiled import compiled, inner

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
def _add(sums: np.ndarray, row: np.ndarray, value: float) -> None:
    """Add `value` times a row of weights."""
    for h in range(len(sums)):
        sums[h] += value * row[h]


@inner
def _output(units: np.ndarray, row: np.ndarray, offset: int) -> int:
    """A sum of the products of two int16 vectors, and `offset`."""
    total = int32(0)
    for h in range(len(units)):
        total = int32(total + int32(int32(units[h]) * int32(row[h])))
    return total + offset


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

    first: weights float32 [inputs, hidden] and biases [hidden]; second: int16 [outputs, hidden],
    transposed, and int32 [outputs]; shifts and largest values of both layers: see `scales`.
    """
    weights, biases = first
    outer, offsets = second
    hidden, channels = len(biases), frame.magnitudes.shape[1]
    known = channels  # a patch's own magnitudes come first
    sums, units = np.empty(hidden, np.float32), np.empty(hidden, np.int16)
    for i in range(len(at)):
        for h in range(hidden):
            sums[h] = biases[h]
        for k in range(inputs.starts[i], inputs.starts[i + 1]):
            _add(sums, weights[known + inputs.number[k]], float32(inputs.value[k]))
        if lower and frame.some[at[i]]:
            own = frame.magnitudes[at[i]]
            for c in range(lower):
                if own[c]:
                    _add(sums, weights[c], float32(frame.logs[own[c]]))
        for h in range(hidden):
            units[h] = min(max(int32(sums[h]) >> shifts[0], 0), most[0])
        for o in range(len(offsets)):
            result = _output(units, outer[o], offsets[o])
            out[i, o] = min(max(result >> shifts[1], 0), most[1])
