"""`hub bench residency`: more adapters than slots, against all of them in slots, in one run.

The server's own worker, scheduler, tiers and loader threads serve adapters from a temporary
registry; only the network is missing. A fixed number of requests is in flight at any time. Both
sides serve the same requests, whose targets differ in length, and take turns of a few seconds over
one copy of the base's weights. What is counted is the time in between: after requests that fill
the tiers, and before the queue runs dry.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate, islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import torch

from hub.bases import Base
from hub.bench.models import random_base
from hub.engine.adapters import HostAdapter
from hub.engine.engine import Engine
from hub.errors import SettingsError
from hub.manifest import AdapterManifest, BaseReference, CorpusReference
from hub.registry import AdapterVersion, Registry
from server.batching.scheduler import BatchLimits, Scheduler
from server.batching.worker import Worker
from server.bench.adapters import RandomAdapter, random_adapter
from server.bench.observed import Observed
from server.bench.residency_report import Run, counters, report
from server.bench.turns import Side, alternate
from server.bench.workload import PREFIX, Workload
from server.core import LOADER_THREADS, quiet_loader
from server.messages import Job, Outcome, Search
from server.residency.loader import Loaded
from server.residency.spill import Spill
from server.residency.tables import HostTier, SlotTable
from server.residency.tiers import Stock
from server.telemetry.metrics import Metrics

DISTRIBUTIONS: Final = ("zipf", "uniform")
_SEEDS: Final = 4
_UNLIMITED: Final = 1 << 60
_ENCODE_TOKENS: Final = 4096
_SPILL_BYTES: Final = 8 << 30
_TURN_SECONDS: Final = 4.0
_DIGEST: Final = "sha256:" + "0" * 64


@dataclass(frozen=True, slots=True)
class ResidencyOptions:
    """What to measure.

    Attributes:
        adapters: Registered; requests choose among them.
        slots: Device tier, in adapters.
        host: Host tier, in adapters.
        in_flight: Requests that are waiting or running at any time.
        rows: Of a step.
        requests: Counted.
        warm: Served before those, to fill the tiers as they are in a server that has run.
    """

    dims: str = "small"
    quantization: str = "int8"
    adapters: int = 1000
    requests: int = 2000
    warm: int = 1000
    distribution: str = "zipf"
    exponent: float = 1.0
    slots: int = 64
    host: int = 256
    rows: int = 64
    in_flight: int = 256
    kinds: tuple[str, ...] = ("bottleneck", "lora")
    budget: float = 0.01
    rounds: int = 1
    threads: int = 1
    seed: int = 0
    work: Workload = field(default_factory=lambda: Workload(spread=16))

    def __post_init__(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            raise SettingsError(
                f"--distribution {self.distribution!r} is not known; "
                f"use {' or '.join(DISTRIBUTIONS)}"
            )
        counts = ("adapters", "requests", "slots", "host", "rows", "in_flight", "rounds", "threads")
        for name in counts:
            if getattr(self, name) < 1:
                raise SettingsError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}; give at least 1"
                )
        if self.warm < 0:
            raise SettingsError(f"--warm is {self.warm}; give 0 or more")


@dataclass(frozen=True, slots=True)
class Tiers:
    """How large the tiers are, in bytes and slots."""

    slots: int
    device_bytes: int
    host_bytes: int


def choose_adapters(options: ResidencyOptions) -> list[int]:
    """Return the adapter of each request, from 0; in a Zipf distribution 0 is the most wanted."""
    draw = random.Random(options.seed)
    exponent = options.exponent if options.distribution == "zipf" else 0.0
    weights = list(accumulate((rank + 1) ** -exponent for rank in range(options.adapters)))
    served = options.warm + options.requests + options.in_flight  # the last are never finished
    return draw.choices(range(options.adapters), cum_weights=weights, k=served)


def bench_residency(
    options: ResidencyOptions, folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure, and return what `--json` writes.

    Args:
        options: What to measure.
        folder: Where the random base, the adapters and the registry are put.
        say: Told what is being done.

    Raises:
        SettingsError: An option is bad.
        BudgetError: The budget buys no adapter.
    """
    torch.set_num_threads(options.threads)
    say(f"writing random weights of {options.dims}")
    base = random_base(options.dims, folder)
    say(f"publishing {options.adapters} adapters")
    with Bench(options, base, folder) as bench:
        chosen = choose_adapters(options)
        found: dict[str, list[Run]] = {"all-resident": [], "tiered": []}
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            for name, run in bench.compare(chosen).items():
                found[name].append(run)
    return report(options, base, found, len(set(chosen)))


