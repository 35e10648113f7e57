"""A server whose engine runs in a process of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from hub.client import Decoding, Handling
from hub.errors import AdapterBindingError, EngineError, SettingsError
from server.engine_process.remote import RemoteEngine
from tests.support.waiting import until

TEXTS = ["Monday", "five kilometres per hour", "in 4 weeks. And Seoul!", "a", ""]
HTML = Handling(mime_type="text/html")
SHORT = Decoding(max_output_tokens=12)
FLAGS = {"slots": 2, "max_beam": 8, "golden_interval": 0, "vocabulary": "language"}


@pytest.fixture(scope="module")
def here(open_house: Callable[..., Iterator[Any]]) -> Iterator[Any]:
    with contextmanager(open_house)(**FLAGS) as house:
        yield house


@pytest.fixture(scope="module")
def apart(open_house: Callable[..., Iterator[Any]]) -> Iterator[Any]:
    with contextmanager(open_house)(engine="process", **FLAGS) as house:
        yield house


def engine_of(house: Any) -> RemoteEngine:
    port = house.application.core.engine.port
    assert isinstance(port, RemoteEngine)
    return port


def publish(house: Any) -> None:
    house.publisher.lora("low", seed=3)
    house.publisher.bottleneck("narrow", seed=4)
    house.publisher.lora("other", seed=5)


def told(house: Any) -> list[object]:
    """What it says to calls of every kind, with more adapters than there are slots."""
    found: list[object] = []
    for adapter in ("", "low", "narrow", "other", "low"):
        for decoding in (SHORT, Decoding(max_output_tokens=12, beam_size=4)):
            reply = house.client.translate(TEXTS, "en", "ko", adapter=adapter, decoding=decoding)
            found += [
                (item.text, item.error and item.error.reason, item.quality) for item in reply.items
            ]
    page = "<p>Monday <b>in 4 weeks</b></p>"
    found += house.client.translate([page], "en", "de", handling=HTML).texts
    for handling in (Handling(token_scores=True), Handling(terms={"Monday": ["Montag"]})):
        reply = house.client.translate(TEXTS, "en", "de", decoding=SHORT, handling=handling)
        found += [(item.text, item.tokens) for item in reply.items]
    return found


def test_it_says_what_an_engine_in_the_server_says(here: Any, apart: Any) -> None:
    publish(here)
    publish(apart)
    expected = told(here)
    assert len({str(one) for one in expected}) > len(TEXTS) * 3  # adapters and beams differ
    assert told(apart) == expected
    assert engine_of(apart).pid != os.getpid()


def test_an_adapter_that_does_not_bind_is_refused_as_ever(apart: Any) -> None:
    apart.publisher.bottleneck("odd", spoil=lambda weights: weights.popitem())
    with pytest.raises(AdapterBindingError):
        apart.client.translate(["Monday"], "en", "ko", adapter="odd", decoding=SHORT)
    assert apart.client.translate(["Monday"], "en", "ko", decoding=SHORT).texts


def test_an_engine_that_cannot_start_says_why(open_house: Callable[..., Iterator[Any]]) -> None:
    with (
        pytest.raises(SettingsError, match=r"no GPU|int8"),
        contextmanager(open_house)(engine="process", device="cuda", quantization="int8"),
    ):
        pass


def test_the_process_ends_with_the_server(open_house: Callable[..., Iterator[Any]]) -> None:
    with contextmanager(open_house)(engine="process", golden_interval=0) as house:
        pid = engine_of(house).pid
        os.kill(pid, signal.SIGTERM)  # as a service manager sends it to all; the server drains
        os.kill(pid, signal.SIGINT)
        assert house.client.translate(["Monday"], "en", "ko", decoding=SHORT).texts
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_process_that_dies_idle_makes_the_server_say_so(
    open_house: Callable[..., Iterator[Any]],
) -> None:
    with contextmanager(open_house)(engine="process", golden_interval=0) as house:
        assert house.client.is_serving()
        os.kill(engine_of(house).pid, signal.SIGKILL)
        until(lambda: not house.client.is_serving())
        with pytest.raises(EngineError):
            house.client.translate(["Monday"], "en", "ko", decoding=SHORT)


def test_a_process_that_dies_at_work_ends_what_runs(
    open_house: Callable[..., Iterator[Any]],
) -> None:
    with (
        contextmanager(open_house)(engine="process", golden_interval=0) as house,
        ThreadPoolExecutor(1) as caller,
    ):
        pid, worker = engine_of(house).pid, house.application.core.worker
        os.kill(pid, signal.SIGSTOP)
        call = caller.submit(house.client.translate, ["Monday"], "en", "ko", decoding=SHORT)
        until(lambda: len(worker._ledger) == 1)
        os.kill(pid, signal.SIGKILL)
        assert isinstance(call.result(60).items[0].error, EngineError)
        until(lambda: not house.client.is_serving())
