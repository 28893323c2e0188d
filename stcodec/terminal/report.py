"""The only printer but for progress. People read stderr; stdout is for what was asked for, and for
programs."""

from __future__ import annotations

import json
import re
import sys
from typing import TextIO

from stcodec.errors import StcodecError
from stcodec.terminal.streams import printable

EVENTS_VERSION = 1
"""Version of every JSON object, as docs/cli.md promises."""


def human_size(size: float) -> str:
    """1234567 -> '1.23 MB' (decimal units)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"


def error(message: str) -> None:
    """One line on stderr."""
    tell(f"stcodec: {printable(message)}")


def note(message: str) -> None:
    """Something a user should know, on stderr."""
    error(f"note: {message}")


def tell(text: str) -> None:
    """Lines for a person, on stderr, at once."""
    print(_lines(text), file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Lines on stdout, at once: what was asked for. Errors as those of `write`."""
    write(_lines(text), sys.stdout)


def write(text: str, stdout: TextIO) -> None:
    """A line on standard output. StcodecError where that cannot be written, BrokenPipeError where
    nobody reads on."""
    try:
        print(text, file=stdout, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StcodecError(f"standard output: cannot be written ({error.strerror})") from error


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def versioned(event: str, /, **values: object) -> dict[str, object]:
    """An object of any command's JSON: what it is, the version of its fields, and these."""
    return {"event": event, "version": EVENTS_VERSION, **values}


def to_line(value: object) -> str:
    """JSON in ASCII, which is right in every encoding of a stream. A file's name may hold bytes
    that are not UTF-8, and no JSON can: they become U+FFFD."""

    def escaped(found: re.Match[str]) -> str:
        alone = "\ud800" <= found[0] <= "\udfff"
        return "\\ufffd" if alone else json.dumps(found[0])[1:-1]

    return re.sub(r"[^\x00-\x7e]", escaped, json.dumps(value, ensure_ascii=False))


class Reporter:
    """Where the news of a command goes: to a person on stderr, and with `as_json` to a program, as
    objects on what was stdout when this was made. `quiet`: a person hears of errors only."""

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self.quiet = as_json, quiet
        self._stdout = sys.stdout

    def event(self, event: str, /, **values: object) -> None:
        """A line of JSON for a program, if one listens."""
        if self.as_json:
            write(to_line(versioned(event, **values)), self._stdout)

    def note(self, message: str) -> None:
        """Something a person should know."""
        if not self.quiet:
            note(message)

    def result(self, text: str) -> None:
        """What the command came to, for a person, unless a program has heard it."""
        if not (self.quiet or self.as_json):
            tell(text)

    def failed(self, message: str, code: int) -> None:
        """What ended the command, for everyone."""
        error(message)
        self.event("error", message=message, exit_code=code)
