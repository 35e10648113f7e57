"""Sides of a comparison: one works at a time, and is charged for just that time."""

from __future__ import annotations

import threading

from server.bench.turns import Side, alternate


class Ticks:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_side_is_charged_for_its_turns_alone() -> None:
    clock = Ticks()
    side = Side(clock)
    clock.now = 5.0
    side.open()
    clock.now = 7.0
    assert side.seconds == 2.0
    side.close()
    clock.now = 20.0
    assert side.seconds == 2.0
    side.open()
    clock.now = 21.0
    assert side.seconds == 3.0


def test_only_one_side_works_at_a_time_and_both_get_through() -> None:
    sides = [Side(), Side()]
    working: list[int] = []
    most: list[int] = []

    def work(index: int) -> None:
        for _ in range(50):
            with sides[index].work():
                working.append(index)
                most.append(len(working))
                working.pop()
        sides[index].done.set()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    alternate(sides, seconds=0.001)
    for thread in threads:
        thread.join(10.0)
    assert len(most) == 100
    assert max(most) == 1


def test_a_side_that_is_done_waits_for_nobody() -> None:
    first, second = Side(), Side()
    ended = threading.Event()

    def end() -> None:
        first.done.set()
        for _ in range(3):
            with first.work():
                pass
        ended.set()

    threading.Thread(target=end, daemon=True).start()
    turns = threading.Thread(target=alternate, args=([first, second], 0.001), daemon=True)
    turns.start()
    assert ended.wait(10.0), "the other side is not done"
    second.done.set()
    turns.join(10.0)
