"""Importing torch and the loops' compiler, which is most of the time that a short command takes."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from stcodec.errors import StcodecError

_TRIED = "2.13."
"""Versions of torch of which a module has been left out."""


class _Unused(ModuleType):
    """A module of which any name is a function that does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments, **more: None


@contextlib.contextmanager
def large_imports() -> Iterator[None]:
    """Within the block no garbage is collected: what modules make stays, and looking at it again
    and again takes a tenth of the time that torch takes to import. Modules that are not used are
    left out; after the block they can be imported. StcodecError where the current folder has been
    removed: libraries end the process then."""
    try:
        os.getcwd()
    except OSError as error:
        raise StcodecError("the current folder is no longer there: change to another") from error
    was_on = gc.isenabled()
    gc.disable()
    left_out = {name: module for name, module in _unused().items() if name not in sys.modules}
    sys.modules.update(left_out)  # type: ignore[arg-type]
    try:
        with contextlib.suppress(ImportError):
            # It looks for scipy, and would do so at the first call of a loop.
            importlib.import_module("numba.np.arraymath")
        yield
    finally:
        for name, module in left_out.items():
            if sys.modules.get(name, module) is module:
                sys.modules.pop(name, None)
        gc.freeze()
        if was_on:
            gc.enable()


def _unused() -> dict[str, ModuleType | None]:
    """Modules to leave out: BLAS for loops, and shapes of results without the results."""
    found: dict[str, ModuleType | None] = {"scipy": None}
    if _torch_version().startswith(_TRIED):
        found["torch._meta_registrations"] = _Unused("torch._meta_registrations")
    return found


def _torch_version() -> str:
    """The version of torch that would be imported, "" where that is not known."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        spec = find_spec("torch")
        if spec is not None and spec.origin is not None:
            text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
            return text.split("__version__ = '")[-1]
    return ""
