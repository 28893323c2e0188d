"""Hidden outputs that are not complete: whose they are, and clearing those of the dead."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where nothing is cleared
    fcntl = None  # type: ignore[assignment]

PARTIAL, RESUMABLE = "partial", "resume"
"""How the names of what is not complete end: of what nobody wants once its process is dead, and of
what another encode may go on with."""
_LEFT = re.compile(r"\..+\.[a-z0-9_]{8}\.partial(\.[^.]{1,15})?", re.DOTALL)
_RESUMABLE = re.compile(r"\..+\.resume(\.[^.]{1,15})?", re.DOTALL)
# A process says that a file is its own a moment after making it.
_SECONDS_OF_GRACE = 60
_cleared: set[Path] = set()


def is_resumable(path: Path) -> bool:
    """Whether a file has the name of what another encode may go on with."""
    return _RESUMABLE.fullmatch(path.name) is not None


def _locked(handle: int) -> bool | None:
    """Whether this process has an open file or folder now; None where the system knows no such
    locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def claim(handle: int) -> bool:
    """Say that an open file or folder is in use, until it is closed or the process dies; False
    where another process has said so, or nothing can be said."""
    return _locked(handle) is True


def is_claimed(handle: int) -> bool:
    """Whether another process has said that an open file is in use; else this one has, from now on,
    where the system knows such locks."""
    return _locked(handle) is False


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[int | None]:
    """The open file or folder, claimed; None where that cannot be had."""
    flags = getattr(os, "O_NOFOLLOW", 0) | (os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        handle = os.open(path, flags)
    except OSError:
        yield None
        return
    try:
        yield handle if claim(handle) else None
    finally:
        os.close(handle)


def is_written(path: Path) -> bool:
    """Whether a process of this machine has a file open to write into it, as one that copies it
    has; False where the system cannot tell, which Linux alone can."""
    if sys.platform != "linux":
        return False
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        # Who opens the file in this moment waits, and a signal says so: one that does nothing.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def clear(folder: Path) -> None:
    """Remove what processes that are dead have left in a folder, once for each folder."""
    if folder in _cleared or fcntl is None:
        return
    _cleared.add(folder)
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = [name for name in os.listdir(folder) if _LEFT.fullmatch(name)]
    for name in names:
        with contextlib.suppress(OSError):
            _clear(folder / name)


def _clear(path: Path) -> None:
    found = path.lstat()
    kind = stat.S_IFMT(found.st_mode)
    if kind not in (stat.S_IFREG, stat.S_IFDIR) or time.time() - found.st_mtime < _SECONDS_OF_GRACE:
        return
    with claimed(path) as handle:
        if handle is not None and kind == stat.S_IFDIR:
            shutil.rmtree(path)
        elif handle is not None:
            path.unlink()
