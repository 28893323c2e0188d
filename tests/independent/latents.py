"""Symbols of a frame's latents and the scale networks, as docs/format.md has them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from .container import require
from .entropy import Reader
from .model import Model
from .motion import Field

_LOGS = np.array([((1 + m) ** 12).bit_length() // 2 for m in range(1024)])


@dataclass
class Lattice:
    """Rows and columns of patches, and those of their neighbours [p, 4]; `there`: in the grid."""

    r: np.ndarray
    c: np.ndarray
    near_r: np.ndarray
    near_c: np.ndarray
    there: np.ndarray

    def around(self, grid: np.ndarray) -> np.ndarray:
        """Neighbours' vectors [p, 4, C] of a grid [rows, columns, C], zero outside of it."""
        found = grid[np.where(self.there, self.near_r, 0), np.where(self.there, self.near_c, 0)]
        return found * self.there[..., None]


def lattices(rows: int, columns: int, intra: bool) -> list[Lattice]:
    r, c = (n.ravel() for n in np.indices((rows, columns)))
    d = 8 if intra else 2
    found: list[tuple[np.ndarray, list[tuple[int, int]]]] = [(r % d + c % d == 0, [])]
    while d > 1:
        d //= 2
        on = (r % d == 0) & (c % d == 0)
        odd_r, odd_c = r // d % 2 == 1, c // d % 2 == 1
        found.append((on & odd_r & odd_c, [(-d, -d), (-d, d), (d, -d), (d, d)]))
        found.append((on & (odd_r != odd_c), [(0, -d), (0, d), (-d, 0), (d, 0)]))
    result = []
    for chosen, offsets in found:
        y, x = r[chosen], c[chosen]
        moves = np.array(offsets or [(rows, columns)] * 4)  # outside of the grid
        near_r, near_c = y[:, None] + moves[:, 0], x[:, None] + moves[:, 1]
        there = (near_r >= 0) & (near_r < rows) & (near_c >= 0) & (near_c < columns)
        result.append(Lattice(y, x, near_r, near_c, there))
    return result


def logs(magnitudes: np.ndarray) -> np.ndarray:
    return _LOGS[np.minimum(magnitudes, 1023)]


def bands(values: np.ndarray) -> np.ndarray:
    """Sums of slices of the last dimension, [..., 8]."""
    edges = [round(values.shape[-1] * i * i / 64) for i in range(9)]
    parts = [values[..., a : max(b, a + 1)].sum(-1) for a, b in itertools.pairwise(edges)]
    return np.stack(parts, axis=-1)


def roughness(field: Field, rows: int, columns: int) -> np.ndarray:
    """[rows, columns, 2] of patches, from vectors of 8x8 blocks."""
    v = field.vectors
    rough = np.zeros((2, *v.shape[2:]), np.int64)
    rough[:, 1:] = np.abs(np.diff(v, axis=2)).max(1)
    rough[:, :, 1:] = np.maximum(rough[:, :, 1:], np.abs(np.diff(v, axis=3)).max(1))
    found = np.zeros((rows, columns, 2), np.int64)
    for r, c in np.ndindex(rows, columns):
        top, bottom = r * v.shape[2] // rows, -(-(r + 1) * v.shape[2] // rows)
        left, right = c * v.shape[3] // columns, -(-(c + 1) * v.shape[3] // columns)
        found[r, c] = rough[:, top:bottom, left:right].max((1, 2))
    return found


class FrameSymbols:
    """Reads the symbols of one frame, a group of a lattice at a time."""

    def __init__(
        self,
        reader: Reader,
        model: Model,
        kind: int,
        quality: int,
        field: Field | None,
        references: np.ndarray,
    ) -> None:
        """references: sum of the magnitudes of both [rows, columns, C]."""
        self.reader, self.model, self.kind = reader, model, kind
        rows, columns, _ = references.shape
        self.magnitudes = np.zeros_like(references)
        self.divided = np.zeros((rows, columns), np.int64)
        self.fixed = self._fixed(quality, field, references)
        self.lattices = lattices(rows, columns, kind == 0)

    def _fixed(self, quality: int, field: Field | None, references: np.ndarray) -> np.ndarray:
        """The inputs that are known before the frame, [rows, columns, ...]."""
        rows, columns, _ = references.shape
        scalars = np.zeros((rows, columns, 12), np.int64)
        y = min(max(quality, 0), 63)
        scalars[..., 0] = y
        for i, knot in enumerate((12, 24, 36, 48), 1):
            scalars[..., i] = max(0, y - knot)
        scalars[..., 10] = 32
        if field is None:
            return scalars
        for r, c in np.ndindex(rows, columns):
            mode = field.modes[r * self.model.h // 16, c * self.model.w // 16]
            scalars[r, c, 5 + mode] = 32
        scalars[..., 8:10] = logs(roughness(field, rows, columns))
        wide = np.pad(bands(references), ((1, 1), (1, 1), (0, 0)))
        near = [wide[a : a + rows, b : b + columns] for a in range(3) for b in range(3)]
        box = np.sum(near, axis=0)
        return np.concatenate([logs(references), logs(box), scalars], axis=-1)

    def known(self, lattice: Lattice) -> np.ndarray:
        """All inputs [p, ...] but those of the patch itself."""
        sides = lattice.around(self.magnitudes)
        total = sides.sum(1)
        close = sides.reshape(len(sides), -1) if self.kind == 0 else total
        return np.concatenate(
            [logs(close), logs(bands(total)), self.fixed[lattice.r, lattice.c]], axis=1
        )

    def group(
        self, number: int, lattice: int, known: np.ndarray, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Symbols and their indices [p, channels of the group]; own: magnitudes [p, C] so far."""
        model = self.model
        name = f"scales.{'other' if self.kind else 'intra'}.{number}"
        k = 3 * (self.kind - 1) + lattice if self.kind else lattice
        x = np.concatenate([logs(own), known], axis=1)
        hidden = np.clip((x @ model[f"{name}.w1"] + model[f"{name}.b1"][k]) >> 6, 0, 255)
        index = np.clip((hidden @ model[f"{name}.w2"] + model[f"{name}.b2"][k]) >> 8, 0, 63)
        floor = int(self.reader.call(np.array([12]), model.tables)[0])
        require(floor in (0, 1), "a floor")
        index = np.maximum(index, floor)
        return self.reader.call(index, model.tables), index

    def divisions(self, lattice: Lattice, own: np.ndarray) -> np.ndarray:
        """How each patch of a lattice is divided, whose magnitudes are `own`."""
        found = np.zeros(len(own), np.int64)
        if self.model.divisions == 1:
            return found
        near = (lattice.around(self.divided[..., None])[..., 0] > 0).sum(1)
        index = 64 + 3 * (self.kind > 0) + np.minimum(near, 2)
        some = own.any(1)
        found[some] = self.reader.call(index[some], self.model.tables)
        require(bool(((found >= 0) & (found < self.model.divisions)).all()), "a division")
        self.divided[lattice.r, lattice.c] = found
        return found

    def keep(self, lattice: Lattice, own: np.ndarray) -> None:
        self.magnitudes[lattice.r, lattice.c] = own
