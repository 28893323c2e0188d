"""Commands that look at one file after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from stcodec.commands.types import FILE
from stcodec.errors import InputError, ModelError, StcodecError, UsageError
from stcodec.terminal.failures import describe
from stcodec.terminal.report import Reporter, error


class _SeveralError(StcodecError):
    """Some files of several failed; the exit code is the highest of theirs."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def paths_argument(metavar: str) -> Callable[[Any], Any]:
    """One file or more, as `paths`."""
    return click.argument("paths", type=FILE, metavar=metavar, nargs=-1, required=True)


def for_each(paths: Sequence[str], said: Reporter, look: Callable[[str], None]) -> None:
    """Have `look` look at each file. One that fails does not stop the others: of several, each
    failure is a line and an event, and a StcodecError with the highest exit code ends it."""
    if len(paths) == 1:
        look(paths[0])
        return
    if paths.count("-") > 1:
        raise UsageError("only one of the files can come from standard input")
    codes = []
    for path in paths:
        try:
            look(path)
        except BrokenPipeError:
            raise
        except (InputError, ModelError, OSError) as problem:
            message, code = describe(problem)
            error(message)
            said.event("failed", input=path, message=message, exit_code=code)
            codes.append(code)
    if codes:
        raise _SeveralError(f"{len(codes)} of {len(paths)} files failed", max(codes))
