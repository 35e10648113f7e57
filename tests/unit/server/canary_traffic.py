"""Made-up traffic of a canary, many runs of it at once, judged after every request.

The formulas of `server.quality.canary.betting` over arrays; a test holds the two together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.quality.canary.betting import STAKES
from server.quality.canary.rules import SIGNALS

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Traffic:
    """What the canary adds to the values of a version in use, and how the traffic itself moves.

    Attributes:
        drift: How much surer both versions become from the first request to the last.
        jump: Half way the texts become long and hard, for both.
    """

    log_probability: float = 0.0
    warned: float = 0.0
    failed: float = 0.0
    repetition: float = 0.0
    length: float = 0.0
    slowness: float = 0.0
    drift: float = 0.0
    jump: bool = False

    def draw(
        self, chance: np.random.Generator, tried: NDArray[np.bool_], done: float
    ) -> dict[str, Array]:
        """Return the values of one request in every run.

        Args:
            chance: Where randomness comes from.
            tried: (runs,) Whether the canary serves it.
            done: Share of the run that is over.
        """
        runs = len(tried)
        hard = 0.4 if self.jump and done > 0.5 else 0.0

        def normal(mean: float, spread: float, added: float) -> Array:
            return mean + spread * chance.standard_normal(runs) + np.where(tried, added, 0.0)

        def happens(share: float, added: float) -> Array:
            return (chance.random(runs) < share + np.where(tried, added, 0.0)).astype(float)

        sure = -0.9 + self.drift * done - hard
        return {
            "log_probability": normal(sure, 0.3, self.log_probability),
            "warned": happens(0.03 + hard / 4, self.warned),
            "failed": happens(0.0, self.failed),
            "repetition": 0.6 * happens(0.01 + hard / 8, self.repetition),
            "length": normal(0.2 + hard, 0.35, self.length),
            "slowness": normal(-7.0 + hard, 0.8, self.slowness),
        }


EQUAL = Traffic()


@dataclass(frozen=True)
class Run:
    """What happened, (requests, runs) each."""

    values: dict[str, Array]
    tried: NDArray[np.bool_]
    log_evidence: Array

    def served_when(self, level: float) -> Array:
        """Return how many requests the canary had served when the evidence came to a level."""
        passed = self.log_evidence >= level
        first = np.where(passed.any(0), passed.argmax(0), -1)
        served = self.tried.cumsum(0)[first, np.arange(len(first))].astype(float)
        return np.where(first < 0, np.inf, served)


def simulate(traffic: Traffic, *, requests: int, runs: int, fraction: float, seed: int) -> Run:
    """Run a canary many times."""
    chance = np.random.default_rng(seed)
    sides = [(signal, -worse) for signal in SIGNALS for worse in signal.worse]
    logs = np.zeros((len(sides), len(STAKES), runs))
    stakes = np.array(STAKES)[:, None]
    totals = {signal.name: np.full(runs, signal.guess) for signal in SIGNALS}
    kept: dict[str, list[Array]] = {signal.name: [] for signal in SIGNALS}
    arms, evidence = [], []
    for number in range(requests):
        tried = chance.random(runs) < fraction
        values = traffic.draw(chance, tried, number / requests)
        guesses = {name: total / (number + 1) for name, total in totals.items()}
        for place, (signal, sign) in enumerate(sides):
            value = np.clip(values[signal.name], signal.low, signal.high)
            low, high = sorted((sign * signal.low, sign * signal.high))
            centre = sign * guesses[signal.name]
            off = sign * value - centre
            most = np.maximum((high - centre) / fraction, (centre - low) / (1 - fraction))
            difference = np.where(tried, off / fraction, -off / (1 - fraction))
            logs[place] += np.log1p(stakes * (-signal.margin - difference) / (most + signal.margin))
        for signal in SIGNALS:
            totals[signal.name] += np.clip(values[signal.name], signal.low, signal.high)
            kept[signal.name].append(values[signal.name])
        flat = logs.reshape(-1, runs)
        top = flat.max(axis=0)
        evidence.append(top + np.log(np.exp(flat - top).mean(axis=0)))
        arms.append(tried)
    values_of = {name: np.stack(found) for name, found in kept.items()}
    return Run(values_of, np.stack(arms), np.stack(evidence))


def delays(traffic: Traffic, alpha: float, **numbers: int | float) -> tuple[float, float, float]:
    """Return the share of runs that were rolled back, and median and p90 of the canary's requests.

    Args:
        traffic: The difference between the two.
        alpha: Of the test.
        **numbers: As `simulate` takes them.
    """
    run = simulate(
        traffic,
        requests=int(numbers["requests"]),
        runs=int(numbers["runs"]),
        fraction=float(numbers["fraction"]),
        seed=int(numbers["seed"]),
    )
    served = run.served_when(-math.log(alpha))
    seen = served[np.isfinite(served)]
    if not len(seen):
        return 0.0, math.inf, math.inf
    return len(seen) / len(served), float(np.median(seen)), float(np.quantile(seen, 0.9))
