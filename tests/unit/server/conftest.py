"""The server's one fake: an engine and a loader that a test drives by hand."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hub.engine.requests import DecodeRequest, Finished, Hypothesis, StepReport
from hub.errors import DecodingError, NonFiniteRowError
from hub.manifest import AdapterManifest
from server.batching.scheduler import BatchLimits, Scheduler
from server.batching.worker import Worker
from server.messages import Job, Outcome, Search
from server.residency.loader import Loaded
from server.residency.tables import HostTier, SlotTable
from server.residency.tiers import Stock
from server.telemetry.metrics import Metrics

POISON_ROW = 666
"""A source with this token fails its own row."""
POISON_STEP = 667
"""A source with this token makes every step that it is in raise."""
POISON_ADMIT = 668
"""A source with this token makes admitting it raise."""
POISON_REFUSED = 669
"""A source with this token is refused, and all that would be admitted with it."""
WAIT = 10.0


@dataclass(frozen=True)
class FakeAdapter:
    digest: str
    nbytes: int = 10


@dataclass
class FakeEngine:
    """Translates by reversing the source, in as many steps as it has tokens.

    The output ends with the digest's last character of the adapter in the row's slot, so a row
    that ran with another adapter shows.
    """

    max_rows: int = 8
    slots: dict[int, FakeAdapter] = field(default_factory=dict)
    running: dict[int, tuple[DecodeRequest, int]] = field(default_factory=dict)
    steps: int = 0
    cancelled: list[int] = field(default_factory=list)
    gate: Callable[[], None] = lambda: None
    place_error: Exception | None = None
    seconds_per_token: float = 0.0
    joined: list[int] = field(default_factory=list)
    admitted: list[int] = field(default_factory=list)
    _unencoded: int = 0

    def read_adapter(self, folder: Path, manifest: AdapterManifest | None) -> FakeAdapter:
        return FakeAdapter(str(folder))

    def place(self, slot: int, adapter: FakeAdapter) -> None:
        assert slot not in self.slots, "placed over another adapter"
        if self.place_error is not None:
            raise self.place_error
        self.slots[slot] = adapter

    def clear(self, slot: int) -> None:
        assert all(request.slot != slot for request, _ in self.running.values()), "in use"
        self.slots.pop(slot, None)

    def admit(self, requests: Sequence[DecodeRequest]) -> None:
        if any(POISON_ADMIT in request.source_ids for request in requests):
            raise RuntimeError("secret of the encoder")
        for request in requests:
            if POISON_REFUSED in request.source_ids:
                raise DecodingError(f"request {request.key} is too long")
        self.joined.append(len(requests))
        self.admitted += [request.key for request in requests]
        self._unencoded += sum(len(request.source_ids) for request in requests)
        for request in requests:
            assert request.slot == 0 or request.slot in self.slots, "slot is empty"
            self.running[request.key] = request, len(request.source_ids)
        rows = sum(request.options.beam_size for request, _ in self.running.values())
        assert rows <= self.max_rows, "more rows than the engine has"

    def step(self, encode_seconds: float) -> StepReport:
        self.gate()
        self.steps += 1
        if any(POISON_STEP in request.source_ids for request, _ in self.running.values()):
            raise RuntimeError("secret of the decoder")
        rows = sum(request.options.beam_size for request, _ in self.running.values())
        adapters = {request.slot for request, _ in self.running.values()} - {0}
        finished = []
        for key, (request, left) in list(self.running.items()):
            self.running[key] = request, left - 1
            if left <= 1:
                del self.running[key]
                finished.append(self._finish(request))
        tokens, self._unencoded = self._unencoded, 0
        return StepReport(
            finished=finished,
            rows=rows,
            distinct_adapters=len(adapters),
            encoder_tokens=tokens,
            encode_seconds=tokens * self.seconds_per_token,
            decode_seconds=1.0 if self.seconds_per_token else 0.0,
        )

    def cancel(self, keys: Sequence[int]) -> None:
        for key in keys:
            self.running.pop(key, None)
            self.cancelled.append(key)

    def _finish(self, request: DecodeRequest) -> Finished:
        if POISON_ROW in request.source_ids:
            return Finished(request.key, (), NonFiniteRowError("row became NaN"))
        mark = ord(self.slots[request.slot].digest[-1]) if request.slot else 0
        tokens = (*reversed(request.source_ids), mark)
        return Finished(request.key, (Hypothesis(tokens, -1.0, -2.0, True),), None, 0.1, 0.2)


@dataclass
class FakeLoader:
    """Loads when the test says so, or at once when `automatic`."""

    automatic: bool = True
    started: queue.Queue[str] = field(default_factory=queue.Queue)
    reports: dict[str, Callable[[Loaded[FakeAdapter]], None]] = field(default_factory=dict)

    def start(self, digest: str, report: Callable[[Loaded[FakeAdapter]], None]) -> None:
        assert digest not in self.reports, "two loads of one adapter at once"
        self.reports[digest] = report
        self.started.put(digest)
        if self.automatic:
            self.finish(digest)

    def finish(self, digest: str, *, nbytes: int = 10, error: Exception | None = None) -> None:
        adapter = None if error else FakeAdapter(digest, nbytes)
        self.reports.pop(digest)(Loaded(digest, adapter, error, 0.01))  # type: ignore[arg-type]

    def close(self) -> None:
        pass


@dataclass
class Bench:
    """A worker on the fake engine, and everything that was delivered."""

    engine: FakeEngine
    loader: FakeLoader
    metrics: Metrics
    worker: Worker[FakeAdapter]
    delivered: queue.Queue[Outcome] = field(default_factory=queue.Queue)
    now: list[float] = field(default_factory=lambda: [0.0])

    def submit(self, *jobs: Job) -> None:
        self.worker.submit(jobs, self.delivered.put)

    def next(self) -> Outcome:
        return self.delivered.get(timeout=WAIT)

    def collect(self, count: int) -> dict[int, Outcome]:
        outcomes = [self.next() for _ in range(count)]
        by_key = {outcome.key: outcome for outcome in outcomes}
        assert len(by_key) == count, "a request was replied to twice"
        return by_key

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def make_job(
    key: int, *source: int, digest: str = "", beam: int = 1, deadline: float | None = None
) -> Job:
    return Job(
        key=key,
        digest=digest,
        source_ids=source or (1, 2, 3),
        prefix_ids=(9,),
        search=Search(beam, 20, 1.0, 1),
        adapter_bytes=10 if digest else 0,
        deadline=deadline,
    )


def make_bench(
    *,
    slots: int = 2,
    device_bytes: int = 100,
    host_bytes: int = 100,
    queue_limit: int = 100,
    encode_tokens: int = 64,
) -> Bench:
    engine, loader, metrics, now = FakeEngine(), FakeLoader(), Metrics(), [0.0]
    worker = Worker(
        engine,
        loader,
        Scheduler(BatchLimits(engine.max_rows, encode_tokens), patience=4),
        Stock(engine, SlotTable(slots, device_bytes), HostTier(host_bytes, 2), metrics),
        metrics,
        queue_limit=queue_limit,
        clock=lambda: now[0],
    )
    return Bench(engine, loader, metrics, worker, now=now)


@pytest.fixture
def job() -> Callable[..., Job]:
    """Build a job: job(key, *source tokens, digest=…, beam=…)."""
    return make_job


@pytest.fixture
def build() -> Iterator[Callable[..., Bench]]:
    """Build a worker that is stopped after the test; it is not started yet."""
    benches: list[Bench] = []

    def build(**sizes: int) -> Bench:
        benches.append(make_bench(**sizes))
        return benches[-1]

    yield build
    for bench in benches:
        bench.engine.gate = lambda: None
        bench.worker.stop()


@pytest.fixture
def bench(build: Callable[..., Bench]) -> Bench:
    """A running worker."""
    made = build()
    made.worker.start()
    return made
