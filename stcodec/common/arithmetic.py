"""How this process computes while the codec works, and as before when it does not."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Generator, Iterator
from typing import NamedTuple, TypeVar

import torch

from stcodec.common.interrupts import check_interrupt
from stcodec.common.threads import cores

Step = TypeVar("Step")
# M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX of glibc's malloc.h, and what they are set to:
# glibc takes no more than half a heap of 64 MiB for the second one.
_MALLOC = ((-1, 256 << 20), (-3, 32 << 20), (-8, 1))
_MOST_PIXELS = 4 << 20  # two pictures of 1080p


class _State(NamedTuple):
    """Settings of torch."""

    threads: int
    flush: bool
    matmul_tf32: bool
    convolution_tf32: bool

    @classmethod
    def now(cls) -> _State:
        """What they are; whether this thread flushes denormals is its own affair."""
        # Torch does not tell whether this thread does: it shows in a number of half the smallest
        # normal one.
        return cls(
            torch.get_num_threads(),
            sys.float_info.min / 2 == 0.0,
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32,
        )

    def set(self) -> None:
        """Have them so."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        torch.set_flush_denormal(self.flush)
        torch.backends.cuda.matmul.allow_tf32 = self.matmul_tf32
        torch.backends.cudnn.allow_tf32 = self.convolution_tf32


class _Threads:
    """Threads of torch's operations, which a fork does not have: in a process that is forked from
    one in which they were, an operation of several threads would wait for them for ever."""

    used = False
    lost = False

    @classmethod
    def left(cls) -> int:
        """1 in such a process, also for operations outside of `Arithmetic`; 0 elsewhere."""
        if cls.lost and torch.get_num_threads() != 1:
            torch.set_num_threads(1)
        return int(cls.lost)

    @classmethod
    def forked(cls) -> None:
        """This process is a fork."""
        cls.lost = cls.used


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Threads.forked)


class Arithmetic:
    """Torch's settings for the codec within `with` blocks, and what they were before after those.

    CPU threads (0: one for every core that this process may use; one alone in a fork of a process
    in which there was such a block), denormals taken for zero, and no TF32: integer networks run as
    floating point, and nothing may round behind their back. Blocks may lie within each other. What
    a process keeps of freed memory (`keep_memory`) stays set.
    """

    def __init__(self, device: torch.device, threads: int = 0) -> None:
        self.device = device
        self._inside = _State(_Threads.left() or threads or cores(), True, False, False)
        self._outside: list[_State] = []

    def __enter__(self) -> Arithmetic:
        keep_memory()
        _Threads.used = True
        self._outside.append(_State.now())
        self._inside.set()
        return self

    def __exit__(self, *exception: object) -> None:
        self._outside.pop().set()

    def share(self, pixels: int, most_pixels: int = _MOST_PIXELS) -> int:
        """How many frames of so many pixels to work on at the same time, of `most_pixels` in all;
        the operations of each then take their share of the cores.

        Threads of one operation that wait for a busy core cost more than they bring.
        """
        # Each frame of 1080p in the works takes some hundred megabytes, so that large ones are few.
        most = max(1, min(4, most_pixels // pixels))
        threads = self._inside.threads
        workers = min(threads, most) if self.device.type == "cpu" else 1
        self._inside = self._inside._replace(threads=max(1, threads // workers))
        if self._outside:
            self._inside.set()
        return workers

    def steps(self, work: Iterator[Step]) -> Generator[Step, None, None]:
        """What `work` yields, with these settings while it works and not while it waits."""
        try:
            while True:
                check_interrupt()
                with self:
                    step = next(work, None)
                if step is None:
                    return
                yield step
        finally:
            if isinstance(work, Generator):
                with self:
                    work.close()


def flush_denormals() -> None:
    """Take denormal numbers for zero in this thread: prediction errors fade into them, and they
    cost a CPU ten times the time. The integer networks meet none, so symbols do not depend on
    it."""
    torch.set_flush_denormal(True)


@functools.cache
def keep_memory() -> None:
    """Have glibc keep freed memory for the next array, once for the whole process: pages that the
    kernel must map and clear again cost more time than most of the arithmetic. Other C libraries do
    as they like."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOC:
            mallopt(parameter, value)
