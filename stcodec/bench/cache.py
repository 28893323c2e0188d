"""Results that are kept between runs, under a key that names all that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import stcodec
from stcodec.common.files import temporary_output
from stcodec.errors import StcodecError

PACKAGE = Path(stcodec.__file__).parent
CODEC_FOLDERS = ("common", "codec", "encoder")
"""The folders of the package that decide what a payload holds, and how long it takes to make."""


def default_folder() -> Path:
    """Where this platform keeps what can be made again: $XDG_CACHE_HOME and so on."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "stcodec" / "bench"


class ResultCache:
    """Values of JSON in a folder, a file each. Several processes may share it."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, key: object) -> dict[str, Any] | None:
        """What was kept under the key, whose `repr` names it; None where there is nothing."""
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            return dict(json.loads(path.read_text()))
        except (ValueError, TypeError):
            return None  # cut off by a full disk, say: it is made again

    def put(self, key: object, value: dict[str, Any]) -> None:
        """Keep a value; StcodecError where the folder cannot be written."""
        path = self._path(key)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary_output(path) as temporary:
                temporary.write_text(json.dumps(value))
        except OSError as error:
            raise StcodecError(f"{path}: cannot be written ({error.strerror})") from error

    def _path(self, key: object) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.json"


def file_digest(path: Path) -> str:
    """SHA-256 of a file of any length, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while part := stream.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def code_digest(folders: Iterable[str], files: Iterable[str]) -> str:
    """SHA-256 of sources of this package: all of some folders, and some files (bench/peers.py)."""
    paths = [p for folder in folders for p in (PACKAGE / folder).rglob("*.py")]
    paths += [PACKAGE / name for name in files]
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()} {file_digest(path)}\n".encode())
    return digest.hexdigest()
