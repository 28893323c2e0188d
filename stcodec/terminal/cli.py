"""The command `stcodec`: which commands there are, and how errors and signals end it. Each command
is in `commands/`."""

from __future__ import annotations

import importlib
import os
import signal
import sys

import click

from stcodec import __version__
from stcodec.errors import StcodecError
from stcodec.terminal import report

INTERRUPTED = 130
# Name -> (module, one line of help): a command's module is imported only when the command is run.
_COMMANDS = {
    "batch": ("stcodec.commands.batch", "Encode or decode many files."),
    "bench": ("stcodec.commands.bench", "Measure rate, distortion and speed against other codecs."),
    "compare": ("stcodec.commands.compare", "Compare two videos, picture by picture."),
    "completion": ("stcodec.commands.completion", "Print a completion script for a shell."),
    "concat": ("stcodec.commands.concat", "Join .stp files without decoding them."),
    "decode": ("stcodec.commands.decode", "Decode a .stp file into a video file."),
    "encode": ("stcodec.commands.encode", "Encode a video into a .stp file."),
    "info": ("stcodec.commands.info", "Show what is in a .stp file."),
    "play": ("stcodec.commands.play", "Show a .stp file in a player or a browser."),
    "sample": ("stcodec.commands.sample", "Predict size and quality from samples."),
    "split": ("stcodec.commands.split", "Cut a .stp file into parts without decoding it."),
    "verify": ("stcodec.commands.verify", "Check that a .stp file is intact."),
}


class _Commands(click.Group):
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


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run a command; turn errors into one line and an exit code."""
    # Threads that spin while they wait make two commands on the same cores ten times slower than
    # one after the other.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    # Before the options are read, so that programs hear of mistakes in them, too. The --json of
    # bench names a file.
    report.speak_json("--json" in sys.argv[1:] and "bench" not in sys.argv[1:2])
    try:
        commands.main(standalone_mode=False, prog_name="stcodec")
    except StcodecError as error:
        _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f" ({context.command_path} --help)" if context is not None else ""
        _fail(error.format_message().rstrip(".") + hint, 2)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone, which is its right; keep Python from complaining at
        # exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)
    except MemoryError:
        _fail("out of memory", 1)


def _fail(message: str, code: int) -> None:
    if os.environ.get("STCODEC_DEBUG"):
        raise
    report.failed(message, code)
    sys.exit(code)
