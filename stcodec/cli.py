"""The commands. Wiring only: what they do is in encoding.py, decoding.py and inspection.py, what they print in report.py."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import Any

import click

from stcodec import __version__, report
from stcodec.errors import StcodecError, UsageError
from stcodec.files import Overwrite
from stcodec.options import DecodeOptions, EncodeOptions, default, help_text

INTERRUPTED = 130
_LAZY = {"bench": ("stcodec.bench.cli", "bench", "Measure rate, distortion and speed against other codecs.")}


class _Commands(click.Group):
    """A group that imports the commands of `_LAZY` only when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_LAZY])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _LAZY:
            module, attribute, _ = _LAZY[cmd_name]
            command = getattr(importlib.import_module(module), attribute)
            assert isinstance(command, click.Command)
            return command
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            if name in _LAZY:
                rows.append((name, _LAZY[name][2]))
            elif (command := super().get_command(ctx, name)) is not None:
                rows.append((name, command.get_short_help_str(80)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="stcodec")
def commands() -> None:
    """Compress video with a learned codec, and get it back.

    \b
    stcodec encode in.mp4 out.stp
    stcodec decode out.stp back.mp4

    Exit codes: 0 done, 1 failure, 2 usage, 3 damaged or unreadable input, 4 output exists, 5 target out of reach,
    130 interrupted.
    """


def _option(options: type, name: str, *flags: str, **more: Any) -> Callable[[Any], Any]:
    """A click option with default and help from the options class."""
    return click.option(
        *flags, name, default=default(options, name), help=help_text(options, name), show_default=True, **more
    )


class _Time(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """Seconds, or minutes or hours before colons."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Text like 75, 1:15 or 0:01:15.5 to seconds."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)", str(value))
        if match is None:
            self.fail(f"{value!r} is no time: seconds, or [h:]m:s", param, ctx)
        hours, minutes, seconds = match.groups()
        return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds)


def _output_options(command: Any) -> Any:
    for decorator in (
        click.option("-y", "-f", "--yes", "overwrite", flag_value="yes", help="Overwrite an existing output."),
        click.option("-n", "--no", "overwrite", flag_value="no", help="Never overwrite: exit with code 4."),
        click.option("--quiet", is_flag=True, help="Print errors only."),
        click.option("-v", "--verbose", is_flag=True, help="Say where the time went."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as a JSON line on stdout."),
    ):
        command = decorator(command)
    return command


def _policy(overwrite: str | None, target: str) -> Overwrite:
    """Ask where a person can answer, else refuse."""
    if overwrite is not None:
        return Overwrite(overwrite)
    can_ask = target != "-" and os.path.isfile(target) and sys.stdin.isatty() and sys.stderr.isatty()
    if can_ask and click.confirm(f"{target} exists. Overwrite?", err=True):
        return Overwrite.YES
    return Overwrite.NO


@contextlib.contextmanager
def _stages(verbose: bool) -> Any:
    if not verbose:
        yield
        return
    from stcodec.timing import collect

    with collect() as times:
        yield
    report.note("seconds by stage: " + ", ".join(f"{k} {v:.2f}" for k, v in sorted(times.seconds.items())))


@commands.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="[OUT.stp]", required=False)
@_option(EncodeOptions, "quality", "-q", "--quality", type=int)
@_option(EncodeOptions, "model", "--model")
@_option(EncodeOptions, "device", "--device")
@_option(EncodeOptions, "threads", "--threads", type=int)
@_option(EncodeOptions, "motion", "--motion")
@_option(EncodeOptions, "effort", "--effort", type=int)
@_option(EncodeOptions, "start", "--start", type=_Time())
@_option(EncodeOptions, "end", "--end", type=_Time())
@click.option("--no-larger", is_flag=True, help=help_text(EncodeOptions, "no_larger"))
@click.option("--no-audio", "audio", is_flag=True, flag_value=False, default=True, help="Leave the audio out.")
@_output_options
def encode(
    source: str, target: str | None, overwrite: str | None, quiet: bool, verbose: bool, as_json: bool, **options: Any
) -> None:
    """Encode the video IN ("-" reads standard input) into OUT.stp ("-" writes standard output)."""
    target = _default_target(source, target, ".stp")
    from stcodec.encoding import Progress, encode_steps

    chosen = EncodeOptions(overwrite=_policy(overwrite, target), **options)
    notes: list[str] = []
    result = None
    with _stages(verbose), report.ProgressReport(f"encoding {os.path.basename(source)}", quiet) as progress:
        for step in encode_steps(source, target, chosen, notes):
            if isinstance(step, Progress):
                progress.update(step)
            else:
                result = step
    assert result is not None
    for line in result.notes:
        report.note(f"{source}: {line}", quiet)
    report.encoded(source, target, result, quiet or as_json)
    if as_json:
        report.encode_json(source, target, result)


@commands.command()
@click.argument("source", metavar="IN.stp")
@click.argument("target", metavar="[OUT]", required=False)
@_option(DecodeOptions, "codec", "--codec")
@_option(DecodeOptions, "crf", "--crf", type=float)
@_option(DecodeOptions, "start", "--start", type=_Time())
@_option(DecodeOptions, "end", "--end", type=_Time())
@_option(DecodeOptions, "device", "--device")
@_option(DecodeOptions, "threads", "--threads", type=int)
@_output_options
def decode(
    source: str, target: str | None, overwrite: str | None, quiet: bool, verbose: bool, as_json: bool, **options: Any
) -> None:
    """Decode IN.stp into OUT: .mp4, .mkv, .mov, .y4m, or "-" for YUV4MPEG2 on standard output."""
    target = _default_target(source, target, ".mp4")
    from stcodec.decoding import decode_steps
    from stcodec.encoding import Progress

    chosen = DecodeOptions(overwrite=_policy(overwrite, target), **options)
    result = None
    with _stages(verbose), report.ProgressReport(f"decoding {os.path.basename(source)}", quiet) as progress:
        for step in decode_steps(source, target, chosen):
            if isinstance(step, Progress):
                progress.update(step)
            else:
                result = step
    assert result is not None
    for line in result.notes:
        report.note(f"{target}: {line}", quiet)
    report.decoded(target, result, quiet or as_json)
    if as_json and target != "-":
        report.decode_json(source, target, result)


def _default_target(source: str, target: str | None, ending: str) -> str:
    if target is not None:
        return target
    if source == "-":
        raise UsageError("an output must be named when the input is standard input")
    return os.path.splitext(source)[0] + ending


@commands.command()
@click.argument("path", metavar="FILE.stp")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(path: str, as_json: bool) -> None:
    """Show what is in FILE.stp; reads its headers only."""
    from stcodec import inspection

    found = inspection.info(path)
    if as_json:
        report.print_json(found.as_dict())
    else:
        report.file_info(found)


@commands.command()
@click.argument("path", metavar="FILE.stp")
@click.option("--deep", is_flag=True, help="Decode the pictures too.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def verify(path: str, deep: bool, quiet: bool) -> None:
    """Check that FILE.stp is intact; exit code 3 and the numbers of the bad chunks if it is not."""
    from stcodec import inspection
    from stcodec.errors import DamagedFileError

    chunks = frames = bad = 0
    for chunk in inspection.verify(path, deep):
        chunks, frames = chunks + 1, frames + chunk.frames
        if chunk.problem:
            bad += 1
            report.chunk_problem(path, chunk)
    if bad:
        raise DamagedFileError(f"{path}: {bad} of {chunks} chunks are damaged")
    report.verified(path, chunks, frames, quiet)


@commands.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script for SHELL: eval "$(stcodec completion bash)"."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(commands, {}, "stcodec", "_STCODEC_COMPLETE").source())


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run a command; turn errors into one line and an exit code."""
    # Threads that spin while they wait make two commands on the same cores ten times slower than one after the other.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    try:
        commands.main(standalone_mode=False, prog_name="stcodec")
    except StcodecError as error:
        _fail(str(error), error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone, which is its right; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)
    except MemoryError:
        _fail("out of memory", 1)


def _fail(message: str, code: int) -> None:
    if os.environ.get("STCODEC_DEBUG"):
        raise
    report.error(message)
    sys.exit(code)
