"""The use case: route → split → tokenize → queue → decode → judge → join.

Lives on the event loop. What blocks (the registry, the tokenizer on more than a few words) goes to
a pool of threads, what computes goes to the worker; here is only the order of things.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from hub.errors import EngineError, HubError
from server.access.admission import HTML, Limits, check_command, check_contents
from server.access.preparation import Preparation
from server.messages import (
    Detected,
    FinishedItem,
    FinishedSegment,
    ItemResult,
    Job,
    Outcome,
    TranslateCommand,
    TranslateResult,
)
from server.protocols import JobRunner
from server.quality.canary.watch import CanaryWatch, note_arms
from server.telemetry.metrics import Metrics
from server.telemetry.observation import (
    observe_first_segment,
    observe_item,
    observe_stages,
    observe_unrouted,
    trace_failed,
)
from server.telemetry.traces import current_trace
from server.translation.assembly import Assembler, SegmentResult, first_error
from server.translation.documents import PlainDocument
from server.translation.feed import MAX_WINDOW, run_jobs
from server.translation.plans import ItemPlan, Planner, SegmentPlan, document_of, jobs_of
from server.translation.routing import Router
from server.translation.second_try import SecondTries

SHORT_TOKENS: Final = 64
"""Of all outputs of a call: these become text in a fraction of a millisecond."""
SHORT_CHARACTERS: Final = 256
"""Of all texts of a call: these are split and tokenized in a fraction of a millisecond."""

_Result = TypeVar("_Result")

_log = logging.getLogger("adapterhub.server")


@dataclass(slots=True)
class _Clocked:
    """When the stages of a command ended, in seconds.

    Attributes:
        lag: From the engine's last token to the outcome here; None while there is none.
    """

    began: float
    routed: float = 0.0
    prepared: float = 0.0
    decoded: float = 0.0
    ended: float = 0.0
    lag: float | None = None

    @property
    def tokenize(self) -> float:
        return (self.prepared - self.routed) + (self.ended - self.decoded)


@dataclass(slots=True)
class Translator:
    """Carries out translation commands; one per server."""

    planner: Planner
    assembler: Assembler
    worker: JobRunner
    metrics: Metrics
    pool: Executor
    second: SecondTries
    window: int = MAX_WINDOW
    clock: Callable[[], float] = time.monotonic
    canaries: CanaryWatch | None = None
    preparation: Preparation = field(init=False)

    def __post_init__(self) -> None:
        """Let calls through a few at a time."""
        self.preparation = Preparation(self.worker.intake, self.window)

    @property
    def router(self) -> Router:
        """Return what decides who translates."""
        return self.planner.router

    @property
    def limits(self) -> Limits:
        """Return the most that one request may ask for."""
        return self.planner.limits

    async def translate(self, command: TranslateCommand) -> TranslateResult:
        """Translate; items fail one by one, in their results.

        Raises:
            HubError: Nothing of the command can be done.
        """
        clocked = _Clocked(self.clock())
        items = await self._plan(command, clocked)
        plans = {plan.job.key: plan for item in items for plan in item.segments}
        async for outcome in self._run(list(jobs_of(items)), command):
            plans[outcome.key].outcome = outcome
            clocked.lag = self.clock() - outcome.timings.ended_at
        await self._force_terms(items, command)
        clocked.decoded = self.clock()
        error = _common_error(items)
        if error is not None:
            self._note_arms(items, [ItemResult(error=_why_not(item)) for item in items])
            raise error
        results = await self._assembled(items)
        judged = self.clock()
        self._note_call(clocked, judged - clocked.decoded)
        await self._try_again(items, results, command)
        clocked.decoded += self.clock() - judged
        clocked.ended = self.clock()
        self._observe(items, results, clocked)
        return _result(command, items, results, clocked)

    async def stream(
        self, command: TranslateCommand
    ) -> AsyncIterator[FinishedSegment | FinishedItem | TranslateResult]:
        """Translate, and yield sentences as they are finished, each item's in order.

        After the last sentence of an item comes the item; after all items the whole result.

        Raises:
            HubError: Nothing of the command can be done.
        """
        clocked = _Clocked(self.clock())
        items = await self._plan(command, clocked)
        results: dict[int, ItemResult] = {}
        places = {plan.job.key: (item, plan) for item in items for plan in item.segments}
        sent, joining = [0] * len(items), 0.0
        async for outcome in self._run(list(jobs_of(items)), command):
            item, plan = places[outcome.key]
            plan.outcome = outcome
            if clocked.lag is None:  # later ones may have waited for the caller to read
                clocked.lag = self.clock() - outcome.timings.ended_at
            await self._force_terms([item], command, [plan])
            if await self.second.look(item, plan, command):
                await self._force_terms([item], command, [plan])
            ready = _ready(item, sent[item.index])  # none of a marked-up text, which comes whole
            for segment in await self._off_loop(self._segments, item, ready) if ready else ():
                if not any(sent) and item.route is not None:
                    observe_first_segment(self.metrics, item.route, self.clock() - clocked.began)
                yield _finished(item, sent[item.index], segment)
                sent[item.index] += 1
            if all(one.outcome is not None for one in item.segments):
                translated = self.clock()
                results[item.index] = await self._off_loop(self.assembler.item, item)
                joining = self.clock() - translated
                yield FinishedItem(item.index, results[item.index])
        for item in items:
            if not item.segments:  # failed before, or has nothing to translate
                results[item.index] = self.assembler.item(item)
                yield FinishedItem(item.index, results[item.index])
        clocked.decoded = clocked.ended = self.clock()
        self._note_call(clocked, joining)
        ordered = [results[item.index] for item in items]
        self._observe(items, ordered, clocked)
        yield _result(command, items, ordered, clocked)

    def detect(self, contents: Sequence[str], mime_type: str = "") -> list[list[Detected]]:
        """Tell the language of texts, the most probable first. Blocks.

        Raises:
            InputError: There are no texts, too many, or they are of another type.
        """
        check_contents(contents, mime_type, self.limits)
        documents = [document_of(text, mime_type) for text in contents]
        texts = ["\n".join(unit.text for unit in one.units) for one in documents]
        return [self.planner.detector.detect(text) for text in texts]

    def _segments(self, item: ItemPlan, ready: range) -> list[SegmentResult]:
        return [self.assembler.segment(item, index) for index in ready]

    async def _plan(self, command: TranslateCommand, clocked: _Clocked) -> list[ItemPlan]:
        check_command(command, self.limits)
        async with self.preparation.of(command):
            if self._is_quick(command):
                items = self._planned(command, clocked)
            else:
                items = await self._off_loop(self._planned, command, clocked)
            clocked.prepared = self.clock()
        characters = sum(len(item.text) for item in items if item.segments)
        self.worker.intake.note_source(characters, list(jobs_of(items)))
        return items

    def _is_quick(self, command: TranslateCommand) -> bool:
        """Tell whether a call is planned here: that takes less than the way to a thread and back.

        Neither what may read files (adapters, glossaries) nor what takes its time (markup, the
        detection of a language) may hold up the event loop.
        """
        return (
            sum(map(len, command.contents)) <= SHORT_CHARACTERS
            and command.mime_type != HTML
            and bool(command.source.strip())
            and command.glossary.empty
            and self.router.at_once(command.adapter)
        )

    async def _assembled(self, items: Sequence[ItemPlan]) -> list[ItemResult]:
        """Return what became of the items; short ones here, which is cheaper than a thread."""
        if _output_tokens(items) <= SHORT_TOKENS:
            return _map(self.assembler.item, items)
        return await self._off_loop(_map, self.assembler.item, items)

    def _planned(self, command: TranslateCommand, clocked: _Clocked) -> list[ItemPlan]:
        items = self.planner.routes(command)
        clocked.routed = self.clock()
        self.planner.split(items, command)
        return items

    async def _off_loop(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *arguments)

    async def _force_terms(
        self,
        items: Sequence[ItemPlan],
        command: TranslateCommand,
        only: Sequence[SegmentPlan] | None = None,
    ) -> None:
        """Search again for sentences whose translations lack terms of the glossary."""
        if command.glossary.empty or not command.glossary.forced:
            return
        wanted = [
            (item, plan)
            for item in items
            for plan in (item.segments if only is None else only)
            if plan.terms
        ]
        found = await self._off_loop(self._again, wanted)
        again = {job.key: plan for plan, job in found}
        try:
            async for outcome in self._run([job for _, job in found], command):
                plan = again[outcome.key]
                if outcome.candidates and _is_as_whole(outcome, plan.outcome):
                    plan.outcome = outcome
        except HubError as error:  # no room or no time for it: what there is, is kept and flagged
            _log.info("terms were not forced: %s", error.message)

    async def _try_again(
        self, items: Sequence[ItemPlan], results: list[ItemResult], command: TranslateCommand
    ) -> None:
        """Replace bad translations by better ones, where there are any."""
        kept = {id(plan) for plan in await self.second.improve(items, command)}
        for index, item in enumerate(items):
            own = [plan for plan in item.segments if id(plan) in kept]
            if own:
                await self._force_terms([item], command, own)
            if item.second_try is not None:
                results[index] = await self._off_loop(self.assembler.item, item)

    def _again(
        self, wanted: Sequence[tuple[ItemPlan, SegmentPlan]]
    ) -> list[tuple[SegmentPlan, Job]]:
        found = [(plan, self.planner.with_terms(item, plan)) for item, plan in wanted]
        return [(plan, job) for plan, job in found if job is not None]

    async def _run(self, jobs: Sequence[Job], command: TranslateCommand) -> AsyncIterator[Outcome]:
        """Run jobs on the worker; a caller that goes away withdraws them."""
        async for outcome in run_jobs(self.worker, jobs, self.window):
            yield outcome

    def _note_call(self, clocked: _Clocked, joining: float) -> None:
        """Let the forecast learn what was spent before the queue and after the engine.

        What is searched or translated again is neither: it goes through the queue itself.
        """
        if clocked.lag is not None:
            before = clocked.prepared - clocked.began
            self.worker.intake.note_call(before, clocked.lag + joining)

    def _observe(
        self, items: Sequence[ItemPlan], results: Sequence[ItemResult], clocked: _Clocked
    ) -> None:
        stages = {"route": clocked.routed - clocked.began, "tokenize": clocked.tokenize}
        observe_stages(self.metrics, stages)
        before = {**stages, "tokenize": clocked.prepared - clocked.routed}
        if (trace := current_trace()) is not None:
            trace.add_stages(clocked.began, before)
        self._note_arms(items, results)
        for plan, item in zip(items, results, strict=True):
            if plan.route is None:
                observe_unrouted(self.metrics, item)
                continue
            outcomes = [one.outcome for one in plan.segments if one.outcome is not None]
            observe_item(self.metrics, item, plan.route, outcomes)

    def _note_arms(self, items: Sequence[ItemPlan], results: Sequence[ItemResult]) -> None:
        arms = [None if item.route is None else item.route.arm for item in items]
        note_arms(self.canaries, arms, results)


def _map(function: Callable[[ItemPlan], ItemResult], items: Sequence[ItemPlan]) -> list[ItemResult]:
    return [function(item) for item in items]


def _output_tokens(items: Sequence[ItemPlan]) -> float:
    """Return the tokens of plain texts; marked-up ones count as very long."""
    if not all(item.document is None or isinstance(item.document, PlainDocument) for item in items):
        return math.inf
    plans = (plan for item in items for plan in item.segments)
    found = (one.outcome.candidates for one in plans if one.outcome is not None)
    return sum(len(candidate.token_ids) for candidates in found for candidate in candidates)


def _is_as_whole(outcome: Outcome, before: Outcome | None) -> bool:
    """Tell whether a second translation is not cut off where the first one was not."""
    first = before is not None and before.candidates[0].finished
    return outcome.candidates[0].finished or not first


def _ready(item: ItemPlan, sent: int) -> range:
    """Return the sentences that may be sent now: translated, and all before them sent."""
    end = sent
    if not isinstance(item.document, PlainDocument):
        return range(sent, sent)
    for plan in item.segments[sent:]:
        if plan.outcome is None or plan.outcome.error is not None:
            break
        end += 1
    return range(sent, end)


def _finished(item: ItemPlan, index: int, segment: SegmentResult) -> FinishedSegment:
    return FinishedSegment(
        item=item.index,
        index=index,
        text=segment.before + segment.text + segment.after,
        start=segment.start,
        end=segment.end,
        signals=segment.signals,
    )


def _result(
    command: TranslateCommand,
    items: Sequence[ItemPlan],
    results: Sequence[ItemResult],
    clocked: _Clocked,
) -> TranslateResult:
    routes = [item.route for item in items if item.route is not None]
    sources = {route.pair.source for route in routes}
    targets = {route.pair.target for route in routes}
    return TranslateResult(
        items=tuple(results),
        source=sources.pop() if len(sources) == 1 else "",
        target=targets.pop() if len(targets) == 1 else "",
        input_characters=sum(len(text) for text in command.contents),
        stage_seconds={
            "route": clocked.routed - clocked.began,
            "tokenize": clocked.tokenize,
            "total": clocked.ended - clocked.began,
        },
    )


def _why_not(item: ItemPlan) -> HubError | None:
    return item.error or first_error(item.segments)


def _common_error(items: Sequence[ItemPlan]) -> HubError | None:
    """Return why nothing of a call was done, None where something was or the texts are at fault.

    An adapter that cannot be loaded, a deadline or a shutdown concerns the call; an engine error
    concerns the row it struck.
    """
    outcomes = [plan.outcome for item in items for plan in item.segments]
    errors = [outcome.error for outcome in outcomes if outcome is not None]
    if not errors or any(error is None for error in errors):
        return None
    first = errors[0]
    if first is None or isinstance(first, EngineError):
        return None
    trace_failed(first, [outcome for outcome in outcomes if outcome is not None])
    return first
