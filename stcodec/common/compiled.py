"""Loops compiled by numba, once per machine."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile at the first call, which takes seconds; the result is kept beside the function's file
    or in the user's cache, if either can be written. Products and sums may be fused."""
    fast = {"contract"}
    try:
        return njit(nogil=True, fastmath=fast, cache=True)(function)
    except RuntimeError:
        return njit(nogil=True, fastmath=fast)(function)


def inner(function: Function) -> Function:
    """Compile a function that compiled ones alone call; only what they come to is kept."""
    return njit(nogil=True, fastmath={"contract"})(function)


def inlined(function: Function) -> Function:
    """Have compiled callers take the function in: a call costs as much as a row of samples."""
    return njit(inline="always")(function)


def cache_folder(function: Any) -> Path | None:
    """Where what the compiler makes of a function of `compiled` is kept; None where it cannot
    be."""
    folder = function.stats.cache_path
    return None if folder is None else Path(folder)


def is_cached(function: Any) -> bool:
    """Whether what the compiler made of a function of `compiled`, for this version of Python, lies
    on this machine. It may be that of another version of the function's file: then the first call
    compiles after all."""
    folder, python = cache_folder(function), function.py_func
    name = f"{python.__module__.rpartition('.')[2]}.{python.__name__}"
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    return folder is not None and any(folder.glob(f"{name}-*.{version}*.nbi"))


def run_apart(program: str) -> None:
    """Run a Python program in a process of its own: what a compiler takes of memory stays there."""
    with contextlib.suppress(OSError):
        subprocess.run(
            [sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
