"""What several commands have in common: options, the overwrite policy, the default output."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from stcodec.batch.plan import VIDEOS
from stcodec.commands.types import FILE, Rate, Time
from stcodec.common.files import Overwrite, is_standard_stream
from stcodec.common.sequences import (
    PICTURE_ENDINGS,
    existing_pictures,
    find_sequence,
    is_picture_output,
)
from stcodec.errors import StcodecError, UsageError
from stcodec.options import EncodeOptions, default, help_text
from stcodec.terminal.progress import PROGRESS
from stcodec.terminal.report import note
from stcodec.terminal.streams import printable, stdout_is_missing


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
        chosen = str(ctx.params.get("audio", value))
        given = ctx.get_parameter_source("audio") is ParameterSource.COMMANDLINE
        if given and chosen != value:
            raise UsageError(f"--no-audio and --audio {value} exclude each other")
        return chosen

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


def source_options(command: Any) -> Any:
    """What of a source is coded, and in which shape: fields of EncodeOptions."""
    for decorator in (
        audio_options(EncodeOptions),
        option(EncodeOptions, "subtitle_tracks", "--subtitle-tracks", "--subtitles"),
        option(EncodeOptions, "audio_tracks", "--audio-tracks", "--audio-track"),
        option(EncodeOptions, "video_track", "--video-track"),
        option(EncodeOptions, "tracks", "--tracks"),
        option(EncodeOptions, "framerate", "--framerate", type=Rate()),
        click.option("--deinterlace", is_flag=True, help=help_text(EncodeOptions, "deinterlace")),
        option(EncodeOptions, "fps", "--fps", type=Rate()),
        option(EncodeOptions, "crop", "--crop"),
        option(EncodeOptions, "scale", "--scale"),
    ):
        command = decorator(command)
    return command


def coder_options(command: Any) -> Any:
    """How pictures are coded: fields of EncodeOptions."""
    for decorator in (
        option(EncodeOptions, "tune", "--tune"),
        option(EncodeOptions, "effort", "--effort", type=int),
        option(EncodeOptions, "motion", "--motion"),
        device_options(EncodeOptions),
        option(EncodeOptions, "model", "--model"),
        option(EncodeOptions, "quality", "-q", "--quality", type=int),
    ):
        command = decorator(command)
    return command


def coding_options(command: Any) -> Any:
    """What `encode` and `sample` are told about how to encode: fields of EncodeOptions."""
    command = click.option("--strict", is_flag=True, help=help_text(EncodeOptions, "strict"))(
        command
    )
    return coder_options(part_options(EncodeOptions)(source_options(command)))


def device_options(options: type) -> Callable[[Any], Any]:
    """`--device` and `--threads`."""

    def decorate(command: Any) -> Any:
        command = option(options, "threads", "--threads", type=int)(command)
        return option(options, "device", "--device")(command)

    return decorate


def json_option(command: Any) -> Any:
    """Whether a program is to read what the command says."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print events as lines of JSON on stdout."
    )(command)


def quiet_option(text: str = "Print errors only.") -> Callable[[Any], Any]:
    """Whether a person is to hear less."""
    return click.option("--quiet", is_flag=True, help=text)


def yes_option(text: str = "Overwrite an existing output.", **more: Any) -> Callable[[Any], Any]:
    """`-y`, for commands that never ask."""
    return click.option("-y", "-f", "--yes", "overwrite", flag_value="yes", help=text, **more)


