"""Stopping under load: every call gets an answer that says what became of it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from hub.pb.adapterhub.v1 import translation_service_pb2 as pb
from hub.settings import Settings
from server.application import Application

CALLERS = 32
TRANSLATE = "/adapterhub.v1.TranslationService/TranslateText"
STREAM = "/adapterhub.v1.TranslationService/StreamTranslateText"


def request(tokens: int = 8) -> pb.TranslateTextRequest:
    return pb.TranslateTextRequest(
        contents=["Monday. Tuesday."],
        source_language_code="en",
        target_language_code="ko",
        decoding=pb.DecodingOptions(max_output_tokens=tokens),
    )


async def call_until_told(target: str, streamed: bool, told: Counter[str]) -> None:
    """Call without a pause until the server says that it goes away; count what was answered."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(target, options) as link:
        unary = link.unary_unary(
            TRANSLATE,
            pb.TranslateTextRequest.SerializeToString,
            pb.TranslateTextResponse.FromString,
        )
        stream = link.unary_stream(
            STREAM,
            pb.TranslateTextRequest.SerializeToString,
            pb.StreamTranslateTextResponse.FromString,
        )
        while True:
            try:
                if streamed:
                    parts = [part async for part in stream(request())]
                    assert parts[-1].HasField("summary")
                else:
                    await unary(request())
                told["OK"] += 1
            except grpc.aio.AioRpcError as error:
                told[name_of(error)] += 1
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    return


def name_of(error: grpc.aio.AioRpcError) -> str:
    """Return the code and, where the server wrote the status, its reason."""
    status = rpc_status.from_call(error)
    info = ErrorInfo()
    known = status is not None and any(detail.Unpack(info) for detail in status.details)
    return f"{error.code().name} {info.reason if known else ''}".strip()


async def drain_once(settings: Settings, after: int, drain_seconds: float) -> Counter[str]:
    told: Counter[str] = Counter()
    application = Application(settings)
    await application.listen()
    await application.load()
    calls = [
        asyncio.create_task(call_until_told(application.ports.grpc, number % 4 == 0, told))
        for number in range(CALLERS)
    ]
    while told["OK"] < after:
        await asyncio.sleep(0.001)
    await application.stop(drain_seconds)
    await asyncio.gather(*calls)
    return told


def drains(house: Any, phases: range, drain_seconds: float = 20) -> Counter[str]:
    settings = house.settings.model_copy(update={"port": 0, "metrics_port": 0})
    told: Counter[str] = Counter()
    for after in phases:
        told += asyncio.run(drain_once(settings, after, drain_seconds))
    return told


ANSWERS = {"OK", "UNAVAILABLE DRAINING", "UNAVAILABLE"}
"""UNAVAILABLE without a reason: the connection was refused, nothing was accepted."""


def test_a_drain_under_load_answers_every_call(house: Any) -> None:
    told = drains(house, range(1, 40, 13))
    assert set(told) <= ANSWERS
    assert told["UNAVAILABLE DRAINING"] > 0


def test_what_a_drain_cannot_finish_in_time_is_told_so(house: Any) -> None:
    told = drains(house, range(1, 2), drain_seconds=0.001)
    assert set(told) <= ANSWERS
    assert told["UNAVAILABLE DRAINING"] > 0


DRAINS = int(os.environ.get("HUB_TEST_DRAINS", "8"))
"""How many the slow run makes; 200 take some 18 minutes on two busy cores."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_drains_under_load_answer_every_call(house: Any) -> None:
    assert set(drains(house, range(1, 2 * DRAINS, 2))) <= ANSWERS
