"""When a request will be finished, from how long others have taken.

A step takes longer the more rows it has, and a request takes more steps the longer its source is.
Both are learned as they happen: `Curve` keeps a mean and a deviation for each power of two of the
size. From them `Forecast` says how many steps a request needs, how long these take in a batch of
some width, how wide a batch may be so that those that run keep their deadlines, and how soon the
queue has room again.

What has not been observed is taken to cost nothing: it is tried, and then it is known. Nothing here
ever refuses a request that would be alone, or an estimate that is too high could not be mended.

Pure: seconds come in, seconds go out; there is no clock here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from server.messages import Job

_SMOOTHING: Final = 0.15
_RATE_SECONDS: Final = 1.0
"""Time constant of the mean of a rate."""
FIRST_RETRY_SECONDS: Final = 0.5
LEAST_RETRY_SECONDS: Final = 0.05
MOST_RETRY_SECONDS: Final = 30.0
LEAST_BEFORE_SECONDS: Final = 0.003
LEAST_AFTER_SECONDS: Final = 0.002
"""Of routing, tokenizing and the way back, which are not the engine's."""
MORE_STEPS: Final = 0.2
"""Of its expected steps: what a request that has had them all is taken to need still."""


@dataclass(slots=True)
class _Point:
    size: float
    mean: float
    deviation: float

    def note(self, size: float, value: float) -> None:
        self.size += _SMOOTHING * (size - self.size)
        self.deviation += _SMOOTHING * (abs(value - self.mean) - self.deviation)
        self.mean += _SMOOTHING * (value - self.mean)


@dataclass(slots=True)
class Curve:
    """A cost that never falls with the size, and at most doubles when the size doubles.

    These two bounds mend a point that was observed long ago under other circumstances: its
    neighbours, which are still observed, correct it.
    """

    _points: dict[int, _Point] = field(default_factory=dict)

    def note(self, size: float, value: float) -> None:
        """Learn from one observation; both numbers are positive."""
        bucket = math.frexp(size)[1]
        point = self._points.get(bucket)
        if point is None:
            self._points[bucket] = _Point(size, value, 0.0)
        else:
            point.note(size, value)

    def mean(self, size: float) -> float:
        """Return what a size costs; 0 before the first observation."""
        points = sorted((p.size, p.mean) for p in self._points.values())
        if not points:
            return 0.0
        return min(_between(points, size), *(_at_most(point, size) for point in points))

    def deviation(self, size: float) -> float:
        """Return by how much observations differ from the mean, in the mean."""
        points = self._points.values()
        if not points:
            return 0.0
        nearest = min(points, key=lambda point: abs(math.log(point.size / size)))
        return nearest.deviation

    def exceeds(self, size: float, value: float) -> bool:
        """Tell whether a lower bound of a cost is news."""
        return value > self.mean(size)


def _between(points: list[tuple[float, float]], size: float) -> float:
    """Interpolate linearly; beyond the ends the nearest point counts."""
    below = [point for point in points if point[0] <= size]
    above = [point for point in points if point[0] > size]
    if not below or not above:
        return (below[-1] if below else above[0])[1]
    (left, low), (right, high) = below[-1], above[0]
    return low + (high - low) * (size - left) / (right - left)


def _at_most(point: tuple[float, float], size: float) -> float:
    known, value = point
    return value * max(1.0, size / known)


@dataclass(slots=True)
class Rate:
    """Events per second, over the last seconds."""

    per_second: float = 0.0

    def note(self, count: float, seconds: float) -> None:
        """Learn how much happened in a time."""
        if seconds <= 0:
            return
        weight = -math.expm1(-seconds / _RATE_SECONDS)
        self.per_second += weight * (count / seconds - self.per_second)


@dataclass(frozen=True, slots=True)
class Running:
    """What a running request needs still.

    Attributes:
        steps: Decoder steps that it is expected to need still.
        seconds: Until its deadline.
    """

    steps: float
    seconds: float


