"""`stcodec`, and `python -m stcodec`."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading

_INTERRUPTED = 130


def main() -> None:
    """Run the command. While it is being loaded, an interrupt ends the process at once."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    from stcodec.terminal.cli import main as run

    try:
        run()
    except SystemExit as end:
        # A debugger or profiler wants to see the end.
        if isinstance(end.code, int) and not (sys.gettrace() or sys.getprofile()):
            _end(end.code)
        raise


def _end(code: int) -> None:
    """End the process as the interpreter does, but for taking apart all that has been loaded, which
    takes a tenth of a second. Where it has no such functions, do nothing: it ends as usual."""
    shutdown = getattr(threading, "_shutdown", None)
    functions = getattr(atexit, "_run_exitfuncs", None)
    if shutdown is None or functions is None:
        return
    shutdown()
    functions()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def _leave(signum: int, frame: object) -> None:
    """An exception would be shown as a traceback through whatever is being imported."""
    try:
        os.write(2, b"stcodec: interrupted\n")
    finally:
        os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
