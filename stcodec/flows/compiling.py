"""Loops are compiled once for this machine, however many processes want them."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from stcodec.codec import kernels
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


@functools.cache
def compile_meanwhile(device: torch.device) -> bool:
    """Compile the decoder's loops, where they can be kept and have not been yet, in a process of
    their own beside what goes on; whether that was begun. Until it is done tensors do the same."""
    folder = kernels.cache_folder() if device.type == "cpu" else None
    if folder is None or kernels.cached():
        return False

    def compile_alone() -> None:
        with _alone(folder):
            if not kernels.cached():
                from stcodec.common.compiled import run_apart

                run_apart("from stcodec.codec.kernels import warm_up; warm_up()")

    # The thread waits for the process, and nobody for the thread.
    threading.Thread(target=compile_alone, daemon=True).start()
    return True


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
