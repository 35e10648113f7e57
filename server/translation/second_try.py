"""Sentences whose translation is in a wrong language, loops or is empty are translated once more.

The second try goes to the next cheaper adapter of the route, else to the base model, and the better
of the two translations is returned. Only where the route chose the adapter: a request that names
one gets that one, and so does a request that requires it. It costs one more decoding of the bad
sentences alone. It is not made while the server is overloaded, nor where the caller's deadline does
not leave time for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final

from hub.errors import HubError
from server.access.permits import Permit
from server.messages import Flag, Outcome, SecondTry, TranslateCommand
from server.protocols import JobRunner
from server.quality.judging import Judgement
from server.telemetry.metrics import BASE_LABEL, Metrics
from server.translation.assembly import Assembler, first_error
from server.translation.feed import run_jobs
from server.translation.plans import ItemPlan, Planner, SegmentPlan
from server.translation.routing import Route

SAFE: Final = 2.0
"""The time left must be this often what the first try took."""
SHARE: Final = 0.8
"""Of the time left, for the second try; the rest is for answering with what there is."""
_SEVERITY: Final = {None: 0, Flag.REPETITION: 1, Flag.OFF_TARGET: 2, Flag.EMPTY: 3}

_log = logging.getLogger("adapterhub.server")


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A bad sentence, and the same once more."""

    item: ItemPlan
    first: SegmentPlan
    second: SegmentPlan
    reason: Flag


@dataclass(slots=True)
class SecondTries:
    """Makes second tries; lives on the event loop.

    Attributes:
        enabled: Whether any are made.
        overloaded: Whether the server has no time for them now.
        window: Jobs of one call that are in the worker at once.
    """

    planner: Planner
    assembler: Assembler
    worker: JobRunner
    metrics: Metrics
    pool: Executor
    enabled: bool
    overloaded: Callable[[], bool]
    window: int
    clock: Callable[[], float] = time.monotonic

    def may_follow(self, item: ItemPlan, command: TranslateCommand) -> bool:
        """Tell whether sentences of an item may be translated again."""
        return (
            self.enabled
            and not command.require_adapter
            and item.route is not None
            and item.route.rungs is not None
        )

    async def look(
        self, item: ItemPlan, plan: SegmentPlan, command: TranslateCommand
    ) -> list[SegmentPlan]:
        """Judge one sentence that was just translated, and translate it again where it is bad."""
        if plan.outcome is None or plan.outcome.error or not self.may_follow(item, command):
            return []
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self.pool, self.assembler.judged, item, plan)
        return await self.improve([item], command, [plan])

    async def improve(
        self,
        items: Sequence[ItemPlan],
        command: TranslateCommand,
        only: Sequence[SegmentPlan] | None = None,
    ) -> list[SegmentPlan]:
        """Translate bad sentences again, and return those whose translation was replaced.

        Args:
            items: Their sentences are translated, and judged.
            command: Whose they are.
            only: Sentences to look at; all of the items' where None.
        """
        bad = [
            (item, plan)
            for item in items
            if self.may_follow(item, command) and not first_error(item.segments)
            for plan in (item.segments if only is None else only)
            if plan.judged is not None and plan.judged.judgement.bad
        ]
        if not bad or self.overloaded():
            return []
        loop = asyncio.get_running_loop()
        attempts = await loop.run_in_executor(self.pool, self._attempts, bad, command)
        await self._run(attempts)
        kept = await loop.run_in_executor(self.pool, self._settle, attempts)
        return kept

    async def _run(self, attempts: Sequence[_Attempt]) -> None:
        by_key = {one.second.job.key: one.second for one in attempts}
        jobs = [one.second.job for one in attempts]
        try:
            async for outcome in run_jobs(self.worker, jobs, self.window):
                by_key[outcome.key].outcome = outcome
        except HubError as error:  # no room or no time for it: what there is, is kept and flagged
            _log.info("no second try: %s", error.message)

    def _attempts(
        self, bad: Sequence[tuple[ItemPlan, SegmentPlan]], command: TranslateCommand
    ) -> list[_Attempt]:
        """Prepare what is run, leaving out what there is no time or nobody else for."""
        routes: dict[int, Route | None] = {}
        found = []
        for item, plan in bad:
            assert item.route is not None
            assert plan.judged is not None
            deadline = self._deadline(plan, command)
            if item.index not in routes:
                routes[item.index] = self.planner.router.second(
                    item.route, Permit(command.permitted)
                )
            route, reason = routes[item.index], plan.judged.judgement.bad
            if route is not None and reason is not None and deadline != _NO_TIME:
                job = self.planner.for_another(plan, route, deadline)
                again = replace(plan, job=job, outcome=None, judged=None, maker=route)
                found.append(_Attempt(item, plan, again, reason))
        return found

    def _deadline(self, plan: SegmentPlan, command: TranslateCommand) -> float | None:
        """Return when a second try has to be over; `_NO_TIME` where it is not worth beginning."""
        if command.deadline is None or plan.outcome is None:
            return None
        timings, now = plan.outcome.timings, self.clock()
        left, took = command.deadline - now, timings.ended_at - timings.accepted_at
        return now + SHARE * left if left > SAFE * took else _NO_TIME

    def _settle(self, attempts: Sequence[_Attempt]) -> list[SegmentPlan]:
        """Keep the better of two translations, sentence by sentence."""
        kept = []
        for one in attempts:
            outcome = self._compare(one)
            self._count(one, outcome)
            if outcome == "kept":
                one.first.job, one.first.outcome = one.second.job, one.second.outcome
                one.first.judged, one.first.maker = one.second.judged, one.second.maker
                kept.append(one.first)
            if outcome != "failed":
                one.item.second_try = _told(one, kept=outcome == "kept")
        return kept

    def _compare(self, one: _Attempt) -> str:
        outcome = one.second.outcome
        if outcome is None or outcome.error is not None:
            return "failed"
        assert one.first.judged is not None
        before = one.first.judged
        after = self.assembler.judged(one.item, one.second)
        better = _severity(after.judgement) < _severity(before.judgement)
        return "kept" if better and _is_whole(outcome, before.outcome) else "discarded"

    def _count(self, one: _Attempt, outcome: str) -> None:
        route = one.item.route
        assert route is not None
        name = BASE_LABEL if route.version is None else route.version.name
        both = self.metrics.both.of(str(route.pair), name)
        self.metrics.second_tries.labels(*both, outcome).inc()


_NO_TIME: Final = float("-inf")


def _severity(judgement: Judgement) -> int:
    return _SEVERITY[judgement.bad]


def _is_whole(second: Outcome, first: Outcome) -> bool:
    """Tell whether a second translation is not cut off where the first one was not."""
    return second.candidates[0].finished or not first.candidates[0].finished


def _told(one: _Attempt, *, kept: bool) -> SecondTry:
    """Add an attempt to what is told of its item."""
    before, route = one.item.second_try, one.second.maker
    assert route is not None
    return SecondTry(
        reason=one.reason if before is None else before.reason,
        adapter_version=route.adapter_version,
        adapter_digest=route.digest,
        segments=1 + (before.segments if before else 0),
        kept=kept + (before.kept if before else 0),
    )
