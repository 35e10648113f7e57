"""Calls in flight: order, bounds, errors; a busy server is asked again."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from hub.bulk.patience import Patience
from hub.bulk.window import in_order
from hub.errors import (
    RETRY_DELAY,
    DeadlineError,
    DrainingError,
    QueueFullError,
    QuotaError,
)


def test_results_come_in_order_however_calls_end() -> None:
    """Each call waits for the one after it, as far as three run at once."""
    ended = [threading.Event() for _ in range(31)]

    def work(number: int) -> int:
        if number % 3 != 2:
            assert ended[number + 1].wait(30)
        ended[number].set()
        return number * number

    found = list(in_order(range(30), work, calls=3))
    assert found == [(number, number * number) for number in range(30)]


def test_calls_do_overlap_and_are_no_more_than_asked_for() -> None:
    together = threading.Barrier(4, timeout=30)
    running, most, lock = 0, 0, threading.Lock()

    def work(number: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait()
        with lock:
            running -= 1

    assert len(list(in_order(range(16), work, calls=4))) == 16
    assert most == 4


def test_no_more_is_read_than_the_window_holds() -> None:
    taken: list[int] = []

    def batches() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    ahead = []
    for done, (number, _) in enumerate(in_order(batches(), lambda number: number, calls=2)):
        assert number == done
        ahead.append(len(taken) - done)
    assert len(ahead) == 1000
    assert max(ahead) <= 2 * 2 + 2


def test_results_come_while_the_input_waits() -> None:
    more = threading.Event()

    def batches() -> Iterator[str]:
        yield "first"
        assert more.wait(30)
        yield "second"

    results = in_order(batches(), str.upper, calls=4)
    assert next(results) == ("first", "FIRST")
    more.set()
    assert list(results) == [("second", "SECOND")]


def test_an_error_of_a_call_comes_in_its_place() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ZeroDivisionError
        return number

    results = in_order(range(100), work, calls=4)
    assert [next(results)[1] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_an_error_of_the_input_comes_behind_what_was_read() -> None:
    def batches() -> Iterator[int]:
        yield 1
        raise KeyError("gone")

    results = in_order(batches(), lambda number: number, calls=4)
    assert next(results) == (1, 1)
    with pytest.raises(KeyError):
        next(results)


class Busy:
    """Refuses a few times."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.waits: list[float] = []

    def call(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    def patience(self, seconds: float = 600) -> Patience:
        return Patience(seconds, self.waits.append)


def test_a_server_without_room_is_asked_again_when_it_says() -> None:
    full = QueueFullError("full", metadata={RETRY_DELAY: "2000"})
    quota = QuotaError("used up", metadata={RETRY_DELAY: "30000"})
    busy = Busy(full, full, quota, DrainingError("leaving"))
    assert busy.patience().call(busy.call) == "done"
    assert busy.waits == [2.0, 3.0, 30.0, 0.5 * 1.5**3]


def test_patience_ends() -> None:
    busy = Busy(*[QuotaError("used up", metadata={RETRY_DELAY: "50000"})] * 9)
    with pytest.raises(QuotaError):
        busy.patience(120).call(busy.call)
    assert busy.waits == [50.0, 50.0]


def test_other_errors_are_not_tried_again() -> None:
    busy = Busy(DeadlineError("late"))
    with pytest.raises(DeadlineError):
        busy.patience().call(busy.call)
    assert busy.waits == []
