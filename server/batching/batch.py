"""What runs in the engine now: admitting, stepping, replying, and surviving a failed step.

Used on the engine thread only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic

from hub.engine.requests import DecodeRequest, DecodingOptions, Finished, StepReport
from hub.errors import EngineError, HubError
from server.batching.forecast import Running, left_of
from server.batching.pacing import Pace
from server.batching.pending import Entry, Ledger
from server.batching.recovery import Recovery
from server.batching.turn import Admission
from server.faults import as_hub_error
from server.messages import Candidate
from server.protocols import Adapter, EnginePort
from server.residency.tables import Placement
from server.residency.tiers import Stock
from server.telemetry.metrics import Metrics
from server.telemetry.steps import StepTrail

_log = logging.getLogger("adapterhub.server")


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that the engine has finished.

    Attributes:
        output_tokens: Of its best hypothesis, the end token included; 0 where it failed.
        cut: It was ended by its own limit.
    """

    entry: Entry
    output_tokens: int
    cut: bool


@dataclass(frozen=True, slots=True)
class Stepped:
    """What a step has done.

    Attributes:
        rows: That took part.
        seconds: From the end of the step before to the end of this one.
    """

    rows: int
    seconds: float
    ended: tuple[Ended, ...]


class Batch(Generic[Adapter]):
    """The running requests; each holds a pin on its adapter's slot until it is replied to.

    Attributes:
        trail: The last steps, for those who watch.
    """

    def __init__(
        self,
        engine: EnginePort[Adapter],
        ledger: Ledger,
        stock: Stock[Adapter],
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._ledger = ledger
        self._stock = stock
        self._metrics = metrics
        self._clock = clock
        self.trail = StepTrail()
        self._recovery = Recovery()
        self._running: dict[int, Entry] = {}
        self.pace = Pace()
        self._unencoded = 0  # requests whose encoding has not ended
        self._placing = 0.0  # seconds that placing has taken since the last step
        self._idle_since: float | None = None  # since when running rows wait for their next step
        self._moved = False  # whether a reply since the last step may let others in

    @property
    def rows(self) -> int:
        """Return the rows that running and suspected requests hold."""
        return sum(entry.job.rows for entry in self._running.values())

    @property
    def row_steps(self) -> float:
        """Return what the running requests need still: rows times steps."""
        return sum(e.job.rows * left_of(e.expected_steps, e.steps) for e in self._running.values())

    def timed(self, now: float) -> list[Running]:
        """Return those running requests that have a deadline."""
        return [
            Running(left_of(entry.expected_steps, entry.steps), entry.job.deadline - now)
            for entry in self._running.values()
            if entry.job.deadline is not None
        ]

    @property
    def recovering(self) -> bool:
        """Tell whether requests of a failed step are being run again; nobody may join then."""
        return self._recovery.active

    @property
    def encoding(self) -> bool:
        """Tell whether sources are on their way through the encoder; others wait for the next."""
        return bool(self._running) and self._unencoded > 0

    @property
    def busy(self) -> bool:
        """Tell whether another turn can do something without a message."""
        return bool(self._running) or self.recovering or self._moved

    def seen(self) -> None:
        """Note that who waits has had its chance at the rows and slots that are free."""
        self._moved = False

    def admit(self, admissions: Iterable[Admission]) -> None:
        """Place adapters where needed and let requests join."""
        failed: dict[str, HubError] = {}
        joining: list[Entry] = []
        for job, seat in ((a.job, a.seat) for a in admissions):
            error = self._place(seat.placement) if seat.placement else None
            if error is not None:
                failed[job.digest] = error
            elif job.digest and not seat.placement and job.digest not in failed:
                self._stock.note_hit()
            if job.digest in failed:
                self._stock.device.release(job.digest)
                self._ledger.settle(job.key, self._clock(), error=failed[job.digest])
                continue
            entry = self._ledger[job.key]
            entry.admit(seat.slot, self._clock())
            joining.append(entry)
        for digest in failed:
            self._stock.device.drop(digest)
        self._moved = bool(failed)
        self._join(joining)

    def _place(self, placement: Placement) -> HubError | None:
        size, began = self._stock.host.size(placement.digest), time.perf_counter()
        error = self._stock.place(placement)
        seconds = time.perf_counter() - began
        self._placing += seconds
        if error is None:
            self.pace.note_placement(size, seconds)
        return error

    def retry(self) -> None:
        """Let the next suspected group run, once the one before has ended."""
        if self._running or not self.recovering:
            return
        group = [self._ledger[key] for key in self._recovery.next_group()]
        for entry in group:
            entry.admit(entry.slot, self._clock())
        self._join(group)

    def step(self) -> Stepped | None:
        """Run one step, if anything runs, and reply to what has finished.

        Returns:
            What it did; None where nothing ran, or it failed.
        """
        if not self._running:
            return None
        began = time.perf_counter()
        since = began if self._idle_since is None else self._idle_since
        try:
            report = self._engine.step(self.pace.slice_seconds(self._placing))
        except Exception as error:
            self._suspect(error)
            return None
        self._observe(report, began)
        for entry in self._running.values():
            entry.join_step(report.rows, report.distinct_adapters)
        together = ((e.job.digest, e.job.rows) for e in self._running.values())
        self.trail.note(together, report.encode_seconds + report.decode_seconds)
        ended = [self._finish(finished) for finished in report.finished]
        now = time.perf_counter()
        self._idle_since = now if self._running else None
        return Stepped(report.rows, now - since, tuple(one for one in ended if one is not None))

    def remove(self, keys: Sequence[int], error: HubError) -> None:
        """Take requests out, running or suspected, and reply to them with an error."""
        running = [key for key in keys if key in self._running]
        if running:
            self._engine.cancel(running)
        suspects = self._recovery.members()
        self._recovery.discard(keys)
        for key in keys:
            if key in self._running or key in suspects:
                self._leave(key)
                self._ledger.settle(key, self._clock(), error=error)

    def _observe(self, report: StepReport, began: float) -> None:
        self.pace.note_step(report.encoder_tokens, report.encode_seconds, report.decode_seconds)
        self._unencoded, self._placing = report.unencoded, 0.0
        self._metrics.step_seconds.observe(report.encode_seconds + report.decode_seconds)
        self._metrics.batch_size.observe(report.rows)
        self._metrics.batch_adapters.observe(report.distinct_adapters)
        if self._idle_since is not None:
            delay = began - self._idle_since + report.encode_seconds
            self._metrics.step_delay.observe(delay)

    def _join(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        if not self._running:
            self._idle_since = None
        self._running.update((entry.job.key, entry) for entry in entries)
        self._unencoded += len(entries)
        try:
            self._enter(entries)
        except Exception as error:
            self._suspect(error)

    def _enter(self, entries: Sequence[Entry]) -> None:
        """Hand requests to the engine, which takes all or none; reply to those that it refuses."""
        try:
            self._engine.admit([_decode_request(entry) for entry in entries])
        except HubError as error:
            if len(entries) == 1:
                self._refuse(entries[0], error)
                return
            for entry in entries:
                self._enter([entry])

    def _refuse(self, entry: Entry, error: HubError) -> None:
        self._leave(entry.job.key)
        self._ledger.settle(entry.job.key, self._clock(), error=error)

    def _finish(self, finished: Finished) -> Ended | None:
        entry = self._running.get(finished.key)
        if entry is None:
            _log.error("the engine finished request %d, which was not running", finished.key)
            return None
        self._leave(finished.key)
        self._metrics.stage_seconds.labels("encode").observe(finished.encode_seconds)
        self._metrics.stage_seconds.labels("decode").observe(finished.decode_seconds)
        candidates = [
            Candidate(
                tuple(h.token_ids), h.score, h.log_probability, h.finished,
                h.alignment, h.token_log_probabilities,
            )
            for h in finished.hypotheses
        ]  # fmt: skip
        error = finished.error
        if error is None and not candidates:
            error = EngineError(f"the engine returned nothing for request {entry.job.key}")
        self._ledger.settle(
            finished.key,
            self._clock(),
            candidates=candidates,
            error=error,
            encode_seconds=finished.encode_seconds,
            decode_seconds=finished.decode_seconds,
        )
        best = candidates[0] if candidates else None
        return Ended(entry, best.length if best else 0, best is not None and not best.finished)

    def _leave(self, key: int) -> None:
        entry = self._running.pop(key, None) or self._ledger[key]
        self._stock.device.release(entry.job.digest)
        self._moved = True

    def _suspect(self, error: Exception) -> None:
        """A step failed as a whole: take everything out and find the culprit by halves.

        Raises:
            Exception: The engine cannot even be emptied; it is beyond repair.
        """
        keys = list(self._running)
        _log.warning("a step of %d requests failed: %r", len(keys), error)
        self._engine.cancel(keys)
        self._running.clear()
        self._unencoded, self._idle_since = 0, None
        for key in self._recovery.suspect(keys):
            self._leave(key)
            fault = as_hub_error(error, f"running request {key} alone")
            self._ledger.settle(key, self._clock(), error=fault)


def _decode_request(entry: Entry) -> DecodeRequest:
    job = entry.job
    options = DecodingOptions(
        beam_size=job.search.beam_size,
        max_new_tokens=job.search.max_new_tokens,
        length_penalty=job.search.length_penalty,
        num_hypotheses=job.search.num_hypotheses,
        early_stopping=job.search.early_stopping,
    )
    return DecodeRequest(
        job.key, job.source_ids, job.prefix_ids, entry.slot, options,
        align=job.align, token_scores=job.token_scores,
        constraints=job.constraints, joiners=job.joiners, shortlist=job.shortlist,
    )  # fmt: skip
