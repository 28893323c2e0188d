"""What may come out of a file: one check for each kind of value, made where it enters."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NoReturn

from stcodec.errors import DamagedFileError

MAX_TERM = (1 << 31) - 1
"""Of a numerator or denominator, as in all media libraries."""
MAX_SECONDS = 1 << 31
"""Of a time, either way: with `MAX_TERM` all times fit in 64 bits in whichever unit."""
MAX_UNPACKED = 1 << 26
"""Bytes that anything packed may come to."""
MAX_TEXT = 8 << 20
"""Bytes of one table of JSON."""
MAX_VALUES = 1 << 18
"""In one table of JSON: what an empty array of two bytes takes in memory is forty times that."""
_INT64 = 1 << 63
# What all blobs of a file may come to: as much as that for each byte that they take, and a part
# that is free.
_FREE_BLOBS, _BLOB_RATIO, _MOST_BLOBS = 16 << 20, 16, 256 << 20


@contextlib.contextmanager
def impossible(what: str) -> Iterator[None]:
    """DamagedFileError that names `what` where the block comes across a value that cannot be."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise DamagedFileError(f"{what} impossible values") from error


def parse_json(data: bytes, values: int | None = MAX_VALUES) -> Any:
    """JSON of at most `MAX_TEXT` bytes and so many values (None: any number); DamagedFileError on
    anything else, also on NaN and Infinity, which JSON does not know."""
    if values is not None:
        parts = sum(data.count(mark) for mark in (b",", b"[", b"{"))
        if len(data) > MAX_TEXT or parts > values:
            raise DamagedFileError("packed data holds too much text or too many values")
    try:
        return json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError("packed data is not JSON") from error


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def whole(value: Any, low: int = -_INT64, high: int = _INT64 - 1) -> int:
    """A whole number from `low` to `high`. This and the others here raise ValueError for anything
    else."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError("no whole number, or out of range")
    return value


def truth(value: Any) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise ValueError("neither true nor false")
    return value


def text(value: Any) -> str:
    """Text that can be written in UTF-8: no half of a surrogate pair."""
    if type(value) is not str:
        raise ValueError("no text")
    value.encode()
    return value


def listed(value: Any, count: int | None = None) -> list[Any]:
    """An array, of `count` values."""
    if type(value) is not list or (count is not None and len(value) != count):
        raise ValueError("no array, or of another length")
    return value


def texts(value: Any) -> dict[str, str]:
    """An object of text by name."""
    return {text(k): text(v) for k, v in named_values(value).items()}


def named_values(value: Any) -> dict[str, Any]:
    """An object."""
    if type(value) is not dict:
        raise ValueError("no object")
    return value


def words(value: Any) -> tuple[str, ...]:
    """An array of text."""
    return tuple(text(item) for item in listed(value))


def ratio(value: Any, low: int = 0) -> Fraction:
    """[numerator, denominator], the first from `low` on, the second positive, both at most
    `MAX_TERM`."""
    num, den = listed(value, 2)
    return Fraction(whole(num, low, MAX_TERM), whole(den, 1, MAX_TERM))


def seconds(value: Any) -> Fraction:
    """[numerator, denominator] of a time in seconds: both fit in 64 bits, and it is at most
    `MAX_SECONDS` from zero."""
    num, den = listed(value, 2)
    time = Fraction(whole(num), whole(den, 1))
    if abs(time) > MAX_SECONDS:
        raise ValueError("a time out of range")
    return time


def check_times(what: str, base: Fraction, *times: int | None) -> None:
    """DamagedFileError where one of the times (None: not there) in units of `base` seconds is more
    than `MAX_SECONDS` from zero."""
    limit = MAX_SECONDS * base.denominator // base.numerator
    if any(t is not None and not -limit <= t <= limit for t in times):
        raise DamagedFileError(f"{what} has impossible times")


class BlobBudget:
    """What the blobs of a file may still come to, so that few bytes cost little memory."""

    def __init__(self) -> None:
        self._packed = self._taken = 0

    def left(self, packed: int) -> int:
        """The most bytes that the next blob may have, which takes `packed` bytes."""
        self._packed += packed
        in_all = min(_FREE_BLOBS + _BLOB_RATIO * self._packed, _MOST_BLOBS)
        return min(MAX_UNPACKED, in_all - self._taken)

    def take(self, size: int) -> None:
        """Have a blob of so many bytes."""
        self._taken += size


def followed(by_another: bool, at: int) -> DamagedFileError:
    """What to say of a file that does not end where it says, at byte `at`."""
    if by_another:
        return DamagedFileError(
            f"another .stp file follows at byte {at} (`stcodec concat` joins files)"
        )
    return DamagedFileError(f"something follows its end at byte {at}")
