"""Trainers take turns on the same work, each in a process of its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from hub.bench.apart import ApartProcess
from hub.bench.machine import machine, versions
from hub.bench.models import random_base
from hub.errors import SettingsError
from training.bench.passes import OURS, SETUPS, Pass, build_passes
from training.bench.work import TrainWork
from training.loop.devices import CHOICES, resolve_precision, training_device

SETTLE_SECONDS: Final = 0.5


@dataclass(frozen=True)
class TrainBenchOptions:
    """What is measured.

    Attributes:
        work: The work, its precision left open.
        precisions: float32, bfloat16 or auto.
        against: Names of `SETUPS`.
        rounds: Passes that count, after one that warms up.
        threads: Of every trainer.
    """

    work: TrainWork
    precisions: Sequence[str]
    against: Sequence[str]
    rounds: int
    threads: int


def bench_train(
    options: TrainBenchOptions, folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Return the figures: a row for each precision and trainer, and what was measured on what.

    Raises:
        SettingsError: A name is unknown or a number too small.
        BudgetError: The budget buys less than the method's minimum.
        EngineError: A trainer failed.
    """
    _check(options)
    base = random_base(options.work.dims, folder)
    options.work.recipe(base.dimensions, options.work.examples())  # refuses bad settings
    facts = options.work.facts(base.dimensions)
    rows = []
    for precision in dict.fromkeys(map(resolve_precision, options.precisions)):
        work = replace(options.work, precision=precision)
        rows += rows_of(precision, _measure(options, work, base.folder, say))
    return {
        "workload": facts | {"rounds": options.rounds, "device": training_device()},
        "rows": rows,
        "machine": machine(options.threads),
        "versions": versions(),
    }


def _check(options: TrainBenchOptions) -> None:
    work = options.work
    for name in options.against:
        if name not in SETUPS:
            raise SettingsError(
                f"--against {name!r} is not known; choose among {', '.join(SETUPS)}"
            )
    for option, value in (
        ("--tokens", work.tokens),
        ("--updates", work.updates),
        ("--rounds", options.rounds),
        ("--threads", options.threads),
    ):
        if value < 1:
            raise SettingsError(f"{option} is {value}; it must be 1 or more")
    if not options.precisions:
        raise SettingsError(f"--precision names none; choose among {', '.join(CHOICES)}")
    for precision in options.precisions:
        if precision not in CHOICES:
            raise SettingsError(
                f"--precision {precision!r} is not known; choose among {', '.join(CHOICES)}"
            )


def _measure(
    options: TrainBenchOptions, work: TrainWork, folder: Path, say: Callable[[str], None]
) -> dict[str, list[Pass]]:
    with ExitStack() as stack:
        trainers: dict[str, ApartProcess[Pass]] = {}
        for name in (OURS, *_that_differ(options.against, work.precision)):
            say(f"preparing {name} in {work.precision}")
            trainers[name] = ApartProcess(
                name,
                build_passes,
                (name, work, folder),
                threads=options.threads,
                remedy="leave it out of --against",
            )
            stack.callback(trainers[name].close)
        return take_turns(trainers, options.rounds)


def _that_differ(names: Sequence[str], precision: str) -> list[str]:
    """Leave out what in float32 would be `transformers` again."""
    return [name for name in names if precision == "bfloat16" or not SETUPS[name].half_base]


def take_turns(
    trainers: Mapping[str, Callable[[], Pass]],
    rounds: int,
    settle: Callable[[], None] = lambda: time.sleep(SETTLE_SECONDS),
) -> dict[str, list[Pass]]:
    """Let every trainer make a pass in every round; a first round warms up and does not count.

    Threads that have just computed spin for a while before they sleep: each trainer has a moment to
    fall silent.
    """
    found: dict[str, list[Pass]] = {name: [] for name in trainers}
    for number in range(rounds + 1):
        for name, train in trainers.items():
            settle()
            made = train()
            if number:
                found[name].append(made)
    return found


def rows_of(precision: str, passes: Mapping[str, Sequence[Pass]]) -> list[dict[str, Any]]:
    """Return one row for each trainer.

    `ratio` is our tokens per second over its own: the median over rounds of the ratio within a
    round.
    """
    ours = [made.rate for made in passes[OURS]]
    return [_row(precision, name, made, ours) for name, made in passes.items()]


def _row(
    precision: str, name: str, passes: Sequence[Pass], ours: Sequence[float]
) -> dict[str, Any]:
    rates = [made.rate for made in passes]
    content = passes[0].content
    return {
        "trainer": name,
        "precision": precision,
        "tokens_per_s": round(statistics.median(rates), 1),
        "tokens_per_s_min": round(min(rates), 1),
        "tokens_per_s_max": round(max(rates), 1),
        "seconds_per_update": round(
            statistics.median(made.seconds / made.updates for made in passes), 4
        ),
        "ratio": round(statistics.median(a / b for a, b in zip(ours, rates, strict=True)), 3),
        "source_tokens": content.source,
        "target_tokens": content.target,
        "padding": round(content.padding, 4),
    }
