"""An interrupt that a library has lost, in a call back from C for one, is raised again."""

from __future__ import annotations

import threading

_come = threading.Event()


def interrupt_came() -> None:
    """Say that there is one: whatever listens to signals, which raises KeyboardInterrupt, too."""
    _come.set()


def check_interrupt() -> None:
    """KeyboardInterrupt, once, if one has come: for loops of the main thread, whatever became of
    the one that was raised. Other threads are ended by the main one, and are told nothing."""
    if _come.is_set() and threading.current_thread() is threading.main_thread():
        _come.clear()
        raise KeyboardInterrupt


def forget_interrupt() -> None:
    """There is none: the command has ended."""
    _come.clear()
