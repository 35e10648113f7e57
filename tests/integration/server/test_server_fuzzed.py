"""Bodies that nobody should send never crash the server, nor make it say UNKNOWN or INTERNAL.

`HUB_FUZZ_COUNT=100000 pytest -m slow tests/integration/server/test_server_fuzzed.py` sends more.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from hub.client import Decoding

from ...support.fuzzing import Bodies, fuzz, methods_of

COUNT = int(os.environ.get("HUB_FUZZ_COUNT", "3000"))
SERVICES = {
    "adapterhub.v1.TranslationService",
    "adapterhub.v1.AdapterService",
    "adapterhub.v1.GlossaryService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
}


def test_a_few_bodies_over_every_method(house: Any) -> None:
    check(house, 20 * len(methods_of(house.target)), seed=11)


@pytest.mark.slow
@pytest.mark.timeout(3 * COUNT)
def test_many_bodies_over_every_method(house: Any) -> None:
    check(house, COUNT, seed=12)


def check(house: Any, count: int, *, seed: int) -> None:
    house.publisher.lora("lora", seed=seed)
    methods = methods_of(house.target)
    assert {method.name.split("/")[1] for method in methods} >= SERVICES
    found = asyncio.run(fuzz(house.target, methods, count, seed=seed))
    assert not found.faults, found.faults[:5]
    assert found.total.total() == count
    assert found.told.keys() == {method.name for method in methods}
    # Not all are refused at the first look: some go all the way.
    assert found.told["/adapterhub.v1.TranslationService/TranslateText"]["OK"] > 0
    assert found.total["INVALID_ARGUMENT"] > count / 10
    short = Decoding(max_output_tokens=4)
    assert house.client.translate(["Monday"], "en", "ko", decoding=short).texts
    assert not house.metric("hub_requests_waiting")


def test_the_same_seed_makes_the_same_bodies(house: Any) -> None:
    methods = methods_of(house.target)
    one, two = Bodies(3), Bodies(3)
    assert [one.of(method) for method in methods] == [two.of(method) for method in methods]
