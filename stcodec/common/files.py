"""Output files that appear whole or not at all, the overwrite policy, and `-` for the standard
streams."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from stcodec.common.addresses import is_address, without_secrets
from stcodec.common.interrupts import held_back
from stcodec.common.leftovers import (
    PARTIAL,
    claim,
    claimed,
    clear,
    hidden_name,
    led_to,
    whereabouts,
)
from stcodec.common.pipes import CountedReader
from stcodec.common.sequences import existing_pictures, find_sequence, is_picture_output
from stcodec.common.values import PathLike
from stcodec.errors import InputError, OutputExistsError, StcodecError, UsageError

# `-`, and what standard output is called besides: a shell's `> file` is behind that, which is
# there already, and takes what comes as a pipe does.
_STANDARD_STREAMS = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


class Overwrite(Enum):
    """What to do when an output exists."""

    YES = "yes"
    NO = "no"


def is_standard_stream(path: PathLike) -> bool:
    """True for `-`, and for another name of standard output."""
    return os.fspath(path) in _STANDARD_STREAMS


def check_input(path: PathLike) -> None:
    """InputError unless `path` is `-`, a sequence of pictures, or something that can be opened and
    read."""
    with _as_input_error(path):
        _check_input(path)


@contextlib.contextmanager
def _as_input_error(path: PathLike) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{os.fspath(path)}: {error.strerror or error}") from error


def _check_input(path: PathLike) -> None:
    if is_standard_stream(path) or find_sequence(path) is not None:
        return
    where = Path(path)
    # `Path` would make one slash of two.
    if not where.exists() and is_address(os.fspath(path)):
        raise InputError(
            f"{without_secrets(os.fspath(path))}: is an address, and files alone are read: "
            "download it, or pipe it in, as in `curl -L ADDRESS | stcodec encode - OUT.stp`"
        )
    if where.is_dir():
        raise InputError(
            f"{where}: is a directory (pictures in it: {where}/%04d.png; many videos: "
            "stcodec batch)"
        )
    if not where.exists():
        raise InputError(f"{where}: no such file")
    if not os.access(where, os.R_OK):
        raise InputError(f"{where}: permission denied")


def check_output(
    path: PathLike,
    overwrite: Overwrite,
    source: PathLike | None = None,
) -> None:
    """Refuse an output, be it a file or numbered pictures, before any work is done.

    UsageError if it is the same file as `source`; StcodecError if its folder is missing;
    OutputExistsError if it exists and may not be replaced.
    """
    if is_standard_stream(path):
        return
    where = Path(path)
    if where.is_dir() or os.fspath(path).endswith(("/", os.sep)):
        raise UsageError(f"{os.fspath(path)}: is a directory: name the file that is to be in it")
    # That of numbered pictures is made.
    _check_folder(where if not is_picture_output(where) or where.parent.exists() else where.parent)
    if is_picture_output(where) and (pictures := existing_pictures(where)):
        where = pictures[0]
    # A link that leads nowhere is there, too.
    if not os.path.lexists(where) or is_special(where):
        return
    readable = source is not None and not is_standard_stream(source) and Path(source).exists()
    if readable and where.exists() and os.path.samefile(where, os.fspath(source or "")):
        raise UsageError(f"{where}: input and output are the same file")
    if overwrite is Overwrite.YES:
        return
    raise _exists(where)


def _check_folder(where: Path) -> None:
    """StcodecError where no file can be made, for want of a folder or of the right to."""
    folder = where.parent
    if not folder.is_dir():
        why = "is none" if os.path.lexists(folder) else "does not exist"
        raise StcodecError(f"{where}: the folder {folder} {why}")
    if not os.access(folder, os.W_OK) and not is_special(where):
        raise StcodecError(f"{where}: nothing can be written into the folder {folder}")


def make_folder(path: PathLike) -> None:
    """A folder for outputs, if it is not there yet. StcodecError."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StcodecError(f"{os.fspath(path)}: cannot be made ({error.strerror})") from error


def _exists(where: Path) -> OutputExistsError:
    return OutputExistsError(f"{where}: already exists (-y overwrites)")


