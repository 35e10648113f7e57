"""What the server does now, as it counts it itself: rates, latencies, the batch, quality, memory.

Nothing is counted anew: each tick reads the server's own metrics and compares them with those of a
few seconds before, and takes the engine's last steps from its trail.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client.metrics import MetricWrapperBase

from hub.errors import DrainingError, NotFoundError, UnavailableError
from server.access.permits import Permit
from server.core import Core
from server.messages import LoadedAdapter
from server.telemetry.labels import BASE_LABEL, OTHER
from server.telemetry.metrics import Metrics
from server.telemetry.steps import StepRecord
from server.web.columns import confidence_of
from server.web.events import Event

TICK_SECONDS: Final = 1.0
WINDOW: Final = 10
"""Ticks that rates and latencies are taken over."""
MAX_WATCHERS: Final = 32
_TRANSLATING: Final = "Translate"

Key = tuple[str, ...]


@dataclass(slots=True)
class Quality:
    """What was counted of the texts of one pair and adapter.

    Attributes:
        scores: Cumulative count of mean log-probabilities by the upper bound of their bucket.
    """

    texts: float = 0.0
    warnings: float = 0.0
    scores: Counter[float] = field(default_factory=Counter)

    def add(self, other: Quality) -> None:
        """Count another's texts here, too."""
        self.texts += other.texts
        self.warnings += other.warnings
        self.scores.update(other.scores)


@dataclass(frozen=True, slots=True)
class Totals:
    """The server's counters at one moment.

    Attributes:
        at: In seconds of the event loop.
        latency: Cumulative count of translating calls by the upper bound of their bucket.
        quality: By pair and adapter.
    """

    at: float
    tokens: float
    steps: float
    rows: float
    latency: Mapping[float, float]
    quality: Mapping[Key, Quality]

    @property
    def texts(self) -> float:
        """Return the texts that were translated."""
        return sum(one.texts for one in self.quality.values())


def read_totals(metrics: Metrics, now: float) -> Totals:
    """Read the counters; takes a millisecond or so."""
    rows = _sums(metrics.batch_size, ())
    return Totals(
        at=now,
        tokens=sum(_sums(metrics.output_tokens, ())["_total"].values()),
        steps=sum(rows["_count"].values()),
        rows=sum(rows["_sum"].values()),
        latency=_latencies(metrics),
        quality=_quality(metrics),
    )


def _sums(metric: MetricWrapperBase, labels: Sequence[str]) -> Mapping[str, Counter[Key]]:
    """Return the samples of a metric by their suffix, summed over all labels but those named."""
    found: dict[str, Counter[Key]] = {}
    for family in metric.collect():
        for sample in family.samples:
            key = tuple(sample.labels.get(name, "") for name in labels)
            suffix = sample.name.removeprefix(family.name)
            found.setdefault(suffix, Counter())[key] += sample.value  # type: ignore[assignment]
    return _Lenient(found)


class _Lenient(dict[str, "Counter[Key]"]):
    def __missing__(self, name: str) -> Counter[Key]:
        return Counter()


def _latencies(metrics: Metrics) -> dict[float, float]:
    found: Counter[float] = Counter()
    buckets = _sums(metrics.call_seconds, ("grpc_method", "le"))["_bucket"]
    for (method, bound), count in buckets.items():
        if _TRANSLATING in method:
            found[float(bound)] += count
    return dict(found)


def _quality(metrics: Metrics) -> dict[Key, Quality]:
    both = ("pair", "adapter")
    scores = _sums(metrics.mean_logprob, (*both, "le"))
    warned = _sums(metrics.quality_flags, both)["_total"]
    found: dict[Key, Quality] = {}
    for (pair, adapter, bound), count in scores["_bucket"].items():
        one = found.setdefault((pair, adapter), Quality(warnings=warned[pair, adapter]))
        one.scores[min(0.0, float(bound))] += count  # no log-probability is above 0
        one.texts = max(one.texts, count)
    return found


