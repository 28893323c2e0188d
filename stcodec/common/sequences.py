"""Numbered pictures as one input or one output: `frames/%04d.png`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from stcodec.common.values import PathLike
from stcodec.errors import InputError

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""Of pictures that can be written."""
NUMBER = re.compile(r"%(0?\d*)d")
"""The place of a number in a name, such as %04d."""


@dataclass(frozen=True)
class Sequence:
    """Pictures whose numbers follow each other. first: the number of the first; beyond: how many
    files come after a gap."""

    pattern: str
    first: int
    files: tuple[Path, ...]
    beyond: int

    @property
    def missing(self) -> str:
        """The name at the gap."""
        return os.path.basename(self.pattern % (self.first + len(self.files)))


def find_sequence(path: PathLike) -> Sequence | None:
    """The pictures that a name such as `%04d.png` stands for; None for a name without a number's
    place, or of a file that exists.

    InputError if there is no such picture.
    """
    text = os.fspath(path)
    if not has_place(text):
        return None
    numbers = _numbers(text)
    if not numbers:
        raise InputError(f"{text}: no such pictures")
    first = last = min(numbers)
    while last + 1 in numbers:
        last += 1
    files = tuple(Path(text % n) for n in range(first, last + 1))
    return Sequence(text, first, files, len(numbers) - len(files))


def has_place(path: PathLike) -> bool:
    """Whether a name has one place for a number, and is not that of a file that exists."""
    folder, name = os.path.split(os.fspath(path))
    once = len(NUMBER.findall(name)) == 1 and "%" not in NUMBER.sub("", name)
    return once and "%" not in folder and not os.path.exists(path)


def is_picture_output(path: PathLike) -> bool:
    """Whether an output of this name is numbered pictures."""
    return os.fspath(path).lower().endswith(PICTURE_ENDINGS) and has_place(path)


def existing_pictures(path: PathLike) -> list[Path]:
    """The pictures that are there already where `is_picture_output`, in the order of their numbers.
    InputError where their folder cannot be read."""
    text = os.fspath(path)
    if not os.path.lexists(os.path.dirname(text) or "."):
        return []
    return [Path(text % n) for n in sorted(_numbers(text))]


def _numbers(text: str) -> set[int]:
    folder, name = os.path.split(text)
    before, after = NUMBER.split(name)[::2]
    wanted = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    numbers = set()
    try:
        for entry in os.listdir(folder or "."):
            match = wanted.fullmatch(entry)
            if match and name % int(match[1]) == entry:
                numbers.add(int(match[1]))
    except OSError as error:
        raise InputError(f"{text}: {(error.strerror or str(error)).lower()}") from error
    return numbers
