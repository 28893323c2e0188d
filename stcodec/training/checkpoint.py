"""A training run on disk: `checkpoint.pt` (everything to go on from), `ema.safetensors` (averaged
weights), `log.jsonl`.

Files appear whole or not at all. Averaged weights are written in parts (`ema-1.safetensors`, ...)
where one file would be large, so that they pass through narrow channels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stcodec.errors import InputError

_LARGEST_PART = 15 << 20


def save(folder: Path, state: dict[str, Any], average: dict[str, Tensor]) -> None:
    """Write a checkpoint and the averaged weights into `folder`."""
    partial = folder / "checkpoint.partial"
    torch.save({**state, "average": average}, partial)
    partial.replace(folder / "checkpoint.pt")
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in average.items():
        value = value.detach().cpu().contiguous().clone()
        if size and size + value.nbytes > _LARGEST_PART:
            parts.append({})
            size = 0
        parts[-1][name] = value
        size += value.nbytes
    for number, part in enumerate(parts):
        partial = folder / "ema.partial"
        save_file(
            part,
            str(partial),
            metadata={"config": json.dumps(state["config"]), "step": str(state["step"])},
        )
        partial.replace(folder / (f"ema-{number}.safetensors" if number else "ema.safetensors"))


def load(folder: Path) -> dict[str, Any] | None:
    """The checkpoint in `folder`, None if there is none yet; InputError if it cannot be read."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, ValueError, EOFError, OSError, TypeError) as error:
        raise InputError(f"{path}: is no checkpoint ({error})") from error
    return state


def average_of(folder: Path) -> dict[str, Tensor]:
    """The averaged weights in `folder`, from all parts; InputError if there are none."""
    parts = sorted(folder.glob("ema*.safetensors"))
    if not parts:
        raise InputError(f"{folder}: holds no averaged weights (ema.safetensors)")
    tensors: dict[str, Tensor] = {}
    for part in parts:
        tensors.update(load_file(str(part)))
    return tensors


class Log:
    """One JSON object per line, added to `log.jsonl`. Lines of steps after `step`, which are about
    to be done again, are dropped."""

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / "log.jsonl"
        if self._path.exists():
            kept = [row for row in read_log(folder) if row.get("step", 0) <= step]
            partial = folder / "log.partial"
            partial.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
            partial.replace(self._path)

    def write(self, **values: object) -> None:
        """Add a line."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(values) + "\n")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All whole lines of the log; InputError if there is none."""
    path = folder / "log.jsonl"
    if not path.exists():
        raise InputError(f"{path}: there is no log")
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
