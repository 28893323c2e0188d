"""The ANS coder of symbols in compiled loops; `entropy` says what is coded. A stack of words: what
is written last is read first. Of a table, all letters come first, then all escapes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stcodec.common.compiled import compiled, inner

PRECISION = 24
_MASK = (1 << PRECISION) - 1
_RAW_BITS = 16  # as many are taken at a time
_LENGTH_BITS = 6  # of an escape: its sign, and how many bits follow
_NEAR = 16  # bits of a quantile that `Alphabets.near` does not look at


class Alphabets(NamedTuple):
    """Tables as arrays. supports int64 [tables]: the largest magnitude that a table has a letter
    for. Running sums int64 of the probabilities of a table's letters lie in `sums` from its
    `starts` int64 [tables] on, from 0 up to 2**24; near int64 [tables, 256]: the first letter that
    a quantile with these upper 8 bits may be. Table 0 is none."""

    supports: np.ndarray
    starts: np.ndarray
    sums: np.ndarray
    near: np.ndarray


class Stack(NamedTuple):
    """state uint64 [1]; words uint32, of which `left` int64 [1] are left to be read."""

    state: np.ndarray
    words: np.ndarray
    left: np.ndarray


def alphabets(counts: list[np.ndarray], supports: np.ndarray) -> Alphabets:
    """Tables of integer probabilities, from table 1 on."""
    running = [np.concatenate([[0], np.cumsum(row)]) for row in counts]
    starts = np.cumsum([0, 0, *(len(row) for row in running)])[:-1]
    firsts = np.arange(256) << _NEAR
    near = np.zeros((len(counts) + 1, 256), np.int64)
    for table, row in enumerate(running, start=1):
        near[table] = np.searchsorted(row, firsts, side="right") - 1
    return Alphabets(
        supports.astype(np.int64), starts.astype(np.int64), np.concatenate(running), near
    )


def stack(words: np.ndarray) -> Stack:
    """The stack that was written as `words` uint32. ValueError where the last one is zero, as none
    is that was written."""
    left = len(words)
    if left and not words[-1]:
        raise ValueError("the last word is zero")
    state = 0
    for _ in range(min(2, left)):
        left -= 1
        state = state << 32 | int(words[left])
    return Stack(np.array([state], np.uint64), words, np.array([left], np.int64))


@inner
def _pop(s: Stack, low: int, size: int) -> None:
    """Go on behind a letter that has `size` quantiles from `low` on."""
    state = s.state[0]
    quantile = state & np.uint64(_MASK)
    state = (state >> np.uint64(PRECISION)) * np.uint64(size) + quantile - np.uint64(low)
    if state < np.uint64(1 << 32) and s.left[0] > 0:
        s.left[0] -= 1
        state = (state << np.uint64(32)) | np.uint64(s.words[s.left[0]])
    s.state[0] = state


@inner
def _quantile(s: Stack) -> int:
    quantile: int = np.int64(s.state[0] & np.uint64(_MASK))  # type: ignore[assignment]
    return quantile


@inner
def _raw(s: Stack, bits: int) -> int:
    """So many bits, each as likely as not; up to 16."""
    value = _quantile(s) >> (PRECISION - bits)
    _pop(s, value << (PRECISION - bits), 1 << (PRECISION - bits))
    return value


@inner
def _escape(s: Stack, support: int) -> int:
    """A value beyond the letters of a table."""
    head = _raw(s, _LENGTH_BITS)
    length = head >> 1
    rest = 1 << length
    shift = 0
    while shift < length:
        size = min(_RAW_BITS, length - shift)
        rest |= _raw(s, size) << shift
        shift += _RAW_BITS
    return -(rest + support) if head & 1 else rest + support


@compiled
def order(index: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Positions int64 of the coded symbols sorted by table index (stable).

    index uint8 [n]: 0 is not coded; counts int64 [tables], zeros: takes how many there are of each.
    """
    # Without a branch on the index, which nothing foresees.
    coded, total = np.empty(len(index) + 1, np.int64), 0
    for i in range(len(index)):
        coded[total] = i
        total += index[i] != 0
    for k in range(total):
        counts[index[coded[k]]] += 1
    next_at, before = np.zeros(len(counts), np.int64), 0
    for table in range(len(counts)):
        next_at[table] = before
        before += counts[table]
    positions = np.empty(total, np.int64)
    for k in range(total):
        table = index[coded[k]]
        positions[next_at[table]] = coded[k]
        next_at[table] += 1
    return positions


