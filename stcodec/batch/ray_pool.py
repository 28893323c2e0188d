"""The machines of a Ray cluster, which all see the same files under the same names, as a pool for
jobs."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from stcodec.batch.settings import CORES_PER_JOB
from stcodec.batch.worker import ENDS, Record, execute
from stcodec.errors import StcodecError, UsageError

_TRIES_AFTER_A_LOST_NODE = 1


class RayPool:
    """Jobs as tasks of the cluster at `address`: each asks for CPUs, with a CUDA device also for a
    GPU, and runs where they are.

    count: tasks at a time, 0: as many as the cluster has room for. threads: CPUs of a task, 0: 4,
    or what the largest node has. UsageError where Ray is not installed or the cluster lacks what is
    asked for, StcodecError where it cannot be reached.
    """

    def __init__(self, address: str, device: str, count: int, threads: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise UsageError("--ray needs Ray: pip install 'stcodec[ray]'") from error
        self._ray: Any = ray
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault(
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
        )  # tasks without a GPU see what is there
        # Ray tells of dead workers on stdout, whatever it is asked: that is for others.
        self._stdout = contextlib.ExitStack()
        self._stdout.enter_context(contextlib.redirect_stdout(sys.stderr))
        handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            ray.init(
                address, logging_level=logging.ERROR, log_to_driver=False, configure_logging=True
            )
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            self._stdout.close()
            raise StcodecError(
                f"{address}: no Ray cluster can be reached there ({_first_line(error)})"
            ) from error
        for number, handler in handlers.items():
            signal.signal(number, handler)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._gpus = 1 if device.startswith("cuda") else 0
        fit = [int(n.get("CPU", 0)) for n in nodes if n.get("GPU", 0) >= self._gpus]
        largest = max(fit, default=0)
        if largest < max(1, threads):
            ray.shutdown()
            self._stdout.close()
            what = f"{max(1, threads)} CPUs" + (" and a GPU" if self._gpus else "")
            raise UsageError(f"{address}: no node of the cluster has {what}")
        self._threads = threads or min(CORES_PER_JOB, largest)
        self._count = count
        self._running: dict[Any, int] = {}

    def run(self, jobs: Sequence[Record]) -> Iterator[tuple[int, Record]]:
        """See `pool.Pool`; "started" also tells the node."""
        ray = self._ray
        task = ray.remote(
            num_cpus=self._threads,
            num_gpus=self._gpus,
            max_retries=0,  # a stream that Ray retries goes on by count, and its end is lost
            num_returns="streaming",
        )(_run_task)
        waiting = list(enumerate(jobs))[::-1]
        most = self._count or len(jobs)
        tries = [_TRIES_AFTER_A_LOST_NODE] * len(jobs)
        lost = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError)
        while waiting or self._running:
            while waiting and len(self._running) < most:
                number, job = waiting.pop()
                # A task sees the GPU that it was given, and no other, as the first.
                options = {**job["options"], "device": "cuda"} if self._gpus else job["options"]
                sent = {
                    **job,
                    "options": options,
                    "threads": self._threads,
                    "slot": 0,
                    "folder": os.getcwd(),
                }
                self._running[task.remote(sent)] = number
            ready, _ = ray.wait(list(self._running), num_returns=1, timeout=1)
            for stream in ready:
                number = self._running[stream]
                try:
                    record = ray.get(next(stream))
                except StopIteration:
                    record = {
                        "failed": f"{jobs[number]['source']}: its task ended without a result",
                        "exit_code": 1,
                    }
                except lost as error:
                    record = {
                        "failed": f"{jobs[number]['source']}: {_first_line(error)}",
                        "exit_code": 1,
                    }
                    if tries[number]:
                        tries[number] -= 1
                        del self._running[stream]
                        with contextlib.suppress(
                            OSError
                        ):  # it may have been complete, and nobody was told
                            os.unlink(jobs[number]["target"])
                        waiting.append((number, jobs[number]))
                        continue
                except ray.exceptions.RayError as error:
                    record = {
                        "failed": f"{jobs[number]['source']}: {_first_line(error)}",
                        "exit_code": 1,
                    }
                if ENDS & set(record):
                    del self._running[stream]
                yield number, record

    def close(self) -> None:
        """See `pool.Pool`."""
        for stream in self._running:
            self._ray.cancel(stream)
        self._ray.shutdown()
        self._stdout.close()


def _run_task(job: Record) -> Iterator[Record]:
    """What runs on a node."""
    import ray

    os.chdir(job["folder"])
    yield {"started": True, "node": ray.get_runtime_context().get_node_id()}
    yield from execute(job)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
