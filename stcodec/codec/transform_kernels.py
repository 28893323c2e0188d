"""The transform of a picture in compiled loops, for patches of 8x8: lines of samples down, then
across, so that a patch takes a seventh of the multiplications that one matrix for all of it would.
`network` says what is computed, and does the same with tensors.

Planes go by blocks of 8x8 samples, two rows of patches at a time: a patch has one of luma, and in
each plane of chroma a quarter of one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stcodec.common.compiled import compiled, inner
from stcodec.common.simd_kernels import filter_8, filter_16, multiply_8_by_8

SIDE = 8
BLOCK = SIDE * SIDE


class Planes(NamedTuple):
    """y float32 [H, W], u and v [H / 2, W / 2]; H and W are multiples of 16."""

    y: np.ndarray
    u: np.ndarray
    v: np.ndarray


class Lines(NamedTuple):
    """The orthonormal basis of the lines of luma, and of chroma: two of half the length beside each
    other; float32 [64] each, vector by vector, and turned: sample by sample."""

    luma: np.ndarray
    chroma: np.ndarray
    turned_luma: np.ndarray
    turned_chroma: np.ndarray


class Order(NamedTuple):
    """Where the coefficients of a patch are found: its channels int64 [64] of luma, [16] of U and
    of V; and where each of these lies in a block, `luma` [64], `chroma` [16] of its first
    quarter."""

    y: np.ndarray
    u: np.ndarray
    v: np.ndarray
    luma: np.ndarray
    chroma: np.ndarray


class Room(NamedTuple):
    """Room for two rows of patches, flat: lines of a row of blocks; blocks of luma, U and V."""

    lines: np.ndarray
    y: np.ndarray
    u: np.ndarray
    v: np.ndarray
    zeros: np.ndarray


def room(columns: int) -> Room:
    """An empty one, for so many patches in a row."""
    sizes = BLOCK * columns, 2 * BLOCK * columns, *(BLOCK * columns // 2,) * 2, SIDE
    return Room(*(np.zeros(size, np.float32) for size in sizes))


@inner
def _down(
    source: np.ndarray, at: int, out: np.ndarray, to: int, width: int, taps: np.ndarray
) -> None:
    """Eight lines of `width` numbers, from a place on, as many others: products with `taps`."""
    for k in range(SIDE):
        if width % 16 == 0:
            filter_16(out, to + k * width, 16, source, at, 16, width, taps, SIDE * k, width // 16)
        else:
            filter_8(out, to + k * width, 8, source, at, 8, width, taps, SIDE * k, width // 8)


@inner
def _to_blocks(
    plane: np.ndarray, row: int, basis: np.ndarray, turned: np.ndarray, out: np.ndarray, w: Room
) -> None:
    """Transform row number `row` of the blocks of a plane."""
    width = plane.shape[1]
    _down(plane.reshape(-1), row * SIDE * width, w.lines, 0, width, basis)
    for n in range(width // SIDE):
        multiply_8_by_8(out, n * BLOCK, SIDE, w.lines, n * SIDE, width, turned, 0, w.zeros, 0, SIDE)


@inner
def _from_blocks(
    blocks: np.ndarray, row: int, basis: np.ndarray, turned: np.ndarray, plane: np.ndarray, w: Room
) -> None:
    """The inverse of `_to_blocks`."""
    width = plane.shape[1]
    for n in range(width // SIDE):
        multiply_8_by_8(
            w.lines, n * SIDE, width, blocks, n * BLOCK, SIDE, basis, 0, w.zeros, 0, SIDE
        )
    _down(w.lines, 0, plane.reshape(-1), row * SIDE * width, width, turned)


@inner
def _quarter(row: int, column: int) -> int:
    """Where in a row of blocks of chroma the quarter of a patch begins."""
    return column // 2 * BLOCK + (row & 1) * (BLOCK // 2) + (column & 1) * (SIDE // 2)


@compiled
def transform(planes: Planes, lines: Lines, order: Order, w: Room, out: np.ndarray) -> None:
    """The coefficients float32 [p, 96] of all patches of a picture, row by row."""
    columns = planes.y.shape[1] // SIDE
    luma, chroma = w.y, w.u
    for pair in range(planes.y.shape[0] // (2 * SIDE)):
        for half in range(2):
            some = luma[half * columns * BLOCK :]
            _to_blocks(planes.y, 2 * pair + half, lines.luma, lines.turned_luma, some, w)
        _to_blocks(planes.u, pair, lines.chroma, lines.turned_chroma, chroma, w)
        _to_blocks(planes.v, pair, lines.chroma, lines.turned_chroma, w.v, w)
        for half in range(2):
            for x in range(columns):
                own = out[(2 * pair + half) * columns + x]
                at, quarter = (half * columns + x) * BLOCK, _quarter(half, x)
                for i in range(BLOCK):
                    own[order.y[i]] = luma[at + order.luma[i]]
                for i in range(BLOCK // 4):
                    own[order.u[i]] = chroma[quarter + order.chroma[i]]
                    own[order.v[i]] = w.v[quarter + order.chroma[i]]


@compiled
def restore(coefficients: np.ndarray, lines: Lines, order: Order, w: Room, planes: Planes) -> None:
    """The inverse of `transform`: coefficients float32 [p, 96] into planes."""
    columns = planes.y.shape[1] // SIDE
    luma, chroma = w.y, w.u
    for pair in range(planes.y.shape[0] // (2 * SIDE)):
        for half in range(2):
            for x in range(columns):
                own = coefficients[(2 * pair + half) * columns + x]
                at, quarter = (half * columns + x) * BLOCK, _quarter(half, x)
                for i in range(BLOCK):
                    luma[at + order.luma[i]] = own[order.y[i]]
                for i in range(BLOCK // 4):
                    chroma[quarter + order.chroma[i]] = own[order.u[i]]
                    w.v[quarter + order.chroma[i]] = own[order.v[i]]
        for half in range(2):
            some = luma[half * columns * BLOCK :]
            _from_blocks(some, 2 * pair + half, lines.luma, lines.turned_luma, planes.y, w)
        _from_blocks(chroma, pair, lines.chroma, lines.turned_chroma, planes.u, w)
        _from_blocks(w.v, pair, lines.chroma, lines.turned_chroma, planes.v, w)
