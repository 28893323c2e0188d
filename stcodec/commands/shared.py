"""What several commands have in common: options, the overwrite policy, the default output."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import click
from click.core import ParameterSource

from stcodec.common.files import Overwrite
from stcodec.common.sequences import existing_pictures, find_sequence, is_picture_output
from stcodec.errors import UsageError
from stcodec.options import default, help_text, parse_amount, parse_rate
from stcodec.terminal import report
from stcodec.terminal.progress import PROGRESS

FILE = click.Path(readable=False)
"""A file's name, not looked at; shells complete it."""


def option(options: type, name: str, *flags: str, **more: Any) -> Callable[[Any], Any]:
    """A click option with default and help from the options class."""
    return click.option(
        *flags,
        name,
        default=default(options, name),
        help=help_text(options, name),
        show_default=True,
        **more,
    )


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


def part_options(options: type) -> Callable[[Any], Any]:
    """`--start`, `--end`, and `--duration`, which is another way to say the end."""
    key = "stcodec.duration"

    def keep(ctx: click.Context, param: click.Parameter, value: float | None) -> None:
        ctx.meta[key] = value

    def either(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
        duration = ctx.meta.get(key)
        if duration is None:
            return value
        if value is not None:
            raise UsageError("--duration and --end exclude each other")
        # click has dealt with --start by now: options that are given come before those that are
        # not.
        return float(ctx.params["start"] or 0.0) + float(duration)

    def decorate(command: Any) -> Any:
        kept: dict[str, Any] = {
            "type": Time(),
            "is_eager": True,
            "expose_value": False,
            "callback": keep,
        }
        command = click.option(
            "--duration", help="Length of the part, instead of its end.", **kept
        )(command)
        command = option(options, "end", "--end", type=Time(), callback=either)(command)
        return option(options, "start", "--start", type=Time())(command)

    return decorate


def audio_options(options: type) -> Callable[[Any], Any]:
    """`--audio` and `--no-audio`, which end in the same parameter."""

    def none(ctx: click.Context, param: click.Parameter, chosen: bool) -> None:
        if chosen:
            ctx.params["audio"] = "none"

    def either(ctx: click.Context, param: click.Parameter, value: str) -> str:
        return str(ctx.params.get("audio", value))

    def decorate(command: Any) -> Any:
        no_audio: dict[str, Any] = {
            "is_flag": True,
            "is_eager": True,
            "expose_value": False,
            "callback": none,
        }
        command = click.option("--no-audio", help="Leave the sound out.", **no_audio)(command)
        return option(options, "audio", "--audio", callback=either)(command)

    return decorate


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


def json_option(command: Any) -> Any:
    """Whether a program is to read what the command says."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print events as lines of JSON on stdout."
    )(command)


def check_stdout(target: str, as_json: bool) -> None:
    """UsageError where an output and JSON would both go to stdout."""
    if as_json and target == "-":
        raise UsageError("--json and an output on standard output exclude each other")


def output_options(command: Any) -> Any:
    """The options of every command that writes a file."""
    for decorator in (
        click.option(
            "-y", "-f", "--yes", "overwrite", flag_value="yes", help="Overwrite an existing output."
        ),
        click.option(
            "-n", "--no", "overwrite", flag_value="no", help="Never overwrite: exit with code 4."
        ),
        click.option("--quiet", is_flag=True, help="Print errors only."),
        click.option("-v", "--verbose", is_flag=True, help="Say where the time went."),
        json_option,
    ):
        command = decorator(command)
    return command


# Options of a command that say how it deals with its one output, not what that is.
_OF_OUTPUT = frozenset(["overwrite", "quiet", "verbose", "as_json", "shown"])


def options_of(*commands: click.Command) -> Callable[[Any], Any]:
    """The options of each command that say what its output is; of those with the same name, the
    first."""

    def decorate(command: Any) -> Any:
        found: dict[str, click.Option] = {}
        for source in commands:
            for parameter in source.params:
                if (
                    isinstance(parameter, click.Option)
                    and parameter.name
                    and parameter.name not in _OF_OUTPUT
                ):
                    found.setdefault(parameter.name, parameter)
        # click puts decorators of a function in reverse order.
        command.__click_params__ = [
            *getattr(command, "__click_params__", []),
            *reversed(found.values()),
        ]
        return command

    return decorate


def progress_option(command: Any) -> Any:
    """How progress is shown."""
    text = "auto (a bar on a terminal, else lines), bar, lines (one every few seconds) or none."
    choice = click.Choice(PROGRESS)
    more: dict[str, Any] = {
        "type": choice,
        "metavar": "HOW",
        "default": "auto",
        "show_default": True,
        "help": text,
    }
    return click.option("--progress", "shown", **more)(command)


def given_options(options: dict[str, Any]) -> dict[str, Any]:
    """Those of the running command's `options` that the user gave, by themselves or through another
    option."""
    context = click.get_current_context()
    defaults = {p.name: p.get_default(context) for p in context.command.params}

    def given(name: str) -> bool:
        return (
            context.get_parameter_source(name) is not ParameterSource.DEFAULT
            or options[name] != defaults[name]
        )

    return {name: value for name, value in options.items() if given(name)}


def policy(overwrite: str | None, target: str) -> Overwrite:
    """Ask where a person can answer, else refuse."""
    if overwrite is not None:
        return Overwrite(overwrite)
    if target == "-" or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return Overwrite.NO
    there = os.path.isfile(target) or (is_picture_output(target) and existing_pictures(target))
    if there and click.confirm(f"{target} exists. Overwrite?", err=True):
        return Overwrite.YES
    return Overwrite.NO


@contextlib.contextmanager
def stages(verbose: bool) -> Any:
    """Say on stderr where the time of the block went, if `verbose`."""
    if not verbose:
        yield
        return
    from stcodec.common.timing import collect

    with collect() as times:
        yield
    report.note(
        "seconds by stage: " + ", ".join(f"{k} {v:.2f}" for k, v in sorted(times.seconds.items()))
    )


def default_target(source: str, target: str | None, ending: str) -> str:
    """`target`, or the source's name with another ending. UsageError for standard input without a
    target."""
    if target is not None:
        return target
    if source == "-" or find_sequence(source) is not None:
        what = "standard input" if source == "-" else "a sequence of pictures"
        raise UsageError(f"an output must be named when the input is {what}")
    return os.path.splitext(source)[0] + ending
