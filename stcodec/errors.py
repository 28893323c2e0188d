"""Every error that stcodec raises on purpose, and the exit code of each.

StcodecError                 1
|-- UsageError               2   an option or a combination of options makes no sense
|-- InputError               3   an input cannot be read
|   |-- DamagedFileError     3   a .stp file whose bytes are not what was written
|   `-- UnsupportedFileError 3   another format version, an unknown critical section
|-- ModelError               1   a model is missing or is not the one a file names
|-- OutputExistsError        4
`-- TargetError              5   a size or quality that cannot be met
    `-- LargerError          5   the output would be larger than the input
"""

from __future__ import annotations


class StcodecError(Exception):
    """Base class; `str(error)` is one line fit for a user, `exit_code` what the command returns."""

    exit_code = 1


class UsageError(StcodecError):
    """An option or a combination of options makes no sense."""

    exit_code = 2


class InputError(StcodecError):
    """An input is missing, unreadable or holds no video."""

    exit_code = 3


class DamagedFileError(InputError):
    """The bytes of a `.stp` file are not what was written: cut off, flipped, or inconsistent."""


class UnsupportedFileError(InputError):
    """The file is intact, but needs another stcodec (format version, unknown critical section)."""


class ModelError(StcodecError):
    """A model is missing, malformed, or has another hash than the file that names it."""


class OutputExistsError(StcodecError):
    """The output exists and the overwrite policy forbids replacing it."""

    exit_code = 4


class TargetError(StcodecError):
    """A requested size, bitrate or quality cannot be met."""

    exit_code = 5


class LargerError(TargetError):
    """The output would be larger than the input, where that is not wanted."""
