"""Traces of a real server: the caller's span is the parent, stages nest and add up."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import grpc
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2,
    trace_service_pb2_grpc,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from hub.errors import SettingsError
from hub.pb.adapterhub.v1 import translation_service_pb2 as pb
from hub.pb.adapterhub.v1 import translation_service_pb2_grpc as pb_grpc
from hub.settings import load_settings
from server.telemetry import traces
from server.telemetry.opentelemetry_spans import Tracer

from .conftest import House, Weights

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = ("traceparent", f"00-{TRACE}-{PARENT}-01")
UNSAMPLED = ("traceparent", f"00-{TRACE}-{PARENT}-00")
STAGES = ("queue", "load", "encode", "decode")
SECRET = "Monday in the secret garden"

Open = Callable[..., Iterator[House]]


@contextmanager
def traced_house(open_house: Open, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple]:
    """Start a server whose spans go to memory."""
    exporter = InMemorySpanExporter()
    tracer = Tracer(exporter)
    monkeypatch.setattr("server.application.open_tracer", lambda where: tracer)
    for house in open_house(slots=2):
        with grpc.insecure_channel(house.target) as channel:
            yield house, pb_grpc.TranslationServiceStub(channel), tracer, exporter


@pytest.fixture
def traced(open_house: Open, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple]:
    with traced_house(open_house, monkeypatch) as found:
        yield found


def request(*contents: str, adapter: str = "", tokens: int = 4) -> pb.TranslateTextRequest:
    return pb.TranslateTextRequest(
        contents=contents,
        source_language_code="en",
        target_language_code="ko",
        adapter=adapter,
        decoding=pb.DecodingOptions(max_output_tokens=tokens),
    )


def spans_of(tracer: Tracer, exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    tracer._provider.force_flush()
    spans = list(exporter.get_finished_spans())
    exporter.clear()
    return spans


def late_spans(tracer: Tracer, exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    """Return the spans of a refused call, which end after the caller has the status."""
    spans: list[ReadableSpan] = []
    limit = time.monotonic() + 60
    while not any(span.name.endswith("TranslateText") for span in spans):
        assert time.monotonic() < limit
        spans += spans_of(tracer, exporter)
    return spans


def named(spans: list[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name == name]


def children(spans: list[ReadableSpan], parent: ReadableSpan) -> list[ReadableSpan]:
    return [
        span
        for span in spans
        if span.parent is not None and span.parent.span_id == parent.context.span_id
    ]


def seconds(span: ReadableSpan) -> float:
    return (span.end_time - span.start_time) / 1e9


def test_spans_of_a_call_nest_and_their_times_are_those_of_the_reply(traced: tuple) -> None:
    house, stub, tracer, exporter = traced
    house.publisher.lora("traced")
    began_at = exporter.get_finished_spans()
    assert not [span for span in began_at if "TranslateText" in span.name]
    reply = stub.TranslateText(request(SECRET, adapter="traced"), metadata=[SAMPLED], timeout=60)
    spans = spans_of(tracer, exporter)

    (call,) = named(spans, "adapterhub.v1.TranslationService/TranslateText")
    assert f"{call.context.trace_id:032x}" == TRACE
    assert f"{call.parent.span_id:016x}" == PARENT
    assert call.attributes["rpc.grpc.status_code"] == 0
    assert {span.context.trace_id for span in spans} == {call.context.trace_id}
    assert sorted(s.name for s in children(spans, call)) == ["item", "route", "tokenize"]

    (item,) = named(spans, "item")
    assert item.attributes["adapterhub.adapter"] == "traced:1"
    assert [span.name for span in children(spans, item)] == ["queue", "encode", "decode"]
    queue, encode, decode = children(spans, item)
    (load,) = children(spans, queue)
    assert load.name == "load"
    assert seconds(load) > 0

    timings = reply.translations[0].timings
    for span, milliseconds in (
        (queue, timings.queue_ms), (encode, timings.encode_ms), (decode, timings.decode_ms),
    ):  # fmt: skip
        assert seconds(span) * 1000 == pytest.approx(milliseconds, abs=0.01)
    parents = {span.context.span_id: span for span in spans}
    for span in spans:
        around = parents.get(span.parent.span_id)
        if around is not None:  # nanoseconds of two clocks: the monotonic one and the wall's
            assert around.start_time - 1_000_000 <= span.start_time, span.name
            assert span.end_time <= around.end_time + 1_000_000, span.name
    assert seconds(queue) + seconds(encode) + seconds(decode) <= seconds(item) + 1e-6
    assert seconds(item) <= seconds(call)
    assert SECRET not in "".join(span.to_json() for span in spans)


def test_sentences_of_an_item_have_a_segment_each(traced: tuple) -> None:
    _, stub, tracer, exporter = traced
    text = "Monday is here. Tuesday comes next. Wednesday is far away."
    reply = stub.TranslateText(request(text, "Friday"), metadata=[SAMPLED], timeout=60)
    spans = spans_of(tracer, exporter)
    long, short = named(spans, "item")
    assert reply.translations[0].status.code == 0
    segments = children(spans, long)
    assert [span.name for span in segments] == ["segment"] * 3
    for segment in segments:
        assert [s.name for s in children(spans, segment)] == ["queue", "encode", "decode"]
    assert [s.name for s in children(spans, short)] == ["queue", "encode", "decode"]
    (call,) = named(spans, "adapterhub.v1.TranslationService/TranslateText")
    assert call.attributes["adapterhub.segments"] == 4


def test_a_stream_is_traced_too(traced: tuple) -> None:
    house, stub, tracer, exporter = traced
    parts = list(stub.StreamTranslateText(request("Monday"), metadata=[SAMPLED], timeout=60))
    assert parts
    spans = spans_of(tracer, exporter)
    (call,) = named(spans, "adapterhub.v1.TranslationService/StreamTranslateText")
    assert "item" in [span.name for span in children(spans, call)]
    assert house.metric("hub_time_to_first_segment_seconds_count", pair="en-ko") == 1


def test_a_refused_call_has_its_status(traced: tuple) -> None:
    _, stub, tracer, exporter = traced
    with pytest.raises(grpc.RpcError):
        stub.TranslateText(request("Monday", adapter="nobody"), metadata=[SAMPLED], timeout=60)
    (call,) = late_spans(tracer, exporter)
    assert call.attributes["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]
    assert call.status.status_code is StatusCode.UNSET  # the caller's fault, not the server's


def spoil(weights: Weights) -> None:
    name = next(iter(weights))
    weights[name] = np.full_like(weights[name], np.nan)


def test_a_call_whose_adapter_cannot_be_loaded_shows_the_wait_for_it(traced: tuple) -> None:
    house, stub, tracer, exporter = traced
    house.publisher.bottleneck("broken", spoil=spoil)
    spans_of(tracer, exporter)
    with pytest.raises(grpc.RpcError) as refused:
        stub.TranslateText(request("Monday", adapter="broken"), metadata=[SAMPLED], timeout=60)
    spans = late_spans(tracer, exporter)
    (call,) = [span for span in spans if span.name.endswith("TranslateText")]
    (item,) = children(spans, call)
    assert item.attributes["error.type"] == "ADAPTER_DOES_NOT_BIND"
    (queue,) = children(spans, item)
    (load,) = children(spans, queue)
    assert (queue.name, load.name) == ("queue", "load")
    assert 0 < seconds(load) <= seconds(queue)
    assert call.attributes["rpc.grpc.status_code"] == refused.value.code().value[0]


def test_a_caller_that_does_not_sample_leaves_no_spans_and_no_exemplars(traced: tuple) -> None:
    house, stub, tracer, exporter = traced
    spans_of(tracer, exporter)
    stub.TranslateText(request("Monday"), metadata=[UNSAMPLED], timeout=60)
    assert not spans_of(tracer, exporter)
    assert "trace_id=" not in scrape(house, "application/openmetrics-text; version=1.0.0")
    stub.TranslateText(request("Monday"), metadata=[SAMPLED], timeout=60)
    assert spans_of(tracer, exporter)
    openmetrics = scrape(house, "application/openmetrics-text; version=1.0.0")
    exemplars = [line for line in openmetrics.splitlines() if f'trace_id="{TRACE}"' in line]
    assert any(line.startswith("grpc_server_handling_seconds_bucket") for line in exemplars)
    assert any(line.startswith("hub_request_queue_seconds_bucket") for line in exemplars)
    assert "trace_id=" not in scrape(house, "text/plain")  # that format has none


def scrape(house: House, accept: str) -> str:
    url = f"http://{house.application.ports.metrics}/metrics"
    with urlopen(Request(url, headers={"Accept": accept}), timeout=60) as reply:
        return reply.read().decode()


def test_health_is_not_traced(traced: tuple) -> None:
    house, _, tracer, exporter = traced
    spans_of(tracer, exporter)
    assert house.client.is_serving()
    assert not spans_of(tracer, exporter)


def test_spans_can_be_written_to_a_file(open_house: Open, tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    for house in open_house(tracing=f"file:{file}"):
        house.client.translate(["Monday"], "en", "ko")
    names = [json.loads(line)["name"] for line in file.read_text().splitlines()]
    assert names.count("item") == 1
    assert {"queue", "encode", "decode"} <= set(names)


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Receives spans as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        self.resources: list[Any] = []

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.resources.extend(request.resource_spans)
        return trace_service_pb2.ExportTraceServiceResponse()


def test_spans_are_sent_to_a_collector(open_house: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        for house in open_house(tracing=f"otlp:http://127.0.0.1:{port}"):
            house.client.translate(["Monday"], "en", "ko")
    finally:
        server.stop(None)
    (resource,) = collector.resources
    attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert attributes["service.name"] == "adapterhub"
    names = [span.name for scope in resource.scope_spans for span in scope.spans]
    assert {"item", "queue", "encode", "decode"} <= set(names)


def test_a_collector_that_is_not_there_costs_no_call_and_holds_up_the_end_little(
    open_house: Open, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as nobody:  # bound, and not listening: connections are refused
        nobody.bind(("127.0.0.1", 0))
        url = f"otlp:http://127.0.0.1:{nobody.getsockname()[1]}"
        for house in open_house(tracing=url):
            assert house.client.translate(["Monday"], "en", "ko").items[0].text
    assert "UNAVAILABLE" in caplog.text


def test_a_file_that_cannot_be_written_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        traces.open_tracer(f"file:{tmp_path / 'nowhere' / 'spans'}")


def test_without_the_packages_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "server.telemetry.opentelemetry_spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(SettingsError, match=r"pip install 'adapterhub\[tracing\]'"):
        traces.open_tracer("otlp:http://localhost:4317")


@pytest.mark.parametrize("value", ["on", "otlp:", "otlp:localhost:4317", "file:", "OFF"])
def test_other_values_are_refused(value: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="tracing"):
        load_settings({"tracing": value}, environ={}, folder=tmp_path)


def test_where_tracing_is_off_nothing_of_opentelemetry_is_imported() -> None:
    code = (
        "import sys, server.application, server.telemetry.traces as t;"
        "assert t.open_tracer('off') is None;"
        "print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert found.stdout.strip() == "[]"
