"""The last look at each adapter's golden lines, made anew at every scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from server.quality.golden.results import GoldenResult

Shown = Callable[[int], list[GoldenResult]]


class GoldenCollector(Collector):
    """Shows up to `limit` adapters, those that were looked at first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._shown: Shown = lambda limit: []

    def watch(self, shown: Shown) -> None:
        """Take what tells the last looks, at most as many as asked for."""
        self._shown = shown

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return the names, which the registry checks for duplicates."""
        return _families()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the series of each adapter."""
        now, published, changed, at = families = _families()
        for result in self._shown(self._limit):
            labels = (result.pair, result.name, str(result.version))
            now.add_metric(labels, result.score)
            published.add_metric(labels, result.published)
            changed.add_metric(labels, result.changed)
            at.add_metric(labels, result.at)
        return families


def _families() -> tuple[GaugeMetricFamily, ...]:
    labels = ("pair", "adapter", "version")
    return (
        GaugeMetricFamily(
            "hub_golden_chrf", "chrF++ of golden lines as they are translated now.", labels=labels
        ),
        GaugeMetricFamily(
            "hub_golden_chrf_published",
            "chrF++ of the same lines when the adapter was published.",
            labels=labels,
        ),
        GaugeMetricFamily(
            "hub_golden_changed",
            "Share of golden lines whose translation is another than when it was published.",
            labels=labels,
        ),
        GaugeMetricFamily(
            "hub_golden_last_success_timestamp_seconds",
            "When the golden lines were last translated.",
            labels=labels,
        ),
    )
