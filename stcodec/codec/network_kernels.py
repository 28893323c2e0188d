"""The prior and the filter in compiled loops: row after row of patches, so that what is between two
layers stays in the cache. `network` says what is computed, and does the same with tensors.

Products go by tiles of TILE patches and LANES outputs. Whatever they read or write goes on for the
last tile: for TILE - 1 patches more than there are, of which nothing is taken.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import float32

from stcodec.codec import input_kernels
from stcodec.common.compiled import compiled, inner
from stcodec.common.simd_kernels import (
    many_registers,
    multiply_1_by_16,
    multiply_5_by_16,
    multiply_5_by_32,
)

TILE, LANES = 5, 16


class Layer(NamedTuple):
    """A product, of each block if blocks have it. weights float32: the matrices [inputs, outputs],
    flat, by panels of LANES outputs; biases float32 [blocks, outputs]."""

    weights: np.ndarray
    biases: np.ndarray
    inputs: int
    outputs: int


class Layers(NamedTuple):
    """Of a trunk of width W, and of the layer that leaves it. around float32 [blocks, 10 W]: what
    nine patches, row by row, are multiplied by, and what is added."""

    enter: Layer
    expand: Layer
    around: np.ndarray
    project: Layer
    gate: Layer
    merge: Layer
    leave: Layer


class Seen(NamedTuple):
    """What a network sees of each patch: coefficients `values` float32 [p, C], of which the first
    `flat` are taken relative to the mean of the patches around; what these are more than `mean` and
    than `predicted` [p, C], if there are those; `state` [p, M]. inverse [C]: one by the steps."""

    values: np.ndarray
    mean: np.ndarray
    predicted: np.ndarray
    state: np.ndarray
    inverse: np.ndarray
    flat: int


class _Room(NamedTuple):
    """Room for a row of patches: what is seen; three rows of `expand`, each between two patches of
    zeros; what comes of those, and of the layers behind."""

    inputs: np.ndarray
    wide: np.ndarray
    around: np.ndarray
    hidden: np.ndarray
    pair: np.ndarray


@inner
def _product(
    layer: Layer,
    block: int,
    rows: np.ndarray,
    at: int,
    count: int,
    out: np.ndarray,
    to: int,
) -> None:
    """Send `count` patches, the first of which is at a place of the flat `rows`, through a layer to
    a place of the flat `out`."""
    inputs, outputs, weights, biases = layer.inputs, layer.outputs, layer.weights, layer.biases
    panel = 0
    while panel < outputs:
        start = block * outputs + panel
        both: bool = many_registers() and panel + LANES < outputs
        first = start * inputs
        for n in range(0, count, TILE):
            place, source = to + n * outputs + panel, at + n * inputs
            if both:
                multiply_5_by_32(
                    out, place, outputs, rows, source, inputs, weights, first, biases, start, inputs
                )
            else:
                multiply_5_by_16(
                    out, place, outputs, rows, source, inputs, weights, first, biases, start, inputs
                )
        panel += 2 * LANES if both else LANES


@inner
def _contrast(values: np.ndarray, rows: int, columns: int, y: int, x: int, c: int) -> float:
    """A coefficient less its mean over the patch and those around it."""
    total = float32(0)
    for i in range(-1, 2):
        row = min(max(y + i, 0), rows - 1) * columns
        for j in range(-1, 2):
            total += values[row + min(max(x + j, 0), columns - 1), c]
    return values[y * columns + x, c] - total / float32(9)


@inner
def _see(
    seen: Seen, rows: int, columns: int, y: int, room: input_kernels.Room, out: np.ndarray
) -> None:
    """Write what is seen of row y of patches into the flat `out`."""
    channels, more = seen.values.shape[1], seen.state.shape[1]
    value, inverse = room.value, seen.inverse
    at = 0
    for x in range(columns):
        n = y * columns + x
        own = seen.values[n]
        for c in range(channels):
            value[c] = own[c] * inverse[c]
        for c in range(seen.flat):
            value[c] = _contrast(seen.values, rows, columns, y, x, c) * inverse[c]
        input_kernels.compress(room, out[at : at + channels])
        at += channels
        if len(seen.mean):
            less = seen.mean[n]
            for c in range(channels):
                value[c] = (own[c] - less[c]) * inverse[c]
            input_kernels.compress(room, out[at : at + channels])
            at += channels
        if len(seen.predicted):
            less = seen.predicted[n]
            for c in range(channels):
                value[c] = (own[c] - less[c]) * inverse[c]
            input_kernels.compress(room, out[at : at + channels])
            at += channels
        for c in range(more):
            out[at + c] = seen.state[n, c]
        at += more


@inner
def _expand(
    layer: Layer, block: int, features: np.ndarray, at: int, columns: int, out: np.ndarray
) -> None:
    """What a row of patches shows to those around, behind a patch of zeros in `out`."""
    width = layer.outputs
    _product(layer, block, features, at, columns, out, width)
    row = out[width : (columns + 1) * width]
    for n in range(len(row)):  # a choice of two values would be made one after the other
        row[n] = float32(0.1) * row[n] + float32(0.9) * max(row[n], float32(0))
    out[(columns + 1) * width : (columns + 2) * width] = 0


@inner
def _gather(
    up: np.ndarray,
    here: np.ndarray,
    down: np.ndarray,
    weights: np.ndarray,
    columns: int,
    width: int,
    out: np.ndarray,
) -> None:
    """What each patch of a row sees of those around it, in three rows of `_expand`."""
    w0, w1, w2 = weights, weights[width:], weights[2 * width :]
    w3, w4, w5 = weights[3 * width :], weights[4 * width :], weights[5 * width :]
    w6, w7, w8 = weights[6 * width :], weights[7 * width :], weights[8 * width :]
    bias = weights[9 * width :]
    for x in range(columns):
        a, b, c = up[x * width :], here[x * width :], down[x * width :]
        a1, b1, c1 = up[(x + 1) * width :], here[(x + 1) * width :], down[(x + 1) * width :]
        a2, b2, c2 = up[(x + 2) * width :], here[(x + 2) * width :], down[(x + 2) * width :]
        to = out[x * width : (x + 1) * width]
        for n in range(width):
            above = w0[n] * a[n] + w1[n] * a1[n] + w2[n] * a2[n]
            beside = w3[n] * b[n] + w4[n] * b1[n] + w5[n] * b2[n]
            below = w6[n] * c[n] + w7[n] * c1[n] + w8[n] * c2[n]
            to[n] = bias[n] + above + (beside + below)


@inner
def _block(
    layers: Layers, block: int, features: np.ndarray, rows: int, columns: int, room: _Room
) -> None:
    """Send features, flat, through a block, in place."""
    width, count = layers.expand.outputs, columns * layers.expand.outputs
    wide, hidden, pair = room.wide, room.hidden, room.pair
    wide[:] = 0
    _expand(layers.expand, block, features, 0, columns, wide[0])
    for y in range(rows):
        below = wide[(y + 1) % 3]
        if y + 1 < rows:
            _expand(layers.expand, block, features, (y + 1) * count, columns, below)
        else:
            below[:] = 0
        up, here = wide[(y + 2) % 3], wide[y % 3]
        _gather(up, here, below, layers.around[block], columns, width, room.around)
        own = features[y * count : (y + 1) * count]
        _product(layers.project, block, room.around, 0, columns, hidden, 0)
        for n in range(count):
            own[n] += hidden[n]
        _product(layers.gate, block, features, y * count, columns, pair, 0)
        for x in range(columns):
            to, value = hidden[x * width : (x + 1) * width], pair[2 * x * width :]
            gate = pair[(2 * x + 1) * width :]
            for n in range(width):
                to[n] = value[n] * min(max(gate[n], float32(0)), float32(1))
        _product(layers.merge, block, hidden, 0, columns, room.around, 0)
        for n in range(count):
            own[n] += room.around[n]


@compiled
def product(layer: Layer, rows: np.ndarray, out: np.ndarray) -> None:
    """Send rows float32 [p, inputs] through a layer: [p, outputs]. Nothing is read or written
    behind the last one."""
    count, inputs, outputs = len(rows), layer.inputs, layer.outputs
    flat, target = rows.reshape(-1), out.reshape(-1)
    whole = count - count % TILE
    _product(layer, 0, flat, 0, whole, target, 0)
    for n in range(whole, count):
        for panel in range(0, outputs, LANES):
            place, first = n * outputs + panel, panel * inputs
            multiply_1_by_16(
                target, place, outputs, flat, n * inputs, inputs, layer.weights, first,
                layer.biases, panel, inputs,
            )  # fmt: skip


@compiled
def correct(
    seen: Seen,
    columns: int,
    layers: Layers,
    condition: np.ndarray,
    step: np.ndarray,
    features: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write what is seen, corrected by a network, into `out` float32 [p, C].

    columns: of the grid of patches; condition float32 [2, W]: by what features are multiplied
    behind the first layer, and what is added; step float32 [C]; features float32 [p + TILE - 1, W]:
    room, and afterwards those behind the last block.
    """
    patches, channels = seen.values.shape
    rows, width, leave = patches // columns, layers.expand.outputs, layers.leave
    most = columns + TILE - 1
    value, size = np.empty(channels, np.float32), np.empty(channels, np.float32)
    part, power = np.empty(channels, np.float32), np.empty(channels, np.int32)
    numbers = input_kernels.Room(value, size, part, power, size.view(np.int32), part.view(np.int32))
    room = _Room(
        np.zeros(most * layers.enter.inputs, np.float32),
        np.zeros((3, (most + 2) * width), np.float32),
        np.zeros(most * width, np.float32),
        np.zeros(most * width, np.float32),
        np.zeros(most * max(2 * width, leave.outputs), np.float32),
    )
    flat = features.reshape(-1)
    for y in range(rows):
        _see(seen, rows, columns, y, numbers, room.inputs)
        _product(layers.enter, 0, room.inputs, 0, columns, flat, y * columns * width)
        for x in range(columns):
            own = features[y * columns + x]
            for c in range(width):
                own[c] = own[c] * condition[0, c] + condition[1, c]
    for block in range(len(layers.around)):
        _block(layers, block, flat, rows, columns, room)
    for y in range(rows):
        _product(leave, 0, flat, y * columns * width, columns, room.pair, 0)
        for x in range(columns):
            own, more = seen.values[y * columns + x], room.pair[x * leave.outputs :]
            to = out[y * columns + x]
            for c in range(channels):
                to[c] = own[c] + step[c] * more[c]
