"""The use case: route → check → tokenize → queue → decode → score.

Lives on the event loop. What blocks (the registry, the tokenizer) goes to a pool of threads, what
computes goes to the worker; here is only the order of things.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar

from hub.bases.tokenizer import BaseTokenizer
from hub.errors import DeadlineError, EngineError, HubError
from hub.languages import LanguagePair
from server.access.admission import (
    Limits,
    blank_error,
    check_command,
    check_source,
    check_text,
    resolve_search,
)
from server.messages import (
    AlternativeText,
    Candidate,
    ItemResult,
    Job,
    Outcome,
    TranslateCommand,
    TranslateResult,
)
from server.protocols import JobRunner
from server.quality.signals import judge, judge_unknown, measure, text_tokens, unknown_characters
from server.telemetry.metrics import BASE_LABEL, Metrics
from server.translation.routing import Route, Router

_Result = TypeVar("_Result")


@dataclass(slots=True)
class Translator:
    """Carries out translation commands; one per server."""

    router: Router
    tokenizer: BaseTokenizer
    worker: JobRunner
    limits: Limits
    metrics: Metrics
    pool: Executor
    clock: Callable[[], float] = time.monotonic
    _keys: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def translate(self, command: TranslateCommand) -> TranslateResult:
        """Translate; items fail one by one, in their results.

        Raises:
            HubError: Nothing of the command can be done.
        """
        began = self.clock()
        check_command(command, self.limits)
        route = await self._off_loop(
            self.router.route, command.source, command.target, command.adapter
        )
        routed = self.clock()
        prepared = await self._off_loop(self._prepare, command, route)
        tokenized = self.clock()
        outcomes = await self._run([job for job in prepared if isinstance(job, Job)], command)
        decoded = self.clock()
        items = await self._off_loop(self._results, command, prepared, outcomes, route)
        ended = self.clock()
        tokenize_seconds = (tokenized - routed) + (ended - decoded)
        self._observe(items, route, routed - began, tokenize_seconds)
        return TranslateResult(
            items=tuple(items),
            source=route.pair.source,
            target=route.pair.target,
            adapter_version=route.adapter_version,
            adapter_digest=route.digest,
            input_characters=sum(len(text) for text in command.contents),
            stage_seconds={
                "route": routed - began,
                "tokenize": tokenize_seconds,
                "total": ended - began,
            },
        )

    async def _off_loop(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *arguments)

    def _prepare(self, command: TranslateCommand, route: Route) -> list[Job | HubError]:
        """Turn each text into a job, or into the reason why it cannot be one."""
        layout = _Layout(
            empty=self._encode("", route.pair),
            prefix=tuple(self.tokenizer.target_prefix(route.pair.target)),
        )
        return [self._prepare_text(text, command, route, layout) for text in command.contents]

    def _prepare_text(
        self, text: str, command: TranslateCommand, route: Route, layout: _Layout
    ) -> Job | HubError:
        error = check_text(text, self.limits)
        if error is not None:
            return error
        source = self._encode(text, route.pair)
        if source == layout.empty:  # the base's own normalizer has taken all of it for blanks
            return blank_error(text)
        error = check_source(len(source), self.limits)
        if error is not None:
            return error
        return Job(
            key=next(self._keys),
            digest=route.digest,
            source_ids=source,
            prefix_ids=layout.prefix,
            search=resolve_search(command.search, len(source), self.limits),
            adapter_bytes=route.adapter_bytes,
            deadline=command.deadline,
        )

    def _encode(self, text: str, pair: LanguagePair) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode_source(text, pair.source, pair.target))

    async def _run(self, jobs: Sequence[Job], command: TranslateCommand) -> dict[int, Outcome]:
        """Run jobs on the worker; a caller that goes away withdraws them."""
        if not jobs:
            return {}
        if command.deadline is not None and command.deadline <= self.clock():
            raise DeadlineError("the deadline passed before the request could be queued")
        loop = asyncio.get_running_loop()
        waiting = {job.key: loop.create_future() for job in jobs}

        def resolve(outcome: Outcome) -> None:
            future = waiting[outcome.key]
            if not future.done():
                future.set_result(outcome)

        def deliver(outcome: Outcome) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(resolve, outcome)

        self.worker.submit(jobs, deliver)
        try:
            outcomes: list[Outcome] = await asyncio.gather(*waiting.values())
        except asyncio.CancelledError:
            self.worker.withdraw(list(waiting))
            raise
        _raise_if_all_failed(outcomes)
        return {outcome.key: outcome for outcome in outcomes}

    def _results(
        self,
        command: TranslateCommand,
        prepared: Sequence[Job | HubError],
        outcomes: dict[int, Outcome],
        route: Route,
    ) -> list[ItemResult]:
        empty = self._encode("", route.pair)
        return [
            self._result(_Sent(text, text_tokens(item.source_ids, empty), item), outcomes, route)
            if isinstance(item, Job)
            else ItemResult(error=item)
            for text, item in zip(command.contents, prepared, strict=True)
        ]

    def _result(self, sent: _Sent, outcomes: dict[int, Outcome], route: Route) -> ItemResult:
        source, job = sent.tokens, sent.job
        outcome = outcomes[job.key]
        if outcome.error is not None:
            return ItemResult(error=outcome.error, timings=outcome.timings, input_tokens=job.tokens)
        best, *others = outcome.candidates
        signals = measure(source, best)
        unk = self.tokenizer.unk_id
        return ItemResult(
            text=self.tokenizer.decode(best.token_ids),
            signals=signals,
            flags=judge(source, best, signals) + judge_unknown(source, best, unk),
            alternatives=tuple(self._alternative(other) for other in others),
            timings=outcome.timings,
            input_tokens=job.tokens,
            output_tokens=best.length,
            unknown_characters=self._unknown(sent.text, route) if unk in source else (),
        )

    def _unknown(self, text: str, route: Route) -> tuple[str, ...]:
        return unknown_characters(
            text, lambda one: self._encode(one, route.pair), self.tokenizer.unk_id
        )

    def _alternative(self, candidate: Candidate) -> AlternativeText:
        return AlternativeText(
            text=self.tokenizer.decode(candidate.token_ids),
            score=candidate.score,
            mean_log_probability=candidate.mean_log_probability,
            truncated=not candidate.finished,
        )

    def _observe(
        self, items: Sequence[ItemResult], route: Route, route_seconds: float, tokenize: float
    ) -> None:
        metrics = self.metrics
        metrics.stage_seconds.labels("route").observe(route_seconds)
        metrics.stage_seconds.labels("tokenize").observe(tokenize)
        pair = metrics.pairs.of(str(route.pair))
        name = BASE_LABEL if route.version is None else metrics.adapters.of(route.version.name)
        for item in items:
            metrics.input_tokens.labels(pair, name).inc(item.input_tokens)
            if item.error is not None:
                metrics.rejected.labels(item.error.reason).inc()
                continue
            metrics.queue_seconds.labels(pair).observe(item.timings.queue_seconds)
            metrics.output_tokens.labels(pair, name).inc(item.output_tokens)
            metrics.request_input_tokens.observe(item.input_tokens)
            metrics.request_output_tokens.observe(item.output_tokens)
            metrics.mean_logprob.labels(pair, name).observe(item.signals.mean_log_probability)
            metrics.length_ratio.labels(pair).observe(item.signals.length_ratio)
            for flag in item.flags:
                metrics.quality_flags.labels(pair, name, flag.value).inc()


@dataclass(frozen=True, slots=True)
class _Sent:
    """A text that was translated, and its tokens without those of the base's own layout."""

    text: str
    tokens: tuple[int, ...]
    job: Job


@dataclass(frozen=True, slots=True)
class _Layout:
    """What is the same for all texts of a command.

    Attributes:
        empty: Source tokens of no text at all.
        prefix: Tokens that every output is forced to begin with.
    """

    empty: tuple[int, ...]
    prefix: tuple[int, ...]


def _raise_if_all_failed(outcomes: Sequence[Outcome]) -> None:
    """Fail the call when nothing of it was done, for a reason that is not in the texts.

    An adapter that cannot be loaded, a deadline or a shutdown concerns the call; an engine error
    concerns the row it struck.
    """
    first = outcomes[0].error
    if first is None or isinstance(first, EngineError):
        return
    if all(outcome.error is not None for outcome in outcomes):
        raise first
