"""Work ahead in a thread: its order, its errors, its end; and how many threads share a machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import torch

from stcodec.common.arithmetic import Arithmetic
from stcodec.common.threads import run_ahead


def nothing() -> None:
    """An initializer."""


def doubled(item: int) -> Callable[[], int] | None:
    """Work for odd items alone."""
    return (lambda: 2 * item) if item % 2 else None


def test_items_keep_their_order_with_and_without_work() -> None:
    found = list(run_ahead([1, 2, 4, 3, 5, 6], doubled, nothing))
    assert found == [(1, 2), (2, None), (4, None), (3, 6), (5, 10), (6, None)]
    assert list(run_ahead([], doubled, nothing)) == []


def test_work_is_done_in_one_other_thread_that_was_prepared() -> None:
    prepared: list[int] = []
    threads = [
        made
        for _, made in run_ahead(
            range(5), lambda _: threading.get_ident, lambda: prepared.append(threading.get_ident())
        )
    ]
    assert prepared == list(set(threads))
    assert threading.get_ident() not in threads


def test_one_item_is_made_ahead_and_no_more() -> None:
    started = [threading.Event() for _ in range(4)]

    def work(item: int) -> Callable[[], None]:
        return started[item].set

    results = run_ahead(range(4), work, nothing)
    next(results)
    assert started[1].wait(10)
    assert not started[2].is_set()
    results.close()  # type: ignore[attr-defined]


def test_an_error_of_the_work_comes_when_its_item_is_due() -> None:
    def work(item: int) -> Callable[[], float]:
        return lambda: 1 / (item - 2)

    results = run_ahead(range(9), work, nothing)
    assert [next(results), next(results)] == [(0, -0.5), (1, -1.0)]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_an_error_of_the_items_comes_after_what_was_read_before_it() -> None:
    def items() -> Iterator[int]:
        yield from (1, 3)
        raise OSError("the file ends here")

    results = run_ahead(items(), doubled, nothing)
    assert [next(results), next(results)] == [(1, 2), (3, 6)]
    with pytest.raises(OSError, match="ends here"):
        next(results)


def test_an_error_of_the_thread_itself_is_not_waited_for() -> None:
    def fail() -> None:
        raise RuntimeError("no such device")

    with pytest.raises(RuntimeError):
        list(run_ahead([1, 3], doubled, fail))


def test_who_stops_early_leaves_no_thread_behind() -> None:
    there = set(threading.enumerate())
    results = run_ahead(range(1, 99, 2), doubled, nothing)
    assert next(results) == (1, 2)
    results.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) <= there


@pytest.mark.parametrize(
    ("threads", "size", "workers", "each"),
    [
        (4, (640, 360), 4, 1),
        (8, (640, 360), 4, 2),
        (8, (1280, 720), 4, 2),
        (4, (1920, 1080), 2, 2),
        (4, (3840, 2160), 1, 4),
        (1, (160, 90), 1, 1),
    ],
)
def test_threads_are_shared_among_frames(
    threads: int, size: tuple[int, int], workers: int, each: int
) -> None:
    before = torch.get_num_threads()
    pixels = size[0] * size[1]
    with Arithmetic(torch.device("cpu"), threads) as arithmetic:
        assert torch.get_num_threads() == threads
        assert arithmetic.share(pixels) == workers
        assert torch.get_num_threads() == each
    assert torch.get_num_threads() == before
    later = Arithmetic(torch.device("cpu"), threads)
    assert later.share(pixels) == workers
    assert torch.get_num_threads() == before
    with later:
        assert torch.get_num_threads() == each
    with Arithmetic(torch.device("cuda"), threads) as arithmetic:
        assert arithmetic.share(pixels) == 1
        assert torch.get_num_threads() == threads
