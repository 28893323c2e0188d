"""Where the time goes: named stages that cost next to nothing while nobody collects.

The code that does the work wraps its parts,

    with stage("motion"):
        vectors = search(...)

and a benchmark asks for the sums:

    with collect() as times:
        encode(...)
    times.seconds["motion"]

Stages nest: a stage's time excludes that of the stages inside it, so the sum over all stages is at
most the wall clock of one thread. The names in use are `STAGES`. Stages of every thread count, so
with worker threads the sum may exceed the wall clock. Do not `yield` out of a generator inside a
stage: the caller's time would count.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

STAGES = (
    "input",  # pictures of the source
    "motion",  # the encoder's search
    "vectors",  # coding of motion vectors
    "prediction",  # motion compensation, transform
    "network",  # the floating-point networks, inverse transform
    "samples",  # palette patches
    "latents",  # quantisation, neighbours
    "scales",  # the integer networks and their inputs
    "filter",  # loop filters, and their choice
    "entropy",  # symbols <-> bytes
    "container",  # reading or writing the .stp file
    "output",  # pictures into a video file
)


class Times:
    """Seconds (or what else `clock` counts) and calls per stage."""

    def __init__(
        self,
        synchronize: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self._synchronize = synchronize
        self._clock = clock
        self._lock = threading.Lock()
        self._local = threading.local()

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Count what runs inside towards `name`, and not towards the stage around it."""
        stack: list[float] = self._local.__dict__.setdefault("inner", [])
        stack.append(0.0)
        start = self._now()
        try:
            yield
        finally:
            total = self._now() - start
            inner = stack.pop()
            if stack:
                stack[-1] += total
            with self._lock:
                self.seconds[name] = self.seconds.get(name, 0.0) + total - inner
                self.calls[name] = self.calls.get(name, 0) + 1

    def _now(self) -> float:
        if self._synchronize is not None:
            self._synchronize()
        return self._clock()


_active: Times | None = None
_IDLE: AbstractContextManager[None] = nullcontext()


def stage(name: str) -> AbstractContextManager[None]:
    """A context whose time counts towards `name`; does nothing unless `collect` is active."""
    return _IDLE if _active is None else _active.measure(name)


@contextmanager
def collect(
    synchronize: Callable[[], None] | None = None, clock: Callable[[], float] = time.perf_counter
) -> Iterator[Times]:
    """Collect the stages of everything that runs inside, in all threads.

    `synchronize` is called at each stage's borders: pass `torch.cuda.synchronize` so that queued
    GPU work counts towards the stage that queued it. `clock` may count something else than seconds,
    as long as it only grows. Raises `RuntimeError` when a collection is already active.
    """
    global _active
    if _active is not None:
        raise RuntimeError("times are already being collected")
    _active = Times(synchronize, clock)
    try:
        yield _active
    finally:
        _active = None
