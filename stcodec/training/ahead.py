"""Batches that other processes draw ahead of time, each on one core: a device trains faster than
one core draws.

Pictures are decoded once, into a file that all of them map. Batches go through files, too, which
are deleted as they are read.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from stcodec.errors import StcodecError
from stcodec.training.batch import Batch
from stcodec.training.data import Data, DataSettings
from stcodec.training.pack import Planes8, read

_MOST = 3  # batches that lie ready, for each process
_POLL = 0.01  # seconds
_PICTURES, _CLIP, _PHOTO = "pictures.safetensors", "clip", "photo"


class Ahead:
    """A source of batches like `data.Data`, to be asked for one after the other, by numbers without
    gaps."""

    def __init__(
        self, packed: Path, settings: DataSettings, device: torch.device, workers: int
    ) -> None:
        self._packed, self._settings = packed, settings
        self.device, self._workers = device, workers
        self._folder = tempfile.TemporaryDirectory(prefix="stcodec-training-")
        self._processes: list[Any] = []
        self._reader = ThreadPoolExecutor(1)
        self._next: Future[dict[str, Any]] | None = None

    def content(self) -> str:
        """What there is, in words."""
        return f"{self._workers} processes draw batches"

    def start(self, first: int) -> None:
        """Let the processes begin, with batch number `first`."""
        spawn, folder = multiprocessing.get_context("spawn"), Path(self._folder.name)
        for worker in range(self._workers):
            arguments = self._settings, folder, first + worker, self._workers
            process = spawn.Process(target=_draw, args=arguments, daemon=True)
            process.start()
            self._processes.append(process)
        # While they start.
        _keep(folder, *read(self._packed))
        self._next = self._reader.submit(self._read, first)

    def batch(self, number: int) -> Batch:
        """Batch `number`, without motion, on the device; StcodecError where a process has ended."""
        if self._next is None:
            self.start(number)
        assert self._next is not None
        parts = self._next.result()
        self._next = self._reader.submit(self._read, number + 1)
        y, u, v = (plane.to(self.device).float() / 255 for plane in parts["planes"])
        quality = parts["quality"].to(self.device)
        return Batch(y, u, v, quality, tuple(parts["trees"]), {}, parts["keys_only"])

    def _read(self, number: int) -> dict[str, Any]:
        path = _path(Path(self._folder.name), number)
        while not path.exists():
            if any(process.exitcode is not None for process in self._processes):
                raise StcodecError("a process that draws batches has ended")
            time.sleep(_POLL)
        parts: dict[str, Any] = torch.load(path, weights_only=True)
        path.unlink()
        return parts

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()
        self._reader.shutdown(wait=False, cancel_futures=True)
        self._folder.cleanup()


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number}.pt"


def _keep(folder: Path, clips: Sequence[Planes8], photos: Sequence[Planes8]) -> None:
    """Write the planes of all pictures to a file."""
    named = {
        f"{kind} {number} {plane}": planes[plane]
        for kind, all_planes in ((_CLIP, clips), (_PHOTO, photos))
        for number, planes in enumerate(all_planes)
        for plane in range(3)
    }
    save_file(named, folder / "partial")
    (folder / "partial").replace(folder / _PICTURES)


def _kept(folder: Path) -> tuple[list[Planes8], list[Planes8]]:
    """What `_keep` has written, or will have."""
    while not (folder / _PICTURES).exists():
        _stop_if_alone(folder)
        time.sleep(_POLL)
    named = load_file(folder / _PICTURES)

    def of(kind: str) -> list[Planes8]:
        count = sum(name.startswith(kind) for name in named) // 3
        y, u, v = ([named[f"{kind} {n} {p}"] for n in range(count)] for p in range(3))
        return list(zip(y, u, v, strict=True))

    return of(_CLIP), of(_PHOTO)


def _stop_if_alone(folder: Path) -> None:
    """End this process where the one that asked for batches has been killed."""
    if os.getppid() == 1 or not folder.exists():
        sys.exit()


def _draw(settings: DataSettings, folder: Path, first: int, step: int) -> None:
    """Draw every `step`-th batch into `folder`, `first` first."""
    torch.set_num_threads(1)
    data = Data(*_kept(folder), settings, torch.device("cpu"))
    number = first
    while True:
        _stop_if_alone(folder)
        if _path(folder, number - _MOST * step).exists():
            time.sleep(_POLL)
            continue
        batch = data.batch(number)
        # Planes hold whole numbers over 255.
        planes = [(p * 255).round_().to(torch.uint8) for p in (batch.y, batch.u, batch.v)]
        parts = {
            "planes": planes,
            "quality": batch.quality,
            "trees": list(batch.trees),
            "keys_only": batch.keys_only,
        }
        partial = folder / f"{number}.partial"
        torch.save(parts, partial)
        partial.replace(_path(folder, number))
        number += step
