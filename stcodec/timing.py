"""Where the time goes: `with stage("motion"):` costs next to nothing unless a collector is active."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_collector: dict[str, float] | None = None


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Add the wall-clock seconds of the block to `name` of the active collector."""
    if _collector is None:
        yield
        return
    start = time.perf_counter()
    try:
        yield
    finally:
        _collector[name] = _collector.get(name, 0.0) + time.perf_counter() - start


@contextmanager
def collect() -> Iterator[dict[str, float]]:
    """Collect the seconds per stage of everything that runs in the block (in this process, any thread)."""
    global _collector
    outer, _collector = _collector, {}
    try:
        yield _collector
    finally:
        _collector = outer
