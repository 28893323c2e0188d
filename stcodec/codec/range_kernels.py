"""An adaptive binary range coder in compiled loops: decisions in, bytes out, for what is coded one
after the other.

A decision has a context, and a context the probability, in units of 2**-16, that it is 1. That
starts from a model's and follows what is coded: by much at first, by less as more is known, down to
a floor. The coder is that of LZMA (Pavlov, 7-zip; a carry as in Schindler 1998) with the last bytes
left out where they are zeros.

One function reads, writes and counts, so that both sides of a syntax are one text. All arithmetic
is of integers of less than 63 bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stcodec.common.compiled import compiled, inner

READ, WRITE, COUNT = 0, 1, 2
ONE = 1 << 16
LEAST = 48  # a probability is never nearer to 0 or to 1
PATIENCE = 96  # of a context: it follows by 1 / (PATIENCE + 1.5) of the error at last
PRICE = 1 << 12  # what a bit counts
# Places of `Stream.state`.
MODE, SPENT, SET, _LOW, _RANGE, _CACHE, _WAITING, _AT = 0, 1, 2, 3, 4, 5, 6, 7
# Columns of `Stream.contexts`.
PROBABILITY, KNOWN, SEEN = 0, 1, 2
_TOP, _WHOLE = 1 << 24, (1 << 32) - 1
_RATES = (ONE / (np.arange(PATIENCE + 1) + 1.5)).astype(np.int64)
_PRICES = (-PRICE * np.log2((np.arange(ONE >> 4) + 0.5) / (ONE >> 4)) + 0.5).astype(np.int64)


class Stream(NamedTuple):
    """What is read, written or counted.

    state int64 [8]: MODE (READ, WRITE or COUNT), SPENT in units of 1 / PRICE bits, SET: the number
    of the first context of those in use, and the coder's own; data uint8: what is read, or room for
    what is written; contexts int32 [contexts, 4]: PROBABILITY of a 1, how much is KNOWN
    (0..PATIENCE), and how often a 0 and a 1 were SEEN while writing. Where bits are counted only:
    prices int64 [contexts in use, 2] of a 0 and a 1; longer int64 [rows, columns]: prices that the
    syntax has summed up.
    """

    state: np.ndarray
    data: np.ndarray
    contexts: np.ndarray
    prices: np.ndarray
    longer: np.ndarray


def stream(mode: int, data: np.ndarray, contexts: np.ndarray) -> Stream:
    """The start of a stream: of `data` that is to be read, or of room to be written to; contexts
    are changed as it goes on. ValueError where data starts as nothing that was written does."""
    state = np.zeros(8, np.int64)
    state[MODE], state[_RANGE] = mode, _WHOLE
    if mode == READ:
        state[_LOW] = int.from_bytes(data[:4].tobytes().ljust(4, b"\0"), "big")
        # All else relies on it, and keeps it so.
        if state[_LOW] >= _WHOLE:
            raise ValueError("what is read lies beyond the range")
        state[_AT] = 4
    none = np.zeros((0, 0), np.int64)
    return Stream(state, data, contexts, none, none)


def left(s: Stream) -> int:
    """How many bytes of what is read have not been looked at."""
    return max(0, len(s.data) - int(s.state[_AT]))


def counter(s: Stream, first: int, count: int) -> Stream:
    """A stream that counts bits under `count` contexts from number `first` on, as they are now."""
    ones = s.contexts[first : first + count, PROBABILITY].astype(np.int64)
    prices = np.stack([_PRICES[(ONE - ones) >> 4], _PRICES[ones >> 4]], axis=1)
    state = np.array([COUNT, 0, 0, 0, 0, 0, 0, 0], np.int64)
    return s._replace(state=state, prices=prices)


def with_room(s: Stream, size: int) -> Stream:
    """The same stream with room for `size` more bytes."""
    needed = int(s.state[_AT] + s.state[_WAITING]) + size
    if s.state[MODE] != WRITE or needed <= len(s.data):
        return s
    grown = np.zeros(2 * needed, np.uint8)
    grown[: len(s.data)] = s.data
    return s._replace(data=grown)


def finish(s: Stream) -> bytes:
    """What was written: of the values that say the same the one with the fewest bytes."""
    low = int(s.state[_LOW])
    last = low + int(s.state[_RANGE]) - 1
    ends = (last >> shift << shift for shift in (32, 24, 16, 8, 0))
    s.state[_LOW] = next(end for end in ends if end >= low)
    s = with_room(s, 8)
    for _ in range(5):
        _shift(s)
    # The first byte is always zero.
    return s.data[1 : int(s.state[_AT])].tobytes().rstrip(b"\0")


@compiled
def _shift(s: Stream) -> None:
    """Move the highest byte of what is written out; those that a carry may still change wait."""
    state = s.state
    low = state[_LOW]
    if low < 0xFF000000 or low > _WHOLE:
        carry, at = low >> 32, state[_AT]
        s.data[at] = (state[_CACHE] + carry) & 0xFF
        for i in range(state[_WAITING]):
            s.data[at + 1 + i] = (0xFF + carry) & 0xFF
        state[_AT], state[_WAITING] = at + 1 + state[_WAITING], 0
        state[_CACHE] = (low >> 24) & 0xFF
    else:
        state[_WAITING] += 1
    state[_LOW] = (low & 0x00FFFFFF) << 8


@inner
def _code(s: Stream, bound: int, value: int) -> int:
    """Read or write an outcome: 1 has the first `bound` of the range."""
    state = s.state
    reading = state[MODE] == READ
    if reading:
        value = 1 if state[_LOW] < bound else 0
    if value:
        state[_RANGE] = bound
    else:
        state[_RANGE] -= bound
        state[_LOW] += -bound if reading else bound
    while state[_RANGE] < _TOP:
        state[_RANGE] <<= 8
        if reading:
            at = state[_AT]
            state[_LOW] = (state[_LOW] << 8) | (np.int64(s.data[at]) if at < len(s.data) else 0)
            state[_AT] = at + 1
        else:
            _shift(s)
    return value


@inner
def bit(s: Stream, context: int, value: int) -> int:
    """A decision 0 or 1 under a context of the set in use: what was read, or `value`."""
    state, contexts = s.state, s.contexts
    if state[MODE] == COUNT:
        state[SPENT] += s.prices[context, value]
        return value
    context += state[SET]
    p: Any = np.int64(contexts[context, PROBABILITY])
    if state[MODE] == WRITE:
        state[SPENT] += _PRICES[(p if value else ONE - p) >> 4]
        contexts[context, SEEN + value] += 1
    value = _code(s, (state[_RANGE] >> 16) * p, value)
    known = contexts[context, KNOWN]
    p += ((ONE if value else 0) - p) * _RATES[known] >> 16
    contexts[context, PROBABILITY] = min(max(p, LEAST), ONE - LEAST)
    if known < PATIENCE:
        contexts[context, KNOWN] = known + 1
    return value


@inner
def outcome(s: Stream, p: int, value: int) -> int:
    """An outcome 0 or 1 of which a 1 has the probability p, in units of 2**-16, that others know:
    what was read, or `value`."""
    state = s.state
    if state[MODE] != READ:
        state[SPENT] += _PRICES[(p if value else ONE - p) >> 4]
        if state[MODE] == COUNT:
            return value
    return _code(s, (state[_RANGE] >> 16) * p, value)


@inner
def raw(s: Stream, count: int, value: int) -> int:
    """`count` bits, each as likely as not, highest first."""
    state = s.state
    if state[MODE] != READ:
        state[SPENT] += count * PRICE
        if state[MODE] == COUNT:
            return value
    found = 0
    for i in range(count - 1, -1, -1):
        found = found << 1 | _code(s, state[_RANGE] >> 1, (value >> i) & 1)
    return found


@compiled
def raw_bits(s: Stream, count: int, value: int) -> int:
    """`raw`, to be called alone."""
    return raw(s, count, value)
