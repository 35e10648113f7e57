"""The server without its edge: everything from the router to the engine, wired together."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hub.bases import Base, open_base
from hub.bases.digest import check_digest
from hub.bases.languages import remember_languages
from hub.bases.tokenizer import BaseTokenizer, load_tokenizer
from hub.bases.vocabulary import LanguageLists
from hub.engine.architecture import DecodingDefaults
from hub.engine.shortlists import Shortlist
from hub.glossaries import Glossaries
from hub.registry import AdapterVersion, CanaryEvidence, Registry
from hub.settings import Settings
from server.access.admission import GREEDY, Limits, SearchDefaults
from server.access.glossary_owners import GlossaryOwners
from server.batching.scheduler import BatchLimits, Scheduler
from server.batching.worker import Worker
from server.engines import NICENESS, OpenedEngine, open_engine
from server.protocols import EnginePort
from server.quality.canary.book import CanaryBook
from server.quality.canary.watch import CanaryKeeper, CanaryWatch
from server.quality.feedback import FeedbackDesk
from server.quality.golden.findings import GoldenFindings
from server.quality.golden.results import GoldenResults
from server.quality.golden.runner import GoldenRunner, Memory
from server.quality.golden.schedule import Schedule
from server.quality.judging import Judge
from server.residency.loader import PoolLoader
from server.residency.tables import HostTier, SlotTable
from server.residency.tiers import Stock
from server.telemetry.metrics import Metrics
from server.telemetry.observation import load_observer, watch_server
from server.translation.assembly import Assembler
from server.translation.detection import Detector
from server.translation.feed import window_of
from server.translation.glossary import GlossaryShelf
from server.translation.plans import Planner
from server.translation.resolution import ResolveCache
from server.translation.routes import RouteBook, open_book
from server.translation.routing import Router
from server.translation.second_try import SecondTries
from server.translation.translator import Translator
from server.translation.warm_up import translate_something
from server.translation.watching import RegistryWatcher

if TYPE_CHECKING:
    from hub.engine.adapters import HostAdapter
    from server.residency.spill import Spill

LOADER_THREADS: Final = 4
_LOADER_NICENESS: Final = 10
"""Behind the engine's: a step waits for its slowest thread, a load can wait."""

_log = logging.getLogger("adapterhub.server")


@dataclass(frozen=True, slots=True)
class Core:
    """A loaded base and everything that serves it."""

    base: Base
    settings: Settings
    registry: Registry
    translator: Translator
    worker: Worker[HostAdapter]
    spill: Spill
    routes: RouteBook
    resolution: ResolveCache
    watcher: RegistryWatcher
    glossaries: Glossaries
    glossary_owners: GlossaryOwners
    feedback: FeedbackDesk
    canaries: CanaryKeeper
    evidence: CanaryEvidence
    golden: GoldenRunner
    engine: OpenedEngine

    def close(self) -> None:
        """Stop the engine and let go of the registry. Blocks for up to one step."""
        last_first = (
            self.registry, self.evidence, self.watcher, self.canaries, self.feedback, self.spill,
            self.engine,
        )  # fmt: skip
        with ExitStack() as left:  # each is closed whatever fails before it
            for one in last_first:
                left.callback(one.close)
            left.callback(self.worker.stop)

    def take(self, settings: Settings) -> None:
        """Put the limits of changed settings in force, for the requests to come."""
        planner = self.translator.planner
        planner.limits = limits_of(settings, self.base, planner.tokenizer)

    async def warm_up(self) -> None:
        """Translate something, so that the first caller does not pay for the first time.

        Raises:
            HubError: The base cannot translate; the server must not say that it serves.
        """
        await translate_something(self.translator)


