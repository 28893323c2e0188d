"""What numba has compiled, kept on the disk so that damage is noticed: what is not read as it was
written is compiled again, and a disk that takes nothing is no error."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from typing import Any

_DIGEST = 32


def _of_numba() -> tuple[Any, Any]:
    """The class of the files of a function, and what gives compiled code its memory, which are not
    among numba's public parts; None where there are none."""
    try:
        from numba.core.caching import IndexDataCacheFile
        from numba.core.runtime.nrt import rtsys
    except ImportError:
        return None, None
    return IndexDataCacheFile, rtsys


_parts = _of_numba()
_Files: Any = _parts[0]
_memory: Any = _parts[1]


def keep(function: Any, stamp: str) -> None:
    """Have what is compiled of a function with numba's cache kept so, as long as `stamp` holds."""
    if _Files is None:
        return
    with contextlib.suppress(AttributeError):
        cache = function._cache
        before = cache._cache_file
        base = before._index_name.removesuffix(".nbi")
        cache._cache_file = _Checked(before._cache_path, base, stamp)
        cache.load_overload = _loading(
            cache._load_overload, cache._guard_against_spurious_io_errors
        )


def _loading(load: Callable[..., Any], guard: Callable[[], Any]) -> Callable[..., Any]:
    """How a function's code is loaded, without what numba does first: it imports and registers all
    that its compiler knows. Only compiling asks for that, and does it, too."""

    def loaded(signature: Any, target: Any) -> Any:
        _memory.initialize(target)
        with guard():
            return load(signature, target)

    return loaded


def is_kept(function: Any) -> bool:
    """Whether what was compiled of a function lies on the disk, whole and for this CPU."""
    try:
        machine = function.targetctx.codegen().magic_tuple()
        files = function._cache._cache_file
        names = [name for key, name in files._load_index().items() if key[1] == machine]
        return bool(names) and all(map(files.is_whole, names))
    except Exception:
        return False


if _Files is not None:

    class _Checked(_Files):  # type: ignore[misc, unused-ignore]
        """numba's files of one function. Each file of code ends with its SHA-256: code with a
        changed byte would run, and give other pictures."""

        def load(self, key: Any) -> Any:
            """What was kept under a key; None where that is damaged, or there is none."""
            try:
                return super().load(key)
            except Exception:  # whatever the bytes of a damaged file make of it
                with contextlib.suppress(OSError):
                    os.unlink(self._index_path)
                return None

        def save(self, key: Any, data: Any) -> None:
            """Keep it, if the disk takes it."""
            try:
                try:
                    super().save(key, data)
                except OSError:
                    raise
                except Exception:  # a damaged index
                    os.unlink(self._index_path)
                    super().save(key, data)
            except OSError:
                # What the index may name already is not there.
                with contextlib.suppress(OSError):
                    os.unlink(self._index_path)

        def is_whole(self, name: str) -> bool:
            """Whether a file of code is as it was written."""
            try:
                with open(self._data_path(name), "rb") as file:
                    data = file.read()
            except OSError:
                return False
            return hashlib.sha256(data[:-_DIGEST]).digest() == data[-_DIGEST:]

        def _load_data(self, name: str) -> Any:
            if not self.is_whole(name):
                raise OSError("damaged")  # which means that there is none
            return super()._load_data(name)  # what stands behind an object is passed over

        def _save_data(self, name: str, data: Any) -> None:
            code = self._dump(data)
            with self._open_for_write(self._data_path(name)) as file:
                file.write(code)
                file.write(hashlib.sha256(code).digest())
