"""Every metric of the server, declared in this one place.

Names follow go-grpc-prometheus for calls and one `hub_` family for the rest; units are seconds,
bytes and tokens. Labels are bounded: languages and adapters come from callers, so each such label
keeps the first values it sees and counts all others as "other". Never a text, an id or an address.

The registry is the object's own, not the process's: two servers in one process do not mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

MAX_PAIRS: Final = 100
MAX_ADAPTERS: Final = 100
OTHER: Final = "other"
BASE_LABEL: Final = "base"

_CALL_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SHORT_SECONDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
_TOKENS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_LOGPROB: Final = tuple(round(-5 + 0.25 * step, 2) for step in range(21))
_RATIO: Final = (0.3, 0.5, 0.7, 0.85, 1, 1.2, 1.5, 2, 3)


class BoundedLabel:
    """Keeps the values of a label few: the first `limit` distinct ones, then "other"."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[str] = set()
        self._lock = Lock()

    def of(self, value: str) -> str:
        """Return the value, or "other" when there have been too many."""
        with self._lock:
            if value not in self._seen and len(self._seen) < self._limit:
                self._seen.add(value)
            return value if value in self._seen else OTHER


class Metrics:
    """The metrics of one server; all of them may be used from any thread."""

    def __init__(self) -> None:
        """Declare everything, at zero."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.pairs = BoundedLabel(MAX_PAIRS)
        self.adapters = BoundedLabel(MAX_ADAPTERS)
        self._declare_calls()
        self._declare_batches()
        self._declare_adapters()
        self._declare_quality()
        self._declare_base()

    def _declare_calls(self) -> None:
        method = ["grpc_type", "grpc_service", "grpc_method"]
        self.calls_started = self._counter("grpc_server_started", "Calls that began.", method)
        self.calls_handled = self._counter(
            "grpc_server_handled", "Calls that ended, by status.", [*method, "grpc_code"]
        )
        self.call_seconds = self._histogram(
            "grpc_server_handling_seconds", "Duration of calls.", _CALL_SECONDS, method
        )
        self.rejected = self._counter(
            "hub_rejected", "Calls and items refused or failed, by reason.", ["reason"]
        )

    def _declare_batches(self) -> None:
        self.queue_seconds = self._histogram(
            "hub_request_queue_seconds",
            "From acceptance of a text to its first step, its adapter's load included.",
            _SHORT_SECONDS,
            ["pair"],
        )
        self.stage_seconds = self._histogram(
            "hub_stage_seconds",
            "Time by stage: route and tokenize per call, encode and decode per text.",
            _SHORT_SECONDS,
            ["stage"],
        )
        self.step_seconds = self._histogram(
            "hub_step_seconds", "Duration of one step of the engine.", _SHORT_SECONDS
        )
        self.step_delay = self._histogram(
            "hub_step_delay_seconds",
            "What running rows waited between two decoder steps: placing, encoding, all else.",
            _SHORT_SECONDS,
        )
        self.batch_size = self._histogram("hub_batch_size", "Rows of a step.", _ROWS)
        self.batch_adapters = self._histogram(
            "hub_batch_distinct_adapters",
            "Distinct adapters in a step; the plain base is none.",
            (0, *_ROWS),
        )
        self.running = self._gauge("hub_requests_running", "Texts in the batch.")
        self.waiting = self._gauge("hub_requests_waiting", "Texts in the queue.")
        tokens = ["pair", "adapter"]
        self.input_tokens = self._counter("hub_input_tokens", "Source tokens.", tokens)
        self.output_tokens = self._counter("hub_output_tokens", "Output tokens.", tokens)
        self.request_input_tokens = self._histogram(
            "hub_request_input_tokens", "Source tokens of a text.", _TOKENS
        )
        self.request_output_tokens = self._histogram(
            "hub_request_output_tokens", "Output tokens of a text.", _TOKENS
        )

    def _declare_adapters(self) -> None:
        tier = ["tier"]
        self.cache_hits = self._counter(
            "hub_adapter_cache_hits", "Adapters that were where they were needed.", tier
        )
        self.cache_misses = self._counter(
            "hub_adapter_cache_misses", "Adapters that had to be brought there.", tier
        )
        self.evictions = self._counter(
            "hub_adapter_cache_evictions", "Adapters that had to make room.", tier
        )
        self.load_seconds = self._histogram(
            "hub_adapter_load_seconds", "Registry to host memory, checks included.", _SHORT_SECONDS
        )
        self.load_failures = self._counter(
            "hub_adapter_load_failures", "Loads that failed, by reason.", ["reason"]
        )
        self.place_seconds = self._histogram(
            "hub_adapter_place_seconds", "Host memory to a slot: one swap.", _SHORT_SECONDS
        )
        self.resident = self._gauge("hub_adapters_resident", "Adapters held.", tier)
        self.adapter_bytes = self._gauge("hub_adapter_bytes", "Bytes of adapters held.", tier)
        for name in ("device", "host"):
            for metric in (self.cache_hits, self.cache_misses, self.evictions):
                metric.labels(name)
            self.resident.labels(name)
            self.adapter_bytes.labels(name)

    def _declare_quality(self) -> None:
        both = ["pair", "adapter"]
        self.mean_logprob = self._histogram(
            "hub_mean_logprob", "Mean log-probability per token of an output.", _LOGPROB, both
        )
        self.length_ratio = self._histogram(
            "hub_length_ratio", "Output tokens per source token.", _RATIO, ["pair"]
        )
        self.quality_flags = self._counter(
            "hub_quality_flags", "Outputs with a warning.", [*both, "flag"]
        )

    def _declare_base(self) -> None:
        self.reloads = self._counter(
            "hub_reloads",
            "Times that something was read again while serving, by outcome.",
            ["what", "outcome"],
        )
        self.base_bytes = self._gauge(
            "hub_base_model_bytes", "Resident memory that loading the base took."
        )
        self.base_info = self._gauge(
            "hub_base_info",
            "Always 1; the labels say which base is served.",
            ["name", "digest", "quantization"],
        )

    def _counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: Sequence[float], labels: Sequence[str] = ()
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)
