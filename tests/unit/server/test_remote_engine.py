"""An engine in another process is asked for its next step before the last one is looked at."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import fields
from multiprocessing.connection import Connection
from typing import Any

import pytest

from hub.bases import open_base
from hub.engine.requests import DecodeRequest, DecodingOptions, Finished, StepReport
from hub.errors import SlotsBusyError
from server.engine_process.remote import EngineGoneError, RemoteEngine
from server.engine_process.wire import Started, pack_report, receive, send

from ...support.waiting import until

KEY = [one.name for one in fields(DecodeRequest)].index("key")
LENGTH = [one.name for one in fields(DecodingOptions)].index("max_new_tokens")


class Other:
    """The other process: a request ends after as many steps as it may have new tokens."""

    def __init__(self, connection: Connection) -> None:
        self.told: list[str] = []
        self.fails = False
        self.left: dict[int, int] = {}
        self._connection = connection
        self._thread = threading.Thread(target=self._obey)
        self._thread.start()

    def _obey(self) -> None:
        with self._connection:
            while True:
                try:
                    name, arguments, _ = receive(self._connection)
                except EOFError:
                    return
                self.told.append(name)
                try:
                    answer = (True, getattr(self, name)(*arguments))
                except Exception as error:
                    answer = (False, error)
                send(self._connection, answer)

    def admit(self, packed: list[Any]) -> None:
        for values, options, _ in packed:
            self.left[values[KEY]] = options[LENGTH]

    def clear(self, slot: int) -> None:
        raise SlotsBusyError(f"slot {slot} is busy")

    def cancel(self, keys: list[int]) -> None:
        for key in keys:
            self.left.pop(key, None)

    def step(self, encode_seconds: float) -> Any:
        if self.fails:
            raise ValueError("a step failed")
        rows = len(self.left)
        self.left = {key: left - 1 for key, left in self.left.items()}
        ended = [key for key, left in self.left.items() if left <= 0]
        for key in ended:
            del self.left[key]
        return pack_report(StepReport([Finished(key, ()) for key in ended], rows=rows))

    def join(self) -> None:
        self._thread.join()


class Process:
    pid = 1

    def wait(self, timeout: float | None = None) -> int:
        return 9


@pytest.fixture
def pair() -> Iterator[tuple[RemoteEngine, Other]]:
    here, there = (Connection(one.detach()) for one in socket.socketpair())
    other = Other(there)
    process: Any = Process()
    engine = RemoteEngine(process, here, open_base(), Started("int8", "cpu", 0))
    yield engine, other
    engine.close()
    other.join()


def requests(**lengths: int) -> list[DecodeRequest]:
    return [
        DecodeRequest(int(key[1:]), (5, 2), (7,), 0, DecodingOptions(max_new_tokens=length))
        for key, length in lengths.items()
    ]


def ended(engine: RemoteEngine) -> list[int]:
    return [one.key for one in engine.step(0.0).finished]


def test_the_next_step_runs_while_one_is_looked_at(pair: tuple[RemoteEngine, Other]) -> None:
    engine, other = pair
    engine.admit(requests(k1=2))
    assert ended(engine) == []
    until(lambda: other.told == ["admit", "step", "step"])
    assert ended(engine) == [1]
    engine.admit(requests(k2=1))
    assert other.told == ["admit", "step", "step", "admit"]  # none was asked for with nothing to do
    assert ended(engine) == [2]


def test_what_joins_takes_part_in_the_step_after_the_one_that_runs(
    pair: tuple[RemoteEngine, Other],
) -> None:
    engine, other = pair
    engine.admit(requests(k1=4))
    assert engine.step(0.0).rows == 1
    engine.admit(requests(k2=2))
    assert other.told[:4] == ["admit", "step", "step", "admit"]
    reports = [engine.step(0.0) for _ in range(3)]
    assert [one.rows for one in reports] == [1, 2, 2]
    assert [[each.key for each in one.finished] for one in reports] == [[], [], [1, 2]]
    assert other.told.count("step") == 4


def test_what_ended_unseen_before_it_was_cancelled_stays_unseen(
    pair: tuple[RemoteEngine, Other],
) -> None:
    engine, other = pair
    engine.admit(requests(k1=2, k2=2, k3=9))
    assert ended(engine) == []
    until(lambda: other.told.count("step") == 2)
    engine.cancel([1])
    assert ended(engine) == [2]
    engine.admit(requests(k1=1))  # the same key may come again
    assert ended(engine) + ended(engine) == [1]
    engine.cancel([3])
    assert not other.left


def test_a_step_that_fails_takes_with_it_what_was_asked_for_later(
    pair: tuple[RemoteEngine, Other],
) -> None:
    engine, other = pair
    engine.admit(requests(k1=9))
    engine.step(0.0)
    until(lambda: other.told.count("step") == 2)
    other.fails = True
    assert engine.step(0.0).rows == 1  # it ran before
    engine.admit(requests(k3=9))  # with another step behind it
    with pytest.raises(ValueError, match="a step failed"):
        engine.step(0.0)
    other.fails = False
    engine.cancel([1, 3])
    engine.admit(requests(k2=1))
    assert ended(engine) == [2]


def test_an_error_is_that_of_what_was_asked_for(pair: tuple[RemoteEngine, Other]) -> None:
    engine, _ = pair
    engine.admit(requests(k1=3))
    engine.step(0.0)
    with pytest.raises(SlotsBusyError, match="slot 4"):
        engine.clear(4)
    assert [ended(engine) for _ in range(2)] == [[], [1]]


def test_a_process_that_is_gone_is_told_whatever_is_asked() -> None:
    here, there = (Connection(one.detach()) for one in socket.socketpair())
    process: Any = Process()
    engine = RemoteEngine(process, here, open_base(), Started("int8", "cpu", 0))
    there.close()
    for ask in (lambda: engine.step(0.0), lambda: engine.clear(1), lambda: engine.cancel([1])):
        with pytest.raises(EngineGoneError, match="has ended with exit code 9"):
            ask()
    engine.close()
