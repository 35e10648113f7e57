"""Coming up, telling how it is, and going down."""

from __future__ import annotations

import asyncio
import re
import socket
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from hub.client import Decoding, HubClient
from hub.errors import (
    BaseNotFoundError,
    PortInUseError,
    ServerUnreachableError,
    UnavailableError,
)
from hub.pb.adapterhub.v1 import translation_service_pb2 as pb
from hub.settings import Settings
from server.application import Application

SHORT = Decoding(max_output_tokens=4)


def scrape(house: Any) -> dict[str, Any]:
    address = f"http://{house.application.ports.metrics}/metrics"
    with urllib.request.urlopen(address, timeout=20) as reply:
        assert reply.headers["Content-Type"].startswith("text/plain")
        text = reply.read().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_health_is_serving(house: Any) -> None:
    assert house.client.is_serving()
    house.client.wait_until_serving(20)


def test_reflection_lists_the_services(house: Any) -> None:
    with grpc.insecure_channel(house.target) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        reply = next(stub.ServerReflectionInfo(iter([ask]), timeout=20))
    assert {service.name for service in reply.list_services_response.service} == {
        "adapterhub.v1.TranslationService",
        "adapterhub.v1.AdapterService",
        "adapterhub.v1.GlossaryService",
        "adapterhub.v1.FeedbackService",
        "google.cloud.translation.v3.TranslationService",
        "google.longrunning.Operations",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_metrics_tell_what_happened(house: Any) -> None:
    house.publisher.lora("measured", seed=51)
    house.client.translate(["Monday", ""], "en", "ko", adapter="measured", decoding=SHORT)
    families = scrape(house)

    def value(family: str, name: str, **labels: str) -> float:
        found = [
            sample.value
            for sample in families[family].samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(found)

    handled = {"grpc_method": "TranslateText", "grpc_code": "OK"}
    assert value("grpc_server_handled", "grpc_server_handled_total", **handled) >= 1
    tokens = {"pair": "en-ko", "adapter": "measured"}
    assert value("hub_output_tokens", "hub_output_tokens_total", **tokens) >= 1
    assert value("hub_mean_logprob", "hub_mean_logprob_count", **tokens) == 1
    assert value("hub_rejected", "hub_rejected_total", reason="INVALID_TEXT") >= 1
    assert value("hub_batch_size", "hub_batch_size_count") >= 1
    assert value("hub_stage_seconds", "hub_stage_seconds_count", stage="encode") >= 1
    assert value("hub_adapters_resident", "hub_adapters_resident", tier="device") >= 1
    assert "hub_base_model_bytes" in families  # of a fresh process: test_serve_process.py
    info = families["hub_base_info"].samples[0].labels
    assert info["digest"] == house.publisher.base.digest


def test_no_text_and_no_ref_of_a_caller_becomes_a_label(house: Any) -> None:
    secret = "zq9secret"
    with pytest.raises(Exception, match="secret"):
        house.client.translate([secret], "en", "ko", adapter=secret)
    house.client.translate([secret], "en", "ko", decoding=SHORT)
    labels = [s.labels for family in scrape(house).values() for s in family.samples]
    assert not [one for one in labels if secret in str(one)]


@pytest.mark.parametrize("port", ["port", "metrics_port"])
def test_a_port_in_use_is_refused_with_a_remedy(house: Any, port: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        flags = {"port": 0, "metrics_port": 0} | {port: taken.getsockname()[1]}
        settings = house.settings.model_copy(update=flags)
        with pytest.raises(PortInUseError, match=re.escape(f"--{port.replace('_', '-')}")):
            asyncio.run(_start(settings))


def test_a_second_server_does_not_share_the_port(house: Any) -> None:
    port = int(house.target.rsplit(":", 1)[1])
    settings = house.settings.model_copy(update={"port": port, "metrics_port": 0})
    with pytest.raises(PortInUseError):
        asyncio.run(_start(settings))


def test_what_fails_while_stopping_keeps_nothing_from_being_released(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = house.settings.model_copy(update={"port": 0, "metrics_port": 0})

    async def stopped() -> Application:
        application = Application(settings)
        await application.__aenter__()
        for part in (application.reloads, application.core.feedback):
            monkeypatch.setattr(type(part), "stop", fail, raising=False)
            monkeypatch.setattr(type(part), "close", fail, raising=False)
        with pytest.raises(ZeroDivisionError):
            await application.stop(5)
        return application

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    application = asyncio.run(stopped())
    assert not application.core.worker._thread.is_alive()
    for address in (application.ports.grpc, application.ports.metrics):
        with socket.socket() as again:
            again.bind(("127.0.0.1", int(address.rsplit(":", 1)[1])))


def test_a_missing_base_is_refused(house: Any) -> None:
    settings = house.settings.model_copy(
        update={"port": 0, "metrics_port": 0, "base": "/nowhere/at/all"}
    )
    with pytest.raises(BaseNotFoundError):
        asyncio.run(_start(settings))


async def _start(settings: Settings) -> None:
    async with Application(settings):
        raise AssertionError("it should not have started")


def test_before_the_base_is_loaded_calls_are_told_to_come_back(house: Any) -> None:
    settings = house.settings.model_copy(update={"port": 0, "metrics_port": 0})

    async def ask() -> None:
        application = Application(settings)
        await application.listen()
        try:
            await asyncio.to_thread(_ask_too_early, application.ports.grpc)
        finally:
            await application.stop(0)

    asyncio.run(ask())


def _ask_too_early(target: str) -> None:
    with HubClient(target, timeout=20) as client:
        assert not client.is_serving()
        with pytest.raises(UnavailableError, match="being loaded"):
            client.translate(["a"], "en", "ko")


def test_draining_finishes_what_runs_and_refuses_what_is_new(house: Any) -> None:
    settings = house.settings.model_copy(update={"port": 0, "metrics_port": 0})

    async def live() -> tuple[Any, Exception]:
        async with Application(settings) as application:
            target = application.ports.grpc
            async with grpc.aio.insecure_channel(target) as channel:
                translate = channel.unary_unary(
                    "/adapterhub.v1.TranslationService/TranslateText",
                    pb.TranslateTextRequest.SerializeToString,
                    pb.TranslateTextResponse.FromString,
                )
                while _running(application):  # the warm-up may still be counted
                    await asyncio.sleep(0)
                running = translate(request(120))
                while not _running(application):
                    await asyncio.sleep(0)
                stopping = asyncio.create_task(application.stop(20))
                reply = await running
                await stopping
                try:
                    await translate(request(1), timeout=5)
                except grpc.RpcError as error:
                    return reply, error
        raise AssertionError("a stopped server answered")

    reply, error = asyncio.run(live())
    assert reply.translations[0].status.code == 0
    assert isinstance(error, grpc.aio.AioRpcError)
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def _running(application: Application) -> bool:
    return bool(application.metrics.registry.get_sample_value("hub_requests_running"))


def request(tokens: int) -> pb.TranslateTextRequest:
    return pb.TranslateTextRequest(
        contents=["Monday"],
        source_language_code="en",
        target_language_code="ko",
        decoding=pb.DecodingOptions(max_output_tokens=tokens),
    )


def test_a_server_of_another_kind_is_asked_now_and_then() -> None:
    asked: list[str] = []

    class Counting(grpc.ServerInterceptor):  # type: ignore[misc]
        def intercept_service(self, continuation: Any, details: Any) -> Any:
            asked.append(details.method)
            return continuation(details)  # there is none: UNIMPLEMENTED

    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, interceptors=[Counting()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with (
                HubClient(f"127.0.0.1:{port}") as client,
                pytest.raises(ServerUnreachableError, match="was not serving"),
            ):
                client.wait_until_serving(0.5)
        finally:
            server.stop(None)
    assert 1 <= len(asked) <= 6
