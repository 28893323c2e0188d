"""Files of results: JSON that says on which machine and by which command they were measured."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import stcodec
from stcodec.common.files import check_input, temporary_output
from stcodec.errors import InputError, StcodecError
from stcodec.terminal.report import versioned


def machine() -> dict[str, Any]:
    """What the numbers were measured on, and the command."""
    import av
    import torch

    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "av": av.__version__,
        "libraries": {
            k: ".".join(map(str, v)) for k, v in av.library_versions.items() if k == "libavcodec"
        },
        "stcodec": stcodec.__version__,
        "command": command(),
    }


def _cpu() -> str:
    """The name of the CPU; where the system does not say, that of its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def command() -> str:
    """The command, with absolute paths cut down to names: they say more of a machine than of a
    measurement."""
    return " ".join(
        ["stcodec", *(Path(word).name if os.path.isabs(word) else word for word in sys.argv[1:])]
    )


def write(path: Path, event: str, content: dict[str, Any]) -> None:
    """Write one object of JSON: `content`, and what it was measured on. `path` appears complete;
    StcodecError where it cannot be written."""
    whole = versioned(event, **rounded({"machine": machine(), **content}))
    write_text(path, json.dumps(whole) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file that appears complete; StcodecError where it cannot be written."""
    try:
        with temporary_output(path) as temporary:
            temporary.write_text(text)
    except OSError as error:
        raise StcodecError(f"{path}: cannot be written ({error.strerror})") from error


def read(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The objects of result files; InputError where one is none."""
    contents = []
    for path in paths:
        check_input(path)
        try:
            contents.append(dict(json.loads(path.read_text())))
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}: not a result of a benchmark ({error})") from error
    return contents


def rounded(value: Any) -> Any:
    """Numbers to six digits after the point: more would only make files larger."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(v) for v in value]
    return value
