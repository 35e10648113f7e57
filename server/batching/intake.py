"""What may still be accepted: the bounded queue as callers see it, and the forecast of their wait.

The engine's thread owns the queue itself; this is the tally that any thread may ask before a text
is even tokenized, and that makes a refusal cost next to nothing. A call first *reserves* places
for its texts, is prepared, and then turns the reservation into waiting jobs.

A request that cannot make its deadline is refused at once. What is ahead of it is estimated as the
scheduler will have it: of its own tenant what is due earlier, of every other tenant no more than
its own share.
"""

from __future__ import annotations

import bisect
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from hub.errors import (
    RETRY_DELAY,
    DeadlineError,
    DeadlineUnreachableError,
    QueueFullError,
)
from server.batching.forecast import Forecast
from server.messages import Job, Priority

SURE: Final = 0.5
"""Deviations that are added to the expected steps of who is let in."""
RELAXED_SECONDS: Final = 30.0
"""When a request without a deadline is due: it goes behind those that have a near one."""


def _rough(number: float) -> float:
    """Return a number with two digits: no estimate is better, and what is told repeats itself."""
    return float(f"{number:.2g}")


def due_of(job: Job, accepted_at: float) -> float:
    """Return when a job is due."""
    return accepted_at + RELAXED_SECONDS if job.deadline is None else job.deadline


@dataclass(slots=True)
class _Line:
    """The work that waits of one tenant and priority, by when it is due."""

    dues: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)

    def add(self, due: float, work: float) -> None:
        place = bisect.bisect_right(self.dues, due)
        self.dues.insert(place, due)
        self.work.insert(place, work)

    def remove(self, due: float, work: float) -> None:
        place = bisect.bisect_left(self.dues, due)
        place = self.work.index(work, place)
        del self.dues[place], self.work[place]

    def until(self, due: float) -> float:
        return sum(self.work[: bisect.bisect_right(self.dues, due)])

    @property
    def all(self) -> float:
        return sum(self.work)


@dataclass(frozen=True, slots=True)
class _Place:
    line: tuple[str, Priority]
    due: float
    work: float


@dataclass(slots=True)
class Reservation:
    """Places of a call that is being prepared; release it when the jobs are submitted."""

    _release: Callable[[], None]

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        self._release()