def open_core(
    settings: Settings, metrics: Metrics, pool: Executor, on_broken: Callable[[], None]
) -> Core:
    """Load the base, start the engine thread and wire the rooms. Blocks for as long as that takes.

    Raises:
        HubError: The base or the registry cannot be opened.
    """
    from hub.engine.memory import return_freed_memory

    return_freed_memory()  # else the base goes where something else was, and seems to take nothing
    base = open_base(settings.base, cache=settings.cache)
    check_digest(base, settings.base_digest)
    if settings.languages:
        remember_languages(base, settings.languages)
    tokenizer = load_tokenizer(base)
    with ExitStack() as undo:
        registry = undo.enter_context(Registry.open(settings.registry))
        resolution = ResolveCache(registry.resolve)
        # Before the routes are read, so that no change between is missed.
        watcher = undo.enter_context(closing(RegistryWatcher(registry, resolution.invalidate)))
        routes = open_book(base, registry, settings)
        registry.canaries.mend()
        book = CanaryBook(registry.canaries.running, registry.resolve, base.answers_to)
        resolution.changed += [book.refresh, routes.refresh]
        evidence = undo.enter_context(closing(registry.evidence()))
        engine = open_engine(base, tokenizer, settings)
        undo.pop_all()
    metrics.base_bytes.set(engine.base_bytes)
    settings = settings.model_copy(
        update={"quantization": engine.quantization, "device": engine.device}
    )
    spill = _spill(engine.port, base.parameters, registry, settings, metrics)
    worker = _worker(engine, spill, registry, settings, metrics, on_broken)
    glossaries, owners = Glossaries(registry.root), GlossaryOwners(Path(registry.root))
    findings = GoldenFindings(looking=bool(settings.golden_interval))
    watch = CanaryWatch(
        book, evidence, registry.canaries, metrics, resolution.invalidate, findings.of
    )
    planner = Planner(
        router=_router(base, tokenizer, resolution, routes, settings, worker, book),
        tokenizer=tokenizer,
        detector=Detector(tokenizer.languages),
        limits=limits_of(settings, base, tokenizer),
        glossaries=GlossaryShelf(glossaries, owners.visible),
        shortlist=_shortlists(tokenizer, settings),
    )
    assembler, window = Assembler(tokenizer, Judge(tokenizer.unk_id)), window_of(settings.queue)
    translator = Translator(
        planner=planner,
        assembler=assembler,
        worker=worker,
        metrics=metrics,
        pool=pool,
        second=SecondTries(
            planner, assembler, worker, metrics, pool,
            settings.second_try, worker.overloaded, window,
        ),
        window=window,
        canaries=watch,
    )  # fmt: skip
    metrics.base_info.labels(base.name, base.digest, settings.quantization).set(1)
    watch_server(metrics, worker.inspect, lambda: len(routes().entries))
    worker.start()
    metrics.canaries.watch(watch.shown)
    canaries = CanaryKeeper(watch)
    golden = _golden(registry, translator, worker, metrics, pool, settings, routes, book, findings)
    watcher.start()
    canaries.start()
    feedback = FeedbackDesk(
        settings, base.digest, resolution.resolve, lambda: translator.limits, metrics
    )
    return Core(
        base, settings, registry, translator, worker, spill, routes, resolution, watcher,
        glossaries, owners, feedback, canaries, evidence, golden, engine,
    )  # fmt: skip


def _router(
    base: Base,
    tokenizer: BaseTokenizer,
    resolution: ResolveCache,
    routes: RouteBook,
    settings: Settings,
    worker: Worker[HostAdapter],
    book: CanaryBook,
) -> Router:
    return Router(
        resolution.resolve,
        tokenizer.languages,
        base.name,
        base.digest,
        base.answers_to,
        table=routes,
        overloaded=worker.overloaded if settings.overload_rungs else lambda: False,
        split=book.choose,
        knows=resolution.knows,
    )


def _golden(
    registry: Registry,
    translator: Translator,
    worker: Worker[HostAdapter],
    metrics: Metrics,
    pool: Executor,
    settings: Settings,
    routes: RouteBook,
    book: CanaryBook,
    findings: GoldenFindings,
) -> GoldenRunner:
    """Return what looks at golden lines; it is to be started where that is wanted."""
    results = GoldenResults()
    metrics.golden.watch(results.shown)

    def served() -> list[AdapterVersion]:
        tried = [registry.resolve(f"{one.name}:{one.canary}") for one in book.running]
        return [*(entry.version for entry in routes().sorted()), *tried]

    return GoldenRunner(
        registry=registry,
        planner=translator.planner,
        worker=worker,
        metrics=metrics,
        pool=pool,
        memory=Memory(settings.slots, settings.device_adapter_bytes, settings.host_adapter_bytes),
        schedule=Schedule(settings.golden_interval, random.random),
        served=served,
        inspect=lambda: asyncio.wrap_future(worker.inspect()),
        results=results,
        findings=findings,
        canaries=lambda: book.running,
    )


