"""Which adapters are in memory, one series each, made anew at every scrape.

    hub_adapter_loaded{adapter="en-ko",version="3",level="device",pinned="false"} 1
    hub_adapter_info{adapter="en-ko",version="3",digest="sha256:…",pair="en-ko",method="lora"} 1

The shape is the one that routers of language models are agreeing on: a name, a level, whether it
is pinned, one series for each adapter in memory and none for others, so that a router can prefer
the replica that has it. The least recently used beyond the limit are counted as "other".
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from hub.errors import HubError
from hub.registry import AdapterVersion
from server.messages import LoadedAdapter
from server.telemetry.labels import OTHER

INSPECT_SECONDS: Final = 2.0
"""How long a scrape waits for the engine thread, which answers between two steps."""
_KNOWN: Final = 8192

_log = logging.getLogger("adapterhub.server")

Inspect = Callable[[], "Future[tuple[LoadedAdapter, ...]]"]
Row = tuple[str, str, str, str]


class ResidencyCollector(Collector):
    """Asks the engine thread at each scrape; shows what it last said when it does not answer."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inspect: Inspect | None = None
        self._versions: OrderedDict[str, AdapterVersion] = OrderedDict()
        self._last: tuple[LoadedAdapter, ...] = ()
        self._lock = Lock()

    def watch(self, inspect: Inspect) -> None:
        """Take what tells the adapters in memory, the most recently used first."""
        self._inspect = inspect

    def know(self, version: AdapterVersion) -> None:
        """Note what a digest stands for, before the adapter is in memory."""
        with self._lock:
            self._versions[version.digest] = version
            self._versions.move_to_end(version.digest)
            if len(self._versions) > _KNOWN:
                self._versions.popitem(last=False)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return the names, which the registry checks for duplicates."""
        return _families()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return a series for each adapter in memory, within the limit."""
        loaded, info = _families()
        named, counts = self._counts(self._adapters())
        for row, number in counts.items():
            loaded.add_metric(row, number)
        for version in named:
            manifest = version.manifest
            info.add_metric(
                (
                    version.name, str(version.version), version.digest, str(manifest.pair),
                    manifest.method,
                ),
                1,
            )  # fmt: skip
        return loaded, info

    def _adapters(self) -> Sequence[LoadedAdapter]:
        if self._inspect is not None:
            try:
                self._last = self._inspect().result(INSPECT_SECONDS)
            except (HubError, TimeoutError) as error:
                _log.debug("adapters in memory are shown as of the last scrape: %s", error)
        return self._last

    def _counts(
        self, adapters: Iterable[LoadedAdapter]
    ) -> tuple[list[AdapterVersion], Counter[Row]]:
        named: dict[str, AdapterVersion] = {}
        counts: Counter[Row] = Counter()
        with self._lock:
            for adapter in adapters:
                version = self._versions.get(adapter.digest)
                name, number = OTHER, ""
                if version is not None and len(named) < self._limit:
                    named[version.digest] = version
                    name, number = version.name, str(version.version)
                level = "device" if adapter.slot else "host"
                counts[name, number, level, str(adapter.pinned).lower()] += 1
        return list(named.values()), counts


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    return (
        GaugeMetricFamily(
            "hub_adapter_loaded",
            "Adapters in memory: 1 for each, the number of them for other.",
            labels=("adapter", "version", "level", "pinned"),
        ),
        GaugeMetricFamily(
            "hub_adapter_info",
            "Always 1; the labels say what an adapter in memory is.",
            labels=("adapter", "version", "digest", "pair", "method"),
        ),
    )
