"""Motion in compiled loops: the decisions that say which motion a block has. `vectors` tells what
is coded in which order.

One walk reads, writes and counts bits, as its stream does.
"""

from __future__ import annotations

import numpy as np

from stcodec.codec.candidate_kernels import (
    BLOCK_COLUMNS,
    CANDIDATES,
    COUNTS,
    IN_PARTS,
    LARGEST,
    LIMIT,
    PREDICTED,
    PREDICTORS,
    UNIT_MERGED,
    UNIT_MODE,
    UNIT_SIZE,
    VECTORS,
    Z_ORDER,
    Field,
    add_predictor,
    around,
    fill,
    gather,
    in_parts,
    keep,
    take,
    used,
)
from stcodec.codec.motion import BI, FIRST, SECOND
from stcodec.codec.range_kernels import COUNT, MODE, READ, SPENT, Stream, bit, raw
from stcodec.common.compiled import compiled, inner

_LENGTHS = 15  # of the absolute value of a difference, in bits
_LONGER = 128  # sizes of differences whose prices are summed up

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


@inner
def code_block(
    s: Stream, f: Field, r: int, k: int, size: int, c: np.ndarray, block: np.ndarray
) -> int:
    """Code the motion int64 [BLOCK_COLUMNS] of the block of `size` units at (r, k), given its
    candidates: read it into `block`, or write what is there. Vectors of a reference that the mode
    does not take become what is expected of them. Returns whether it was merged."""
    reading, count = s.state[MODE] == READ, c[COUNTS, 0]
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
    votes = c[COUNTS, 1]
    context = _MERGE + 9 * (size // 2) + 3 * around(f, UNIT_MERGED, r, k, 1) + min(votes, 2)
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
        expected = PREDICTED + PREDICTORS * side
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
    if bit(s, _BOTH + around(f, UNIT_MODE, r, k, BI), 1 if mode == BI else 0):
        block[0] = BI
        return
    more = around(f, UNIT_MODE, r, k, SECOND) - around(f, UNIT_MODE, r, k, FIRST)
    context = _SECOND + 1 + min(max(more, -1), 1)
    block[0] = SECOND if bit(s, context, 1 if mode == SECOND else 0) else FIRST


@inner
def _code_vector(s: Stream, c: np.ndarray, side: int, block: np.ndarray) -> None:
    """The vector of a reference: which of the predictors is nearest, and the difference. The second
    of two references is expected to move against the first, too."""
    first, at = PREDICTED + PREDICTORS * side, 1 + 8 * side
    before = c[COUNTS, 2 + side]
    if side == 1 and block[0] == BI:
        add_predictor(c, 1, -block[1], -block[2])
    count = c[COUNTS, 2 + side]
    # Only this motion of the block has it; an encoder tries others under the same candidates.
    c[COUNTS, 2 + side] = before
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
    context = _PARTS + 3 * merged + around(f, UNIT_SIZE, r, k, IN_PARTS)
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
def code_split(s: Stream, f: Field, r: int, k: int, size: int, value: int) -> int:
    """Whether the block of `size` units at (r, k) is divided into four; where it does not lie
    inside the picture it is."""
    rows, columns = f.units.shape[0], f.units.shape[1]
    if r + size > rows or k + size > columns:
        return 1
    smaller, label = 0, 2 + size // 2
    if k > 0 and f.units[r, k - 1, UNIT_SIZE] < label:
        smaller += 1
    if r > 0 and f.units[r - 1, k, UNIT_SIZE] < label:
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
            if unit[UNIT_MODE] != first[UNIT_MODE]:
                return False
            for n in range(16):
                taken = first[UNIT_MODE] == BI or first[UNIT_MODE] == 1 + n // 8
                if taken and unit[VECTORS + n] != first[VECTORS + n // 8 * 8 + n % 2]:
                    return False
    return True


@inner
def _code_one(
    s: Stream, f: Field, wanted: np.ndarray, r: int, k: int, size: int, c: np.ndarray, b: np.ndarray
) -> bool:
    """Code one block and keep it; False if a vector is out of range."""
    if s.state[MODE] != READ:
        b[0] = wanted[r, k, UNIT_MODE]
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