def _shortlists(tokenizer: BaseTokenizer, settings: Settings) -> Callable[[str], Shortlist | None]:
    """Return what tells the tokens of a language; say how many each has."""
    if settings.vocabulary == "full":
        return lambda _: None
    lists = LanguageLists(tokenizer)
    for line in lists.report():
        _log.info("vocabulary: %s", line)
    return lists.of


def _spill(
    engine: EnginePort[HostAdapter],
    base_parameters: int,
    registry: Registry,
    settings: Settings,
    metrics: Metrics,
) -> Spill:
    """Return the way of adapters into host memory."""
    from server.residency.spill import Spill

    def read(version: AdapterVersion) -> HostAdapter:
        adapter = engine.read_adapter(registry.folder(version), version.manifest)
        version.manifest.verify(parameters=adapter.parameters, base_parameters=base_parameters)
        return adapter

    observe = load_observer(metrics)
    return Spill(read, settings.spill_adapter_bytes, registry.root, observe)


def _worker(
    engine: OpenedEngine,
    spill: Spill,
    registry: Registry,
    settings: Settings,
    metrics: Metrics,
    on_broken: Callable[[], None],
) -> Worker[HostAdapter]:
    stock = Stock(
        engine.port,
        SlotTable(settings.slots, settings.device_adapter_bytes),
        HostTier(settings.host_adapter_bytes, LOADER_THREADS),
        metrics,
    )
    limits = BatchLimits(settings.max_batch_rows, settings.max_batch_tokens)
    worker = Worker(
        engine.port,
        quiet_loader(registry.resolve, spill),
        Scheduler(limits),
        stock,
        metrics,
        queue_limit=settings.queue,
        on_broken=on_broken,
        prepare=lambda: give_way(NICENESS),
    )
    engine.watch(worker.engine_ended)
    return worker


def give_way(niceness: int) -> None:
    """Let this thread, and those that it starts, yield to others of the process."""
    with suppress(AttributeError, OSError):  # not on every system, nor in every container
        this = threading.get_native_id()
        niceness = max(niceness, os.getpriority(os.PRIO_PROCESS, this))  # never the other way
        os.setpriority(os.PRIO_PROCESS, this, niceness)


def quiet_loader(
    resolve: Callable[[str], AdapterVersion], read: Callable[[AdapterVersion], HostAdapter]
) -> PoolLoader[HostAdapter]:
    """Start loader threads that compute on one core each, not all on all cores.

    Else a load would take turns with the engine's threads at every product, and products wait
    for their slowest thread. torch keeps the number per thread, and as the number of threads to
    come; only the latter is put back.
    """
    import torch

    def compute_alone() -> None:
        """Take one core, and leave it to the engine's threads when they want it."""
        torch.set_num_threads(1)
        torch.get_num_threads()  # a thread takes the common number at its first look; so look now
        give_way(_LOADER_NICENESS)

    everyone = torch.get_num_threads()
    try:
        return PoolLoader(resolve, read, LOADER_THREADS, prepare=compute_alone)
    finally:
        torch.set_num_threads(everyone)


def limits_of(settings: Settings, base: Base, tokenizer: BaseTokenizer) -> Limits:
    """Return the limits on one request: the settings', within what the base and a batch can do."""
    positions = base.dimensions.max_positions
    prefix = max(len(tokenizer.target_prefix(language)) for language in tokenizer.languages)
    max_beam = min(settings.max_beam, settings.max_batch_rows)
    return Limits(
        max_contents=min(settings.max_contents, settings.queue),
        max_content_characters=settings.max_content_characters,
        max_source_tokens=min(settings.max_source_tokens, positions),
        max_output_tokens=positions - prefix - 1,
        max_beam=max_beam,
        search=_search(settings, base.architecture.decoding, prefix, max_beam),
    )


def _search(
    settings: Settings, own: DecodingDefaults, prefix: int, max_beam: int
) -> SearchDefaults:
    """Return the search of requests that name none.

    Args:
        settings: Say whether the base's own search is wanted.
        own: What the base was published with.
        prefix: Forced tokens of a target, which a base's length limit counts, as the start token.
        max_beam: The widest beam here; a wider one of the base is narrowed to it.
    """
    longest = None if own.max_length is None else max(1, own.max_length - 1 - prefix)
    if settings.search == "greedy":
        return replace(GREEDY, max_output_tokens=longest)
    return SearchDefaults(
        beam_size=min(own.beam_size, max_beam),
        length_penalty=own.length_penalty,
        early_stopping=own.early_stopping,
        max_output_tokens=longest,
    )
