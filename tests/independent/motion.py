"""Trees, hints and the coding of vectors, as docs/format.md has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .container import require
from .entropy import Reader, Table

Pair = tuple[int | None, int | None]
_LEAVES: list[tuple[int, Pair]] = [(0, (-1, 1)), (2, (1, 3)), (4, (3, 5)), (6, (5, 7))]
_MIDDLE: list[tuple[int, Pair]] = [(1, (-1, 3)), (5, (3, 7))]
TREES: list[list[tuple[int, list[tuple[int, Pair]]]]] = [
    [(0, [(7, (-1, None))]), (1, [(3, (-1, 7))]), (2, _MIDDLE), (3, _LEAVES)],
    [(0, [(3, (-1, None))]), (0, [(7, (3, None))]), (2, _MIDDLE), (3, _LEAVES)],
    [*((0, [(f, (f - 2, None))]) for f in (1, 3, 5, 7)), (3, _LEAVES)],
]


@dataclass
class Field:
    """vectors [reference, component, H/8, W/8] and modes [H/16, W/16] of a frame."""

    frame: int
    references: Pair
    vectors: np.ndarray
    modes: np.ndarray


def steps(tree: int, first: bool) -> list[tuple[int, list[tuple[int, Pair]]]]:
    """Level and frames of each step; frame -1 is left out where there is none."""
    if not first:
        return TREES[tree]
    return [
        (level, [(f, (None if p == -1 else p, q)) for f, (p, q) in frames])
        for level, frames in TREES[tree]
    ]


def lattices(rows: int, columns: int) -> list[tuple[list[tuple[int, int]], list[tuple[int, int]]]]:
    """Blocks and the offsets of their neighbours, lattice by lattice."""
    grid = [(r, c) for r in range(rows) for c in range(columns)]
    found: list[tuple[list[tuple[int, int]], list[tuple[int, int]]]]
    found = [([(r, c) for r, c in grid if r % 64 == 0 and c % 64 == 0], [])]
    for s in (64, 32, 16, 8, 4, 2):
        g = s // 2
        found.append(
            (
                [(r, c) for r, c in grid if r % s == g and c % s == g],
                [(-g, -g), (-g, g), (g, -g), (g, g)],
            )
        )
        found.append(
            (
                [(r, c) for r, c in grid if (r % s, c % s) in ((g, 0), (0, g))],
                [(-g, 0), (g, 0), (0, -g), (0, g)],
            )
        )
    return [(blocks, offsets) for blocks, offsets in found if blocks]


def hints(
    frames: list[tuple[int, Pair]], fields: dict[int, Field], rows: int, columns: int
) -> np.ndarray | None:
    """Expected vectors [frame, reference, component, rows, columns]; None if the step has none."""
    expected = np.zeros((len(frames), 2, 2, rows, columns), np.int64)
    any_parent = False
    for i, (f, (p, q)) in enumerate(frames):
        known = [fields[x] for x in (q, p) if x is not None and x in fields]
        if not known:
            continue
        any_parent = True
        own = {x for x in (p, q) if x is not None}
        parent = ([k for k in known if own & set(k.references)] or known)[0]
        existing = [side for side in (0, 1) if parent.references[side] is not None]
        side = ([k for k in existing if parent.references[k] in own] or existing)[0]
        o = parent.references[side]
        assert o is not None
        d = o - parent.frame
        v = parent.vectors[side, :, ::2, ::2]
        for k, reference in enumerate((p, q)):
            if reference is not None:
                e = reference - f
                hint = (2 * v * e * (1 if d > 0 else -1) + abs(d)) // (2 * abs(d))
                expected[i, k] = np.clip(hint, -8192, 8192)
    return expected if any_parent else None


def still(frames: list[tuple[int, Pair]], rows: int, columns: int) -> list[Field]:
    """Fields of a step without coded vectors."""
    found = []
    for f, (p, q) in frames:
        mode = 0 if p is not None and q is not None else 1 if q is None else 2
        vectors = np.zeros((2, 2, 2 * rows, 2 * columns), np.int64)
        found.append(Field(f, (p, q), vectors, np.full((rows, columns), mode)))
    return found


def spread_class(spread: int) -> int:
    return min(7, int(spread).bit_length())


class StepMotion:
    """The four parts of a step's motion."""

    def __init__(
        self,
        reader: Reader,
        tables: list[Table | None],
        frames: list[tuple[int, Pair]],
        expected: np.ndarray | None,
        rows: int,
        columns: int,
    ) -> None:
        self.reader, self.tables, self.frames = reader, tables, frames
        self.rows, self.columns, self.hints = rows, columns, expected
        self.count = len(frames)
        self.lattices = lattices(rows, columns)
        self.exists = np.array([[r is not None for r in pair] for _, pair in frames])

    def inside(self, r: int, c: int, offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
        near = [(r + a, c + b) for a, b in offsets]
        return [(y, x) for y, x in near if 0 <= y < self.rows and 0 <= x < self.columns]

    def read(self) -> list[Field]:
        modes = self.modes()
        vectors, classes = self.vectors(modes)
        split = self.splits(classes)
        fine = self.children(vectors, classes, split, modes)
        require(int(np.abs(fine).max()) <= 8192, "a vector")
        return [Field(f, pair, fine[i], modes[i]) for i, (f, pair) in enumerate(self.frames)]

    def modes(self) -> np.ndarray:
        modes = np.zeros((self.count, self.rows, self.columns), np.int64)
        modes[self.exists[:, 0] & ~self.exists[:, 1]] = 1
        modes[~self.exists[:, 0]] = 2
        both = [i for i in range(self.count) if self.exists[i].all()]
        for blocks, offsets in self.lattices:
            index = np.zeros((len(both), len(blocks)), np.int64)
            for i, frame in enumerate(both):
                for j, (r, c) in enumerate(blocks):
                    near = [modes[frame, y, x] for y, x in self.inside(r, c, offsets)]
                    n, a, b = (near.count(mode) for mode in (0, 1, 2))
                    index[i, j] = 153 + 3 * n + 1 + np.sign(b - a)
            symbols = self.reader.call(index, self.tables)
            require(bool((np.abs(symbols) <= 1).all()), "a mode")
            for i, frame in enumerate(both):
                for j, (r, c) in enumerate(blocks):
                    modes[frame, r, c] = symbols[i, j] + 1
        return modes

    def used(self, modes: np.ndarray, frame: int, side: int, r: int, c: int) -> bool:
        return bool(self.exists[frame, side]) and modes[frame, r, c] != 2 - side

    def vectors(self, modes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors [frame, reference, component, rows, columns] of blocks, and the larger spread
        class of both references [frame, rows, columns]."""
        vectors = np.zeros((self.count, 2, 2, self.rows, self.columns), np.int64)
        sizes = np.zeros((self.count, 2, self.rows, self.columns), np.int64)
        classes = np.zeros((self.count, 2, self.rows, self.columns), np.int64)
        for blocks, offsets in self.lattices:
            shape = (self.count, 2, len(blocks))
            prediction = np.zeros((*shape, 2), np.int64)
            base, coded = np.zeros(shape, np.int64), np.zeros(shape, bool)
            for i, k, j in np.ndindex(shape):
                r, c = blocks[j]
                coded[i, k, j] = self.used(modes, i, k, r, c)
                near = self.inside(r, c, offsets)
                prediction[i, k, j], spread = self.predict(vectors[i, k], i, k, r, c, near, offsets)
                classes[i, k, r, c] = e = spread_class(spread)
                z = sum(int(sizes[i, k, y, x]) for y, x in near)
                alone = not offsets or self.hints is None
                base[i, k, j] = (72 if alone else 0) + 1 + 3 * e + min(2, (z + 2) // 3)
            dy = self.reader.call(np.where(coded, base, 0), self.tables)
            index = np.where(coded, base + np.where(dy == 0, 24, 48), 0)
            dx = self.reader.call(index, self.tables)
            for i, k, j in np.ndindex(shape):
                r, c = blocks[j]
                vectors[i, k, :, r, c] = prediction[i, k, j] + (dy[i, k, j], dx[i, k, j])
                sizes[i, k, r, c] = abs(dy[i, k, j]) + abs(dx[i, k, j])
        return vectors, classes.max(1)

    def predict(
        self,
        known: np.ndarray,
        i: int,
        k: int,
        r: int,
        c: int,
        near: list[tuple[int, int]],
        offsets: list[tuple[int, int]],
    ) -> tuple[list[int], int]:
        """Prediction and spread of a block; known [component, rows, columns]."""
        hint = None if self.hints is None else [int(h) for h in self.hints[i, k, :, r, c]]
        if not offsets:
            return ([0, 0], 64) if hint is None else (hint, 4)
        medians, spread = [], 0
        for component in (0, 1):
            values = [int(known[component, y, x]) for y, x in near]
            values += [sum(values) // len(values)] * (4 - len(values))
            if hint is not None:
                values.append(hint[component])
            values.sort()
            medians.append(values[2] if len(values) == 5 else (values[1] + values[2]) // 2)
            spread = max(spread, values[-1] - values[0])
        return medians, spread

    def splits(self, classes: np.ndarray) -> np.ndarray:
        split = np.zeros((self.count, self.rows, self.columns), np.int64)
        for blocks, offsets in self.lattices:
            index = np.zeros((self.count, len(blocks)), np.int64)
            for i, j in np.ndindex(index.shape):
                r, c = blocks[j]
                n = sum(int(split[i, y, x]) for y, x in self.inside(r, c, offsets))
                index[i, j] = 168 + 3 * n + min(2, classes[i, r, c] // 2)
            flags = self.reader.call(index, self.tables)
            require(bool(((flags == 0) | (flags == 1)).all()), "a split flag")
            for i, j in np.ndindex(index.shape):
                split[(i, *blocks[j])] = flags[i, j]
        return split

    def children(
        self, vectors: np.ndarray, classes: np.ndarray, split: np.ndarray, modes: np.ndarray
    ) -> np.ndarray:
        """Vectors [frame, reference, component, 2 rows, 2 columns]."""
        index = np.zeros((self.count, 2, 2, self.rows, 2, self.columns, 2), np.int64)
        for i, k, r, c in np.ndindex(self.count, 2, self.rows, self.columns):
            if split[i, r, c] and self.used(modes, i, k, r, c):
                index[i, k, :, r, :, c, :] = 145 + classes[i, r, c]
                index[i, k, :, r, 0, c, 0] = 0
        difference = self.reader.call(index, self.tables)
        fine = vectors[:, :, :, :, None, :, None] + difference
        return fine.reshape(self.count, 2, 2, 2 * self.rows, 2 * self.columns)
