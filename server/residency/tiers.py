"""Where every adapter is, tables and tensors together: residency applied to the engine.

Used on the engine thread only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Final, Generic

from hub.errors import HubError, IncompatibleAdapterError, PinLimitError
from server.faults import as_hub_error
from server.messages import LoadedAdapter
from server.protocols import Adapter, EnginePort
from server.residency.loader import Loaded
from server.residency.tables import PINNED_SHARE, HostTier, Placement, SlotTable
from server.telemetry.metrics import Metrics

_log = logging.getLogger("adapterhub.server")

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
        self._leaving: set[str] = set()  # unloaded; their slots are cleared when they are idle
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
        if size > self.host.room and digest not in self.host.pinned:
            return IncompatibleAdapterError(
                f"adapter {digest} takes {size} bytes; {self.host.room} are left of "
                f"host_adapter_bytes beside {self.host.pinned_bytes} of pinned adapters, so unload "
                "one of them or raise HUB_HOST_ADAPTER_BYTES"
            )
        return None

    def pin_refusal(self, digest: str, size: int) -> HubError | None:
        """Return why an adapter of this size cannot be pinned now, None when it can."""
        if self.host.may_pin(digest, size):
            return None
        most = int(PINNED_SHARE * self.host.budget_bytes)
        return PinLimitError(
            f"adapter {digest} takes {size} bytes and {self.host.pinned_bytes} are pinned; at most "
            f"{most}, {PINNED_SHARE:.0%} of host_adapter_bytes, may be: unload a pinned adapter "
            "or raise HUB_HOST_ADAPTER_BYTES",
            metadata={"pinned_bytes": str(self.host.pinned_bytes), "limit": str(most)},
        )

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
        pinned = self.host.pinned
        placed = [
            LoadedAdapter(*resident, pinned=resident[0] in pinned)
            for resident in self.device.resident()
        ]
        slots = {adapter.digest for adapter in placed}
        beside = [
            LoadedAdapter(digest, 0, size, 0, digest in pinned)
            for digest, size in self.host.ready()
            if digest not in slots
        ]
        return (*placed, *beside)

    def find(self, digest: str) -> LoadedAdapter | None:
        """Return an adapter in memory, None when it is in neither tier."""
        return next((one for one in self.inspect() if one.digest == digest), None)

    def unload(self, digest: str) -> bool:
        """Unpin an adapter and drop it: from host memory now, from its slot when it is idle.

        Returns:
            Whether it was in memory.
        """
        placed = digest in self.device
        dropped = self.host.drop(digest)
        if dropped:
            del self._adapters[digest]
            self._fresh.discard(digest)
        if placed:
            self._leaving.add(digest)
        self._gauge()
        return dropped or placed

    def keep(self, digest: str) -> None:
        """Let an adapter stay in its slot after all: a request has come for it."""
        self._leaving.discard(digest)

    def drop_idle(self) -> None:
        """Clear the slots of unloaded adapters that no request runs with any more."""
        if not self._leaving:
            return
        idle = {digest: pins for digest, _, _, pins in self.device.resident()}
        for digest in [digest for digest in self._leaving if not idle.get(digest)]:
            self._leaving.discard(digest)
            if digest in idle:
                self._clear(self.device.drop(digest))
        self._gauge()

    def _clear(self, slot: int) -> None:
        try:
            self._engine.clear(slot)
        except Exception as error:  # the next placement writes over it
            _log.warning("slot %d could not be cleared: %r", slot, error)

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