class Bench:
    """A registry full of adapters, and the engine that serves them."""

    def __init__(self, options: ResidencyOptions, base: Base, folder: Path) -> None:
        """Publish the adapters and load the engine."""
        self._options = options
        written = [
            random_adapter(kind, options.budget, base.dimensions, folder / "adapters", seed)
            for seed in range(_SEEDS)
            for kind in options.kinds
        ]
        self._registry = Registry.open(folder / "registry")
        known = {version.name: version for version in self._registry.versions()}
        self._versions = [
            publish(self._registry, written[number % len(written)], base, number, known)
            for number in range(options.adapters)
        ]
        self._engine = Engine.load(
            base, quantization=options.quantization, slots=options.adapters,
            max_rows=options.rows, threads=options.threads,
        )  # fmt: skip
        self._tiered = self._engine.twin(options.slots)
        self._hosts = [self._engine.read_adapter(adapter.folder) for adapter in written]

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._registry.close()

    def tiers(self) -> Tiers:
        """Return the tiers that were asked for, counted in the largest adapter."""
        largest = max(host.nbytes for host in self._hosts)
        return Tiers(
            self._options.slots, self._options.slots * largest, self._options.host * largest
        )

    def compare(self, chosen: Sequence[int]) -> dict[str, Run]:
        """Serve all requests from slots that hold every adapter, and from the tiers.

        Args:
            chosen: The adapter of each request.
        """
        everything = Tiers(self._options.adapters, _UNLIMITED, _UNLIMITED)
        runs = {
            "all-resident": self._begin(self._engine, everything, placed=True),
            "tiered": self._begin(self._tiered, self.tiers(), placed=False),
        }
        with ThreadPoolExecutor(len(runs)) as pool:
            futures = {
                name: pool.submit(run.serve, chosen, self._options) for name, run in runs.items()
            }
            alternate([run.side for run in runs.values()], _TURN_SECONDS)
            return {name: future.result() for name, future in futures.items()}

    def _begin(self, engine: Engine, tiers: Tiers, *, placed: bool) -> _Serving:
        for slot in range(1, engine.slots + 1):
            engine.clear(slot)
        observed, metrics = Observed(engine, Side()), Metrics()
        stock = Stock(
            observed,
            SlotTable(tiers.slots, tiers.device_bytes),
            HostTier(tiers.host_bytes, LOADER_THREADS),
            metrics,
        )
        if placed:
            self._place_all(stock)
        spill = self._spill(observed)
        worker = self._worker(observed, stock, metrics, spill)
        return _Serving(observed, metrics, worker, spill, self._jobs)

    def _spill(self, observed: Observed) -> Spill:
        def convert(version: AdapterVersion) -> HostAdapter:
            observed.conversions += 1
            return observed.read_adapter(self._registry.folder(version), version.manifest)

        return Spill(convert, _SPILL_BYTES, self._registry.root)

    def _worker(
        self, observed: Observed, stock: Stock[HostAdapter], metrics: Metrics, spill: Spill
    ) -> Worker[HostAdapter]:
        assert observed.side is not None
        side = observed.side

        def read(version: AdapterVersion) -> HostAdapter:
            with side.work():
                began = time.perf_counter()
                adapter = spill(version)
                observed.load_ms.append((time.perf_counter() - began) * 1000)
                return adapter

        return Worker(
            observed,
            quiet_loader(self._registry.resolve, read),
            Scheduler(BatchLimits(self._options.rows, _ENCODE_TOKENS)),
            stock,
            metrics,
            queue_limit=self._options.in_flight,
        )

    def _place_all(self, stock: Stock[HostAdapter]) -> None:
        for number, version in enumerate(self._versions):
            host = self._hosts[number % len(self._hosts)]
            stock.plan({version.digest: host.nbytes})
            stock.note_load(Loaded(version.digest, host, None, 0.0))
            seat = stock.device.acquire(version.digest, host.nbytes)
            assert seat is not None
            assert seat.placement is not None
            error = stock.place(seat.placement)
            if error is not None:
                raise error
            stock.device.release(version.digest)

    def _jobs(self, chosen: Sequence[int]) -> list[Job]:
        work = self._options.work
        texts = zip(work.sources(len(chosen)), work.lengths(len(chosen)), chosen, strict=True)
        return [
            Job(
                key=key,
                digest=self._versions[number].digest,
                source_ids=tuple(source),
                prefix_ids=(PREFIX,),
                search=Search(1, length, 1.0, 1),
                adapter_bytes=self._versions[number].bytes,
            )
            for key, (source, length, number) in enumerate(texts, 1)
        ]


