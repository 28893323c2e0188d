"""Torch's settings while the codec works, and after that; which device."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

import pytest
import torch

from stcodec.common import arithmetic
from stcodec.common.arithmetic import Arithmetic, keep_memory
from stcodec.common.devices import choose_device
from stcodec.errors import UsageError

CPU = torch.device("cpu")


def now() -> tuple[int, bool, bool, bool]:
    """Threads, whether denormals are flushed, TF32 of products and of convolutions."""
    flush = sys.float_info.min / 2 == 0.0
    backends = torch.backends
    tf32 = backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32
    return torch.get_num_threads(), flush, *tf32


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    torch.set_num_threads(2)
    torch.set_flush_denormal(False)
    torch.backends.cudnn.allow_tf32 = True
    yield
    torch.set_num_threads(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def test_settings_are_put_back_also_when_blocks_nest_and_fail() -> None:
    outside, inner = now(), Arithmetic(CPU, 1)
    assert outside == (2, False, False, True)
    with Arithmetic(CPU, 3) as outer:
        assert now() == (3, True, False, False)
        with contextlib.suppress(ValueError), inner:
            assert now() == (1, True, False, False)
            raise ValueError
        assert now() == (3, True, False, False)
        with outer:
            assert now() == (3, True, False, False)
        assert now() == (3, True, False, False)
    assert now() == outside


def test_steps_leave_the_settings_alone_while_they_wait() -> None:
    seen = []

    def work() -> Iterator[int]:
        try:
            for number in range(3):
                seen.append(torch.get_num_threads())
                yield number
        finally:
            seen.append(torch.get_num_threads())

    outside = now()
    steps = Arithmetic(CPU, 3).steps(work())
    for _ in steps:
        assert now() == outside
    assert seen == [3, 3, 3, 3]
    steps = Arithmetic(CPU, 4).steps(work())
    next(steps)
    steps.close()
    assert seen[4:] == [4, 4]
    assert now() == outside


def test_c_libraries_without_mallopt_do_as_they_like(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (OSError, TypeError):

        def refuse(name: object, error: type[Exception] = error) -> object:
            raise error("no library")

        monkeypatch.setattr(ctypes, "CDLL", refuse)
        keep_memory.cache_clear()
        keep_memory()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    keep_memory.cache_clear()
    keep_memory()
    keep_memory.cache_clear()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's own")
def test_glibc_takes_what_it_is_told() -> None:
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        pytest.skip("another C library")
    for parameter, value in arithmetic._MALLOC:
        assert library.mallopt(parameter, value) == 1


@pytest.mark.parametrize("name", ["abacus", "cuda:99", "meta", "cpu:x"])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(UsageError):
        choose_device(name)
