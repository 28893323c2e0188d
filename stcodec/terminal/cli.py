"""The command `stcodec`: which commands there are, and how errors and signals end it. Each command
is in `commands/`."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from typing import Any

import click

from stcodec import __version__
from stcodec.errors import StcodecError
from stcodec.terminal.failures import INTERRUPTED, Interrupts, describe, is_unexpected
from stcodec.terminal.guesses import Group, filters_meant, unknown_option
from stcodec.terminal.report import Reporter
from stcodec.terminal.streams import give_up_stdout, mend_streams

# Name -> (module, one line of help): a command's module is imported only when the command is run.
_COMMANDS = {
    "batch": ("stcodec.commands.batch", "Encode or decode many files."),
    "bench": ("stcodec.commands.bench", "Measure rate, distortion and speed against other codecs."),
    "codecs": ("stcodec.commands.codecs", "List the video encoders that decode can use here."),
    "compare": ("stcodec.commands.compare", "Compare two videos, picture by picture."),
    "completion": ("stcodec.commands.completion", "Print a completion script for a shell."),
    "concat": ("stcodec.commands.concat", "Join .stp files without decoding them."),
    "decode": ("stcodec.commands.decode", "Decode a .stp file into a video file."),
    "encode": ("stcodec.commands.encode", "Encode a video into a .stp file."),
    "events": ("stcodec.commands.events", "Find when something happens in .stp files."),
    "info": ("stcodec.commands.info", "Show what is in a .stp file, or in any video."),
    "keyframes": ("stcodec.commands.keyframes", "Write pictures of events or segments."),
    "play": ("stcodec.commands.play", "Show a .stp file in a player or a browser."),
    "record": ("stcodec.commands.record", "Record a camera or stream into .stp files."),
    "sample": ("stcodec.commands.sample", "Predict size and quality from samples."),
    "split": ("stcodec.commands.split", "Cut a .stp file into parts without decoding it."),
    "verify": ("stcodec.commands.verify", "Check that a .stp file is intact."),
}
# What click says of a file too many, and the commands that another one does for many.
_TOO_MANY, _OF_ONE_FILE = "unexpected extra argument", ("encode", "decode")


class _Commands(Group):
    """A group that imports a command only when it is run. The command has the name of its module's
    function."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(importlib.import_module(_COMMANDS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (EOFError, KeyboardInterrupt, OSError) as error:
            # click takes the first for a signal, and ends the command by itself for some of the
            # last.
            raise _EscapedError from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in sorted(_COMMANDS.items())])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="stcodec")
def commands() -> None:
    """Compress video with a learned codec, and get it back.

    \b
    stcodec encode in.mp4 out.stp
    stcodec decode out.stp back.mp4

    Exit codes: 0 done, 1 failure, 2 usage, 3 damaged or unreadable input, 4 output exists, 5 target
    out of reach, 130 interrupted.
    """


class _EscapedError(Exception):
    """Carries out of click what it would give another meaning; the cause is the error."""


def main() -> None:
    """Run a command; turn errors into one line and an exit code."""
    # Threads that spin while they wait make two commands on the same cores ten times slower than
    # one after the other.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    mend_streams()
    interrupts = Interrupts()
    interrupts.watch()
    # Before the options are read, so that programs hear of mistakes in them, too. The --json of
    # bench names a file.
    said = Reporter("--json" in sys.argv[1:] and "bench" not in sys.argv[1:2])
    failure: tuple[str | None, int] | None = None
    try:
        code = commands.main(standalone_mode=False, prog_name="stcodec") or 0
        sys.stdout.flush()
        interrupts.ignore()  # what was asked for is done
    except SystemExit:
        raise
    except BaseException as error:
        interrupts.ignore()
        failure = _failure(error, interrupts.came)
    # Outside, where the error no longer holds what the command had open.
    if failure is not None:
        code = _end(*failure, said)
    # Python remembers an interrupt in code that is made from text, though it was caught, and kills
    # what `-m` has started by a signal in the end; it forgets that with the next such code.
    exec("")  # noqa: S102
    sys.exit(code)


def _failure(error: BaseException, interrupted: bool) -> tuple[str | None, int]:
    """The line, if one is due, and the exit code for what ended a command. interrupted: a signal
    has come, whatever a library made of it."""
    if isinstance(error, _EscapedError):
        error = error.__cause__ or error
    if os.environ.get("STCODEC_DEBUG"):
        traceback.print_exception(error)
    if interrupted or isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "interrupted", INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return None, 1  # the reader of our output has gone, which is its right
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return None, error.exit_code
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f" ({context.command_path} --help)" if context is not None else ""
        message = error.format_message().rstrip(".")
        if isinstance(error, click.NoSuchOption):
            message = unknown_option(error)
        elif context and context.command.name in _OF_ONE_FILE and _TOO_MANY in message:
            several = f"{message}: one video at a time, and stcodec batch takes many"
            message = filters_meant(context) or several
        return message + hint, 2
    if is_unexpected(error) and {"-v", "--verbose"} & set(sys.argv[1:]):
        traceback.print_exception(error)
    return describe(error)


def _end(message: str | None, code: int, said: Reporter) -> int:
    """Say what ended the command, on the streams that still take it; returns the exit code."""
    if message is not None:
        with contextlib.suppress(OSError, StcodecError):
            said.failed(message, code)
    try:
        sys.stdout.flush()
    except OSError:
        give_up_stdout()
    return code