@dataclass
class _Serving:
    """One side that serves requests, whenever it has the turn."""

    observed: Observed
    metrics: Metrics
    worker: Worker[HostAdapter]
    spill: Spill
    jobs: Callable[[Sequence[int]], list[Job]]

    @property
    def side(self) -> Side:
        """Return the side whose turns it waits for."""
        assert self.observed.side is not None
        return self.observed.side

    def serve(self, chosen: Sequence[int], options: ResidencyOptions) -> Run:
        """Keep so many requests in flight until those that count are served."""
        self.worker.start()
        try:
            return self._serve(chosen, options)
        finally:
            self.side.done.set()
            self.worker.withdraw(range(1, len(chosen) + 1))
            self.worker.stop()
            self.spill.close()

    def _serve(self, chosen: Sequence[int], options: ResidencyOptions) -> Run:
        jobs = iter(self.jobs(chosen))
        delivered: SimpleQueue[Outcome] = SimpleQueue()
        for _, job in zip(range(options.in_flight), jobs, strict=False):
            self.worker.submit([job], delivered.put)
        self._finish(options.warm, jobs, delivered)
        self.observed.clear_times()
        before, began = counters(self.metrics), self.side.seconds
        tokens = self._finish(options.requests, jobs, delivered)
        seconds = self.side.seconds - began
        return Run(seconds, tokens, self.observed, before, counters(self.metrics))

    def _finish(self, count: int, jobs: Iterator[Job], delivered: SimpleQueue[Outcome]) -> int:
        """See `count` requests to their end, each followed by another; return their tokens."""
        tokens = 0
        for _ in range(count):
            outcome = delivered.get()
            if outcome.error is not None:
                raise outcome.error
            tokens += len(outcome.candidates[0].token_ids)
            for job in islice(jobs, 1):
                self.worker.submit([job], delivered.put)
        return tokens


def publish(
    registry: Registry,
    adapter: RandomAdapter,
    base: Base,
    number: int,
    known: Mapping[str, AdapterVersion],
) -> AdapterVersion:
    """Publish an adapter under a manifest, and so a digest, of its own; weights are stored once.

    One that an earlier run has published under this manifest is taken as it is.
    """
    name = f"bench.{number}"
    manifest = AdapterManifest(
        pair="en-ko",
        method=adapter.kind,
        size=adapter.solution.size,
        budget=None,
        trainable_parameters=adapter.solution.trainable_parameters,
        base=BaseReference(name=base.name, digest=base.digest, parameters=base.parameters),
        corpus=CorpusReference(
            name="none", fingerprint="none", licence="none", train=0, dev=0, test=0
        ),
        recipe_digest=_DIGEST,
        seed=number,
    )
    if name in known and known[name].manifest == manifest:
        return known[name]
    return registry.publish(adapter.folder, name, manifest)
