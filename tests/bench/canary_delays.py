"""How often a canary that is not worse is rolled back, and how soon one that is worse.

    python tests/bench/canary_delays.py [RUNS]

Simulated traffic (tests/unit/server/canary_traffic.py), judged after every request. docs/canary.md
has the figures.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "server"))

from canary_traffic import EQUAL, Traffic, delays, simulate

from server.quality.canary.rules import ALPHA

HARMLESS = {
    "equal": EQUAL,
    "log-probability at its margin": Traffic(log_probability=-0.1),
    "warnings and failures at their margins": Traffic(warned=0.02, failed=0.01),
    "traffic that drifts": Traffic(drift=1.0),
    "traffic that jumps": Traffic(jump=True),
}
WORSE = {
    "log-probability -0.2": Traffic(log_probability=-0.2),
    "log-probability -0.3": Traffic(log_probability=-0.3),
    "log-probability -0.5": Traffic(log_probability=-0.5),
    "log-probability -1.0": Traffic(log_probability=-1.0),
    "5 % more warnings": Traffic(warned=0.05),
    "10 % more warnings": Traffic(warned=0.1),
    "30 % more warnings": Traffic(warned=0.3),
    "3 % fail": Traffic(failed=0.03),
    "10 % fail": Traffic(failed=0.1),
    "all fail": Traffic(failed=1.0),
    "three times as slow": Traffic(slowness=math.log2(3)),
    "loops in 10 %": Traffic(repetition=0.1, warned=0.1),
}


def main(runs: str = "4000") -> None:
    """Print both tables."""
    print(f"false rollbacks, alpha {ALPHA}, {runs} runs of 2,000 requests each", flush=True)
    for name, traffic in HARMLESS.items():
        for fraction in (0.1, 0.5):
            number = hit = 0
            while number < int(runs):  # in parts, for memory's sake
                run = simulate(
                    replace(traffic), requests=2000, runs=500, fraction=fraction, seed=number
                )
                hit += int((run.log_evidence.max(axis=0) >= -math.log(ALPHA)).sum())
                number += 500
            print(f"{name}, {100 * fraction:g} %: {hit} of {number}", flush=True)
    tell_delays()


def tell_delays() -> None:
    """Print the second table."""
    print("requests of the canary until it is rolled back: median, p90 of 100 runs", flush=True)
    for name, traffic in WORSE.items():
        told = []
        for fraction, requests in ((0.05, 4000), (0.1, 3000), (0.5, 1500)):
            share, median, most = delays(
                traffic, ALPHA, requests=requests, runs=100, fraction=fraction, seed=1
            )
            told.append(f"{100 * fraction:g} %: {median:.0f}, {most:.0f} ({100 * share:.0f} %)")
        print(f"{name}: {'; '.join(told)}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
