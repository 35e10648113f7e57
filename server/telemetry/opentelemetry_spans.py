"""Traces by OpenTelemetry; imported only where tracing is on.

    adapterhub.v1.TranslationService/TranslateText      the call; its parent is the caller's span
      ├─ route, tokenize
      └─ item                                           one for each text
           ├─ queue ── load                             load: where the adapter had to be read
           ├─ encode
           └─ decode

An item of several sentences has a span `segment` for each, between it and its stages. Spans of
items are made when the call ends, from the times that the engine thread took, so tracing adds
nothing to a step. `encode` and `decode` last as long as the steps that the sentence was in; what is
left of a segment it stood between the steps of others. No attribute holds a text.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hub import __version__
from hub.errors import SettingsError
from server.messages import ItemResult, Outcome, Timings

MAX_SEGMENTS: Final = 64
"""Sentences of one call that get spans; the call says how many it had."""
_NANOSECONDS: Final = 1_000_000_000
_HEADERS: Final = ("traceparent", "tracestate")
_SERVER_FAULTS: Final = (
    *("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
)
"""Codes that count as an error of a server's span, by OpenTelemetry's conventions for gRPC."""
_CODES: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)


class Tracer:
    """Makes the spans of calls and hands them to an exporter, in a thread of its own."""

    def __init__(self, exporter: SpanExporter) -> None:
        """Start; OTEL_TRACES_SAMPLER and the SDK's other variables hold."""
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("adapterhub", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def call(
        self, method: str, metadata: Iterable[tuple[str, str | bytes]]
    ) -> Iterator[OpenTelemetryTrace]:
        """Trace a call for as long as the block runs."""
        headers = {key: value for key, value in metadata if key in _HEADERS}
        service, _, name = method.rpartition("/")
        span = self._tracer.start_span(
            method,
            context=self._propagator.extract(headers),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
        )
        try:
            yield OpenTelemetryTrace(self._tracer, span)
        finally:
            span.end()

    def close(self) -> None:
        """Send what is still to be sent. Blocks."""
        self._provider.shutdown()


class OpenTelemetryTrace:
    """The span of one call."""

    def __init__(self, tracer: trace.Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._wall = time.time_ns() - time.monotonic_ns()
        self._segments = 0

    @property
    def exemplar(self) -> dict[str, str] | None:
        """Return labels that point to the trace; None when it was not sampled."""
        context = self._span.get_span_context()
        if not context.trace_flags.sampled:
            return None
        return {
            "trace_id": trace.format_trace_id(context.trace_id),
            "span_id": trace.format_span_id(context.span_id),
        }

    def note_code(self, code: str) -> None:
        """Note the name of the gRPC status that the call ends with."""
        self._span.set_attribute("rpc.grpc.status_code", _CODES.index(code))
        if code in _SERVER_FAULTS:
            self._span.set_status(Status(StatusCode.ERROR, code))

    def add_stages(self, began: float, stages: Mapping[str, float]) -> None:
        """Add stages that followed one another from a monotonic time on."""
        for name, seconds in stages.items():
            self._add(self._span, name, began, began + seconds)
            began += seconds

    def add_item(self, item: ItemResult, outcomes: Iterable[Outcome]) -> None:
        """Add a text and the stages of its sentences."""
        ended = [one.timings for one in outcomes]
        self._segments += len(ended)
        self._span.set_attribute("adapterhub.segments", self._segments)
        if not ended or not self._span.is_recording() or self._segments > MAX_SEGMENTS:
            return
        began, end = min(one.accepted_at for one in ended), max(one.ended_at for one in ended)
        span = self._add(self._span, "item", began, end, _attributes(item))
        for timings in ended:
            around = span
            if len(ended) > 1:
                around = self._add(span, "segment", timings.accepted_at, timings.ended_at)
            self._add_segment(around, timings)

    def _add_segment(self, parent: Span, timings: Timings) -> None:
        began = timings.accepted_at
        admitted = began + timings.queue_seconds
        queue = self._add(parent, "queue", began, admitted)
        if timings.load_seconds:
            self._add(queue, "load", began, began + timings.load_seconds)
        encoded = admitted + timings.encode_seconds
        if timings.encode_seconds:
            self._add(parent, "encode", admitted, encoded)
        if timings.decode_seconds:
            self._add(parent, "decode", encoded, encoded + timings.decode_seconds)

    def _add(
        self,
        parent: Span,
        name: str,
        began: float,
        end: float,
        attributes: Mapping[str, str | int] | None = None,
    ) -> Span:
        """Add a span that has ended, from one monotonic time to another."""
        span = self._tracer.start_span(
            name,
            context=trace.set_span_in_context(parent, Context()),
            start_time=self._wall + round(began * _NANOSECONDS),
            attributes=attributes,
        )
        span.end(self._wall + round(end * _NANOSECONDS))
        return span


class FileSpanExporter(ConsoleSpanExporter):
    """Writes each span as a line of JSON, and closes the file at the end."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(out=file, formatter=lambda span: span.to_json(indent=None) + "\n")
        self._file = file

    def shutdown(self) -> None:
        """Close the file."""
        self._file.close()


def exporter_to(where: str) -> SpanExporter:
    """Return what sends spans to "otlp:URL" or writes them to "file:PATH", one JSON a line.

    Raises:
        SettingsError: The file cannot be written.
    """
    kind, _, target = where.partition(":")
    if kind == "otlp":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(endpoint=target, insecure=target.startswith("http:"))
    try:
        file = Path(target).expanduser().open("a", encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"tracing = {where!r}: cannot write {target}: {error.strerror}; name a file in a "
            "folder that exists and is ours to write",
            field="tracing",
        ) from None
    return FileSpanExporter(file)


def _resource() -> Resource:
    attributes = {"service.version": __version__}
    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    if not named:
        attributes["service.name"] = "adapterhub"
    return Resource.create(attributes)


def _attributes(item: ItemResult) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    if item.source:
        found = {
            "adapterhub.adapter": item.adapter_version or "base",
            "adapterhub.source_language": item.source,
            "adapterhub.input_tokens": item.input_tokens,
            "adapterhub.output_tokens": item.output_tokens,
            "adapterhub.batch_rows": item.timings.batch_rows,
            "adapterhub.batch_distinct_adapters": item.timings.batch_distinct_adapters,
        }
    if item.adapter_digest:
        found["adapterhub.adapter_digest"] = item.adapter_digest
    if item.fallback is not None:
        found["adapterhub.fallback"] = item.fallback.value
    if item.error is not None:
        found["error.type"] = item.error.reason
    return found
