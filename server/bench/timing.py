"""Interleaved timing: engines take turns inside each round, so that other load falls on all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from server.bench.peers import Runner

SETTLE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """The seconds that one engine took for one batch, a value for each round."""

    engine: str
    batch: int
    beam: int
    seconds: tuple[float, ...]

    def rates(self, tokens: int) -> list[float]:
        """Return tokens per second by round; each row has `tokens` target tokens."""
        return [self.batch * tokens / taken for taken in self.seconds]


def interleave(
    runners: Mapping[str, Runner],
    batch: int,
    beam: int,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    settle: Callable[[], None] = lambda: time.sleep(SETTLE_SECONDS),
) -> list[Sample]:
    """Time every engine in every round, after one round that warms up.

    Threads of an engine that has just run spin for a while before they sleep, and would take the
    cores from the next: each has a moment to fall silent.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for number in range(rounds + 1):
        for name, run in runners.items():
            settle()
            began = clock()
            run(batch, beam)
            if number:
                seconds[name].append(clock() - began)
    return [Sample(name, batch, beam, tuple(taken)) for name, taken in seconds.items()]


def rows_of(samples: Sequence[Sample], tokens: int) -> list[dict[str, Any]]:
    """Return one JSON row for each engine of one batch and beam, with ratios of medians."""
    medians = {one.engine: statistics.median(one.rates(tokens)) for one in samples}
    rows = []
    for one in samples:
        rates = one.rates(tokens)
        row: dict[str, Any] = {
            "engine": one.engine,
            "batch": one.batch,
            "beam": one.beam,
            "tokens_per_s": round(medians[one.engine], 1),
            "tokens_per_s_min": round(min(rates), 1),
            "tokens_per_s_max": round(max(rates), 1),
        }
        for other in ("ctranslate2", "base", "peft"):
            row[f"ratio_to_{other}"] = (
                round(medians[one.engine] / medians[other], 3) if other in medians else None
            )
        rows.append(row)
    return rows


def spread(milliseconds: Sequence[float]) -> dict[str, float | int | None]:
    """Return count, median, 99 % quantile and maximum of durations; None where there is none."""
    if not milliseconds:
        return {"count": 0, "median": None, "p99": None, "max": None}
    ordered = sorted(milliseconds)
    return {
        "count": len(ordered),
        "median": round(statistics.median(ordered), 3),
        "p99": round(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 3),
        "max": round(ordered[-1], 3),
    }
