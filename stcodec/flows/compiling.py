"""The encoder's loops, compiled once for this machine, however many processes want them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from stcodec.options import EncodeOptions

_LOCK = "stcodec-compiling.lock"


def compile_once(options: EncodeOptions, tell: Callable[[str], None] | None = None) -> None:
    """See to it that encoding with `options` finds its loops compiled, where what is compiled can
    be kept.

    They are compiled in a process of their own, and by one process at a time: others wait for it.
    `tell` is called with a line for a user who has to wait. Nothing is raised: what could not be
    compiled here the first chunk compiles.
    """
    if options.motion == "none":
        return
    from stcodec.encoder import choice

    if choice.compiled():
        return
    if tell is not None:
        tell("compiling the motion search for this machine: half a minute or less, once")
    folder = choice.cache_folder()
    with contextlib.nullcontext() if folder is None else _alone(folder):
        # Another process may have done it meanwhile.
        if not choice.compiled():
            choice.compile_apart()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Within the block no other process is in such a block of the same folder, on systems that know
    locks of files, and where the folder can be written."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(folder / _LOCK, "wb"))
            fcntl.flock(lock, fcntl.LOCK_EX)  # ends with the file, also when the process is killed
        yield
