"""Loops compiled by numba, once per machine."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from stcodec.common import kept

try:
    import numba
    from numba import njit
except ImportError:  # Then they run as they are, slowly.
    njit = None
else:
    # NUMBA_DISABLE_JIT is meant for a user's own loops: as Python, these would take hours, and
    # their integers would not wrap. What they are made of asks for it whenever it is compiled.
    numba.config.DISABLE_JIT = 0  # type: ignore[attr-defined]

Function = TypeVar("Function", bound=Callable[..., object])
_FAST = {"contract"}
_ROOM = 8 << 20  # bytes; all that is kept has a third of that


@functools.cache
def _digest() -> str:
    """Of the text of all loops: numba looks at the file of the one that is called alone."""
    own = Path(__file__)
    names = "*_kernels.py", "*_classes.py"
    files = sorted(file for name in names for file in own.parents[1].rglob(name))
    digest = hashlib.sha256()
    for file in (own, *files):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def compiled(function: Function) -> Function:
    """Compile at the first call, which takes seconds; the result is kept in `cache_folder`, and is
    good as long as no loop's text changes. Products and sums may be fused."""
    if njit is None:
        return function
    try:
        made = njit(nogil=True, fastmath=_FAST, cache=True)(function)
    except RuntimeError:
        return njit(nogil=True, fastmath=_FAST)(function)
    kept.keep(made, _digest())
    return made


def inner(function: Function) -> Function:
    """Compile a function that compiled ones alone call; only what they come to is kept.

    It makes no arrays, so none are counted: counting costs more than most of these functions do.
    """
    jit: Any = njit
    if jit is None:
        return function
    made: Any
    try:
        made = jit(nogil=True, fastmath=_FAST, _nrt=False)(function)
    except (KeyError, TypeError):
        made = jit(nogil=True, fastmath=_FAST)(function)
    _whatever_the_constants(made)
    result: Function = made
    return result


def _whatever_the_constants(made: Any) -> None:
    """Have numba compile a function once, not again for every constant that it is called with,
    which LLVM knows anyway where it takes the function in."""
    template = getattr(made, "get_call_template", None)
    if template is None:  # no public name: another numba may have none
        return
    unliteral = numba.types.unliteral

    def once(args: Any, kws: Any) -> Any:
        return template([unliteral(a) for a in args], {k: unliteral(v) for k, v in kws.items()})

    made.get_call_template = once


def inlined(function: Function) -> Function:
    """Have compiled callers take the function in: a call costs as much as a row of samples."""
    return function if njit is None else njit(inline="always")(function)


def cache_folder(function: Any) -> Path | None:
    """Where what the compiler makes of a function of `compiled` is kept: the folder that
    NUMBA_CACHE_DIR names, that of the function's file, or the user's cache, whichever can be
    written; None where it cannot be kept, or `room` is missing."""
    folder = function.stats.cache_path
    return Path(folder) if folder is not None and room(Path(folder)) else None


def room(folder: Path) -> bool:
    """Whether a folder, which is made if it is missing, takes some MB more."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_ROOM))
        return True
    except OSError:
        return False


def is_cached(function: Any) -> bool:
    """Whether what the compiler made of a function of `compiled` lies on this machine, whole, for
    its CPU, its version of Python and of the loops."""
    return kept.is_kept(function)


def apart(program: str) -> list[str]:
    """The command of a Python program of this package, which imports nothing from the folder that a
    user is in."""
    package = str(Path(__file__).parents[2])
    paths = f"import sys; sys.path[:] = [*filter(None, sys.path), {package!r}]; "
    return [sys.executable, "-c", paths + program]


def run_apart(program: str) -> None:
    """Run a Python program in a process of its own: what a compiler takes of memory stays there."""
    with contextlib.suppress(OSError):
        # This Python, and a program of this package.
        subprocess.run(  # noqa: S603
            apart(program),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