@compiled
def read(
    s: Stack, index: np.ndarray, tables: Alphabets, largest: int, decoded: np.ndarray
) -> np.ndarray:
    """Read a symbol for each table index uint8 [n] into `decoded` int32 [n], zeros; the symbols in
    the order of coding, fewer where one is larger than `largest`."""
    counts = np.zeros(len(tables.starts), np.int64)
    positions = order(index, counts)
    values = np.empty(len(positions), np.int32)
    n = 0
    for table in range(1, len(counts)):
        start, support = tables.starts[table], tables.supports[table]
        first, escaped = n, False
        for _ in range(counts[table]):
            quantile = _quantile(s)
            letter = tables.near[table, quantile >> _NEAR]
            while tables.sums[start + letter + 1] <= quantile:
                letter += 1
            low = tables.sums[start + letter]
            _pop(s, low, tables.sums[start + letter + 1] - low)
            values[n] = decoded[positions[n]] = letter - support
            escaped = escaped or letter - support > support
            n += 1
        for i in range(first, n if escaped else first):
            if values[i] > support:
                value = _escape(s, support)
                if abs(value) > largest:
                    return values[:i]
                values[i] = decoded[positions[i]] = value
    return values


@inner
def _rest(value: int, support: int) -> tuple[int, int]:
    """What an escape says of a value beyond the support: how far, and how many bits that has."""
    rest = abs(value) - support
    length = 0
    while rest >> (length + 1):
        length += 1
    return rest, length


@compiled
def places(
    symbols: np.ndarray, index: np.ndarray, tables: Alphabets
) -> tuple[np.ndarray, np.ndarray]:
    """Symbols int32 [n] under table indices uint8 [n], in the order of coding; and what quantiles
    each letter and each part of an escape has, int32 [m, 2]: the lowest, and how many."""
    counts = np.zeros(len(tables.starts), np.int64)
    positions = order(index, counts)
    values = np.empty(len(positions), np.int32)
    more = n = 0
    for table in range(1, len(counts)):
        support = tables.supports[table]
        for _ in range(counts[table]):
            value = symbols[positions[n]]
            values[n] = value
            n += 1
            if abs(value) > support:
                _, length = _rest(value, support)
                more += 1 + (length + _RAW_BITS - 1) // _RAW_BITS
    out = np.empty((n + more, 2), np.int32)
    n = m = 0
    for table in range(1, len(counts)):
        start, support = tables.starts[table], tables.supports[table]
        first, escaped = n, False
        for _ in range(counts[table]):
            letter = values[n] + support
            if letter < 0 or letter > 2 * support:
                letter, escaped = 2 * support + 1, True
            out[m, 0] = tables.sums[start + letter]
            out[m, 1] = tables.sums[start + letter + 1] - tables.sums[start + letter]
            n, m = n + 1, m + 1
        for i in range(first, n if escaped else first):
            if abs(values[i]) > support:
                m = _put_escape(out, m, values[i], support)
    return values, out


@inner
def _put_escape(out: np.ndarray, m: int, value: int, support: int) -> int:
    """Put a value beyond the support in place m and those behind it; the next place."""
    rest, length = _rest(value, support)
    m = _put(out, m, 2 * length + (1 if value < 0 else 0), _LENGTH_BITS)
    shift = 0
    while shift < length:
        size = min(_RAW_BITS, length - shift)
        m = _put(out, m, (rest >> shift) & ((1 << size) - 1), size)
        shift += _RAW_BITS
    return m


@inner
def _put(out: np.ndarray, m: int, value: int, bits: int) -> int:
    """Put bits that are as likely as not in place m; the next place."""
    out[m, 0], out[m, 1] = value << (PRECISION - bits), 1 << (PRECISION - bits)
    return m + 1


@compiled
def write(items: np.ndarray) -> np.ndarray:
    """The words uint32 of letters that have the quantiles int32 [m, 2], see `places`."""
    words = np.empty(len(items) + 2, np.uint32)
    n, state = 0, np.uint64(0)
    for i in range(len(items) - 1, -1, -1):
        low, size = np.uint64(items[i, 0]), np.uint64(items[i, 1])
        if state >> np.uint64(64 - PRECISION) >= size:
            words[n] = np.uint32(state & np.uint64(0xFFFFFFFF))
            state >>= np.uint64(32)
            n += 1
        times = state // size
        state = (times << np.uint64(PRECISION)) + (state - times * size) + low
    while state:
        words[n] = np.uint32(state & np.uint64(0xFFFFFFFF))
        state >>= np.uint64(32)
        n += 1
    return words[:n]


@compiled
def are(s: Stack, items: np.ndarray) -> bool:
    """Whether a stack, which is read to its end, holds letters that have these quantiles."""
    for i in range(len(items)):
        low, size = items[i, 0], items[i, 1]
        if not low <= _quantile(s) < low + size:
            return False
        _pop(s, low, size)
    return s.left[0] == 0 and s.state[0] == 0
