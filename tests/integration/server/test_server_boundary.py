"""What nobody foresaw leaves as INTERNAL with a number, and its details stay in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from hub.client import Decoding
from hub.errors import HubError, QueueFullError
from hub.pb.adapterhub.v1 import translation_service_pb2 as pb
from hub.pb.adapterhub.v1 import translation_service_pb2_grpc as pb_grpc
from server.draining import Calls
from server.grpc.interceptors import BoundaryInterceptor
from server.grpc.service import TranslationServicer
from server.telemetry.metrics import Metrics


def broken() -> Any:
    raise RuntimeError("secret of the house: /etc/shadow")


def test_an_unforeseen_exception(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()

    async def ask() -> grpc.aio.AioRpcError:
        server = grpc.aio.server(interceptors=[BoundaryInterceptor(metrics, Calls())])
        pb_grpc.add_TranslationServiceServicer_to_server(
            TranslationServicer(broken, ThreadPoolExecutor(1)), server
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = pb_grpc.TranslationServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.TranslateText(pb.TranslateTextRequest())
        await server.stop(None)
        return caught.value

    error = asyncio.run(ask())
    assert error.code() is grpc.StatusCode.INTERNAL
    told = f"{error.details()}{error.trailing_metadata()}"
    assert "secret" not in told
    assert "RuntimeError" not in told
    incident = str(error.details()).split()[2].rstrip(";")
    assert incident in caplog.text
    assert "secret of the house" in caplog.text
    handled = metrics.registry.get_sample_value(
        "grpc_server_handled_total",
        {
            "grpc_type": "unary",
            "grpc_service": "adapterhub.v1.TranslationService",
            "grpc_method": "TranslateText",
            "grpc_code": "INTERNAL",
        },
    )
    assert handled == 1


def test_overload_is_refused_with_advice_and_nothing_is_lost(
    open_house: Callable[..., Iterator[Any]],
) -> None:
    houses = open_house(max_batch_rows=1, queue=2)
    house = next(houses)
    decoding = Decoding(max_output_tokens=30)

    def call(number: int) -> HubError | str:
        try:
            return str(house.client.translate([str(number)], "en", "ko", decoding=decoding).texts)
        except HubError as error:
            return error

    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(call, range(16)))
    refused = [reply for reply in replies if isinstance(reply, HubError)]
    assert refused
    assert all(type(error) is QueueFullError for error in refused)
    assert len(refused) < 16
    assert "limit of 2" in refused[0].message
    houses.close()


def test_refusals_carry_retry_advice() -> None:
    from hub.wire_errors import to_status

    status = to_status(QueueFullError("full"))
    retry = RetryInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    assert retry.retry_delay.ToMilliseconds() > 0
    assert rpc_status.to_status(status).code is grpc.StatusCode.RESOURCE_EXHAUSTED
