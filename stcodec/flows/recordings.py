"""Names of recordings by time: what the next one is called, and which are old."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from stcodec.common.files import named
from stcodec.common.leftovers import claimed, is_written
from stcodec.common.values import PathLike
from stcodec.container import stp
from stcodec.container.finishing import finish
from stcodec.errors import StcodecError, UsageError

_FIELDS = {"Y": 4, "y": 2, "m": 2, "d": 2, "j": 3, "H": 2, "M": 2, "S": 2}
_DATES = ({"Y", "m", "d"}, {"y", "m", "d"}, {"Y", "j"}, {"y", "j"})
_NAMES_TRIED = 3000
_SECONDS_OF_GRACE = 60
"""Since something was written into a file, which a copy of a recording may be, or one of another
machine: not everywhere does the system say that they are in use."""


class Recordings:
    """The files of a pattern such as `cam-%Y%m%d-%H%M.stp`, in local time. UsageError for fields
    that cannot be read back, or that are part of the folder's name."""

    def __init__(self, pattern: PathLike) -> None:
        self.folder, self._name = Path(pattern).parent, Path(pattern).name
        if "%" in os.fspath(self.folder):
            raise UsageError(f"{pattern}: the time can be part of the file's name alone")
        expression, self._fields = "", set[str]()
        self._finished: set[Path] = set()
        for literal, field in re.findall(r"([^%]+)|%(.?)", self._name, re.DOTALL):
            if literal or field == "%":
                expression += re.escape(literal or field)
            elif field in self._fields:
                raise UsageError(f"{pattern}: %{field} comes twice")
            elif field in _FIELDS:
                expression += f"[0-9]{{{_FIELDS[field]}}}"
                self._fields.add(field)
            else:
                known = ", ".join(f"%{f}" for f in (*_FIELDS, "%"))
                raise UsageError(f"{pattern}: %{field} is none of {known}")
        stem, dot, ending = expression.rpartition(re.escape("."))
        # Where a name was taken already, a number follows.
        self._match = re.compile(f"({stem}){'(-[0-9]+)?'}({dot}{ending})" if dot else expression)
        self._numbered = bool(dot)

    @property
    def by_time(self) -> bool:
        """Whether names differ by time at all."""
        return bool(self._fields)

    def check(self, every: float | None, keep: float | None) -> None:
        """UsageError where names do not tell files of so many seconds apart, or not which of them
        are older than others."""
        if every is not None:
            # Of the clock on the wall, as borders are: no hour of it comes twice here.
            begin = datetime.datetime(2024, 1, 1)
            most = min(_NAMES_TRIED, int((datetime.datetime.max - begin).total_seconds() / every))
            times = (begin + datetime.timedelta(seconds=every * i) for i in range(most + 1))
            names = [time.strftime(self._name) for time in times]
            if any(a == b for a, b in itertools.pairwise(names)):
                raise UsageError(
                    f"{self._name}: files of {every:g} s would have the same name: it needs "
                    "fields such as %Y%m%d-%H%M%S"
                )
        if keep is not None and not any(date <= self._fields for date in _DATES):
            raise UsageError(
                f"{self._name}: --keep needs the date in the name, such as %Y%m%d-%H%M"
            )

    def _at(self, time: float) -> str:
        return datetime.datetime.fromtimestamp(time).strftime(self._name)

    def path(self, time: float, again: bool = False) -> Path:
        """The name of what begins at a time (of `time.time`); where names have fields, or files
        have been written before (`again`), one that is not taken yet."""
        where = self.folder / self._at(time)
        number = 1
        while (self.by_time or again) and os.path.lexists(where):
            number += 1
            where = self.folder / _numbered(self._at(time), number)
        return where

    def _files(self) -> Iterator[tuple[Path, str]]:
        """Files of the pattern, and their names without a number."""
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.folder):
                match = self._match.fullmatch(entry.name)
                if match is None or not entry.is_file(follow_symlinks=False):
                    continue
                name = match[1] + match[3] if self._numbered else match[0]
                yield Path(entry.path), name

    def remove_old(self, keep: float, now: float) -> list[Path]:
        """Remove those that began, by their names, and were written, by their times, more than
        `keep` seconds before `now`; which these were. Others, links, and what is no `.stp` file
        stay."""
        removed = []
        for path, name in sorted(self._files()):
            with contextlib.suppress(OSError, ValueError, OverflowError):
                began = datetime.datetime.strptime(name, self._name).timestamp()
                if now - max(began, path.lstat().st_mtime) <= keep or not _is_ours(path):
                    continue
                with claimed(path) as handle:
                    if handle is not None or os.name != "posix":
                        path.unlink()
                        removed.append(path)
        return removed

    def finish_broken(self, now: float) -> Iterator[tuple[Path, int]]:
        """Complete those whose writers are dead, and say how many pictures each has. Each is looked
        at once, when nothing has been written into it for a minute before `now`."""
        files = sorted(path for path, _ in self._files())
        self._finished.intersection_update(files)
        for path in files:
            with contextlib.suppress(OSError, StcodecError):
                if path in self._finished or now - path.stat().st_mtime < _SECONDS_OF_GRACE:
                    continue
                if not is_written(path):
                    self._finished.add(path)
                if path not in self._finished or not _is_ours(path) or _is_complete(path):
                    continue
                with claimed(path) as handle:
                    if handle is not None:
                        yield path, finish(path)
                    else:
                        self._finished.discard(path)  # another recorder's, which may die, too


def _numbered(name: str, number: int) -> str:
    stem, dot, ending = name.rpartition(".")
    return f"{stem}-{number}.{ending}" if dot else f"{name}-{number}"


def _is_ours(path: Path) -> bool:
    with open(path, "rb") as stream:
        return stream.read(len(stp.SIGNATURE)) == stp.SIGNATURE


def _is_complete(path: Path) -> bool:
    with open(path, "rb") as stream, named(path):
        return stp.Reader(stream).read_index() is not None


def next_border(time: float, every: float) -> float:
    """When the next file begins, after one that begins at `time` (of `time.time`): at multiples of
    `every` seconds of the local clock."""
    local = datetime.datetime.fromtimestamp(time).astimezone()
    offset = (local.utcoffset() or datetime.timedelta()).total_seconds()
    return (math.floor((time + offset) / every) + 1) * every - offset