@dataclass(slots=True)
class Forecast:
    """What steps, requests and the queue have done of late.

    Attributes:
        step_seconds: Of a turn with a step, by rows.
        steps: Of a request, encoding included, by source tokens.
        tokens_per_character: Of sources.
        row_steps: Rows times steps, per second, while the engine is busy.
        texts: Finished, per second, while the engine is busy.
        before_seconds: From a call's arrival to its place in the queue: routing, tokenizing, and
            whatever else the process is busy with.
        after_seconds: From the engine's last token to the reply.
    """

    step_seconds: Curve = field(default_factory=Curve)
    steps: Curve = field(default_factory=Curve)
    tokens_per_character: float = 0.0
    row_steps: Rate = field(default_factory=Rate)
    texts: Rate = field(default_factory=Rate)
    before_seconds: float = LEAST_BEFORE_SECONDS
    after_seconds: float = LEAST_AFTER_SECONDS

    def note_call(self, before: float, after: float) -> None:
        """Learn what a call spent outside of queue and engine."""
        before, after = max(before, LEAST_BEFORE_SECONDS), max(after, LEAST_AFTER_SECONDS)
        self.before_seconds += _SMOOTHING * (before - self.before_seconds)
        self.after_seconds += _SMOOTHING * (after - self.after_seconds)

    def note_turn(self, rows: int, seconds: float, finished: int) -> None:
        """Learn from a turn that made a step.

        Args:
            rows: Rows of the step.
            seconds: From the end of the step before to the end of this one.
            finished: Requests that ended in it.
        """
        if rows <= 0 or seconds <= 0:
            return
        self.step_seconds.note(rows, seconds)
        self.row_steps.note(rows, seconds)
        self.texts.note(finished, seconds)

    def note_finished(self, job: Job, steps: int, *, cut: bool) -> None:
        """Learn from a request that has ended.

        Args:
            job: The request.
            steps: That it took part in.
            cut: It was ended by its own limit, and would have taken more.
        """
        if steps > 0 and (not cut or self.steps.exceeds(job.tokens, steps)):
            self.steps.note(job.tokens, steps)

    def note_source(self, characters: int, tokens: int) -> None:
        """Learn how many tokens a text has."""
        if characters > 0 and tokens > 0:
            ratio = tokens / characters
            known = self.tokens_per_character or ratio
            self.tokens_per_character = known + _SMOOTHING * (ratio - known)

    def steps_of(self, job: Job, *, doubt: float = 0.0) -> float:
        """Return the steps that a request will take.

        Args:
            job: The request.
            doubt: How many deviations to add: above 0 to be sure, below 0 to give every chance.
        """
        return min(self.steps_for(job.tokens, doubt=doubt), float(job.search.max_new_tokens + 4))

    def steps_for(self, tokens: float, *, doubt: float = 0.0) -> float:
        """Return the steps for a source of so many tokens."""
        size = max(1.0, tokens)
        return max(0.0, self.steps.mean(size) + doubt * self.steps.deviation(size))

    def seconds_of(self, steps: float, rows: int) -> float:
        """Return how long steps take in a batch of some rows."""
        return steps * self.step_seconds.mean(max(1, rows))

    def wait_seconds(self, ahead: float) -> float:
        """Return how long work takes that is done before; 0 before anything is known.

        Args:
            ahead: Rows times steps.
        """
        return ahead / self.row_steps.per_second if self.row_steps.per_second > 0 else 0.0

    def widest(self, running: Iterable[Running], rows: int, most: int) -> int:
        """Return how many rows the batch may have so that those that run keep their deadlines.

        Those that will miss theirs in any case do not count.

        Args:
            running: Those that have a deadline.
            rows: Rows that run now.
            most: The most rows there are.
        """
        now = self.step_seconds.mean(max(1, rows))
        paces = [one.seconds / one.steps for one in running if one.steps > 0]
        tightest = min((pace for pace in paces if pace >= now), default=math.inf)
        if self.step_seconds.mean(most) <= tightest:
            return most
        low, high = rows, most  # low is wide enough for all, high is too wide
        while high - low > 1:
            middle = (low + high) // 2
            if self.step_seconds.mean(middle) <= tightest:
                low = middle
            else:
                high = middle
        return low

    def retry_seconds(self, texts: int) -> float:
        """Return after how long so many texts will have left the queue."""
        if self.texts.per_second <= 0:
            return FIRST_RETRY_SECONDS
        return min(max(texts / self.texts.per_second, LEAST_RETRY_SECONDS), MOST_RETRY_SECONDS)


def left_of(expected: float, done: int) -> float:
    """Return the steps that a request needs still, which has had some.

    Args:
        expected: Steps that it was expected to need in all.
        done: Steps that it has had.
    """
    return max(expected - done, MORE_STEPS * expected)
