"""The worker on the real engine: a failed step costs its culprit, and the others nothing."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from hub.bases import open_base
from hub.engine.engine import Engine
from hub.engine.model import Model, SourceBatch
from hub.engine.requests import DecodeRequest, StepReport
from hub.errors import EngineError, HubError, NonFiniteRowError
from server.batching.scheduler import BatchLimits, Scheduler
from server.batching.worker import Worker
from server.messages import Job, Outcome, Search
from server.residency.tables import HostTier, SlotTable
from server.residency.tiers import Stock
from server.telemetry.metrics import Metrics

WAIT = 30.0
CULPRIT = 5


class Faulty:
    """The engine, but a step in which the culprit decodes for the third time raises."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._steps: dict[int, int] = {}
        self.failures = 0

    def admit(self, requests: Sequence[DecodeRequest]) -> None:
        self._engine.admit(requests)
        self._steps.update((request.key, 0) for request in requests)

    def cancel(self, keys: Sequence[int]) -> object:
        for key in keys:
            self._steps.pop(key, None)
        return self._engine.cancel(keys)

    def step(self, encode_seconds: float) -> StepReport:
        report = self._engine.step(encode_seconds)
        self._steps = {key: count + 1 for key, count in self._steps.items()}
        if self._steps.get(CULPRIT, 0) >= 3:
            self.failures += 1
            raise RuntimeError("a fault of the device")
        return report


def poison_the_culprit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let its encoder states be no numbers."""
    store = Model.store

    def poisoned(
        self: Model, states: torch.Tensor, batch: SourceBatch, places: Any, adapters: Any
    ) -> None:
        start = 0
        for index, length in zip(batch.order, batch.lengths, strict=True):
            if index == CULPRIT - 1:
                states[start : start + length] = float("nan")
            start += length
        store(self, states, batch, places, adapters)

    monkeypatch.setattr(Model, "store", poisoned)


def fail_in_a_layer(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the second encoder layer raise wherever the culprit is; return a list of the times."""
    embed, layer = Model.embed_sources, Model.encode_layer
    (first,) = [job.source_ids[1] for job in jobs() if job.key == CULPRIT]
    there: list[bool] = []
    failures: list[int] = []

    def embedding(self: Model, batch: SourceBatch, adapters: Any) -> torch.Tensor:
        starts = torch.tensor(batch.lengths).cumsum(0) - torch.tensor(batch.lengths)
        there[:] = [first in batch.ids[starts + 1].tolist()]
        return embed(self, batch, adapters)

    def failing(self: Model, index: int, *others: Any) -> torch.Tensor:
        if index == 1 and there[0]:
            failures.append(index)
            raise RuntimeError("a fault of the device")
        return layer(self, index, *others)

    monkeypatch.setattr(Model, "embed_sources", embedding)
    monkeypatch.setattr(Model, "encode_layer", failing)
    return failures


class NoLoader:
    def start(self, digest: str, report: Any) -> None:
        raise AssertionError("nothing to load")

    def close(self) -> None:
        pass


def jobs() -> list[Job]:
    return [
        Job(
            key=key,
            digest="",
            source_ids=(10, *range(200 + 9 * key, 204 + 10 * key), 2),
            prefix_ids=(11,),
            search=Search(4 if key % 3 == 0 else 1, 8, 1.0, 1),
        )
        for key in range(1, 9)
    ]


def run(engine: Any, wanted: Sequence[Job], encode_tokens: int = 4096) -> dict[int, Outcome]:
    metrics = Metrics()
    stock: Stock[Any] = Stock(engine, SlotTable(2, 1), HostTier(1, 1), metrics)
    worker: Worker[Any] = Worker(
        engine,
        NoLoader(),
        Scheduler(BatchLimits(32, encode_tokens)),
        stock,
        metrics,
        queue_limit=100,
    )
    delivered: queue.Queue[Outcome] = queue.Queue()
    worker.submit(wanted, delivered.put)
    worker.start()
    outcomes = [delivered.get(timeout=WAIT) for _ in wanted]
    worker.stop()
    return {outcome.key: outcome for outcome in outcomes}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(open_base("embedded"), quantization="int8", slots=2, max_rows=32)


@pytest.fixture(scope="module")
def alone(engine: Engine) -> dict[int, Outcome]:
    """Every job by itself."""
    found: dict[int, Outcome] = {}
    for job in jobs():
        found |= run(engine, [job])
    assert len({outcome.candidates for outcome in found.values()}) == len(found), "all differ"
    return found


def assert_only_the_culprit_fails(
    outcomes: dict[int, Outcome], alone: dict[int, Outcome], error: type[HubError]
) -> None:
    assert isinstance(outcomes.pop(CULPRIT).error, error)
    for key, outcome in outcomes.items():
        assert outcome.candidates == alone[key].candidates, "tokens and scores, to the last bit"


def test_a_failed_step_is_bisected_and_the_neighbours_results_are_the_same(
    engine: Engine, alone: dict[int, Outcome]
) -> None:
    faulty = Faulty(engine)
    outcomes = run(faulty, jobs())
    assert faulty.failures == 4  # 8, 4, 2 and 1 of them
    assert_only_the_culprit_fails(outcomes, alone, EngineError)
    assert engine.running == 0


def test_a_row_that_is_not_a_number_fails_alone(
    engine: Engine, alone: dict[int, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_the_culprit(monkeypatch)
    outcomes = run(engine, jobs())
    assert_only_the_culprit_fails(outcomes, alone, NonFiniteRowError)
    assert engine.running == 0


def test_a_pass_that_fails_midway_costs_its_culprit_alone(
    engine: Engine, alone: dict[int, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = fail_in_a_layer(monkeypatch)
    outcomes = run(engine, jobs(), encode_tokens=30)  # so that the culprit joins those that run
    assert len(failures) > 1
    assert_only_the_culprit_fails(outcomes, alone, EngineError)
    assert engine.running == 0