def is_special(path: PathLike) -> bool:
    """Whether there is a pipe, a device or a folder: written in place if at all, never renamed."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


@contextlib.contextmanager
def open_output(
    path: PathLike, overwrite: Overwrite = Overwrite.YES, key: str = "", keep: bool = False
) -> Iterator[BinaryIO]:
    """A binary stream to write `path` through; see `temporary_output`. `-` is standard output."""
    if is_standard_stream(path):
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except OSError as error:
            if isinstance(error, BrokenPipeError) or error.filename is not None:
                raise
            raise StcodecError(f"standard output: cannot be written ({error.strerror})") from error
        return
    with temporary_output(path, overwrite, key, keep) as temporary:
        with open(temporary, "wb") as stream:
            yield stream


@contextlib.contextmanager
def temporary_output(
    path: PathLike, overwrite: Overwrite = Overwrite.YES, key: str = "", keep: bool = False
) -> Iterator[Path]:
    """A path in the same folder, with the same ending, that is renamed to `path` if the block
    succeeds.

    Its bytes are on the disk before it has the name, so that not even a loss of power leaves half a
    file there. Whatever ends the block otherwise (an error, Ctrl-C) removes it. Errors of the block
    name `path`. OutputExistsError where something has taken its name meanwhile and may not be
    replaced. Pipes and devices are given out as they are.

    What a process that is dead has left in the folder goes first. key: letters and digits for the
    name; keep: leave what is not complete, for `broken_output`.
    """
    # What a link leads to is replaced, and the link stays.
    where = led_to(Path(path)) if overwrite is Overwrite.YES else Path(path)
    if is_special(where):
        try:
            yield where
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StcodecError(f"{where}: cannot be written ({error.strerror or error})") from error
        return
    handle, name = -1, ""
    try:
        clear(where.parent)
        prefix, suffix = hidden_name(where, key, keep)
        with held_back():
            handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=where.parent)
            if not claim(handle):
                os.close(handle)
                handle = -1
        temporary = Path(name)
        yield temporary
        keep = False
        temporary = whereabouts(temporary, handle)
        if temporary != Path(name):
            where = temporary.with_name(where.name)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        give_name(temporary, where, overwrite)
    except OSError as error:
        raise StcodecError(f"{where}: cannot be written ({error.strerror or error})") from error
    except StcodecError as error:
        if not name or name not in str(error):
            raise
        raise type(error)(str(error).replace(name, str(where))) from error
    finally:
        with held_back():
            if name and not keep:
                whereabouts(Path(name), handle).unlink(missing_ok=True)
            if handle >= 0:
                os.close(handle)


def _flush(path: Path) -> None:
    """Have the disk hold what was written into a file, or the names in a folder; some file systems
    and some platforms cannot say that for a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def give_name(temporary: Path, where: Path, overwrite: Overwrite) -> None:
    """Rename a file that is complete, once the disk holds its bytes; when this returns, it holds
    the name, too. What has the name and may not be replaced stays. OutputExistsError, OSError."""
    _flush(temporary)
    with held_back():
        _rename(temporary, where, overwrite)
    _flush(where.parent)


def _rename(temporary: Path, where: Path, overwrite: Overwrite) -> None:
    if overwrite is Overwrite.YES:
        temporary.replace(where)
        return
    try:
        # A second name is given only where there is none, which renaming does not ask.
        os.link(temporary, where)
    except FileExistsError:
        raise _exists(where) from None
    except OSError:
        # A file system without links.
        if os.path.lexists(where):
            raise _exists(where) from None
        temporary.replace(where)


@contextlib.contextmanager
def temporary_folder(beside: Path | None) -> Iterator[Path]:
    """A hidden folder in a folder (None: where temporary files are), which is removed with all that
    is in it."""
    if beside is not None:
        clear(beside)
    with tempfile.TemporaryDirectory(
        prefix=".stcodec.", suffix=f".{PARTIAL}", dir=beside
    ) as folder:
        with claimed(Path(folder)) as handle:
            try:
                yield Path(folder)
            finally:
                now = Path(folder) if handle is None else whereabouts(Path(folder), handle)
                if now != Path(folder):
                    shutil.rmtree(now, ignore_errors=True)


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    """A folder that is there, or is made, and goes where the block fails."""
    made = not path.exists()
    try:
        if made:
            path.mkdir()
        yield
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


@contextlib.contextmanager
def temporary_pictures(path: PathLike, overwrite: Overwrite = Overwrite.YES) -> Iterator[Path]:
    """As `temporary_output`, for the numbered pictures of a name such as `frames/%04d.png`: that
    name in a folder beside them. Theirs is made if it is not there."""
    where, new = Path(path), []
    try:
        with _folder(where.parent), temporary_folder(where.parent) as folder:
            yield folder / where.name
            try:
                for picture in sorted(folder.iterdir()):
                    target = where.parent / picture.name
                    _flush(picture)
                    with held_back():
                        there = os.path.lexists(target)
                        _rename(picture, target, overwrite)
                        new += [] if there else [target]
                _flush(where.parent)
            except BaseException:
                for target in new:
                    target.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise StcodecError(f"{where}: cannot be written ({error.strerror or error})") from error


def input_size(path: PathLike) -> int | None:
    """Bytes of an input, of all pictures of a sequence; None for a pipe."""
    sequence = None if is_standard_stream(path) else find_sequence(path)
    if sequence is not None:
        return sum(f.stat().st_size for f in sequence.files)
    found = os.fstat(sys.stdin.fileno()) if is_standard_stream(path) else os.stat(path)
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def stream_name(stream: BinaryIO | CountedReader) -> str:
    """What to call a stream of `open_input` in messages."""
    path = getattr(stream, "name", None)
    return path if isinstance(path, str) and path != "<stdin>" else "standard input"


@contextlib.contextmanager
def open_input(path: PathLike) -> Iterator[BinaryIO]:
    """A binary stream to read `path` from; `-` is standard input. InputError if it cannot be
    opened."""
    check_input(path)
    if is_standard_stream(path):
        yield sys.stdin.buffer
        return
    with contextlib.ExitStack() as stack:
        with _as_input_error(path):
            stream = stack.enter_context(open(path, "rb"))
        yield stream


@contextlib.contextmanager
def named(path: PathLike) -> Iterator[None]:
    """Put the file's name in front of what an InputError of the block says."""
    name = os.fspath(path)
    try:
        yield
    except InputError as error:
        if str(error).startswith(name):
            raise
        raise type(error)(f"{name}: {error}") from error
