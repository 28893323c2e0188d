"""Work done one item ahead, in a thread, while the item before it is being used."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from stcodec.common.interrupts import check_interrupt

Item = TypeVar("Item")
Made = TypeVar("Made")


def cores() -> int:
    """Cores that this process may use, 1 at least."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def leave_real_time() -> None:
    """Make real-time threads of this process ordinary ones. Where it may, as root, SVT-AV1 takes
    the highest priority there is, and keeps everything else from the cores, other codecs too."""
    tasks = Path("/proc/self/task")
    if not tasks.is_dir() or not hasattr(os, "sched_setscheduler"):
        return
    for task in tasks.iterdir():
        with contextlib.suppress(OSError):  # it has ended, or may not
            if os.sched_getscheduler(int(task.name)) in (os.SCHED_FIFO, os.SCHED_RR):
                os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))


class Ahead(Enum):
    """What `run_ahead` may be told of an item instead of work. DRAIN: all before it is due, since
    it may take a while until something else comes."""

    DRAIN = "drain"


def run_ahead(
    items: Iterable[Item],
    work: Callable[[Item], Callable[[], Made] | Ahead | None],
    initializer: Callable[[], None],
    most: int = 1,
) -> Iterator[tuple[Item, Made | None]]:
    """Yield every item with what `work(item)()` made in a thread; `work` gives None for items
    without work, which keep their place, or DRAIN.

    At most `most` items with work wait while another is being used. An error of `items` comes after
    what was read before it; an error of the work when its item is due.
    """
    waiting: deque[tuple[Item, Future[Made] | None]] = deque()
    source, failure, ahead = iter(items), None, 0
    workers: list[threading.Thread] = []

    def start() -> None:
        workers.append(threading.current_thread())
        initializer()

    pool = ThreadPoolExecutor(1, initializer=start)
    try:
        while True:
            check_interrupt()
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            call = work(item)
            drain = isinstance(call, Ahead)
            task = None if call is None or isinstance(call, Ahead) else pool.submit(call)
            waiting.append((item, task))
            ahead += task is not None
            while waiting if drain else ahead > most:
                done, made = waiting.popleft()
                ahead -= made is not None
                yield done, made.result() if made else None
        for done, made in waiting:
            check_interrupt()
            yield done, made.result() if made else None
    finally:
        # A generator that nobody holds any more is ended by whichever thread collects garbage, and
        # none can wait for itself.
        pool.shutdown(wait=threading.current_thread() not in workers, cancel_futures=True)
    if failure is not None:
        raise failure


class Workers:
    """Up to `count` threads that work on several items at once; one thread is the caller's own.
    Each of them first calls `initializer`."""

    def __init__(self, count: int, initializer: Callable[[], None]) -> None:
        self._pool = ThreadPoolExecutor(count, initializer=initializer) if count > 1 else None

    def map(self, work: Callable[..., Made], *items: Collection[Any]) -> Iterator[Made]:
        """What `work` makes of the items (as `map` takes them), in their order."""
        if self._pool is None or len(items[0]) < 2:
            return map(work, *items)
        return self._pool.map(work, *items)
