"""The three standard streams, whatever they are, and text that may go to a terminal."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from io import TextIOWrapper

# Control characters but the tab: with them a title could move the cursor or name the window. Also
# what ends a line or turns its direction, since messages are lines.
_UNPRINTABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""One line that a terminal shows as it is: control characters as escapes such as \x1b."""
    return _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], text)


def mend_streams() -> None:
    """Give a process that was started without some of its standard streams something in their
    place, and have text that a stream's encoding lacks printed as escapes.

    A free number below 3 would go to the next file that is opened, and whatever is printed would
    land in there. What is written to a missing standard output fails, as does what is read from a
    missing standard input; what is written to a missing standard error is lost, as was wished.
    """
    missing = []
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            missing.append(number)
            # The lowest free number: this one. Standard output cannot be written, nor standard
            # input read.
            os.open(os.devnull, os.O_RDONLY if number == 1 else os.O_WRONLY)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if number in missing or getattr(sys, name) is None:
            stream = open(number, mode, closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, TextIOWrapper):
            output.reconfigure(errors="backslashreplace")


def stdout_is_missing() -> bool:
    """Whether nothing can be written to standard output, since the process was started without."""
    try:
        import fcntl
    except ImportError:  # a system without it
        return False
    return fcntl.fcntl(1, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY


def give_up_stdout() -> None:
    """Drop what cannot be written, so that Python does not try, and complain, once more at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
