"""Every metric of the server, declared in this one place.

Names follow go-grpc-prometheus for calls and one `hub_` family for the rest; units are seconds,
bytes and tokens. Labels are bounded (`server.telemetry.labels`): values that callers decide on go
through `pairs`, `adapters`, `tenants` or `both`. Never a text, an id or an address.

The registry is the object's own, not the process's: two servers in one process do not mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
)

from server.telemetry import buckets
from server.telemetry.canaries import CanaryCollector
from server.telemetry.golden import GoldenCollector
from server.telemetry.labels import BASE_LABEL, OTHER, BoundedLabel, BoundedPairs
from server.telemetry.residency import ResidencyCollector

__all__ = ["BASE_LABEL", "LABEL_VALUES", "OTHER", "Metrics"]

LABEL_VALUES: Final = 8
"""With it a server has at most 4,300 series, whoever calls it; each further value makes 130."""


class Metrics:
    """The metrics of one server; all of them may be used from any thread.

    Attributes:
        pairs: Bounds a `pair` label that stands without an adapter.
        adapters: Bounds an `adapter` label that stands without a pair.
        both: Bounds the two together.
        tenants: Bounds a `tenant` label.
        residency: Shows which adapters are in memory, at each scrape.
        canaries: Shows the canaries that run, at each scrape.
        golden: Shows the last looks at golden lines, at each scrape.
    """

    def __init__(self, label_values: int = LABEL_VALUES) -> None:
        """Declare everything, at zero.

        Args:
            label_values: Pairs, adapters, combinations of the two, and tenants that are told apart.
        """
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.pairs = BoundedLabel(label_values)
        self.adapters = BoundedLabel(label_values)
        self.both = BoundedPairs(label_values)
        self.tenants = BoundedLabel(label_values)
        self.residency = ResidencyCollector(label_values)
        self.registry.register(self.residency)
        self.canaries = CanaryCollector(label_values)
        self.registry.register(self.canaries)
        self.golden = GoldenCollector(label_values)
        self.registry.register(self.golden)
        self._declare_calls()
        self._declare_queue()
        self._declare_steps()
        self._declare_tokens()
        self._declare_routes()
        self._declare_adapters()
        self._declare_cache()
        self._declare_quality()
        self._declare_feedback()
        self._declare_canaries()
        self._declare_tenants()
        self._declare_base()

    def _declare_calls(self) -> None:
        method = ["grpc_type", "grpc_service", "grpc_method"]
        self.calls_started = self._counter("grpc_server_started", "Calls that began.", method)
        self.calls_handled = self._counter(
            "grpc_server_handled", "Calls that ended, by status.", [*method, "grpc_code"]
        )
        self.call_seconds = self._histogram(
            "grpc_server_handling_seconds", "Duration of calls.", buckets.CALL_SECONDS, method
        )
        self.rejected = self._counter(
            "hub_rejected", "Calls and items refused or failed, by reason.", ["reason"]
        )

    def _declare_queue(self) -> None:
        pair = ["pair"]
        self.running = self._gauge("hub_requests_running", "Texts in the batch.")
        self.waiting = self._gauge("hub_requests_waiting", "Texts in the queue.")
        self.queue_seconds = self._histogram(
            "hub_request_queue_seconds",
            "From acceptance of a text to its first step, its adapter's load included.",
            buckets.QUEUE_SECONDS,
            pair,
        )
        self.first_segment_seconds = self._histogram(
            "hub_time_to_first_segment_seconds",
            "From a streaming call to its first finished sentence.",
            buckets.SEGMENT_SECONDS,
            pair,
        )
        self.token_seconds = self._histogram(
            "hub_seconds_per_output_token",
            "Decoding time of a sentence by the tokens of its translation.",
            buckets.TOKEN_SECONDS,
            pair,
        )

    def _declare_steps(self) -> None:
        self.stage_seconds = self._histogram(
            "hub_stage_seconds",
            "Time by stage: route and tokenize per call, encode and decode per text.",
            buckets.STAGE_SECONDS,
            ["stage"],
        )
        self.step_seconds = self._histogram(
            "hub_step_seconds", "Duration of one step of the engine.", buckets.STEP_SECONDS
        )
        self.step_delay = self._histogram(
            "hub_step_delay_seconds",
            "What running rows waited between two decoder steps: placing, encoding, all else.",
            buckets.STAGE_SECONDS,
        )
        self.batch_size = self._histogram("hub_batch_size", "Rows of a step.", buckets.ROWS)
        self.batch_adapters = self._histogram(
            "hub_batch_distinct_adapters",
            "Distinct adapters in a step; the plain base is none.",
            (0, *buckets.ROWS),
        )

    def _declare_tokens(self) -> None:
        both = ["pair", "adapter"]
        self.input_tokens = self._counter("hub_input_tokens", "Source tokens.", both)
        self.output_tokens = self._counter("hub_output_tokens", "Output tokens.", both)
        self.request_input_tokens = self._histogram(
            "hub_request_input_tokens", "Source tokens of a text.", buckets.TOKENS
        )
        self.request_output_tokens = self._histogram(
            "hub_request_output_tokens", "Output tokens of a text.", buckets.TOKENS
        )

    def _declare_routes(self) -> None:
        self.routes = self._gauge("hub_routes", "Routes of pairs and domains to adapters.")
        self.fallbacks = self._counter(
            "hub_fallbacks",
            "Texts translated by another adapter than the one that was asked for, by reason.",
            ["pair", "reason"],
        )

    def _declare_adapters(self) -> None:
        self.load_seconds = self._histogram(
            "hub_adapter_load_seconds",
            "Reading an adapter into host memory, checks included, from the registry or from the "
            "disk that keeps it in the form that is served.",
            buckets.LOAD_SECONDS,
            ["source"],
        )
        self.load_failures = self._counter(
            "hub_adapter_load_failures", "Loads that failed, by reason.", ["reason"]
        )
        self.place_seconds = self._histogram(
            "hub_adapter_place_seconds", "Host memory to a slot.", buckets.PLACE_SECONDS
        )
        self.swap_seconds = self._histogram(
            "hub_adapter_swap_seconds",
            "All that it took to bring an adapter into a slot: placing, and the load before it "
            "where it was not in host memory.",
            buckets.LOAD_SECONDS,
            ["source"],
        )
        for source in ("registry", "disk"):
            self.load_seconds.labels(source)
        for source in ("host", "storage"):
            self.swap_seconds.labels(source)

    def _declare_cache(self) -> None:
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
        self.resident = self._gauge("hub_adapters_resident", "Adapters held.", tier)
        self.adapter_bytes = self._gauge("hub_adapter_bytes", "Bytes of adapters held.", tier)
        for name in ("device", "host"):
            for counter in (self.cache_hits, self.cache_misses, self.evictions):
                counter.labels(name)
            for gauge in (self.resident, self.adapter_bytes):
                gauge.labels(name)

    def _declare_quality(self) -> None:
        both = ["pair", "adapter"]
        self.mean_logprob = self._histogram(
            "hub_mean_logprob",
            "Mean log-probability per token of an output.",
            buckets.LOGPROB,
            both,
        )
        self.length_ratio = self._histogram(
            "hub_length_ratio", "Output tokens per source token.", buckets.RATIO, ["pair"]
        )
        self.logprob_zscore = self._histogram(
            "hub_logprob_zscore",
            "Deviations of a sentence's mean log-probability from the adapter's dev set.",
            buckets.ZSCORE,
            both,
        )
        self.quality_flags = self._counter(
            "hub_quality_flags", "Outputs with a warning.", [*both, "flag"]
        )
        self.second_tries = self._counter(
            "hub_second_tries",
            "Sentences translated a second time because the first was bad, by outcome.",
            [*both, "outcome"],
        )

    def _declare_feedback(self) -> None:
        both = ["pair", "adapter"]
        self.post_edits = self._counter("hub_post_edits", "Post-edits that were stored.", both)
        self.hter = self._histogram(
            "hub_hter",
            "Edits per word from a translation to its post-edit (HTER).",
            buckets.HTER,
            both,
        )
        self.hter_unmeasured = self._counter(
            "hub_hter_unmeasured", "Post-edits that are not measured, by reason.", ["reason"]
        )

    def _declare_canaries(self) -> None:
        self.canary_seconds = self._histogram(
            "hub_canary_request_seconds",
            "From acceptance to the end of the slowest text of a request, by arm of a canary.",
            buckets.CALL_SECONDS,
            ["arm"],
        )
        self.canaries_ended = self._counter(
            "hub_canaries_ended", "Canaries that this server ended, by outcome.", ["outcome"]
        )
        for outcome in ("promoted", "rolled_back"):
            self.canaries_ended.labels(outcome)
        self.golden_runs = self._counter(
            "hub_golden_runs", "Looks at golden lines, by outcome.", ["outcome"]
        )
        for outcome in ("ok", "none", "postponed", "failed"):
            self.golden_runs.labels(outcome)

    def _declare_tenants(self) -> None:
        self.tenant_requests = self._counter(
            "hub_tenant_requests", "Calls of a tenant, by outcome.", ["tenant", "outcome"]
        )
        self.tenant_tokens = self._counter(
            "hub_tenant_tokens", "Tokens of a tenant, input and output.", ["tenant", "direction"]
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
        self.memory_limit = self._gauge(
            "hub_memory_limit_bytes", "Memory that this process may take: the container's, or all."
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
        self, name: str, text: str, bounds: Sequence[float], labels: Sequence[str] = ()
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=bounds, registry=self.registry)
