"""How fast a stream is decoded: pictures by the time that it does not wait for its reader."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

_SECONDS = 4.0
"""What is told is the pace of so many seconds of work, the last ones."""

Result = TypeVar("Result")


class Pace:
    """Counts pictures of the stream that began last; its methods may be called by any thread."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self.begin()

    def begin(self) -> None:
        """A stream begins."""
        with self._changing:
            self._pictures = 0
            self._waited = 0.0
            self._began = time.monotonic()
            self._seen: deque[tuple[float, int]] = deque([(0.0, 0)])

    def picture(self) -> None:
        """One more picture is on its way."""
        with self._changing:
            self._pictures += 1
            now = time.monotonic() - self._began - self._waited
            self._seen.append((now, self._pictures))
            while len(self._seen) > 2 and now - self._seen[0][0] > _SECONDS:
                self._seen.popleft()

    def waiting(self, send: Callable[[], Result]) -> Result:
        """Do what may wait for the reader."""
        start = time.monotonic()
        try:
            return send()
        finally:
            with self._changing:
                # Only what lies in the stream that began last: an older one may have waited long.
                self._waited += max(0.0, time.monotonic() - max(start, self._began))

    @property
    def pictures(self) -> int:
        """How many there were."""
        return self._pictures

    @property
    def rate(self) -> float | None:
        """Pictures per second of work; None where too few were seen."""
        with self._changing:
            (first, count), (last, total) = self._seen[0], self._seen[-1]
        return (total - count) / (last - first) if total - count > 1 and last > first else None