class Intake:
    """The tally; every method may be called from any thread."""

    def __init__(self, limit: int, max_rows: int, clock: Callable[[], float]) -> None:
        """Begin empty.

        Args:
            limit: Texts that may wait, those being prepared included.
            max_rows: Rows of a full batch.
            clock: Monotonic seconds.
        """
        self.forecast = Forecast()
        self._limit = limit
        self._max_rows = max_rows
        self._clock = clock
        self._lock = threading.Lock()
        self._places: dict[int, _Place] = {}
        self._lines: dict[tuple[str, Priority], _Line] = {}
        self._reserved = 0  # texts of calls that are being prepared
        self._preparing = 0  # such calls
        self._background = 0  # places of the server's own requests, which no caller is refused for
        self._rows = 0  # that run
        self._running = 0.0  # row steps that those who run need still

    def reserve(
        self,
        texts: int,
        characters: int,
        *,
        deadline: float | None = None,
        tenant: str = "",
        priority: Priority = Priority.INTERACTIVE,
    ) -> Reservation:
        """Keep places for a call while its texts are prepared.

        Args:
            texts: Of the call.
            characters: Of all its texts.
            deadline: In the clock's seconds.
            tenant: Whose it is.
            priority: Of its jobs.

        Raises:
            QueueFullError: There is no room for them.
            DeadlineError: The deadline has passed, or cannot be met.
        """
        with self._lock:
            steps = self._check(texts, characters, deadline, tenant, priority)
            place = self._place((tenant, priority), deadline, texts * steps, self._clock())
            self._enter(place)
            self._reserved += texts
            self._preparing += 1
        return Reservation(lambda: self._release(place, texts))

    def check(
        self,
        texts: int,
        characters: int,
        *,
        deadline: float | None = None,
        tenant: str = "",
        priority: Priority = Priority.INTERACTIVE,
    ) -> None:
        """Raise what `reserve` would raise now, and keep no place."""
        with self._lock:
            self._check(texts, characters, deadline, tenant, priority)

    def _check(
        self,
        texts: int,
        characters: int,
        deadline: float | None,
        tenant: str,
        priority: Priority,
    ) -> float:
        """Return the steps that each of a call's texts is taken to need."""
        self._check_room(texts)
        tokens = characters * self.forecast.tokens_per_character
        steps = self.forecast.steps_for(tokens / texts, doubt=SURE) if texts else 0.0
        if deadline is not None:
            before = self.forecast.before_seconds
            self._check_deadline(deadline, tenant, priority, texts, steps, before)
        return steps

    def accept(self, jobs: Sequence[Job]) -> None:
        """Take jobs that are ready to wait into the tally, all or none.

        Raises:
            QueueFullError: They would not fit the queue.
            DeadlineError: They cannot be finished in time.
        """
        with self._lock:
            self._check_room(len(jobs))
            timed = [job for job in jobs if job.deadline is not None]
            if timed:
                first = timed[0]
                assert first.deadline is not None
                rows = sum(job.rows for job in timed)
                steps = max(self.forecast.steps_of(job, doubt=SURE) for job in timed)
                self._check_deadline(first.deadline, first.tenant, first.priority, rows, steps)
            now = self._clock()
            for job in jobs:
                self._add(job, now)

    def leave(self, keys: Iterable[int]) -> None:
        """Take jobs out that no longer wait."""
        with self._lock:
            for key in keys:
                self._remove(key)

    def note_source(self, characters: int, jobs: Sequence[Job]) -> None:
        """Learn how many tokens the texts of a call have."""
        with self._lock:
            self.forecast.note_source(characters, sum(job.tokens for job in jobs))

    def note_call(self, before: float, after: float) -> None:
        """Learn how many seconds a call spent outside of queue and engine."""
        with self._lock:
            self.forecast.note_call(before, after)

    def note_running(self, rows: int, row_steps: float) -> None:
        """Note what the engine is busy with.

        Args:
            rows: That run.
            row_steps: That they need still.
        """
        with self._lock:
            self._rows, self._running = rows, row_steps

    @property
    def crowded(self) -> bool:
        """Tell whether half of the queue is taken."""
        with self._lock:
            return 2 * self._taken >= self._limit

    @property
    def _taken(self) -> int:
        return len(self._places) - self._background + self._reserved

    def _check_room(self, texts: int) -> None:
        if self._taken + texts <= self._limit:
            return
        lacking = max(texts, self._taken + texts - self._limit)
        delay = _rough(self.forecast.retry_seconds(lacking))
        raise QueueFullError(
            f"{self._taken} texts wait already and {texts} more would exceed the queue's limit of "
            f"{self._limit}; retry in {delay:.2g} s",
            metadata={
                "waiting": str(self._taken),
                "limit": str(self._limit),
                RETRY_DELAY: str(math.ceil(1000 * delay)),
            },
        )

    def _check_deadline(
        self,
        deadline: float,
        tenant: str,
        priority: Priority,
        rows: int,
        steps: float,
        before: float = 0.0,
    ) -> None:
        left = deadline - self._clock()
        if left <= 0:
            raise DeadlineError("the deadline passed before the request could be queued")
        if not self._rows and not self._places and not self._preparing:
            return  # alone: only trying shows whether the estimate is still true
        needed = before + self._seconds(deadline, tenant, priority, rows, steps)
        if needed > left:
            estimated = f"{_rough(1000 * needed):.0f}"
            raise DeadlineUnreachableError(
                f"the request has {_rough(1000 * left):.0f} ms left and would take about "
                f"{estimated} ms at present; allow more time, send less, or retry later",
                metadata={"estimated_ms": estimated},
            )

    def _seconds(
        self, deadline: float, tenant: str, priority: Priority, rows: int, steps: float
    ) -> float:
        """Return how long it will be until a request is finished."""
        ahead = self._ahead(deadline, tenant, priority, rows * steps)
        ahead += max(0, rows - self._max_rows) * steps
        together = min(self._max_rows, self._rows + rows)
        if not ahead:
            return self.forecast.after_seconds + self.forecast.seconds_of(steps, together)
        width = max(self._rows, min(rows, self._max_rows))
        wait = self.forecast.wait_seconds(ahead + self._running / 2)
        return self.forecast.after_seconds + wait + self.forecast.seconds_of(steps, width)

    def _ahead(self, due: float, tenant: str, priority: Priority, own: float) -> float:
        """Return the row steps that will be done before a request's own."""
        theirs: dict[str, float] = {}
        for (other, of), line in self._lines.items():
            if of.goes_behind(priority):
                continue
            first = other != tenant or (of is not priority)
            theirs[other] = theirs.get(other, 0.0) + (line.all if first else line.until(due))
        before = theirs.pop(tenant, 0.0)
        return before + sum(min(work, before + own) for work in theirs.values())

    def _place(
        self, line: tuple[str, Priority], deadline: float | None, work: float, now: float
    ) -> _Place:
        due = now + RELAXED_SECONDS if deadline is None else deadline
        return _Place(line, due, work)

    def _add(self, job: Job, now: float) -> None:
        work = job.rows * self.forecast.steps_of(job)
        place = self._place((job.tenant, job.priority), job.deadline, work, now)
        self._places[job.key] = place
        self._background += job.priority is Priority.BACKGROUND
        self._enter(place)

    def _remove(self, key: int) -> None:
        place = self._places.pop(key, None)
        if place is not None:
            self._background -= place.line[1] is Priority.BACKGROUND
            self._leave(place)

    def _enter(self, place: _Place) -> None:
        self._lines.setdefault(place.line, _Line()).add(place.due, place.work)

    def _leave(self, place: _Place) -> None:
        line = self._lines[place.line]
        line.remove(place.due, place.work)
        if not line.dues:
            del self._lines[place.line]

    def _release(self, place: _Place, texts: int) -> None:
        with self._lock:
            self._leave(place)
            self._reserved -= texts
            self._preparing -= 1
