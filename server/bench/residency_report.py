"""From the runs of `hub bench residency` to its figures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hub.bases import Base
from hub.bench.machine import machine, versions
from server.bench.observed import Observed
from server.bench.timing import spread
from server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from server.bench.residency import ResidencyOptions


@dataclass(frozen=True, slots=True)
class Run:
    """One way through all requests.

    Attributes:
        seconds: In which the counted requests were served.
        tokens: That they came to.
    """

    seconds: float
    tokens: int
    observed: Observed
    before: Mapping[tuple[str, str], int]
    after: Mapping[tuple[str, str], int]

    def counter(self, name: str, tier: str) -> int:
        """Return by how much a counter of a tier has grown."""
        return self.after[name, tier] - self.before[name, tier]

    def hit_rate(self, tier: str) -> float | None:
        """Return hits over all looks into a tier."""
        hits, misses = self.counter("hits", tier), self.counter("misses", tier)
        return round(hits / (hits + misses), 4) if hits + misses else None


def counters(metrics: Metrics) -> dict[tuple[str, str], int]:
    """Return the tiers' counters as they stand, by name and tier."""
    value = metrics.registry.get_sample_value
    return {
        (name, tier): int(value(f"hub_adapter_cache_{name}_total", {"tier": tier}) or 0)
        for name in ("hits", "misses", "evictions")
        for tier in ("device", "host")
    }


def report(
    options: ResidencyOptions, base: Base, found: dict[str, list[Run]], distinct: int
) -> dict[str, Any]:
    """Return what `--json` writes.

    Args:
        options: What was measured.
        base: On which base.
        found: Runs of each side, one a round.
        distinct: How many adapters the requests chose.
    """
    rates = {name: [run.tokens / run.seconds for run in runs] for name, runs in found.items()}
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "rows": [
            {
                "engine": name,
                "tokens_per_s": round(medians[name], 1),
                "tokens_per_s_min": round(min(rates[name]), 1),
                "tokens_per_s_max": round(max(rates[name]), 1),
                **_details(runs),
            }
            for name, runs in found.items()
        ],
        "ratio": round(medians["tiered"] / medians["all-resident"], 3),
        "workload": _describe(options, base, distinct),
        "machine": machine(options.threads),
        "versions": versions(),
    }


def _details(runs: Sequence[Run]) -> dict[str, Any]:
    """Return hits, evictions and times of all runs; counters are of the last one."""
    last = runs[-1]
    steps = [taken for run in runs for taken in run.observed.step_ms]
    delays = [taken for run in runs for taken in run.observed.delay_ms]
    step = statistics.median(steps)
    encodes = [taken for run in runs for taken in run.observed.encode_ms]
    return {
        "hit_rate": {tier: last.hit_rate(tier) for tier in ("device", "host")},
        "evictions": {tier: last.counter("evictions", tier) for tier in ("device", "host")},
        "conversions": sum(run.observed.conversions for run in runs),
        "place_ms": spread([taken for run in runs for taken in run.observed.place_ms]),
        "load_ms": spread([taken for run in runs for taken in run.observed.load_ms]),
        "step_ms": spread(steps),
        "step_delay_ms": spread(delays),
        "rows": round(statistics.fmean(n for run in runs for n in run.observed.step_rows), 1),
        "seconds": {
            "all": round(sum(run.seconds for run in runs), 2),
            "decode": round(sum(steps) / 1000, 2),
            "encode": round(sum(encodes) / 1000, 2),
            "place": round(sum(sum(run.observed.place_ms) for run in runs) / 1000, 2),
            "load": round(sum(sum(run.observed.load_ms) for run in runs) / 1000, 2),
        },
        "longest_delay_in_steps": round(max(delays, default=0.0) / step, 2),
        "p99_delay_in_steps": round((spread(delays)["p99"] or 0.0) / step, 2),
    }


def _describe(options: ResidencyOptions, base: Base, distinct: int) -> dict[str, Any]:
    return {
        "dims": options.dims,
        "parameters": base.parameters,
        "quantization": options.quantization,
        "adapters": options.adapters,
        "adapters_requested": distinct,
        "requests": options.requests,
        "distribution": options.distribution,
        "exponent": options.exponent if options.distribution == "zipf" else None,
        "slots": options.slots,
        "host": options.host,
        "rows": options.rows,
        "in_flight": options.in_flight,
        "kinds": list(options.kinds),
        "budget": options.budget,
        "source_tokens": options.work.source_tokens,
        "target_tokens": options.work.target_tokens,
        "target_spread": options.work.spread,
        "warm": options.warm,
        "rounds": options.rounds,
    }
