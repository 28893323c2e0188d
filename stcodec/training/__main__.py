"""`python -m stcodec.training`: the commands of training; how errors and signals end them."""

from __future__ import annotations

import sys

import click
import torch

from stcodec.errors import StcodecError
from stcodec.training.commands import commands

INTERRUPTED = 130


def main() -> None:
    """Run a command; turn errors into one line and an exit code, as `stcodec` does."""
    try:
        commands.main(standalone_mode=False, prog_name="python -m stcodec.training")
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
    except OSError as error:
        _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)
    except (MemoryError, torch.OutOfMemoryError):
        _fail("out of memory: a smaller --batch or --crop takes less", 1)


def _fail(message: str, code: int) -> None:
    click.echo(f"error: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
