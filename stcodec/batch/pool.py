"""Worker processes of this machine, and the jobs that they share."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

from stcodec.batch.state import from_json, to_json
from stcodec.batch.worker import ENDS, Record
from stcodec.common.compiled import apart
from stcodec.common.interrupts import check_interrupt

_SECONDS_TO_END = 15


class Pool(Protocol):
    """Does jobs, several at a time."""

    def run(self, jobs: Sequence[Record]) -> Iterator[tuple[int, Record]]:
        """(number of the job, record) as they come: {"started": true}, then those of
        `worker.execute`."""

    def close(self) -> None:
        """End all that is at work, and wait for it."""


class LocalPool:
    """`count` processes; one that dies takes its job with it and is replaced for the next."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._lock = threading.Lock()
        self._closing = False

    def run(self, jobs: Sequence[Record]) -> Iterator[tuple[int, Record]]:
        """See `Pool`."""
        waiting: queue.SimpleQueue[tuple[int, Record]] = queue.SimpleQueue()
        records: queue.SimpleQueue[tuple[int, Record]] = queue.SimpleQueue()
        for pair in enumerate(jobs):
            waiting.put(pair)
        for slot in range(self._count):
            threading.Thread(target=self._serve, args=(slot, waiting, records), daemon=True).start()
        left = len(jobs)
        while left:
            check_interrupt()
            try:
                # A wait without an end cannot be interrupted everywhere.
                number, record = records.get(timeout=1)
            except queue.Empty:
                continue
            left -= bool(ENDS & set(record))
            yield number, record

    def close(self) -> None:
        """See `Pool`."""
        with self._lock:
            self._closing = True
            processes = list(self._processes.values())
        for process in processes:
            # One that is idle ends by itself when its input does; one that is at work stops.
            with contextlib.suppress(OSError, ValueError):
                assert process.stdin is not None
                process.stdin.close()
        for process in processes:
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _serve(
        self,
        slot: int,
        waiting: queue.SimpleQueue[tuple[int, Record]],
        records: queue.SimpleQueue[tuple[int, Record]],
    ) -> None:
        while True:
            try:
                number, job = waiting.get_nowait()
            except queue.Empty:
                return
            records.put((number, {"started": True}))
            try:
                process = self._process(slot)
                if process is None:
                    return
                assert process.stdin is not None and process.stdout is not None
                with contextlib.suppress(BrokenPipeError):  # a dead process is seen below
                    process.stdin.write(to_json({**job, "slot": slot}) + "\n")
                    process.stdin.flush()
                ended = False
                for line in process.stdout:
                    record = from_json(line)
                    records.put((number, record))
                    if ended := "progress" not in record:
                        break
                if not ended:
                    records.put(
                        (
                            number,
                            {
                                "failed": f"{job['source']}: {_death(process.wait())}",
                                "exit_code": 1,
                            },
                        )
                    )
            except (OSError, ValueError) as error:
                records.put((number, {"failed": f"{job['source']}: {error}", "exit_code": 1}))

    def _process(self, slot: int) -> subprocess.Popen[str] | None:
        """The live process of a slot; None when all are to end."""
        with self._lock:
            if self._closing:
                return None
            process = self._processes.get(slot)
            if process is None or process.poll() is not None:
                command = apart("from stcodec.batch.worker import main; main()")
                pipe = subprocess.PIPE
                # This Python, and a module of this package.
                process = subprocess.Popen(  # noqa: S603
                    command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8"
                )
                self._processes[slot] = process
            return process


def _death(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"its process was ended by {name}" + (
            " (out of memory?)" if name == "SIGKILL" else ""
        )
    return f"its process ended with exit code {code}"
