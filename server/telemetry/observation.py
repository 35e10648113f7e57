"""What is counted of a finished translation, of a load, and of the server as a whole.

The rooms where things happen call these, so that which metric takes what stands in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from hub.errors import HubError
from hub.registry import AdapterVersion
from server.messages import ItemResult, Outcome
from server.telemetry.metrics import BASE_LABEL, Metrics
from server.telemetry.process_memory import limit_bytes
from server.telemetry.traces import current_trace

if TYPE_CHECKING:
    from server.telemetry.residency import Inspect


class Routed(Protocol):
    """What is asked of a route."""

    @property
    def pair(self) -> object:
        """The language pair that is served."""

    @property
    def version(self) -> AdapterVersion | None:
        """The adapter that serves, None for the base alone."""


def observe_stages(metrics: Metrics, stages: Mapping[str, float]) -> None:
    """Count the seconds of a command's own stages, by name."""
    for stage, seconds in stages.items():
        metrics.stage_seconds.labels(stage).observe(seconds)


def observe_first_segment(metrics: Metrics, route: Routed, seconds: float) -> None:
    """Count how long the caller of a stream waited for its first sentence."""
    metrics.first_segment_seconds.labels(metrics.pairs.of(str(route.pair))).observe(seconds)


def observe_unrouted(metrics: Metrics, item: ItemResult) -> None:
    """Count a text that could not be sent anywhere."""
    metrics.rejected.labels(item.error.reason if item.error else "").inc()


def observe_item(
    metrics: Metrics, item: ItemResult, route: Routed, outcomes: Iterable[Outcome]
) -> None:
    """Count a text that was routed, and add its stages to the trace of the call, if it has one.

    Args:
        metrics: Where to count.
        item: What became of it.
        route: Where it went.
        outcomes: How its sentences ended.
    """
    ended = tuple(outcomes)
    name = item.adapter_version.partition(":")[0] or BASE_LABEL
    both = metrics.both.of(str(route.pair), name)
    metrics.input_tokens.labels(*both).inc(item.input_tokens)
    if item.fallback is not None:
        metrics.fallbacks.labels(metrics.pairs.of(str(route.pair)), item.fallback.value).inc()
    if item.error is None:
        _observe_speed(metrics, metrics.pairs.of(str(route.pair)), item, ended)
        _observe_quality(metrics, both, metrics.pairs.of(str(route.pair)), item)
    else:
        metrics.rejected.labels(item.error.reason).inc()
    if (trace := current_trace()) is not None:
        trace.add_item(item, ended)


def observe_tenant(
    metrics: Metrics, tenant: str, code: str, items: Iterable[ItemResult] = ()
) -> None:
    """Count a call of a tenant that has ended, and its tokens; nothing where nobody is asked.

    Args:
        metrics: Where to count.
        tenant: Whose call it was, "" where that is not known.
        code: Name of the gRPC status that it ended with.
        items: What became of its texts.
    """
    if not tenant:
        return
    label = metrics.tenants.of(tenant)
    outcome = {"OK": "ok", "RESOURCE_EXHAUSTED": "rejected"}.get(code, "failed")
    metrics.tenant_requests.labels(label, outcome).inc()
    for item in items:
        metrics.tenant_tokens.labels(label, "input").inc(item.input_tokens)
        metrics.tenant_tokens.labels(label, "output").inc(item.output_tokens)


def trace_failed(error: HubError, outcomes: Iterable[Outcome]) -> None:
    """Add to the trace of a call, if it has one, how long its sentences waited in vain."""
    if (trace := current_trace()) is not None:
        trace.add_item(ItemResult(error=error), outcomes)


def _observe_speed(
    metrics: Metrics, pair: str, item: ItemResult, outcomes: Iterable[Outcome]
) -> None:
    trace = current_trace()
    exemplar = trace.exemplar if trace is not None else None
    metrics.queue_seconds.labels(pair).observe(item.timings.queue_seconds, exemplar)
    metrics.request_input_tokens.observe(item.input_tokens)
    metrics.request_output_tokens.observe(item.output_tokens)
    for outcome in outcomes:
        if outcome.candidates and outcome.candidates[0].length:
            each = outcome.timings.decode_seconds / outcome.candidates[0].length
            metrics.token_seconds.labels(pair).observe(each, exemplar)


def _observe_quality(metrics: Metrics, both: tuple[str, str], pair: str, item: ItemResult) -> None:
    signals = item.signals
    metrics.output_tokens.labels(*both).inc(item.output_tokens)
    metrics.mean_logprob.labels(*both).observe(signals.mean_log_probability)
    metrics.length_ratio.labels(pair).observe(signals.length_ratio)
    for sentence in item.sentence_signals:
        if sentence.log_probability_z is not None:
            metrics.logprob_zscore.labels(*both).observe(sentence.log_probability_z)
    for flag in item.flags:
        metrics.quality_flags.labels(*both, flag.value).inc()


def load_observer(metrics: Metrics) -> Callable[[AdapterVersion, str, float], None]:
    """Return what counts a load: what was loaded, from where, and the seconds it took."""

    def observe(version: AdapterVersion, source: str, seconds: float) -> None:
        metrics.residency.know(version)
        metrics.load_seconds.labels(source).observe(seconds)

    return observe


def watch_server(metrics: Metrics, inspect: Inspect, routes: Callable[[], int]) -> None:
    """Show what is asked for at each scrape: adapters in memory and the number of routes."""
    metrics.residency.watch(inspect)
    metrics.routes.set_function(routes)
    metrics.memory_limit.set(limit_bytes())
