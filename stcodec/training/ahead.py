"""Batches that other processes draw ahead of time, each on one core: a device trains faster than
one core draws.

Batches go through files, which need no shared memory and are deleted as they are read.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from stcodec.errors import StcodecError
from stcodec.training.batch import Batch
from stcodec.training.data import Data, DataSettings
from stcodec.training.pack import read

_MOST = 3  # batches that lie ready, for each process
_POLL = 0.01  # seconds


class Ahead:
    """A source of batches like `data.Data`, to be asked for one after the other, by numbers without
    gaps."""

    def __init__(
        self, packed: Path, settings: DataSettings, device: torch.device, workers: int
    ) -> None:
        self._arguments, self.device, self._workers = (packed, settings), device, workers
        self._folder = tempfile.TemporaryDirectory(prefix="stcodec-training-")
        self._processes: list[Any] = []
        self._reader = ThreadPoolExecutor(1)
        self._next: Future[dict[str, Any]] | None = None

    def content(self) -> str:
        """What there is, in words."""
        return f"{self._workers} processes draw batches"

    def start(self, first: int) -> None:
        """Let the processes begin, with batch number `first`."""
        spawn = multiprocessing.get_context("spawn")
        for worker in range(self._workers):
            which = Path(self._folder.name), first + worker, self._workers
            process = spawn.Process(target=_draw, args=(*self._arguments, *which), daemon=True)
            process.start()
            self._processes.append(process)
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


def _draw(packed: Path, settings: DataSettings, folder: Path, first: int, step: int) -> None:
    """Draw every `step`-th batch into `folder`, `first` first."""
    torch.set_num_threads(1)
    data = Data(*read(packed), settings, torch.device("cpu"))
    number = first
    while True:
        # The one that asked may have been killed.
        if os.getppid() == 1 or not folder.exists():
            return
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
