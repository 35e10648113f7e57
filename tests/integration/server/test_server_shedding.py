"""What the queue would refuse is refused at the door, with the same words and the same counts."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from hub.client import Decoding, HubClient
from hub.errors import CredentialsError, DeadlineError, QueueFullError
from hub.keys import KeyFile
from hub.pb.google.cloud.translation.v3 import translation_service_pb2 as google_pb
from hub.pb.google.cloud.translation.v3.translation_service_pb2_grpc import (
    TranslationServiceStub as GoogleStub,
)
from server.telemetry.access import LOGGER
from server.telemetry.logs import JsonFormatter

TRANSLATE = "/adapterhub.v1.TranslationService/TranslateText"
SHORT = Decoding(max_output_tokens=4)


@pytest.fixture(scope="module")
def tight(
    open_house: Callable[..., Iterator[Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, dict[str, str]]]:
    """A server with keys and a queue of four texts."""
    folder, file, keys = tmp_path_factory.mktemp("tight"), KeyFile(), {}
    for tenant in ("one", "two"):
        file, _, keys[tenant] = file.added(tenant, ["translate"])
    file.write(folder / "keys.json")
    houses = open_house(keys=str(folder / "keys.json"), queue=4)
    yield next(houses), keys
    houses.close()


class Full:
    """Keeps the queue full while the block runs."""

    def __init__(self, house: Any) -> None:
        self._intake = house.application.core.worker.intake

    def __enter__(self) -> None:
        self._kept = self._intake.reserve(4, 0)
        self._kept.__enter__()

    def __exit__(self, *_: object) -> None:
        self._kept.__exit__()


def test_a_full_queue_is_told_before_the_call_is_served(
    tight: tuple[Any, dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    house, keys = tight
    labels = {
        "grpc_type": "unary",
        "grpc_service": "adapterhub.v1.TranslationService",
        "grpc_method": "TranslateText",
    }

    def counted() -> tuple[float, ...]:
        return (
            house.metric("grpc_server_started_total", **labels),
            house.metric("grpc_server_handled_total", **labels, grpc_code="RESOURCE_EXHAUSTED"),
            house.metric("grpc_server_handling_seconds_count", **labels),
            house.metric("hub_rejected_total", reason="QUEUE_FULL"),
            house.metric("hub_tenant_requests_total", tenant="one", outcome="rejected"),
        )

    before = counted()
    with (
        caplog.at_level(logging.INFO, LOGGER),
        HubClient(house.target, timeout=30, key=keys["one"]) as client,
        Full(house),
    ):
        for _ in range(3):
            with pytest.raises(QueueFullError, match=r"4 texts wait already .* limit of 4") as told:
                client.translate(["Monday"], "en", "ko", decoding=SHORT)
        assert int(told.value.metadata["retry_delay_ms"]) > 0
        house.application.access.flush()
    assert counted() == tuple(count + 3 for count in before)
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records
             if record.name == LOGGER and record.getMessage() == "refused"]  # fmt: skip
    assert {(line["method"], line["code"], line["reason"], line["tenant"]) for line in lines} == {
        (TRANSLATE.lstrip("/"), "RESOURCE_EXHAUSTED", "QUEUE_FULL", "one")
    }
    assert sum(line["calls"] for line in lines) == 3
    assert not [record for record in caplog.records if record.getMessage() == "request"]


def test_streams_are_refused_at_the_door_too(tight: tuple[Any, dict[str, str]]) -> None:
    house, keys = tight
    with (
        HubClient(house.target, timeout=30, key=keys["two"]) as client,
        Full(house),
        pytest.raises(QueueFullError),
    ):
        list(client.stream("Monday", "en", "ko", decoding=SHORT))


def test_the_google_door_refuses_as_early(
    tight: tuple[Any, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, keys = tight
    metadata = [("authorization", f"Bearer {keys['one']}")]
    request = google_pb.TranslateTextRequest(
        parent="projects/p/locations/l", source_language_code="en", target_language_code="ko"
    )
    request.contents.extend(["", "Monday", " "])
    handled = {
        "grpc_type": "unary",
        "grpc_service": "google.cloud.translation.v3.TranslationService",
        "grpc_method": "TranslateText",
        "grpc_code": "RESOURCE_EXHAUSTED",
    }
    before = house.metric("grpc_server_handled_total", **handled)
    with grpc.insecure_channel(house.target) as channel:
        method = GoogleStub(channel).TranslateText
        with monkeypatch.context() as patch, Full(house):
            # Whatever is behind the door has no part in it.
            patch.setattr("server.grpc.cloud_translation.service.command_of", None)
            with pytest.raises(grpc.RpcError) as caught:
                method(request, timeout=20, metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]
        assert house.metric("grpc_server_handled_total", **handled) == before + 1
        assert method(request, timeout=20, metadata=metadata).translations[1].translated_text
        del request.contents[1]
        with Full(house):  # nothing of it goes to the queue
            assert len(method(request, timeout=20, metadata=metadata).translations) == 2


def test_strangers_and_bad_messages_are_told_what_is_wrong_with_them(
    tight: tuple[Any, dict[str, str]],
) -> None:
    house, keys = tight
    with Full(house):
        with (
            HubClient(house.target, timeout=30, key="hub_nobody") as client,
            pytest.raises(CredentialsError),
        ):
            client.translate(["Monday"], "en", "ko")
        with grpc.insecure_channel(house.target) as channel:
            metadata = [("authorization", f"Bearer {keys['one']}")]
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(TRANSLATE)(b"\xff\xff\xff", timeout=20, metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]


def test_a_call_that_cannot_make_its_deadline_is_refused_and_one_that_can_is_served(
    tight: tuple[Any, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, keys = tight
    forecast = house.application.core.worker.intake.forecast
    with HubClient(house.target, timeout=30, key=keys["one"]) as client:
        client.translate(["Monday"], "en", "ko", decoding=SHORT)
        with house.application.core.worker.intake.reserve(1, 6):  # else it would be tried
            monkeypatch.setattr(forecast, "before_seconds", 100.0)
            with pytest.raises(DeadlineError, match="would take about 1000"):
                client.translate(["Monday"], "en", "ko", decoding=SHORT, timeout=20)
            monkeypatch.undo()
            assert client.translate(["Monday"], "en", "ko", decoding=SHORT, timeout=20).texts


def test_refusals_count_as_calls_in_progress_until_they_are_told(
    tight: tuple[Any, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, keys = tight
    application = house.application
    calls = application._edge._calls
    preparation = application.core.translator.preparation
    seen: list[bool] = []
    monkeypatch.setattr(type(preparation), "delay", lambda *_: seen.append(calls.idle) or 0.0)
    with (
        HubClient(house.target, timeout=30, key=keys["one"]) as client,
        Full(house),
        pytest.raises(QueueFullError),
    ):
        client.translate(["Monday"], "en", "ko", decoding=SHORT)
    assert seen == [False]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness for each thread")
def test_the_event_loop_goes_before_the_engine_and_the_engine_before_loads(
    tight: tuple[Any, dict[str, str]],
) -> None:
    house, _ = tight

    def niceness(thread: int) -> int:
        return os.getpriority(os.PRIO_PROCESS, thread)

    own, worker = niceness(0), house.application.core.worker
    loader = worker._loader._pool.submit(threading.get_native_id).result(30)
    assert niceness(worker._thread.native_id) == max(own, 5)
    assert niceness(loader) == max(own, 10)
