"""Trees, hints and the motion of frames, as docs/format.md has them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from .container import require
from .ranges import Decisions

Pair = tuple[int | None, int | None]
Vector = tuple[int, int]
Candidate = tuple[int, Vector, Vector]
BI, FIRST, SECOND = 0, 1, 2


@dataclass
class Step:
    """Kind of its frames where they have a reference, what is added to their quality, and frames
    with their references."""

    kind: int
    finer: int
    frames: list[tuple[int, Pair]]


def _middles(kind: int, reach: int, frames: list[int], finer: int = 0) -> Step:
    return Step(kind, finer, [(f, (f - reach, f + reach)) for f in frames])


_LEAVES, _MIDDLE = _middles(4, 1, [0, 2, 4, 6]), _middles(3, 2, [1, 5])
TREES: list[list[Step]] = [
    [Step(1, 0, [(7, (-1, None))]), _middles(2, 4, [3]), _MIDDLE, _LEAVES],
    [Step(1, 0, [(3, (-1, None))]), Step(1, 0, [(7, (3, None))]), _MIDDLE, _LEAVES],
    [*(Step(1, 0, [(f, (f - 2, None))]) for f in (1, 3, 5, 7)), _LEAVES],
    [
        Step(1, 0, [(15, (-1, None))]),
        _middles(2, 8, [7]),
        _middles(2, 4, [3, 11], -2),
        _middles(3, 2, [1, 5, 9, 13]),
        _middles(4, 1, [0, 2, 4, 6, 8, 10, 12, 14]),
    ],
]


def _with_two(tree: list[Step]) -> list[Step]:
    """A tree whose keys have the two frames before them in their chain as references."""
    chain, made = [-9], []
    for step in tree:
        if step.kind == 1:
            ((f, (p, _)),) = step.frames
            assert p is not None
            chain.append(p)
            step = Step(1, 0, [(f, (p, chain[-2]))])
        made.append(step)
    return made


TREES += [_with_two(tree) for tree in TREES]
LENGTHS = [8, 8, 8, 16] * 2
CASCADES = [
    [0, 0, 0, 0, 0],
    [1, 1, -1, -1, -1],
    [2, 2, -1, -2, -3],
    [2, 2, -2, -4, -6],
    [3, 3, -2, -5, -8],
    [0, -8, -2, 0, 0],
]


@dataclass
class Field:
    """vectors [reference, component, H/8, W/8] and modes [H/16, W/16] of a frame."""

    frame: int
    references: Pair
    vectors: np.ndarray
    modes: np.ndarray


def steps(tree: int, known: Collection[int]) -> list[Step]:
    """The steps of a tree; of the frames before it those that are not known are left out."""

    def there(pair: Pair) -> Pair:
        p, q = (r if r is None or r >= 0 or r in known else None for r in pair)
        return p, q

    return [Step(s.kind, s.finer, [(f, there(pair)) for f, pair in s.frames]) for s in TREES[tree]]


def along(parent: Field, side: int, e: int) -> np.ndarray:
    """The vectors of a parent to one of its references, for a distance e in time."""
    o = parent.references[side]
    assert o is not None
    d = o - parent.frame
    v = parent.vectors[side, :, ::2, ::2]
    return np.asarray((2 * v * e * (1 if d > 0 else -1) + abs(d)) // (2 * abs(d)))


def hints(f: int, pair: Pair, fields: dict[int, Field]) -> list[np.ndarray]:
    """Expected vectors [reference, component, rows, columns] of a frame, of each parent."""
    own = {x for x in pair if x is not None}
    parents = [fields[x] for x in (pair[1], pair[0]) if x is not None and x in fields]
    near = [p for p in parents if own & set(p.references)]
    found = []
    for parent in near + [p for p in parents if not own & set(p.references)]:
        exist = [k for k in (0, 1) if parent.references[k] is not None]
        sides = [k for k in exist if parent.references[k] in own]
        sides += [k for k in exist if parent.references[k] not in own]
        expected = np.zeros((2, 2, *parent.modes.shape), np.int64)
        for k, reference in enumerate(pair):
            if reference is not None:
                expected[k] = along(parent, sides[0], reference - f)
                if len(sides) == 2:
                    lacks = parent.modes == 2 - sides[0]
                    expected[k] = np.where(
                        lacks, along(parent, sides[1], reference - f), expected[k]
                    )
        found.append(np.clip(expected, -8192, 8192))
    return found


def still(f: int, pair: Pair, rows: int, columns: int) -> Field:
    """A field that is not coded."""
    mode = BI if None not in pair else FIRST if pair[1] is None else SECOND
    vectors = np.zeros((2, 2, 2 * rows, 2 * columns), np.int64)
    return Field(f, pair, vectors, np.full((rows, columns), mode))


@dataclass
class Unit:
    """16x16 samples whose motion is known: mode, size of the block (1 in parts, else 2, 3, 4),
    whether that was merged, and vectors by reference and part."""

    mode: int
    size: int
    merged: int
    vectors: list[list[Vector]]


@dataclass
class Guess:
    """What a block may do."""

    candidates: list[Candidate] = field(default_factory=list)
    votes: int = 0
    predictors: tuple[list[Vector], list[Vector]] = field(default_factory=lambda: ([], []))

    def predict(self, side: int, vector: Vector) -> None:
        known = self.predictors[side]
        if vector not in known and len(known) < 3:
            known.append(vector)

    def add(self, mode: int, first: Vector, second: Vector) -> None:
        for i, (m, a, b) in enumerate(self.candidates):
            if m == mode and (mode == SECOND or a == first) and (mode == FIRST or b == second):
                self.votes += i == 0
                return
        if len(self.candidates) < 6:
            self.candidates.append((mode, first, second))
        if mode != SECOND:
            self.predict(0, first)
        if mode != FIRST:
            self.predict(1, second)


class FrameMotion:
    """Reads the motion of a frame."""

    def __init__(
        self, reader: Decisions, pair: Pair, expected: list[np.ndarray], rows: int, columns: int
    ) -> None:
        self.reader, self.pair, self.rows, self.columns = reader, pair, rows, columns
        self.hints = [h.transpose(2, 3, 0, 1).tolist() for h in expected]
        self.units: dict[tuple[int, int], Unit] = {}
        self.whole = BI if None not in pair else FIRST if pair[1] is None else SECOND

    def read(self, f: int) -> Field:
        for r in range(0, self.rows, 4):
            for c in range(0, self.columns, 4):
                self.block(r, c, 4)
        vectors = np.zeros((2, 2, 2 * self.rows, 2 * self.columns), np.int64)
        modes = np.zeros((self.rows, self.columns), np.int64)
        for (r, c), unit in self.units.items():
            modes[r, c] = unit.mode
            for side in (0, 1):
                for q in range(4):
                    vectors[side, :, 2 * r + q // 2, 2 * c + q % 2] = unit.vectors[side][q]
        return Field(f, self.pair, vectors, modes)

    def beside(self, r: int, c: int) -> list[Unit]:
        """The units to the left and above."""
        return [self.units[at] for at in ((r, c - 1), (r - 1, c)) if at in self.units]

    def block(self, r: int, c: int, size: int) -> None:
        if r >= self.rows or c >= self.columns:
            return
        if size > 1 and self.split(r, c, size):
            half = size // 2
            for y in (r, r + half):
                for x in (c, c + half):
                    self.block(y, x, half)
            return
        unit = self.motion(r, c, size)
        require(max(abs(v) for s in unit.vectors for q in s for v in q) <= 8192, "a vector")
        for y in range(r, r + size):
            for x in range(c, c + size):
                self.units[y, x] = unit

    def split(self, r: int, c: int, size: int) -> bool:
        if r + size > self.rows or c + size > self.columns:
            return True
        smaller = sum(u.size < 2 + size // 2 for u in self.beside(r, c))
        spread = 0
        if self.hints:
            hint = np.array(self.hints[0])
            block = hint[r : r + size, c : c + size]
            far = int(np.abs(block - hint[r, c]).max())
            spread = 1 + (far > 0) + (far > 2)
        return bool(self.reader.bit(12 * (size // 4) + 4 * smaller + spread))

    def guess(self, r: int, c: int, size: int) -> Guess:
        found = Guess()
        below, right = r + size - 1, c + size - 1

        def neighbour(y: int, x: int, part: int) -> None:
            unit = self.units.get((y, x))
            if unit is not None:
                found.add(unit.mode, unit.vectors[0][part], unit.vectors[1][part])

        def expected(hint: list[list[list[list[int]]]]) -> None:
            y, x = min(r + size // 2, self.rows - 1), min(c + size // 2, self.columns - 1)
            first, second = hint[y][x]
            found.add(self.whole, (first[0], first[1]), (second[0], second[1]))

        neighbour(below, c - 1, 3)
        neighbour(r - 1, right, 3)
        for hint in self.hints[:1]:
            expected(hint)
        neighbour(r - 1, right + 1, 2)
        neighbour(below + 1, c - 1, 1)
        neighbour(r - 1, c - 1, 3)
        for hint in self.hints[1:]:
            expected(hint)
        found.add(self.whole, (0, 0), (0, 0))
        found.predict(0, (0, 0))
        found.predict(1, (0, 0))
        return found

    def motion(self, r: int, c: int, size: int) -> Unit:
        guess, beside, bit = self.guess(r, c, size), self.beside(r, c), self.reader.bit
        around = sum(u.merged for u in beside)
        merged = bit(24 + 9 * (size // 2) + 3 * around + min(guess.votes, 2))
        if merged:
            number = 0
            while number < len(guess.candidates) - 1:
                if not bit(51 + (3 + number if number else min(guess.votes, 3))):
                    break
                number += 1
            mode, *chosen = guess.candidates[number]
        else:
            mode, chosen = self.mode(beside), []
            for side in (0, 1):
                taken = mode in (BI, 1 + side)
                chosen.append(self.vector(guess, side, mode, chosen) if taken else (0, 0))
        for side in (0, 1):
            if mode == 2 - side:
                chosen[side] = guess.predictors[side][0]
        unit = Unit(mode, 2 + size // 2, merged, [[v] * 4 for v in chosen])
        if size == 1:
            self.parts(r, c, unit)
        return unit

    def mode(self, beside: list[Unit]) -> int:
        if self.whole != BI:
            return self.whole
        count = [sum(u.mode == mode for u in beside) for mode in (BI, FIRST, SECOND)]
        if self.reader.bit(61 + count[BI]):
            return BI
        more = int(np.sign(count[SECOND] - count[FIRST]))
        return SECOND if self.reader.bit(64 + 1 + more) else FIRST

    def vector(self, guess: Guess, side: int, mode: int, chosen: list[Vector]) -> Vector:
        if side == 1 and mode == BI:
            guess.predict(1, (-chosen[0][0], -chosen[0][1]))
        known = guess.predictors[side]
        number = 0
        while number < len(known) - 1 and self.reader.bit(67 + 3 * side + number):
            number += 1
        group = 0
        if len(known) > 1:
            spread = max(abs(a - b) for v in known for a, b in zip(v, known[0], strict=True))
            group = 1 + (spread > 2) + (spread > 8) + (spread > 32)
        return self.moved(known[number], group)

    def moved(self, base: Vector, group: int) -> Vector:
        """A vector by its difference from another one."""
        y = self.difference(group, 0)
        x = self.difference(group, 1 if y == 0 else 2)
        return base[0] + y, base[1] + x

    def difference(self, group: int, component: int) -> int:
        if not self.reader.bit(88 + 3 * group + component):
            return 0
        length = 1
        while length < 15 and self.reader.bit(106 + 15 * group + length - 1):
            length += 1
        size = 1
        if length > 1:
            size = 2 + self.reader.bit(196 + length - 1)
            size = size * (1 << (length - 2)) + self.reader.raw(length - 2)
        return -size if self.reader.raw(1) else size

    def parts(self, r: int, c: int, unit: Unit) -> None:
        bit = self.reader.bit
        around = sum(u.size == 1 for u in self.beside(r, c))
        if not bit(73 + 3 * unit.merged + around):
            return
        sides = [unit.mode - 1]
        if unit.mode == BI:
            sides = [0] if bit(79) else []
            if not sides or bit(79):
                sides.append(1)
        for side in sides:
            own, changed = unit.vectors[side], 0
            for q in (1, 2, 3):
                if bit(80 + 2 * (q - 1) + changed):
                    continue
                changed = 1
                own[q] = self.part(r, c, side, q, own)
        if any(v != own[0] for own in unit.vectors for v in own):
            unit.size = 1

    def part(self, r: int, c: int, side: int, q: int, own: list[Vector]) -> Vector:
        above, left = self.units.get((r - 1, c)), self.units.get((r, c - 1))
        places: list[Vector | None]
        if q == 1:
            places = [above.vectors[side][3], above.vectors[side][2]] if above else []
        elif q == 2:
            places = [own[1], left.vectors[side][3] if left else None]
        else:
            places = [own[2], own[1]]
        for place, vector in enumerate(places):
            if vector is not None and vector != own[0] and self.reader.bit(86 + place):
                return vector
        return self.moved(own[0], 5)
