"""Loops are compiled once for this machine, however many processes want them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from stcodec.codec import kernels
from stcodec.options import EncodeOptions

_LOCK = "stcodec-compiling.lock"


Tell = Callable[[str], None]


def compile_once(options: EncodeOptions, tell: Tell | None = None) -> None:
    """See to it that encoding with `options` finds its loops compiled, where what is compiled can
    be kept.

    They are compiled in a process of their own, and by one process at a time: others wait for it.
    `tell` is called with a line for a user who has to wait. Nothing is raised: what could not be
    compiled here the first chunk compiles.
    """
    if options.motion == "none":
        compile_decoder(tell)
        return
    from stcodec.encoder import choice

    line = "compiling the motion search for this machine: half a minute or so, once"
    _compile(choice.compiled, choice.cache_folder, choice.compile_apart, line, tell)


def compile_decoder(tell: Tell | None = None) -> None:
    """As `compile_once`, for decoding."""
    line = "compiling the decoder's loops for this machine: a quarter of a minute or so, once"
    _compile(kernels.cached, kernels.cache_folder, kernels.compile_apart, line, tell)


def _compile(
    ready: Callable[[], bool],
    folder: Callable[[], Path | None],
    compile_apart: Callable[[], None],
    line: str,
    tell: Tell | None,
) -> None:
    if ready():
        return
    if tell is not None:
        tell(line)
    kept = folder()
    with contextlib.nullcontext() if kept is None else _alone(kept):
        # Another process may have done it meanwhile.
        if not ready():
            compile_apart()


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
