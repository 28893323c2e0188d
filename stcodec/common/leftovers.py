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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from stcodec.common.values import PathLike

try:
    import fcntl
except ImportError:  # Windows, where nothing is cleared
    fcntl = None  # type: ignore[assignment]

PARTIAL, RESUMABLE = "partial", "resume"
"""How the names of what is not complete end: of what nobody wants once its process is dead, and of
what another encode may go on with."""
_LEFT = re.compile(r"\..+\.[a-z0-9_]{8}\.partial(\.[^.]{1,15})?", re.DOTALL)
_RESUMABLE = re.compile(r"\..+\.resume(\.[^.]{1,15})?", re.DOTALL)
# Bytes of a name that a hidden one takes over: file systems take 255 in all.
_LONGEST_STEM, _LONGEST_ENDING = 80, 16
# Letters of `tempfile`'s names.
_RANDOM = 8
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


def is_in_use(path: Path) -> bool:
    """Whether a process, this one or another, has claimed a file; the claim is left as it is."""
    if fcntl is None or not path.is_file():
        return False
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return False


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


def led_to(where: Path) -> Path:
    """What a link leads to; `where` itself if it is none, or leads nowhere."""
    return where.resolve() if where.is_symlink() and where.exists() else where


def whereabouts(path: Path, handle: int) -> Path:
    """Where an open file or folder is now, where the system tells: a folder that it is in may have
    been renamed."""
    with contextlib.suppress(OSError):
        if handle >= 0 and not path.exists():
            now = Path(os.readlink(f"/proc/self/fd/{handle}"))
            if now.name == path.name and os.path.samestat(os.stat(now), os.fstat(handle)):
                return now
    return path


class Broken:
    """What dead processes have left of an output. stream: the longest of it, None if there is
    nothing."""

    def __init__(self, stream: BinaryIO | None = None, files: Sequence[Path] = ()) -> None:
        self.stream, self._files = stream, files

    def discard(self) -> None:
        """Remove all of it; what is open can still be read where the system allows that."""
        for file in self._files:
            file.unlink(missing_ok=True)


@contextlib.contextmanager
def broken_output(path: PathLike, key: str) -> Iterator[Broken]:
    """What dead processes have left of `path`, or of what it links to, with this key (see
    `temporary_output`)."""
    with contextlib.ExitStack() as stack:
        left = []
        for file in _left_of(led_to(Path(path)), key):
            handle = stack.enter_context(claimed(file))
            if handle is not None:
                left.append((os.fstat(handle).st_size, file))
        left.sort(reverse=True)
        stream = stack.enter_context(open(left[0][1], "rb")) if left else None
        yield Broken(stream, [file for _, file in left])


def _left_of(where: Path, key: str) -> list[Path]:
    """Hidden files that are, or were to become, `where`."""
    names = []
    for keep in (True, False):
        prefix, suffix = hidden_name(where, key, keep)
        names += [
            where.parent / name
            for name in os.listdir(where.parent)
            if name.startswith(prefix)
            and name.endswith(suffix)
            and len(name) == len(prefix) + _RANDOM + len(suffix)
        ]
    return names


def hidden_name(where: Path, key: str = "", keep: bool = False) -> tuple[str, str]:
    """Beginning and end of a hidden name with the same ending, for a name of any length."""
    ending = where.suffix if len(os.fsencode(where.suffix)) <= _LONGEST_ENDING else ""
    text = os.fsencode(where.stem)[:_LONGEST_STEM].decode("utf-8", "ignore")
    stem = os.fsdecode(text.encode())  # which is another text where names are no UTF-8
    kind = RESUMABLE if keep else PARTIAL
    return f".{stem}.{key}." if key else f".{stem}.", f".{kind}{ending}"
