"""Whether a file is still what it was."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from stcodec.common.files import is_special, is_standard_stream
from stcodec.common.values import PathLike


class Signature(NamedTuple):
    """What tells that a file has been changed or replaced: its number in the file system, bytes,
    and time of the last change in ns."""

    inode: int
    size: int
    mtime_ns: int


def signature(source: PathLike) -> Signature | None:
    """That of a file; None where there is none."""
    with contextlib.suppress(OSError):
        found = os.stat(source)
        return Signature(found.st_ino, found.st_size, found.st_mtime_ns)
    return None


def written_since(source: PathLike, before: Signature | None) -> str | None:
    """What to say of a file into which something was written since it was `before`: what was read
    of it may be a part. None where it is the same, or another has taken its name."""
    after = None if is_standard_stream(source) or is_special(source) else signature(source)
    if before is None or after is None or after == before or after.inode != before.inode:
        return None
    return "was written to while it was read: what came last may be missing"
