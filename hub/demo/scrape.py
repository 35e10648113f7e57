"""Read a server's Prometheus endpoint as a dashboard would."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.error import URLError
from urllib.request import OpenerDirector, ProxyHandler, build_opener

from prometheus_client.parser import text_string_to_metric_families

from hub.errors import ServerUnreachableError
from hub.loopback import is_loopback

_TIMEOUT = 10.0


@dataclass(frozen=True)
class Sample:
    """One line of the exposition."""

    name: str
    labels: Mapping[str, str]
    value: float


class Scrape:
    """The samples of one scrape, and the sums over them that the demo shows."""

    def __init__(self, text: str) -> None:
        self._samples = [
            Sample(sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of a sample over all label sets that have these labels."""
        return math.fsum(sample.value for sample in self._matching(name, labels))

    def mean(self, histogram: str, **labels: str) -> float:
        """Return the mean of what a histogram observed, NaN if nothing.

        A histogram with negative buckets has no sum in the exposition; its mean is NaN, too.
        """
        count = self.total(f"{histogram}_count", **labels)
        summed = any(self._matching(f"{histogram}_sum", labels))
        return self.total(f"{histogram}_sum", **labels) / count if count and summed else math.nan

    def quantile(self, share: float, histogram: str, **labels: str) -> float:
        """Estimate a quantile from buckets as PromQL's histogram_quantile does.

        Linear within the bucket it falls into; the largest finite bound where it lies beyond, and
        the lowest bound where it lies below that and the bound is not positive. NaN if nothing
        was observed.
        """
        counts: dict[float, float] = defaultdict(float)
        for sample in self._matching(f"{histogram}_bucket", labels):
            counts[float(sample.labels["le"])] += sample.value
        return _interpolate(share, sorted(counts.items()))

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """Return the sums of a sample for each value of a label."""
        sums: dict[str, float] = defaultdict(float)
        for sample in self._matching(name, {}):
            sums[sample.labels[label]] += sample.value
        return dict(sums)

    def _matching(self, name: str, labels: Mapping[str, str]) -> Iterable[Sample]:
        return (
            sample
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def scrape(address: str) -> Scrape:
    """Fetch and parse `http://address/metrics`.

    Raises:
        ServerUnreachableError: Nothing answers there.
    """
    url = f"http://{address}/metrics"
    try:
        with _opener(address).open(url, timeout=_TIMEOUT) as reply:
            return Scrape(reply.read().decode())
    except (URLError, OSError) as error:
        raise ServerUnreachableError(f"no metrics at {url}: {error}") from None


def _opener(address: str) -> OpenerDirector:
    """Return what opens URLs there; a proxy, should one be set, cannot reach this machine."""
    return build_opener(ProxyHandler({})) if is_loopback(address) else build_opener()


def _interpolate(share: float, cumulative: list[tuple[float, float]]) -> float:
    if not cumulative or not cumulative[-1][1]:
        return math.nan
    wanted = share * cumulative[-1][1]
    lower_bound = lower_count = 0.0
    for bound, count in cumulative:
        if count >= wanted:
            if math.isinf(bound):
                return lower_bound
            if bound <= cumulative[0][0] <= 0:
                return bound
            return lower_bound + (bound - lower_bound) * (
                (wanted - lower_count) / (count - lower_count)
            )
        lower_bound, lower_count = bound, count
    return lower_bound
