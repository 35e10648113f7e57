"""What an operator sees of a running server: its log, its health, its settings read again."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import event

from hub.client import Decoding, HubClient
from hub.errors import CorruptBaseError, InputError
from hub.pb.adapterhub.v1 import translation_service_pb2 as pb
from hub.settings import load_settings
from server.application import Application, Reread

SHORT = Decoding(max_output_tokens=4)
WAIT = 30


def translate(target: str, message: Any, metadata: Any = ()) -> Any:
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(
            "/adapterhub.v1.TranslationService/TranslateText",
            pb.TranslateTextRequest.SerializeToString,
            pb.TranslateTextResponse.FromString,
        )
        return call(message, timeout=WAIT, metadata=metadata)


def request(**fields: Any) -> pb.TranslateTextRequest:
    known = {
        "contents": ["zq9 secret"],
        "source_language_code": "en",
        "target_language_code": "ko",
        "decoding": pb.DecodingOptions(max_output_tokens=4),
        "labels": {"team": "docs"},
    }
    return pb.TranslateTextRequest(**(known | fields))


def access_lines(caplog: pytest.LogCaptureFixture, count: int = 0) -> list[dict[str, Any]]:
    """Return the lines of calls; a call's line comes a moment after its caller has the status."""
    until = time.monotonic() + WAIT
    while len(caplog.records) < count and time.monotonic() < until:
        time.sleep(0.01)
    return [r.hub_fields for r in caplog.records if r.name == "adapterhub.access"]  # type: ignore[attr-defined]


def test_calls_leave_one_line_each(house: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="adapterhub.access")
    version = house.publisher.lora("logged", seed=71)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    metadata = (("x-request-id", "r-71"), ("traceparent", trace), ("authorization", "zq9 key"))
    translate(house.target, request(adapter="logged@latest"), metadata)
    with pytest.raises(grpc.RpcError):
        translate(house.target, request(adapter="nobody"))
    with pytest.raises(grpc.RpcError):
        translate(house.target, request(target_language_code=""))
    assert house.client.is_serving()  # a probe leaves none
    done, unknown, bad = access_lines(caplog)
    assert done["method"] == "adapterhub.v1.TranslationService/TranslateText"
    assert (done["code"], done["request_id"], done["traceparent"]) == ("OK", "r-71", trace)
    assert (done["adapter"], done["adapter_digest"]) == (version.ref, version.digest)
    assert (done["adapter_requested"], done["pair"]) == ("logged@latest", "en-ko")
    assert (done["items"], done["items_failed"]) == (1, 0)
    assert done["output_tokens"] > 0
    assert done["stages_ms"]["decode"] > 0
    assert (unknown["code"], unknown["reason"]) == ("NOT_FOUND", "ADAPTER_NOT_FOUND")
    assert (bad["code"], bad["reason"]) == ("INVALID_ARGUMENT", "INVALID_LANGUAGE")
    assert "zq9" not in caplog.text + str(access_lines(caplog))
    assert "docs" not in str(access_lines(caplog))


def test_a_message_that_cannot_be_read_and_a_caller_that_leaves_are_logged(
    house: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="adapterhub.access")
    with grpc.insecure_channel(house.target) as channel:
        call = channel.unary_unary("/adapterhub.v1.TranslationService/TranslateText")
        with pytest.raises(grpc.RpcError):
            call(b"\xff\xff\xff", timeout=WAIT)
        many = request(contents=["Monday"] * 200, decoding=pb.DecodingOptions(beam_size=8))
        with pytest.raises(grpc.RpcError):
            call(many.SerializeToString(), timeout=0.2)
    with HubClient(house.target, timeout=WAIT) as client:
        client.list_loaded_adapters()  # the engine has let go of the others by then
    codes = Counter(line["code"] for line in access_lines(caplog))
    assert codes["INVALID_ARGUMENT"] == 1
    assert codes["DEADLINE_EXCEEDED"] + codes["CANCELLED"] == 1


def test_every_service_has_its_health(house: Any) -> None:
    with grpc.insecure_channel(house.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "adapterhub.v1.TranslationService", "adapterhub.v1.AdapterService"):
            reply = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=WAIT)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_another_base_than_the_expected_one_is_never_served(house: Any) -> None:
    flags = {"port": 0, "metrics_port": 0, "base_digest": "sha256:" + "0" * 64}
    settings = house.settings.model_copy(update=flags)

    async def start() -> None:
        application = Application(settings)
        await application.listen()
        try:
            with pytest.raises(CorruptBaseError, match="base_digest asks for"):
                await application.load()
            assert not await asyncio.to_thread(_is_serving, application.ports.grpc)
        finally:
            await application.stop(0)

    asyncio.run(start())


def _is_serving(target: str) -> bool:
    with HubClient(target, timeout=WAIT) as client:
        return client.is_serving()


