"""Translates golden lines again, behind everything that callers ask for.

The lines go through the same queue, engine and slots as requests, at a priority below that of
batches, a few rows at a time. They are neither split nor masked: published scores were made of
whole lines, and like is compared with like. An adapter that is in no slot is looked at only where
one is free and memory has room, so that no adapter in use has to go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, TypeVar

from hub.errors import HubError, OverloadedError, UnavailableError
from hub.golden import GoldenLines
from hub.registry import AdapterVersion, Canary, Registry
from server.messages import LoadedAdapter, Priority, Search
from server.protocols import JobRunner
from server.quality.golden.comparing import compare
from server.quality.golden.findings import Finding, GoldenFindings
from server.quality.golden.results import GoldenResult, GoldenResults
from server.quality.golden.schedule import Schedule
from server.telemetry.metrics import Metrics
from server.translation.feed import run_jobs
from server.translation.plans import Planner

ROWS: Final = 4
"""Lines that are in the queue at once."""
LOOK_SECONDS: Final = 5.0
"""Between two looks at what is due."""

T = TypeVar("T")

_log = logging.getLogger("adapterhub.server")


@dataclass(frozen=True, slots=True)
class Memory:
    """What adapters may take."""

    slots: int
    device_bytes: int
    host_bytes: int

    def has_room(self, version: AdapterVersion, loaded: Sequence[LoadedAdapter]) -> bool:
        """Tell whether an adapter can come in without another one having to go."""
        placed = [one.size_bytes for one in loaded if one.slot]
        held = sum(one.size_bytes for one in loaded)
        return (
            len(placed) < self.slots
            and sum(placed) + version.bytes <= self.device_bytes
            and held + version.bytes <= self.host_bytes
        )


@dataclass(slots=True)
class GoldenRunner:
    """Looks at adapters, one at a time; lives on the event loop.

    Attributes:
        served: Returns the versions that requests may be routed to now; blocks.
        findings: What the lines say of canaries.
        canaries: Returns those that run.
        inspect: Returns what is in memory.
        clock: Monotonic seconds.
        wall: Seconds since 1970 UTC.
    """

    registry: Registry
    planner: Planner
    worker: JobRunner
    metrics: Metrics
    pool: Executor
    memory: Memory
    schedule: Schedule
    served: Callable[[], Sequence[AdapterVersion]]
    inspect: Callable[[], asyncio.Future[tuple[LoadedAdapter, ...]]]
    results: GoldenResults
    findings: GoldenFindings
    canaries: Callable[[], Sequence[Canary]]
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self.schedule.interval / 4))
            try:
                await self.compare()
                await self.look()
            except HubError as error:
                _log.info("golden lines are left for later: %s", error.message)
            except Exception:
                _log.exception("golden lines are left for later")

    async def look(self) -> str:
        """Look at the adapter that is due, if one is; return what came of it.

        Returns:
            "ok", "none" where it has no golden lines, "postponed", "failed", or "" where nothing
            was to be done.

        Raises:
            HubError: The registry or the worker cannot be asked.
        """
        loaded = await self.inspect()
        versions = await self._off_loop(self._versions, [one.digest for one in loaded])
        self.schedule.know(versions.keys(), self.clock())
        self.results.keep(versions.keys())
        digest = self.schedule.next(self.clock(), {one.digest for one in loaded})
        if digest is None:
            return ""
        try:
            outcome = await self._look_at(versions[digest], loaded)
        except Exception:  # unforeseen; it must not be due again at once, before all others
            self._note_look(digest, "failed")
            raise
        self._note_look(digest, outcome)
        return outcome

    async def compare(self) -> None:
        """Compare canaries that have not been with the versions in use, on the latter's lines.

        What cannot be compared now is left for the next time, what never can is found so.

        Raises:
            HubError: The registry or the worker cannot be asked.
        """
        running = self.canaries()
        self.findings.keep({canary.id for canary in running})
        for canary in running:
            if self.findings.of(canary.id) != "pending":
                continue
            try:
                self.findings.put(canary.id, await self._compared(canary))
            except (OverloadedError, UnavailableError) as error:
                _log.debug("golden lines of canary %s wait: %s", canary.ref, error.message)
            except HubError as error:
                _log.warning("golden lines of canary %s: %s", canary.ref, error.message)
                self.findings.put(canary.id, "none")

    async def _compared(self, canary: Canary) -> Finding:
        """Return what golden lines say of a canary.

        Those of the version in use, which no canary was trained to look worse on; those of the
        canary where the other has none.
        """
        stable, tried = [
            await self._off_loop(self.registry.resolve, f"{canary.name}:{number}")
            for number in (canary.stable, canary.canary)
        ]
        golden = await self._off_loop(self.registry.golden, stable)
        golden = golden or await self._off_loop(self.registry.golden, tried)
        if golden is None:
            return "none"
        texts = []
        for waiting in ((stable, tried), (tried,)):  # both, or the first is translated in vain
            loaded = await self.inspect()
            if not all(self._may_run(version, loaded) for version in waiting):
                return "pending"
            texts.append(await self._translate(waiting[0], golden))
        references = [line.reference for line in golden.lines]
        return await self._off_loop(compare, references, *texts)

    def _may_run(self, version: AdapterVersion, loaded: Sequence[LoadedAdapter]) -> bool:
        """Tell whether a version can be looked at now without being in anybody's way."""
        placed = any(one.slot and one.digest == version.digest for one in loaded)
        return not self.worker.intake.crowded and (placed or self.memory.has_room(version, loaded))

    def _note_look(self, digest: str, outcome: str) -> None:
        if outcome == "postponed":
            self.schedule.postpone(digest, self.clock())
        else:
            self.schedule.done(digest, self.clock())
        self.metrics.golden_runs.labels(outcome).inc()

    def _versions(self, loaded: Sequence[str]) -> dict[str, AdapterVersion]:
        """Return what is served and what is in memory, by digest."""
        found = {version.digest: version for version in self.served()}
        for digest in loaded:
            if digest not in found:
                try:
                    found[digest] = self.registry.resolve(digest)
                except HubError:  # it has left the registry
                    continue
        return found

    async def _look_at(self, version: AdapterVersion, loaded: Sequence[LoadedAdapter]) -> str:
        if not self._may_run(version, loaded):
            return "postponed"
        try:
            golden = await self._off_loop(self.registry.golden, version)
            if golden is None:
                return "none"
            texts = await self._translate(version, golden)
        except (OverloadedError, UnavailableError):
            return "postponed"
        except HubError as error:
            _log.warning("golden lines of %s cannot be translated: %s", version.ref, error.message)
            return "failed"
        await self._off_loop(self._note, version, golden, texts)
        return "ok"

    async def _translate(self, version: AdapterVersion, golden: GoldenLines) -> list[str]:
        limits, asked = self.planner.limits, golden.search
        search = Search(
            beam_size=min(asked.beam_size, limits.max_beam),
            max_new_tokens=min(asked.max_new_tokens, limits.max_output_tokens),
            length_penalty=asked.length_penalty,
            num_hypotheses=1,
            early_stopping=asked.early_stopping,
        )
        sources = [line.source for line in golden.lines]
        jobs = await self._off_loop(
            self.planner.whole_jobs, sources, version, search, Priority.BACKGROUND
        )
        found: dict[int, tuple[int, ...]] = {}
        async for outcome in run_jobs(self.worker, jobs, ROWS):
            if outcome.error is not None:
                raise outcome.error
            found[outcome.key] = outcome.candidates[0].token_ids
        decode = self.planner.tokenizer.decode
        return await self._off_loop(lambda: [decode(found[job.key]) for job in jobs])

    def _note(self, version: AdapterVersion, golden: GoldenLines, texts: Sequence[str]) -> None:
        result = GoldenResult(
            name=version.name,
            version=version.version,
            pair=version.manifest.pair,
            score=golden.score_of(texts),
            published=golden.score,
            changed=golden.changed(texts),
            at=self.wall(),
        )
        self.results.put(version.digest, result)
        _log.debug(
            "golden lines of %s: chrF++ %.2f, %.2f at publishing, %.0f %% changed",
            version.ref, result.score, result.published, 100 * result.changed,
        )  # fmt: skip

    async def _off_loop(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *arguments)
