"""What options take: times, amounts, rates, shares and names of files."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import click

from stcodec.errors import UsageError
from stcodec.options import parse_amount, parse_rate


class FileName(click.Path):
    """A file's name, not looked at; shells complete it."""

    def __init__(self) -> None:
        super().__init__(readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name as it is."""
        if not value:
            self.fail("a name is empty; is a variable of the shell not set?", param, ctx)
        return super().convert(value, param, ctx)


FILE = FileName()


class Time(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """Seconds, or minutes or hours before colons."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Text like 75, 1:15 or 0:01:15.5 to seconds."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)", str(value))
        if match is None:
            self.fail(f"{value!r} is no time: seconds, or [h:]m:s", param, ctx)
        hours, minutes, seconds = match.groups()
        return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds)


class Span(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """How long: seconds, [h:]m:s, or with units."""

    name = "span"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Text like 90, 1:30, 90s, 10m, 1h30m or 7d to seconds."""
        if isinstance(value, float):
            return value
        units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
        parts = re.fullmatch("".join(rf"(?:(\d+(?:\.\d*)?){unit})?" for unit in units), str(value))
        if parts is None or not str(value):
            return Time().convert(value, param, ctx)
        found = zip(parts.groups(), units.values(), strict=True)
        return sum(float(number or 0) * seconds for number, seconds in found)


class Setting(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A name and a value."""

    name = "key=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Text like a=b."""
        if isinstance(value, tuple):
            return value
        key, equals, rest = str(value).partition("=")
        if not key or not equals:
            self.fail(f"{value!r} is no KEY=VALUE", param, ctx)
        return key, rest


class Amount(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """Bytes or bits with a unit, such as 25MB or 800k."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Text to a whole number."""
        if isinstance(value, int):
            return value
        try:
            return parse_amount(str(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)


class Rate(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """Frames per second, such as 30, 29.97 or 30000/1001."""

    name = "rate"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        """Text to an exact number."""
        if isinstance(value, Fraction):
            return value
        try:
            return parse_rate(str(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)


class Share(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """One of several equal parts, such as 2/5."""

    name = "k/n"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Text to (k, n), 1 <= k <= n."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", str(value))
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            self.fail(f"{value!r} is no part: 2/5 is the second of five", param, ctx)
        return int(match[1]), int(match[2])
