from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.messages import LoadedAdapter
from server.quality.golden.findings import GoldenFindings
from server.quality.golden.results import GoldenResult, GoldenResults
from server.quality.golden.runner import GoldenRunner, Memory
from server.quality.golden.schedule import JITTER, Schedule
from server.telemetry.metrics import Metrics

HOUR = 3600.0


def schedule(chance: float = 0.5) -> Schedule:
    return Schedule(HOUR, lambda: chance)


def test_an_adapter_is_due_within_the_first_interval_and_then_once_in_each() -> None:
    plan = schedule()
    plan.know(["a"], 0.0)
    assert plan.next(HOUR / 2 - 1, set()) is None
    assert plan.next(HOUR / 2, set()) == "a"
    plan.done("a", HOUR / 2)
    assert plan.next(HOUR * 1.5 - 1, set()) is None
    assert plan.next(HOUR * 1.5, set()) == "a"


def test_adapters_in_memory_go_first_then_who_has_waited_longest() -> None:
    moments = iter([0.1, 0.2, 0.3])
    plan = Schedule(HOUR, lambda: next(moments))
    plan.know(["a", "b", "c"], 0.0)
    assert plan.next(HOUR, {"c"}) == "c"
    assert plan.next(HOUR, set()) == "a"


def test_one_without_room_comes_back_soon_and_one_that_left_is_forgotten() -> None:
    plan = schedule()
    plan.know(["a", "b"], 0.0)
    plan.postpone("a", HOUR)
    assert plan.next(HOUR, set()) == "b"
    plan.know(["a"], HOUR)
    assert plan.next(HOUR, set()) is None
    assert plan.next(HOUR * 1.06, set()) == "a"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 5))
def test_looks_at_an_adapter_are_an_interval_apart_give_or_take_the_jitter(
    moments: list[float], adapters: int
) -> None:
    drawn = iter([*moments, *[0.5] * 400])
    plan = Schedule(HOUR, lambda: next(drawn))
    names = [str(number) for number in range(adapters)]
    looked: dict[str, list[float]] = {name: [] for name in names}
    for minute in range(0, 400):
        now = minute * 60.0
        plan.know(names, now)
        found = plan.next(now, set())
        if found is not None:  # one at a time
            looked[found].append(now)
            plan.done(found, now)
    for times in looked.values():
        gaps = [after - before for before, after in pairwise(times)]
        assert len(times) >= 4
        assert all(
            HOUR * (1 - JITTER) <= gap <= HOUR * (1 + JITTER) + 60 * adapters for gap in gaps
        )


def loaded(slot: int, size: int) -> LoadedAdapter:
    return LoadedAdapter(f"sha256:{slot}{size}", slot, size, 0)


class Sized:
    bytes = 10


def test_an_adapter_comes_in_only_where_nobody_has_to_go() -> None:
    memory = Memory(slots=2, device_bytes=30, host_bytes=40)
    assert memory.has_room(Sized(), [])
    assert memory.has_room(Sized(), [loaded(1, 20)])
    assert not memory.has_room(Sized(), [loaded(1, 5), loaded(2, 5)])  # no slot
    assert not memory.has_room(Sized(), [loaded(1, 25)])  # no bytes on the device
    assert not memory.has_room(Sized(), [loaded(1, 20), loaded(0, 15)])  # none in host memory


def result(name: str, score: float) -> GoldenResult:
    return GoldenResult(name, 3, "en-ko", score, 60.0, 0.25, 1000.0)


def test_the_last_looks_are_shown_within_the_limit() -> None:
    metrics, results = Metrics(label_values=2), GoldenResults()
    metrics.golden.watch(results.shown)
    for number in range(4):
        results.put(f"sha256:{number}", result(f"adapter {number}", 50.0 + number))
    results.put("sha256:0", result("adapter 0", 42.0))
    value = metrics.registry.get_sample_value
    labels = {"pair": "en-ko", "adapter": "adapter 0", "version": "3"}
    assert value("hub_golden_chrf", labels) == 42
    assert value("hub_golden_chrf_published", labels) == 60
    assert value("hub_golden_changed", labels) == 0.25
    assert value("hub_golden_last_success_timestamp_seconds", labels) == 1000
    assert value("hub_golden_chrf", {**labels, "adapter": "adapter 2"}) is None
    results.keep(["sha256:1"])
    assert [one.name for one in results.shown(9)] == ["adapter 1"]


def test_one_that_goes_wrong_in_an_unforeseen_way_lets_others_have_their_turn() -> None:
    class Registry:
        def golden(self, version: object) -> None:
            raise ZeroDivisionError

    version = SimpleNamespace(digest="a", bytes=0, ref="a:1")
    nothing: Any = None
    metrics = Metrics()

    async def looks(pool: ThreadPoolExecutor) -> str:
        worker: Any = SimpleNamespace(intake=SimpleNamespace(crowded=False))
        inspected: asyncio.Future[tuple[LoadedAdapter, ...]] = asyncio.Future()
        inspected.set_result(())
        registry: Any = Registry()
        versions: Any = [version]
        runner = GoldenRunner(
            registry, nothing, worker, metrics, pool, Memory(2, 9, 9), schedule(0.0),
            lambda: versions, lambda: inspected, GoldenResults(),
            GoldenFindings(looking=True), list, lambda: 0.0,
        )  # fmt: skip
        with pytest.raises(ZeroDivisionError):
            await runner.look()
        return await runner.look()

    with ThreadPoolExecutor(1) as pool:
        assert asyncio.run(looks(pool)) == ""
    labels = {"outcome": "failed"}
    assert metrics.registry.get_sample_value("hub_golden_runs_total", labels) == 1