def overwrite_options(text: str = "Overwrite an existing output.") -> Callable[[Any], Any]:
    """`-y` and `-n`, for `policy`."""

    key = "stcodec.never"

    def keep(ctx: click.Context, param: click.Parameter, never: bool) -> None:
        ctx.meta[key] = never

    def either(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value is not None and ctx.meta[key]:
            raise UsageError("-y and -n exclude each other")
        return "no" if ctx.meta[key] else value

    def decorate(command: Any) -> Any:
        never: dict[str, Any] = {
            "is_flag": True,
            "is_eager": True,
            "expose_value": False,
            "callback": keep,
        }
        command = click.option(
            "-n", "--no", "never", help="Never overwrite: exit with code 4.", **never
        )(command)
        return yes_option(text, callback=either)(command)

    return decorate


def output_options(command: Any) -> Any:
    """The options of every command that writes a file."""
    for decorator in (
        json_option,
        click.option("-v", "--verbose", is_flag=True, help="Say where the time went."),
        quiet_option(),
        overwrite_options(),
    ):
        command = decorator(command)
    return command


# Options of a command that say how it deals with its one output, not what that is.
_OF_OUTPUT = frozenset(
    ["asked_crf", "named", "overwrite", "never", "quiet", "verbose", "as_json", "shown", "resume"]
)


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
    return click.option(
        "--progress",
        "shown",
        type=click.Choice(PROGRESS),
        metavar="HOW",
        default="auto",
        show_default=True,
        help="auto (a bar on a terminal, else lines), bar, lines (one every few seconds) or none.",
    )(command)


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
    if is_standard_stream(target) or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return Overwrite.NO
    there = os.path.isfile(target) or (is_picture_output(target) and existing_pictures(target))
    if there and click.confirm(f"{printable(target)} exists. Overwrite?", err=True):
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
    note("seconds by stage: " + ", ".join(f"{k} {v:.2f}" for k, v in sorted(times.seconds.items())))


def crf_option(command: Any) -> Any:
    """`--crf` of an encode, which is not there: whoever asks is told what is."""

    def refuse(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise UsageError(
                "--crf goes with decode; the quality of an encode is -q, from 0 to 63, where more "
                "is better (docs/coming_from.md has the CRF of each)"
            )

    hidden: dict[str, Any] = {"hidden": True, "expose_value": False, "callback": refuse}
    return click.option("--crf", "asked_crf", **hidden)(command)


def output_option(metavar: str) -> Callable[[Any], Any]:
    """`-o`, for who names outputs so; see `one_target`."""
    return click.option(
        "-o",
        "--output",
        "named",
        type=FILE,
        metavar=metavar,
        help=f"Another way to name {metavar}.",
    )


def one_target(positional: str | None, named: str | None) -> str | None:
    """The output that the user named, by either way. UsageError for both."""
    if positional is not None and named is not None:
        raise UsageError(f"two outputs are named: {positional} and {named}")
    return positional if named is None else named


def default_target(source: str, target: str | None, ending: str) -> str:
    """`target`, or the source's name with another ending. UsageError for standard input without a
    target."""
    if target is not None:
        return target
    if source == "-" or find_sequence(source) is not None:
        what = "standard input" if source == "-" else "a sequence of pictures"
        raise UsageError(f"an output must be named when the input is {what}")
    return os.path.splitext(source)[0] + ending


def check_target(target: str, as_json: bool = False) -> None:
    """UsageError for a `.stp` file under the name of something else, and for a binary output on a
    terminal or where JSON goes; StcodecError where there is no standard output."""
    if not is_standard_stream(target):
        ending = os.path.splitext(target)[1].lower()
        if ending in VIDEOS or ending in PICTURE_ENDINGS:
            name = os.path.splitext(target)[0] + ".stp"
            raise UsageError(
                f"{target}: what is written is a .stp file, not {ending}: name it {name} "
                f"(and stcodec decode {name} makes a video of it)"
            )
        return
    check_stdout(target, as_json)


def check_stdout(target: str, as_json: bool) -> None:
    """What `check_target` says of standard output, for outputs of any kind."""
    if not is_standard_stream(target):
        return
    if as_json:
        raise UsageError("--json and an output on standard output exclude each other")
    if stdout_is_missing():
        raise StcodecError("standard output: it is closed")
    if sys.stdout.isatty():
        raise UsageError(
            "standard output is a terminal, which cannot show a video: name a file, or pipe it on"
        )