def test_limits_change_while_it_runs(
    house: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "hub.toml"
    file.write_text("max_contents = 3\n")
    flags = house.settings.model_dump(include={"registry", "base", "threads"})
    flags |= {"port": 0, "metrics_port": 0}

    def read() -> Any:
        return load_settings(flags, environ={}, config=file)

    async def live() -> None:
        async with Application(read(), Reread(read, (file,))) as application:
            target = application.ports.grpc
            await asyncio.to_thread(translate, target, request(contents=["a"] * 3))
            file.write_text("max_contents = 2\nlog_labels = ['team']\nslots = 9\n")
            application.reload()
            while application.settings.max_contents != 2:
                await asyncio.sleep(0.01)
            with HubClient(target, timeout=WAIT) as client:
                reply = await asyncio.to_thread(client.translate, ["a"] * 3, "en", "ko")
                assert len(reply.items) == 3  # in two calls
            with pytest.raises(grpc.RpcError, match="at most 2 are allowed"):
                await asyncio.to_thread(translate, target, request(contents=["a"] * 3))
            file.write_text("max_contents = 0\n")
            application.reload()
            labels = {"what": "settings", "outcome": "failed"}
            value = application.metrics.registry.get_sample_value
            while not value("hub_reloads_total", labels):
                await asyncio.sleep(0.01)
            assert application.settings.max_contents == 2

    asyncio.run(asyncio.wait_for(live(), 60))
    assert "take a restart: slots" in caplog.text
    assert "max_contents = 0" in caplog.text
    assert any(line.get("labels") == {"team": "docs"} for line in access_lines(caplog))


def test_requests_leave_the_registry_alone(house: Any) -> None:
    """Twenty requests read it once at most: when the watcher has just seen the publication."""
    house.publisher.lora("cached", seed=72)
    ask = ("Monday",), "en", "ko"
    house.client.translate(*ask, adapter="cached", decoding=SHORT)  # resolved and loaded
    core = house.application.core
    reads: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        watching = threading.current_thread().name == "registry-watcher"
        if statement.startswith("SELECT") and not watching:
            reads.append(statement)

    engine = core.registry._database._engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        for _ in range(20):
            house.client.translate(*ask, adapter="cached", decoding=SHORT)
        served, reads[:] = len(reads), []
        core.registry.resolve("cached")
        once = len(reads)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert once > 0
    assert served <= once


def test_an_empty_ref_cannot_be_loaded(house: Any) -> None:
    with pytest.raises(InputError):
        house.client.load_adapter("")


def test_a_stream_leaves_one_line_with_its_whole_result(
    house: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="adapterhub.access")
    with grpc.insecure_channel(house.target) as channel:
        call = channel.unary_stream(
            "/adapterhub.v1.TranslationService/StreamTranslateText",
            pb.TranslateTextRequest.SerializeToString,
            pb.StreamTranslateTextResponse.FromString,
        )
        list(call(request(contents=["Monday. Tuesday.", "euro"], adapter="base"), timeout=WAIT))
        with pytest.raises(grpc.RpcError):
            list(call(request(adapter="nobody"), timeout=WAIT))
    done, failed = access_lines(caplog, 2)
    assert done["method"].endswith("/StreamTranslateText")
    assert (done["code"], done["items"], done["adapter"]) == ("OK", 2, "base")
    assert done["output_tokens"] > 0
    assert (failed["code"], failed["reason"]) == ("NOT_FOUND", "ADAPTER_NOT_FOUND")


def test_routes_follow_the_registry_within_two_seconds(house: Any) -> None:
    def served() -> str:
        reply = house.client.translate(["euro"], "de", "fr", decoding=SHORT)
        version: str = reply.items[0].adapter_version
        return version

    def soon(wanted: str) -> None:
        until = time.monotonic() + 30  # two seconds, on a machine that does nothing else
        while (version := served()) != wanted:
            assert time.monotonic() < until, f"still {version!r}"

    for seed in (73, 74):
        house.publisher.lora("routed", pair="de-fr", seed=seed)
    assert served() == ""
    house.publisher.registry.set_alias("routed", "prod", 1, None)
    soon("routed:1")
    house.publisher.registry.set_alias("routed", "prod", 2, 1)
    soon("routed:2")


def test_a_changed_routes_file_is_read_and_a_bad_one_is_not_taken(
    house: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    house.publisher.lora("stated", pair="fr-de", seed=75)
    routes = tmp_path / "routes.toml"
    routes.write_text("")
    flags = house.settings.model_dump(include={"registry", "base", "threads"})
    settings = load_settings(
        {**flags, "port": 0, "metrics_port": 0, "routes": str(routes)},
        environ={}, folder=tmp_path,
    )  # fmt: skip

    async def live() -> None:
        async with Application(settings) as application:
            assert application.reloads.parts == ("routes",)

            def stated() -> int:
                entries = application.core.routes().sorted()
                return sum(entry.ref == "stated" for entry in entries)

            assert not stated()
            routes.write_text('[[route]]\npair = "fr-de"\nadapter = "stated"\n')
            while not stated():  # by itself, for the file has changed
                await asyncio.sleep(0.02)
            routes.write_text('[[route]]\npair = "fr-de"\nadapter = "nobody"\n')
            while "routes not reloaded, what was there stays" not in caplog.text:
                await asyncio.sleep(0.02)
            assert stated() == 1

    asyncio.run(asyncio.wait_for(live(), 60))
