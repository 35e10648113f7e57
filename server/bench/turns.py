"""Two sides of a comparison take turns of a few seconds, so that other load falls on both."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class Side:
    """One of the sides: works only while it has the turn, and is charged for just that time."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start without the turn."""
        self._clock = clock
        self._change = threading.Condition()
        self._opened: float | None = None
        self._busy = 0
        self._charged = 0.0
        self.done = threading.Event()

    @property
    def seconds(self) -> float:
        """Return the seconds that it has had the turn for."""
        with self._change:
            return self._charged + self._running()

    @contextmanager
    def work(self) -> Iterator[float]:
        """Wait for the turn and keep it while inside; yield the seconds waited."""
        asked = self._clock()
        with self._change:
            self._change.wait_for(lambda: self._opened is not None)
            self._busy += 1
        try:
            yield self._clock() - asked
        finally:
            with self._change:
                self._busy -= 1
                self._change.notify_all()

    def open(self) -> None:
        """Give it the turn."""
        with self._change:
            self._opened = self._clock()
            self._change.notify_all()

    def close(self) -> None:
        """Let it begin nothing more, and take the turn away when all that it began has ended."""
        with self._change:
            began, self._opened = self._opened, None
            self._change.wait_for(lambda: not self._busy)
            if began is not None:
                self._charged += self._clock() - began

    def _running(self) -> float:
        return 0.0 if self._opened is None else self._clock() - self._opened


def alternate(sides: Sequence[Side], seconds: float) -> None:
    """Give turns of `seconds` until every side is done; one that is done ends when it likes."""
    while any(not side.done.is_set() for side in sides):
        for side in sides:
            side.open()  # for good once it is done: what it has left must not wait for the other
            if not side.done.wait(seconds):
                side.close()
    for side in sides:
        side.open()
