"""Where every adapter is, tables and tensors together: residency applied to the engine.

Used on the engine thread only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final, Generic

from hub.errors import HubError, IncompatibleAdapterError
from server.faults import as_hub_error
from server.messages import LoadedAdapter
from server.protocols import Adapter, EnginePort
from server.residency.loader import Loaded
from server.residency.tables import HostTier, Placement, SlotTable
from server.telemetry.metrics import Metrics

_SHRINKAGE: Final = 4
"""An adapter in memory takes at least a fourth of its files: 8 bits of 32."""


class Stock(Generic[Adapter]):
    """The adapters in memory, and the moves between the tiers."""

    def __init__(
        self, engine: EnginePort[Adapter], device: SlotTable, host: HostTier, metrics: Metrics
    ) -> None:
        self.device = device
        self.host = host
        self._engine = engine
        self._metrics = metrics
        self._adapters: dict[str, Adapter] = {}  # loaded and in the host tier
        self._fresh: set[str] = set()  # loaded and not placed since
        self._loading: dict[str, float] = {}  # seconds of the last load, of those
        self._gauge()

    def refusal(self, digest: str, size: int) -> HubError | None:
        """Return why an adapter of this size can never be served here, None when it can."""
        for tier, limit in (
            ("device", self.device.budget_bytes),
            ("host", self.host.budget_bytes),
        ):
            if size > limit:
                return IncompatibleAdapterError(
                    f"adapter {digest} takes {size} bytes; {tier}_adapter_bytes allows {limit}, "
                    f"so raise HUB_{tier.upper()}_ADAPTER_BYTES"
                )
        return None

    def refusal_by_files(self, digest: str, size: int) -> HubError | None:
        """Return why an adapter whose files have this size can never be served, if that is sure."""
        return self.refusal(digest, size // _SHRINKAGE)

    def plan(self, wanted: Mapping[str, int]) -> Iterable[str]:
        """Return the adapters to start loading, having made room for them.

        Args:
            wanted: Adapters waited for and not in a slot: digest → estimated bytes, by arrival.
        """
        if not wanted:
            return ()
        most = self.host.budget_bytes  # a file may be larger than what it becomes in memory
        plan = self.host.plan((digest, min(size, most)) for digest, size in wanted.items())
        self._forget(plan.evict)
        if plan.load:
            self._metrics.cache_misses.labels("host").inc(len(plan.load))
        return plan.load

    def note_load(self, load: Loaded[Adapter]) -> HubError | None:
        """Take in a loaded adapter; return why it failed, if it did."""
        error = load.error
        if load.adapter is not None:
            error = self.refusal(load.digest, load.adapter.nbytes)
        if load.adapter is None or error is not None:
            self.host.failed(load.digest)
            self._metrics.load_failures.labels(error.reason if error else "UNKNOWN").inc()
            return error
        self._adapters[load.digest] = load.adapter
        self._fresh.add(load.digest)
        self._loading[load.digest] = load.seconds
        self._forget(self.host.loaded(load.digest, load.adapter.nbytes))
        self._gauge()
        return None

    def place(self, placement: Placement) -> HubError | None:
        """Carry out a placement; return why it failed, if it did."""
        digest = placement.digest
        began = time.perf_counter()
        try:
            for _, slot in placement.evicted:
                self._engine.clear(slot)
            self._engine.place(placement.slot, self._adapters[digest])
        except Exception as error:
            return as_hub_error(error, f"placing {digest}")
        self._observe_swap(digest, time.perf_counter() - began)
        self._metrics.evictions.labels("device").inc(len(placement.evicted))
        self._metrics.cache_misses.labels("device").inc()
        self.host.touch(digest)
        self._gauge()
        return None

    def _observe_swap(self, digest: str, placing: float) -> None:
        loading = self._loading.pop(digest, 0.0)
        self._metrics.place_seconds.observe(placing)
        if digest in self._fresh:
            self._metrics.swap_seconds.labels("storage").observe(loading + placing)
        else:
            self._metrics.swap_seconds.labels("host").observe(placing)
            self._metrics.cache_hits.labels("host").inc()
        self._fresh.discard(digest)

    def note_hit(self) -> None:
        """Count a request whose adapter was in a slot already."""
        self._metrics.cache_hits.labels("device").inc()

    def inspect(self) -> tuple[LoadedAdapter, ...]:
        """Return what is in memory, slots first, each tier the most recently used first."""
        placed = [LoadedAdapter(*resident) for resident in self.device.resident()]
        slots = {adapter.digest for adapter in placed}
        beside = [
            LoadedAdapter(digest, 0, size, 0)
            for digest, size in self.host.ready()
            if digest not in slots
        ]
        return (*placed, *beside)

    def _forget(self, evicted: Iterable[str]) -> None:
        for digest in evicted:
            del self._adapters[digest]
            self._fresh.discard(digest)
            self._loading.pop(digest, None)
            self._metrics.evictions.labels("host").inc()

    def _gauge(self) -> None:
        device, host = self.device.resident(), self.host.ready()
        for tier, sizes in (
            ("device", [size for _, _, size, _ in device]),
            ("host", [size for _, size in host]),
        ):
            self._metrics.resident.labels(tier).set(len(sizes))
            self._metrics.adapter_bytes.labels(tier).set(sum(sizes))
