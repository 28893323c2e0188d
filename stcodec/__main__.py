"""`stcodec`, and `python -m stcodec`."""

from __future__ import annotations

import os
import signal

_INTERRUPTED = 130


def main() -> None:
    """Run the command. While it is being loaded, an interrupt ends the process at once."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    from stcodec.terminal.cli import main as run

    run()


def _leave(signum: int, frame: object) -> None:
    """An exception would be shown as a traceback through whatever is being imported."""
    try:
        os.write(2, b"stcodec: interrupted\n")
    finally:
        os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
