"""Loops are compiled once for this machine, however many processes want them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from stcodec.codec import kernels
from stcodec.options import EncodeOptions

_LOCK = "stcodec-compiling.lock"


Tell = Callable[[str], None]
_EACH_RUN = (
    "in each run, since no folder takes what is compiled (NUMBA_CACHE_DIR may name one that does)"
)


class _Listener:
    """Who is told of a wait where nobody else is."""

    tell: Tell | None = None


def tell_who_waits(tell: Tell) -> None:
    """From now on, in this process, `tell` is called with a line for a user who has to wait for
    loops to be compiled."""
    _Listener.tell = tell


def compile_once(
    options: EncodeOptions, tell: Tell | None = None, before: Callable[[], None] | None = None
) -> None:
    """See to it that encoding with `options` finds its loops compiled.

    They are compiled in a process of their own, and by one process at a time: others wait for it;
    where the result cannot be kept, in this process. `tell`, or else the one of `tell_who_waits`,
    is called with a line for a user who has to wait; `before`, whose errors end it, comes first.
    Nothing else is raised: what could not be compiled here the first chunk compiles.
    """
    if options.motion == "none":
        compile_decoder(tell, before)
        return
    from stcodec.encoder import choice

    line = "compiling the motion search for this machine: half a minute to a minute"
    _compile(choice, choice.compiled, line, tell, before)


def compile_decoder(tell: Tell | None = None, before: Callable[[], None] | None = None) -> None:
    """As `compile_once`, for decoding."""
    line = "compiling the decoder's loops for this machine: up to half a minute"
    _compile(kernels, kernels.cached, line, tell, before)


def _compile(
    of: ModuleType,
    ready: Callable[[], bool],
    line: str,
    tell: Tell | None,
    before: Callable[[], None] | None,
) -> None:
    """of: the module with `cache_folder`, `compile_apart` and `warm_up`."""
    if of in _here or ready():
        return
    if before is not None:
        before()
    folder = of.cache_folder()
    tell = tell or _Listener.tell
    if tell is not None:
        tell(f"{line}, {'once' if folder is not None else _EACH_RUN}")
    if folder is None:
        _here.add(of)
        of.warm_up()
        return
    with _alone(folder):
        # Another process may have done it meanwhile.
        if not ready():
            of.compile_apart()
        if not ready():  # nor will it be: not once for every file
            _here.add(of)
            of.warm_up()


_here: set[ModuleType] = set()
"""Modules whose loops this process has compiled for itself alone."""


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
