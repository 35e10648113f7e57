"""The canaries that run, made anew at every scrape: a canary that has ended leaves no series."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from hub.registry import Canary
from server.quality.canary.betting import Sums, arm_name, log_evidence, mean, requests
from server.quality.canary.rules import SIGNALS

Shown = Callable[[int], list[tuple[Canary, Sums]]]
_ARMS: Final = (False, True)


class CanaryCollector(Collector):
    """Shows up to `limit` canaries, those that began first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._shown: Shown = lambda limit: []

    def watch(self, shown: Shown) -> None:
        """Take what tells the canaries that run, at most as many as asked for."""
        self._shown = shown

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return the names, which the registry checks for duplicates."""
        return _families()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the series of each canary."""
        fraction, served, signals, evidence = families = _families()
        for canary, sums in self._shown(self._limit):
            labels = (canary.name, canary.alias)
            versions = (str(canary.canary), str(canary.stable))
            fraction.add_metric((*labels, *versions), canary.fraction)
            evidence.add_metric(labels, log_evidence(sums, SIGNALS) / math.log(10))
            for tried in _ARMS:
                arm = arm_name(canary=tried)
                served.add_metric((*labels, arm), requests(sums, canary=tried))
                for signal in SIGNALS:
                    value = mean(sums, signal, canary=tried)
                    if value is not None:
                        signals.add_metric((*labels, arm, signal.name), value)
        return families


def _families() -> tuple[GaugeMetricFamily, ...]:
    both = ("adapter", "alias")
    return (
        GaugeMetricFamily(
            "hub_canary_fraction",
            "Share of the requests of an alias that a second version serves.",
            labels=(*both, "version", "stable"),
        ),
        GaugeMetricFamily(
            "hub_canary_requests",
            "Distinct requests that count for a canary, over all servers, by arm.",
            labels=(*both, "arm"),
        ),
        GaugeMetricFamily(
            "hub_canary_signal",
            "Means over those requests.",
            labels=(*both, "arm", "signal"),
        ),
        GaugeMetricFamily(
            "hub_canary_evidence",
            "Logarithm to base 10 of the evidence against the canary; it is rolled back at 2.",
            labels=both,
        ),
    )