def quantile(share: float, counts: Mapping[float, float]) -> float | None:
    """Return a quantile of cumulative counts by upper bound, None where nothing was counted.

    Interpolated within its bucket, as PromQL's histogram_quantile does.
    """
    bounds = sorted(counts)
    total = counts[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    wanted, below, lower = share * total, 0.0, min(0.0, bounds[0])
    for bound in bounds:
        if counts[bound] >= wanted:
            if math.isinf(bound):
                return lower
            inside = counts[bound] - below
            return lower + (bound - lower) * ((wanted - below) / inside if inside else 1.0)
        below, lower = counts[bound], bound
    return lower


@dataclass(slots=True)
class LiveBoard:
    """Those who watch, within a limit."""

    metrics: Metrics
    watchers: int = 0

    def check(self) -> None:
        """Refuse one watcher too many.

        Raises:
            UnavailableError: There are as many as there may be.
        """
        if self.watchers >= MAX_WATCHERS:
            raise UnavailableError(
                f"{self.watchers} pages watch already, which is the limit; close one, or read the "
                "metrics port"
            )

    async def watch(
        self, core: Core, names: Names, stopping: Callable[[], bool]
    ) -> AsyncIterator[Event]:
        """Yield a tick a second until the caller leaves or the server stops.

        Args:
            core: What is watched.
            names: What the caller may call adapters.
            stopping: Tells whether the server finishes its calls.
        """
        loop = asyncio.get_running_loop()
        seen: deque[Totals] = deque(maxlen=WINDOW + 1)
        number = 0
        self.watchers += 1
        try:
            with core.worker.trail.watched(), suppress(DrainingError):
                while not stopping():
                    seen.append(read_totals(self.metrics, loop.time()))
                    steps = core.worker.trail.since(number)
                    number = steps[-1].number if steps else number
                    loaded = await asyncio.wrap_future(core.worker.inspect())
                    await names.learn(_digests(steps, loaded))
                    yield Event("tick", tick_of(seen[0], seen[-1], steps, loaded, names, self.now))
                    await asyncio.sleep(TICK_SECONDS)
        finally:
            self.watchers -= 1

    @property
    def now(self) -> tuple[float, float]:
        """Return the texts that run and those that wait."""
        running, waiting = _sums(self.metrics.running, ()), _sums(self.metrics.waiting, ())
        return sum(running[""].values()), sum(waiting[""].values())


@dataclass(slots=True)
class Names:
    """What a caller may call adapters: "name:version", or "other" for those it may not use."""

    permit: Permit
    resolve: Callable[[Iterable[str]], Any]
    known: dict[str, str] = field(default_factory=lambda: {"": BASE_LABEL})

    async def learn(self, digests: Iterable[str]) -> None:
        """Look up digests that are not known yet."""
        new = [digest for digest in dict.fromkeys(digests) if digest not in self.known]
        if new:
            self.known |= await self.resolve(new)

    def of(self, digest: str) -> str:
        """Return the name of an adapter."""
        return self._allowed(self.known[digest])

    def _allowed(self, name: str) -> str:
        free = name in (BASE_LABEL, OTHER)
        return name if free or self.permit.allows(name.partition(":")[0]) else OTHER

    def of_label(self, label: str) -> str:
        """Return the name that a metric's label says, if the caller may see it."""
        return self._allowed(label)


def names_of(core: Core, digests: Iterable[str]) -> dict[str, str]:
    """Return the refs of digests; blocks on the registry."""
    found: dict[str, str] = {}
    for digest in digests:
        try:
            found[digest] = core.registry.resolve(digest).ref
        except NotFoundError:  # removed meanwhile
            found[digest] = OTHER
    return found


def _digests(steps: Iterable[StepRecord], loaded: Iterable[LoadedAdapter]) -> list[str]:
    return [digest for step in steps for digest, _ in step.rows] + [one.digest for one in loaded]


def tick_of(
    before: Totals,
    now: Totals,
    steps: Sequence[StepRecord],
    loaded: Sequence[LoadedAdapter],
    names: Names,
    moment: tuple[float, float],
) -> dict[str, Any]:
    """Return what the page shows for one tick.

    Args:
        before: The counters at the beginning of the window.
        now: The counters.
        steps: Since the tick before.
        loaded: Adapters in memory.
        names: What the caller may call adapters.
        moment: Texts that run and texts that wait.
    """
    seconds = now.at - before.at
    ran = now.steps - before.steps
    latency = {
        bound: count - before.latency.get(bound, 0.0) for bound, count in now.latency.items()
    }
    return {
        "window": round(seconds, 1),
        "texts_per_second": _rate(now.texts - before.texts, seconds),
        "tokens_per_second": _rate(now.tokens - before.tokens, seconds),
        "p50": quantile(0.5, latency),
        "p95": quantile(0.95, latency),
        "rows": _rate(now.rows - before.rows, ran),
        "running": moment[0],
        "waiting": moment[1],
        "steps": [_step(step, names) for step in steps],
        "quality": _told_quality(now, names),
        "memory": [_memory(one, names) for one in loaded],
    }


def _rate(amount: float, per: float) -> float:
    return round(amount / per, 3) if per > 0 else 0.0


def _step(step: StepRecord, names: Names) -> dict[str, Any]:
    rows: Counter[str] = Counter()
    for digest, count in step.rows:
        rows[names.of(digest)] += count
    return {"milliseconds": round(1000 * step.seconds, 2), "rows": list(rows.items())}


def _told_quality(totals: Totals, names: Names) -> list[dict[str, Any]]:
    """Return what was counted since the server started, under names that the caller may see."""
    found: dict[Key, Quality] = {}
    for (pair, adapter), counted in totals.quality.items():
        found.setdefault((pair, names.of_label(adapter)), Quality()).add(counted)
    return [
        {
            "pair": pair,
            "adapter": adapter,
            "texts": one.texts,
            "confidence": _confidence(one.scores),
            "warnings": one.warnings,
        }
        for (pair, adapter), one in sorted(found.items(), key=lambda entry: entry[0])
    ]


def _confidence(scores: Mapping[float, float]) -> float | None:
    middle = quantile(0.5, scores)
    return None if middle is None else confidence_of(middle)


def _memory(one: LoadedAdapter, names: Names) -> dict[str, Any]:
    return {
        "adapter": names.of(one.digest),
        "slot": one.slot,
        "running": one.running,
        "bytes": one.size_bytes,
        "pinned": one.pinned,
    }
