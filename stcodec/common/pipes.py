"""Streams that can be read forward only, and whose reader may have to wait."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable
from typing import Any, BinaryIO

from stcodec.common.interrupts import check_interrupt, interrupt_came

_SECONDS_BETWEEN_LOOKS = 0.1


class ReadInterruptedError(Exception):
    """An interrupt while a stream was read."""


def would_wait(stream: Any, seconds: float = 0.0) -> bool:
    """Whether a stream has nothing to read for so long, as far as the system can tell."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return not select.select([stream.fileno()], [], [], seconds)[0]
    return False


class CountedReader:
    """A stream that can be read forward only, and the bytes that have been read of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.name = stream.name
        self.bytes = 0
        self._stopped = False

    @property
    def can_stop(self) -> bool:
        """Whether `stop` ends a `read` that waits."""
        return os.name == "posix"

    def stop(self) -> None:
        """From another thread: the stream ends for the one that reads, soon."""
        self._stopped = True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes: what there is, once there is something."""
        while not self._stopped and would_wait(self._stream, _SECONDS_BETWEEN_LOOKS):
            pass
        if self._stopped:
            return b""
        data: bytes = getattr(self._stream, "read1", self._stream.read)(size)
        self.bytes += len(data)
        return data


class InterruptibleReader:
    """A stream for FFmpeg to read from, whose `read` raises ReadInterruptedError when interrupted,
    and shows what it gives to `seen`; everything else is the stream's.

    PyAV passes errors of reading on, but loses KeyboardInterrupt, which is not one: the video would
    seem to end there. One that is raised before the first line of `read` is lost all the same; the
    next `read` hears of it.
    """

    def __init__(
        self, stream: BinaryIO | CountedReader, seen: Callable[[bytes], None] | None = None
    ) -> None:
        self._stream, self._seen = stream, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        try:
            check_interrupt()
            data = self._stream.read(size)
        except KeyboardInterrupt as error:
            interrupt_came()  # a demultiplexer may pass over the error, too
            raise ReadInterruptedError from error
        if self._seen is not None:
            self._seen(data)
        return data
