"""Which adapters shared the engine's last steps.

Kept only while somebody watches: the live view of the page shows each step as the rows that ran
together. Nothing else of a request is kept.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step.

    Attributes:
        number: Counts the recorded steps, from 1.
        seconds: How long it took.
        rows: Rows by the digest of their adapter; "" is the base model alone.
    """

    number: int
    seconds: float
    rows: tuple[tuple[str, int], ...]


class StepTrail:
    """The last steps; may be used from any thread."""

    def __init__(self, kept: int = KEPT) -> None:
        """Begin empty, with nobody watching."""
        self._lock = threading.Lock()
        self._steps: deque[StepRecord] = deque(maxlen=kept)
        self._number = 0
        self._watchers = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Record steps for as long as the block runs."""
        with self._lock:
            self._watchers += 1
        try:
            yield
        finally:
            with self._lock:
                self._watchers -= 1
                if not self._watchers:
                    self._steps.clear()

    def note(self, rows: Iterable[tuple[str, int]], seconds: float) -> None:
        """Record a step, if somebody watches.

        Args:
            rows: Digest and rows of each request that took part.
            seconds: How long it took.
        """
        if not self._watchers:
            return
        counted: Counter[str] = Counter()
        for digest, count in rows:
            counted[digest] += count
        with self._lock:
            self._number += 1
            self._steps.append(StepRecord(self._number, seconds, tuple(counted.items())))

    def since(self, number: int) -> list[StepRecord]:
        """Return the kept steps after the one of that number, in order."""
        with self._lock:
            return [step for step in self._steps if step.number > number]
