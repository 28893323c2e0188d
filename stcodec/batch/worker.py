"""A process that encodes or decodes one file after another: jobs come as lines of JSON on stdin,
records go to stdout."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from stcodec.batch.state import digest, from_json, to_json
from stcodec.common.interrupts import interrupt_came
from stcodec.errors import DamagedFileError, LargerError, StcodecError
from stcodec.terminal.failures import describe

_SECONDS_BETWEEN_RECORDS = 0.5
_SECONDS_TO_END = 10
Record = dict[str, Any]
"""A job, or news of one."""
ENDS = frozenset(["done", "larger", "failed"])
"""What one of the last records of a job has."""


def execute(job: Record) -> Iterator[Record]:
    """Do a job: {source, target, decode, options, threads, slot}. Yields {"progress": [frames,
    total]} and at the end {"done": {...}}, {"larger": message} or {"failed": message, "exit_code":
    code}, with {"kept": True} where the target holds what is left of a damaged file; raises nothing
    but what interrupts."""
    last = time.monotonic()
    try:
        for step in _steps(job):
            if isinstance(step, dict):
                yield {"done": step}
            elif time.monotonic() - last >= _SECONDS_BETWEEN_RECORDS:
                last = time.monotonic()
                yield {"progress": [step.frames, step.total]}
    except LargerError as error:
        yield {"larger": str(error)}
    except StcodecError as error:
        kept = isinstance(error, DamagedFileError) and job["decode"]
        found = {"kept": True} if kept and os.path.exists(job["target"]) else {}
        yield {"failed": str(error), "exit_code": error.exit_code, **found}
    except Exception as error:
        # One file must not end the others, whatever it is that went wrong.
        message, code = describe(error)
        yield {"failed": f"{job['source']}: {message}", "exit_code": code}


def _steps(job: Record) -> Iterator[Any]:
    from stcodec.common.files import Overwrite
    from stcodec.common.values import Progress
    from stcodec.flows.decode import decode_steps
    from stcodec.flows.encode import EncodeResult
    from stcodec.flows.targets import proved, search_steps
    from stcodec.options import DecodeOptions, EncodeOptions

    source, target = job["source"], job["target"]
    options = {**job["options"], "threads": job["threads"], "device": _device(job)}
    # Its folder is this job's alone: what is there was left by a process that is ending.
    options["overwrite"] = Overwrite.YES
    steps: Iterator[Any]
    removes = False
    if job["decode"]:
        steps = decode_steps(source, target, DecodeOptions(**options))
    else:
        # Its name comes first; then the batch removes the source.
        removes = options.pop("remove_source", False)
        encoding = EncodeOptions(**options)
        steps = search_steps(source, target, encoding)
    for step in steps:
        if isinstance(step, Progress):
            yield step
        elif dataclasses.is_dataclass(step) and hasattr(step, "notes"):
            if lost := getattr(step, "lost", ()):
                raise DamagedFileError(f"{source}: {lost[0]}; what is left is in {target}")
            if isinstance(step, EncodeResult) and removes:
                step = proved(source, target, encoding, step)
            result = dataclasses.asdict(step)
            yield {**result, "output_bytes": os.path.getsize(target), "sha256": digest(target)}


def _device(job: Record) -> str:
    """The device of a job: jobs that are at work at the same time are spread over the GPUs."""
    from stcodec.options import AUTO_DEVICE

    name = str(job["options"].get("device", AUTO_DEVICE))
    if name not in ("cuda", AUTO_DEVICE):
        return name
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{job['slot'] % count}" if count > 1 else name


def main() -> None:
    """Work until stdin ends. If it ends in the middle of a job, so does the job: whoever wanted it
    has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the batch hears it too, and ends its workers
    signal.signal(signal.SIGTERM, _interrupt)
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no record
    jobs: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_listen, args=(jobs, busy), daemon=True).start()
    try:
        while (line := jobs.get()) is not None:
            for record in execute(from_json(line)):
                if "progress" not in record:
                    busy.clear()
                channel.write(to_json(record) + "\n")
                channel.flush()
    except (KeyboardInterrupt, BrokenPipeError):
        # Its reader has gone: nothing may be written any more, not even by the end of the process.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), channel.fileno())
        sys.exit(130)


def _listen(jobs: queue.SimpleQueue[str | None], busy: threading.Event) -> None:
    for line in sys.stdin:
        busy.set()
        jobs.put(line)
    jobs.put(None)
    if busy.is_set():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_SECONDS_TO_END)
        os._exit(130)


def _interrupt(signum: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Nobody cares any more what else goes wrong.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    if interrupt_came():
        raise KeyboardInterrupt
