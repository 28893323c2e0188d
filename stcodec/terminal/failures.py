"""What ends a command early: errors as one line with an exit code, and signals."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from stcodec.common.interrupts import forget_interrupt, interrupt_came
from stcodec.errors import StcodecError

INTERRUPTED = 130
"""Exit code of a command that a signal has ended."""
_SECONDS_OF_GRACE = 2.0
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_OUT_OF_MEMORY = "can't allocate memory"  # what torch says of the CPU's


def describe(error: BaseException) -> tuple[str, int]:
    """One line for a user, and the exit code."""
    hint = "please report this, with what STCODEC_DEBUG=1 in the environment shows"
    unknown = f"unexpected {type(error).__name__}: {_first_line(error)} ({hint})"
    return _expected(error) or (unknown, 1)


def is_unexpected(error: BaseException) -> bool:
    """Whether it is a fault of stcodec: neither raised on purpose, nor a failure of the system."""
    return _expected(error) is None


def _expected(error: BaseException) -> tuple[str, int] | None:
    if isinstance(error, StcodecError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'input or output'}: {error.strerror}", 1
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY in str(error):
        return "out of memory", 1
    if type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU, without importing it here
        return _first_line(error), 1
    return None


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")


@contextlib.contextmanager
def ends_on_signals(stop: threading.Event) -> Iterator[list[int]]:
    """Within the block, Ctrl-C, SIGTERM or SIGHUP sets `stop`, and the work comes to its usual end;
    the list that is given takes the signal. One that comes more than two seconds later does what it
    did before."""
    came: list[int] = []
    first = 0.0
    before: dict[int, Any] = {}

    def come(signum: int, frame: Any) -> None:
        nonlocal first
        if not came:
            came.append(signum)
            first = time.monotonic()
            stop.set()
        elif time.monotonic() - first >= _SECONDS_OF_GRACE:
            handler = before.get(signum)
            if callable(handler):
                handler(signum, frame)

    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, come)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _unless_interrupted(lost: Any) -> None:
    """Say what could not be raised, as Python does, but for interrupts: they are remembered."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)


class Interrupts:
    """Ctrl-C, SIGTERM and SIGHUP end a command by KeyboardInterrupt, and it tidies up.

    Those that come within two seconds after one are passed over: an impatient hand, or a service
    manager that tells a whole group, must not stop the tidying. A later one counts again. Libraries
    in C turn the exception into errors of their own, or drop it, so loops ask for it, too
    (`check_interrupt`).
    """

    def __init__(self) -> None:
        self._last: float | None = None
        self._watched: list[signal.Signals] = []

    @property
    def came(self) -> bool:
        """Whether there has been one."""
        return self._last is not None

    def watch(self) -> None:
        """Listen. A signal that is ignored from outside, as nohup does, stays ignored."""
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._come)
                self._watched.append(number)
        sys.unraisablehook = _unless_interrupted

    def ignore(self) -> None:
        """Pass over all that come from now on: the command ends."""
        forget_interrupt()
        for number in self._watched:
            signal.signal(number, signal.SIG_IGN)

    def _come(self, signum: int, frame: object) -> None:
        now = time.monotonic()
        if self._last is not None and now - self._last < _SECONDS_OF_GRACE:
            return
        self._last = now
        if interrupt_came():
            raise KeyboardInterrupt
