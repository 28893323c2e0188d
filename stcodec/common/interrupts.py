"""Interrupts that come where they may not be heard: lost by a library, in a call back from C for
one, or in the middle of what must not be left half done."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_come = threading.Event()


class _Held:
    """How many blocks the main thread is in that hold interrupts back, and whether one waits."""

    blocks = 0
    waits = False


def interrupt_came() -> bool:
    """Say that there is one: whatever listens to signals, which raises KeyboardInterrupt, too,
    unless this is False: then the block does that at its end (`held_back`)."""
    _come.set()
    _Held.waits = _Held.blocks > 0
    return not _Held.waits


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """A moment that an interrupt waits for, if this is the main thread: making a file and noting
    its name, for one. For what is quick alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Held.blocks += 1
    try:
        yield
    finally:
        _Held.blocks -= 1
        if _Held.waits and not _Held.blocks:
            _Held.waits = False
            raise KeyboardInterrupt


def check_interrupt() -> None:
    """KeyboardInterrupt, once, if one has come: for loops of the main thread, whatever became of
    the one that was raised. Other threads are ended by the main one, and are told nothing."""
    if _come.is_set() and threading.current_thread() is threading.main_thread():
        _come.clear()
        raise KeyboardInterrupt


def forget_interrupt() -> None:
    """There is none: the command has ended."""
    _come.clear()
