"""Motion in compiled loops: the candidates of a block, and the decisions that say which motion it
has. `vectors` tells what is coded in which order.

Positions and sizes count units of 16x16 luma samples. One walk reads, writes and counts bits, as
its stream does. Records are rows of integers, whose columns have names: a compiler takes long over
more.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stcodec.codec.motion import BI, FIRST, SECOND
from stcodec.codec.range_kernels import COUNT, MODE, READ, SPENT, Stream, bit, raw
from stcodec.common.compiled import compiled, inner

LARGEST = 4  # units in a row of a block
# Row and column of the units of a block, in the order of a quadtree.
Z_ORDER = np.array([(i // 8 * 2 + i // 2 % 2, i // 4 % 2 * 2 + i % 2) for i in range(16)])
CANDIDATES = 6  # at most
PREDICTORS = 3  # at most
LIMIT = 1 << 13  # of a component, in quarter samples
_LENGTHS = 15  # of the absolute value of a difference, in bits
_LONGER = 128  # sizes of differences whose prices are summed up

# Columns of a unit: mode, size of its block, whether that was merged; then, as in all records of
# motion, its vectors by reference (8 columns), 8x8 part (2) and component.
_MODE, _SIZE, _MERGED, VECTORS = 0, 1, 2, 3
UNIT_COLUMNS = VECTORS + 16
# Sizes: not known yet, in four parts, whole, two units wide, four wide.
UNKNOWN, IN_PARTS = 0, 1
# A motion is a mode and vectors: columns of a block.
BLOCK_COLUMNS = 17
# Rows of candidates: a mode and one vector by each reference; how many there are, how many more
# spoke for the first, how many predictors each reference has; those predictors.
_COUNTS = CANDIDATES
_PREDICTED = _COUNTS + 1
CANDIDATE_ROWS = _PREDICTED + 2 * PREDICTORS

# Contexts of a kind of frame, by what they decide.
_SPLIT = 0  # size 2, smaller neighbours 3, how far expected vectors differ 4
_MERGE = _SPLIT + 24  # size 3, merged neighbours 3, votes 3
_WHICH = _MERGE + 27  # votes for the first 4, then by place
_BOTH = _WHICH + 4 + CANDIDATES  # neighbours with both references 3
_SECOND = _BOTH + 3  # which of them have more neighbours 3
_PREDICTOR = _SECOND + 3  # reference 2, place 3
_PARTS = _PREDICTOR + 6  # merged 2, neighbours in parts 3
_SIDE = _PARTS + 6
_SAME = _SIDE + 1  # part 3, whether the ones before were the same 2
_OTHER = _SAME + 6  # place 2
_ZERO = _OTHER + 2  # class 6, component 3
_LENGTH = _ZERO + 18  # class 6, length
_HIGH = _LENGTH + 6 * _LENGTHS  # length
CONTEXTS = _HIGH + _LENGTHS
_PARTS_CLASS = 5


class Field(NamedTuple):
    """The motion of a frame as far as it is known.

    units int32 [rows, columns, UNIT_COLUMNS]; hints int32 [h, rows, columns, 4]: expected vectors,
    of h kinds, by reference and component; references: 1 the first alone, 2 the second alone, 3
    both are there.
    """

    units: np.ndarray
    hints: np.ndarray
    references: int


def room() -> tuple[np.ndarray, np.ndarray]:
    """Room for the candidates int64 [CANDIDATE_ROWS, 5] and the motion of a block."""
    return np.zeros((CANDIDATE_ROWS, 5), np.int64), np.zeros(BLOCK_COLUMNS, np.int64)


@inner
def used(mode: int, side: int) -> bool:
    """Whether a mode takes a reference."""
    return mode == BI or mode == 1 + side


@inner
def _add(c: np.ndarray, mode: int, y0: int, x0: int, y1: int, x1: int) -> None:
    """Add a candidate, or one more vote for the first, and the predictors that it makes: a mode and
    a vector by either reference."""
    n = c[_COUNTS, 0]
    for i in range(n):
        if (
            c[i, 0] == mode
            and (mode == SECOND or (c[i, 1] == y0 and c[i, 2] == x0))
            and (mode == FIRST or (c[i, 3] == y1 and c[i, 4] == x1))
        ):
            if i == 0:
                c[_COUNTS, 1] += 1
            return
    if n < CANDIDATES:
        c[n, 0], c[n, 1], c[n, 2], c[n, 3], c[n, 4] = mode, y0, x0, y1, x1
        c[_COUNTS, 0] = n + 1
    if mode != SECOND:
        _add_predictor(c, 0, y0, x0)
    if mode != FIRST:
        _add_predictor(c, 1, y1, x1)


@inner
def _add_predictor(c: np.ndarray, side: int, y: int, x: int) -> None:
    """Add a predictor of the vectors of a reference, if it is none yet."""
    n = c[_COUNTS, 2 + side]
    first = _PREDICTED + PREDICTORS * side
    for i in range(n):
        if c[first + i, 0] == y and c[first + i, 1] == x:
            return
    if n < PREDICTORS:
        c[first + n, 0], c[first + n, 1] = y, x
        c[_COUNTS, 2 + side] = n + 1


@inner
def gather(f: Field, r: int, k: int, size: int, c: np.ndarray) -> None:
    """The candidates int64 [CANDIDATE_ROWS, 5] of the block of `size` units at (r, k): the blocks
    to its left and above, the expected motion, its corners, what else is expected, and none."""
    rows, columns = f.units.shape[0], f.units.shape[1]
    for i in range(5):
        c[_COUNTS, i] = 0
    last_r, last_k = r + size - 1, k + size - 1
    whole = BI if f.references == 3 else (FIRST if f.references == 1 else SECOND)
    y, x = min(r + size // 2, rows - 1), min(k + size // 2, columns - 1)
    for i in range(6 + len(f.hints)):
        part, ny, nx = 0, r - 1, k - 1
        if i == 0:
            part, ny = 3, last_r
        elif i == 1:
            part, nx = 3, last_k
        elif i == 3:
            part, nx = 2, last_k + 1
        elif i == 4:
            part, ny = 1, last_r + 1
        elif i == 5:
            part = 3
        elif i == 2 or i > 5:
            hint = 0 if i == 2 else i - 5
            if hint < len(f.hints):
                h = f.hints
                _add(
                    c, whole, h[hint, y, x, 0], h[hint, y, x, 1], h[hint, y, x, 2], h[hint, y, x, 3]
                )
            continue
        if ny < 0 or nx < 0 or ny >= rows or nx >= columns:
            continue
        u, at = f.units, VECTORS + 2 * part
        if u[ny, nx, _SIZE] != UNKNOWN:
            y0, x0, y1, x1 = u[ny, nx, at], u[ny, nx, at + 1], u[ny, nx, at + 8], u[ny, nx, at + 9]
            _add(c, u[ny, nx, _MODE], y0, x0, y1, x1)
    still = f.units[0, 0, _MODE] * 0
    _add(c, whole, still, still, still, still)
    for side in range(2):
        _add_predictor(c, side, still, still)


@inner
def take(c: np.ndarray, i: int, block: np.ndarray) -> None:
    """Give a block the motion of a candidate."""
    block[0] = c[i, 0]
    for side in range(2):
        fill(block, side, c[i, 1 + 2 * side], c[i, 2 + 2 * side])


@inner
def fill(block: np.ndarray, side: int, y: int, x: int) -> None:
    """Give all parts of a block one vector of a reference."""
    for at in range(1 + 8 * side, 9 + 8 * side, 2):
        block[at], block[at + 1] = y, x


@inner
def in_parts(block: np.ndarray, side: int) -> bool:
    """Whether the parts of a block move differently from a reference."""
    first = 1 + 8 * side
    for at in range(first + 2, first + 8, 2):
        if block[at] != block[first] or block[at + 1] != block[first + 1]:
            return True
    return False


@inner
def _around(f: Field, column: int, r: int, k: int, value: int) -> int:
    """How many of the units to the left and above have a value, 0..2."""
    count = 0
    if k > 0 and f.units[r, k - 1, column] == value:
        count += 1
    if r > 0 and f.units[r - 1, k, column] == value:
        count += 1
    return count


@inner
def code_block(
    s: Stream, f: Field, r: int, k: int, size: int, c: np.ndarray, block: np.ndarray
) -> int:
    """Code the motion int64 [BLOCK_COLUMNS] of the block of `size` units at (r, k), given its
    candidates: read it into `block`, or write what is there. Vectors of a reference that the mode
    does not take become what is expected of them. Returns whether it was merged."""
    reading, count = s.state[MODE] == READ, c[_COUNTS, 0]
    number = 0
    while not reading and number < count:
        mode = c[number, 0]
        if (
            mode == block[0]
            and (mode == SECOND or (c[number, 1] == block[1] and c[number, 2] == block[2]))
            and (mode == FIRST or (c[number, 3] == block[9] and c[number, 4] == block[10]))
        ):
            break
        number += 1
    votes = c[_COUNTS, 1]
    context = _MERGE + 9 * (size // 2) + 3 * _around(f, _MERGED, r, k, 1) + min(votes, 2)
    merged = bit(s, context, 1 if number < count else 0)
    if merged:
        found = 0
        while found < count - 1:
            context = _WHICH + (3 + found if found else min(votes, 3))
            if not bit(s, context, 1 if number > found else 0):
                break
            found += 1
        if reading:
            take(c, found, block)
    else:
        _code_mode(s, f, r, k, block)
    mode = block[0]
    for side in range(2):
        expected = _PREDICTED + PREDICTORS * side
        if not used(mode, side):
            fill(block, side, c[expected, 0], c[expected, 1])
        elif not merged:
            _code_vector(s, c, side, block)
    if size == 1:
        _code_parts(s, f, r, k, merged, block)
    return merged


@inner
def _code_mode(s: Stream, f: Field, r: int, k: int, block: np.ndarray) -> None:
    """The mode of a block, where there is a choice."""
    if f.references != 3:
        block[0] = f.references
        return
    mode = block[0]
    if bit(s, _BOTH + _around(f, _MODE, r, k, BI), 1 if mode == BI else 0):
        block[0] = BI
        return
    more = _around(f, _MODE, r, k, SECOND) - _around(f, _MODE, r, k, FIRST)
    context = _SECOND + 1 + min(max(more, -1), 1)
    block[0] = SECOND if bit(s, context, 1 if mode == SECOND else 0) else FIRST


@inner
def _code_vector(s: Stream, c: np.ndarray, side: int, block: np.ndarray) -> None:
    """The vector of a reference: which of the predictors is nearest, and the difference. The second
    of two references is expected to move against the first, too."""
    first, at = _PREDICTED + PREDICTORS * side, 1 + 8 * side
    if side == 1 and block[0] == BI:
        _add_predictor(c, 1, -block[1], -block[2])
    count = c[_COUNTS, 2 + side]
    nearest, least, spread = 0, 1 << 40, 0
    for i in range(count):
        y, x = c[first + i, 0], c[first + i, 1]
        far = abs(block[at] - y) + abs(block[at + 1] - x)
        if far < least:
            least, nearest = far, i
        apart = max(abs(y - c[first, 0]), abs(x - c[first, 1]))
        spread = max(spread, apart)
    number = 0
    while number < count - 1:
        if not bit(s, _PREDICTOR + 3 * side + number, 1 if nearest > number else 0):
            break
        number += 1
    group = 0
    if count > 1:
        group = 1 + (spread > 2) + (spread > 8) + (spread > 32)
    py, px = c[first + number, 0], c[first + number, 1]
    y = _code_difference(s, group, 0, block[at] - py)
    x = _code_difference(s, group, 1 if y == 0 else 2, block[at + 1] - px)
    if s.state[MODE] == READ:
        fill(block, side, py + y, px + x)


@inner
def _code_difference(s: Stream, group: int, component: int, value: int) -> int:
    """A component of a difference of vectors: whether there is any, its length in bits, the bits
    below the highest one, the sign."""
    size, length = abs(value), 1
    if size < s.longer.shape[1] and s.state[MODE] == COUNT:
        s.state[SPENT] += s.longer[3 * group + component, size]
        return value
    if not bit(s, _ZERO + 3 * group + component, 1 if value != 0 else 0):
        return 0
    while length < _LENGTHS:
        if not bit(s, _LENGTH + _LENGTHS * group + length - 1, 1 if size >> length else 0):
            break
        length += 1
    found = 1
    if length > 1:
        low = length - 2
        found = 2 + bit(s, _HIGH + length - 1, (size >> low) & 1)
        found = (found << low) + raw(s, low, size & ((1 << low) - 1))
    return -found if raw(s, 1, 1 if value < 0 else 0) else found


def with_long_prices(counter: Stream) -> Stream:
    """A stream that counts bits, with the prices of whole differences: these are most of them."""
    longer = np.zeros((18, _LONGER), np.int64)
    fill_prices(counter, longer)
    counter.state[SPENT] = 0
    return counter._replace(longer=longer)


@compiled
def fill_prices(counter: Stream, longer: np.ndarray) -> None:
    """Work out the prices of whole differences, by group and component, and size."""
    for row in range(longer.shape[0]):
        for size in range(longer.shape[1]):
            counter.state[SPENT] = 0
            _code_difference(counter, row // 3, row % 3, size)
            longer[row, size] = counter.state[SPENT]


@inner
def _code_parts(s: Stream, f: Field, r: int, k: int, merged: int, block: np.ndarray) -> None:
    """Whether the four parts of a unit move differently, and how the other three differ from the
    first."""
    mode = block[0]
    first = 1 if mode != SECOND and in_parts(block, 0) else 0
    second = 1 if mode != FIRST and in_parts(block, 1) else 0
    context = _PARTS + 3 * merged + _around(f, _SIZE, r, k, IN_PARTS)
    if not bit(s, context, max(first, second)):
        return
    if mode == BI:
        first = bit(s, _SIDE, first)
        second = bit(s, _SIDE, second) if first else 1
    else:
        first, second = 1 if mode == FIRST else 0, 1 if mode == SECOND else 0
    for side in range(2):
        if (first and side == 0) or (second and side == 1):
            changed = mode * 0
            for q in range(1, 4):
                changed |= _code_part(s, f, r, k, side, q, changed, block)


@inner
def _code_part(
    s: Stream, f: Field, r: int, k: int, side: int, q: int, changed: int, block: np.ndarray
) -> int:
    """The vector of part q of the unit at (r, k): that of the first part, one of two neighbours',
    or another. Returns whether it is not that of the first."""
    first = 1 + 8 * side
    at = first + 2 * q
    vy, vx = block[at], block[at + 1]
    same = vy == block[first] and vx == block[first + 1]
    if bit(s, _SAME + 2 * (q - 1) + changed, 1 if same else 0):
        return 0
    for place in range(2):
        # Above part 1 and its left neighbour; part 1, and to the left of part 2; parts 2 and 1.
        of = VECTORS + 8 * side + (6 - 2 * place if q == 1 else 6)
        ny, nx = block[first], block[first + 1]
        if q == 1:
            if r > 0:
                ny, nx = f.units[r - 1, k, of], f.units[r - 1, k, of + 1]
        elif q == 2 and place == 1:
            if k > 0:
                ny, nx = f.units[r, k - 1, of], f.units[r, k - 1, of + 1]
        else:
            other = first + (2 if q == 2 else 4 - 2 * place)
            ny, nx = block[other], block[other + 1]
        if ny == block[first] and nx == block[first + 1]:
            continue
        if bit(s, _OTHER + place, 1 if vy == ny and vx == nx else 0):
            block[at], block[at + 1] = ny, nx
            return 1
    y = _code_difference(s, _PARTS_CLASS, 0, vy - block[first])
    x = _code_difference(s, _PARTS_CLASS, 1 if y == 0 else 2, vx - block[first + 1])
    block[at], block[at + 1] = block[first] + y, block[first + 1] + x
    return 1


@inner
def keep(f: Field, r: int, k: int, size: int, merged: int, block: np.ndarray) -> None:
    """Keep the motion of a block, so that later ones see it."""
    label = IN_PARTS if in_parts(block, 0) or in_parts(block, 1) else 2 + size // 2
    for i in range(r, r + size):
        for j in range(k, k + size):
            f.units[i, j, _MODE], f.units[i, j, _SIZE] = block[0], label
            f.units[i, j, _MERGED] = merged
            for n in range(16):
                f.units[i, j, VECTORS + n] = block[1 + n]


@inner
def forget(f: Field, r: int, k: int, size: int) -> None:
    """Forget the motion of a block."""
    for i in range(r, r + size):
        for j in range(k, k + size):
            f.units[i, j, _SIZE] = UNKNOWN


@inner
def code_split(s: Stream, f: Field, r: int, k: int, size: int, value: int) -> int:
    """Whether the block of `size` units at (r, k) is divided into four; where it does not lie
    inside the picture it is."""
    rows, columns = f.units.shape[0], f.units.shape[1]
    if r + size > rows or k + size > columns:
        return 1
    smaller, label = 0, 2 + size // 2
    if k > 0 and f.units[r, k - 1, _SIZE] < label:
        smaller += 1
    if r > 0 and f.units[r - 1, k, _SIZE] < label:
        smaller += 1
    spread = 0
    if len(f.hints):
        far = 0
        for y in range(r, r + size):
            for x in range(k, k + size):
                for n in range(4):
                    far = max(far, abs(f.hints[0, y, x, n] - f.hints[0, r, k, n]))
        spread = 1 + (far > 0) + (far > 2)
    return bit(s, _SPLIT + 12 * (size // LARGEST) + 4 * smaller + spread, value)


@inner
def _alike(wanted: np.ndarray, r: int, k: int, size: int) -> bool:
    """Whether all parts of the units of a block that lie inside the picture have one motion."""
    rows, columns = wanted.shape[0], wanted.shape[1]
    if r >= rows or k >= columns:
        return False
    first = wanted[r, k]
    for i in range(r, min(r + size, rows)):
        for j in range(k, min(k + size, columns)):
            unit = wanted[i, j]
            if unit[_MODE] != first[_MODE]:
                return False
            for n in range(16):
                taken = first[_MODE] == BI or first[_MODE] == 1 + n // 8
                if taken and unit[VECTORS + n] != first[VECTORS + n // 8 * 8 + n % 2]:
                    return False
    return True


@inner
def _code_one(
    s: Stream, f: Field, wanted: np.ndarray, r: int, k: int, size: int, c: np.ndarray, b: np.ndarray
) -> bool:
    """Code one block and keep it; False if a vector is out of range."""
    if s.state[MODE] != READ:
        b[0] = wanted[r, k, _MODE]
        for n in range(16):
            b[1 + n] = wanted[r, k, VECTORS + n]
    gather(f, r, k, size, c)
    merged = code_block(s, f, r, k, size, c, b)
    keep(f, r, k, size, merged, b)
    largest = 0
    for n in range(1, BLOCK_COLUMNS):
        largest = max(largest, abs(b[n]))
    return largest <= LIMIT


@compiled
def code_field(s: Stream, f: Field, wanted: np.ndarray, c: np.ndarray, block: np.ndarray) -> bool:
    """Code the motion of a frame into `f`: what the stream reads, or that of `wanted`, units like
    those of `f` of which modes and vectors count. Returns False if a vector is out of range."""
    rows, columns = f.units.shape[0], f.units.shape[1]
    high, wide = -(-rows // LARGEST), -(-columns // LARGEST)
    for n in range(high * wide):
        r4, k4 = n // wide * LARGEST, n % wide * LARGEST
        size, i = LARGEST, 0
        # i counts the units that are done.
        while i < LARGEST * LARGEST:
            r, k = r4 + Z_ORDER[i, 0], k4 + Z_ORDER[i, 1]
            size = LARGEST if i == 0 else (2 if i % 4 == 0 else 1)
            if r < rows and k < columns:
                while size > 1:
                    split = 1
                    if s.state[MODE] != READ:
                        split = 0 if _alike(wanted, r, k, size) else 1
                    if not code_split(s, f, r, k, size, split):
                        break
                    size //= 2
                if not _code_one(s, f, wanted, r, k, size, c, block):
                    return False
            else:
                size = 1
            i += size * size
    return True
