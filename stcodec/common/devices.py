"""From what a user calls a device to a torch device."""

from __future__ import annotations

import ctypes

import torch

from stcodec.common.threads import cores
from stcodec.errors import UsageError
from stcodec.options import AUTO_DEVICE

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_LARGE_BLOCK, _HEAP = 8 << 20, 128 << 10
_SMALL_VIDEO_BLOCK, _SMALL_VIDEO_HEAP = 32 << 20, 256 << 20
_MOST_PIXELS = 3 << 20  # one picture of 1080p
_SMALL_PIXELS = 640 * 480


def choose_device(name: str, threads: int) -> torch.device:
    """The device called `name` ("auto": the first GPU, else the CPU), with `threads` CPU threads.

    0 threads stand for all cores that this process may use. UsageError for a device that does not
    exist here.
    """
    torch.set_num_threads(threads or cores())
    flush_denormals()
    _return_large_blocks()
    # Integer networks run as floating point: nothing may round behind our back.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if name == AUTO_DEVICE:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"{name!r} is no device (auto, cpu, cuda, cuda:N or mps)") from error
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(device.type, False):
        raise UsageError(f"device {name!r} is not available on this machine")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"there is no GPU number {device.index}")
    return device


def _return_large_blocks() -> None:
    """Have glibc map large arrays one by one, so that each is given back when it is freed: of 1080p
    video the heap would keep half a gigabyte of holes between arrays of many sizes. Other C
    libraries do as they like."""
    _set_malloc(_LARGE_BLOCK, _HEAP)


def _keep_memory() -> None:
    """Have glibc keep freed memory for the next array: of small video it is little, and fresh pages
    take a sixth of an encoder's time."""
    _set_malloc(_SMALL_VIDEO_BLOCK, _SMALL_VIDEO_HEAP)


def _set_malloc(mapped: int, kept: int) -> None:
    """Map blocks of `mapped` bytes and more one by one, and keep up to `kept` free bytes at the end
    of the heap."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, mapped)
    mallopt(_TRIM_THRESHOLD, kept)


def flush_denormals() -> None:
    """Take denormal numbers for zero in this thread: prediction errors fade into them, and they
    cost a CPU ten times the time. The integer networks meet none, so symbols do not depend on
    it."""
    torch.set_flush_denormal(True)


def is_small(pixels: int) -> bool:
    """Whether pictures of so many pixels are so small that time matters more than memory."""
    return pixels <= _SMALL_PIXELS


def share_threads(device: torch.device, pixels: int) -> int:
    """How many frames of so many pixels to work on at the same time; the operations of each then
    take their share of the cores.

    Threads of one operation that wait for a busy core cost more than they bring. Memory that is
    freed is kept where pictures are small.
    """
    # Each frame of 1080p in the works takes some hundred megabytes, so that large ones are few.
    most = max(1, min(4, _MOST_PIXELS // pixels))
    workers = min(torch.get_num_threads(), most) if device.type == "cpu" else 1
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    if is_small(pixels):
        _keep_memory()
    return workers
