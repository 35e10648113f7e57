"""The one thread that owns the engine.

A turn is: read the inbox, load and place adapters, admit, step, reply. Everything that others want
of the worker comes through the inbox, so that queue, residency and ledger need no lock; the worker
sleeps only when there is nothing it could do without a message.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, Generic

from hub.errors import (
    DeadlineError,
    DeadlineUnreachableError,
    DrainingError,
    EngineError,
    HubError,
    RequestCancelledError,
)
from server.batching.batch import Batch, Stepped
from server.batching.fairness import OUTPUT_WEIGHT
from server.batching.intake import Intake, due_of
from server.batching.pacing import Gathering
from server.batching.pending import Deliver, Ledger
from server.batching.scheduler import Scheduler
from server.messages import Job, LoadedAdapter, Priority
from server.protocols import Adapter, EnginePort
from server.residency.holds import Hold, Holds, answer_with, answer_with_error
from server.residency.loader import AdapterLoader, Loaded
from server.residency.tiers import Stock
from server.telemetry.metrics import Metrics
from server.telemetry.steps import StepTrail

STOP_SECONDS: Final = 30.0

_log = logging.getLogger("adapterhub.server")


@dataclass(frozen=True, slots=True)
class _Submit:
    jobs: tuple[Job, ...]
    deliver: Deliver
    accepted_at: float


@dataclass(frozen=True, slots=True)
class _Withdraw:
    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Inspect:
    answer: Future[tuple[LoadedAdapter, ...]]


@dataclass(frozen=True, slots=True)
class _Unload:
    digest: str
    answer: Future[bool]


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


@dataclass(frozen=True, slots=True)
class _EngineEnded:
    pass


_Question = _Inspect | Hold | _Unload
_Message = _Submit | _Withdraw | _EngineEnded | _Question


class Worker(Generic[Adapter]):
    """Runs accepted requests to their one reply each."""

    def __init__(
        self,
        engine: EnginePort[Adapter],
        loader: AdapterLoader[Adapter],
        scheduler: Scheduler,
        stock: Stock[Adapter],
        metrics: Metrics,
        *,
        queue_limit: int,
        clock: Callable[[], float] = time.monotonic,
        on_broken: Callable[[], None] = lambda: None,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        """Wire the worker; `start` runs it.

        Args:
            engine: Called from the worker's thread only.
            loader: Brings adapters into host memory.
            scheduler: The queue.
            stock: Where every adapter is.
            metrics: Where to count.
            queue_limit: Requests that may wait.
            clock: Monotonic seconds.
            on_broken: Called when the engine is beyond repair; every request fails from then on.
            prepare: Called first on the worker's thread.
        """
        self._scheduler = scheduler
        self._gathering = Gathering(scheduler.limits.max_rows)
        self._stock = stock
        self._loader = loader
        self._metrics = metrics
        self._clock = clock
        self.intake = Intake(queue_limit, scheduler.limits.max_rows, clock)
        self._on_broken = on_broken
        self._prepare = prepare
        self._ledger = Ledger()
        self._batch = Batch(engine, self._ledger, stock, metrics, clock)
        self._holds = Holds(stock)
        self._inbox: SimpleQueue[_Message | _Stop | Loaded[Adapter]] = SimpleQueue()
        self._gate = threading.Lock()
        self._closed: HubError | None = None  # why it takes nothing more; guarded by the gate
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; requests that are left get DrainingError."""
        self._inbox.put(_Stop())
        self._thread.join(STOP_SECONDS)

    def submit(self, jobs: Sequence[Job], deliver: Deliver) -> None:
        """Accept jobs, all or none; `deliver` is called once for each, on the worker's thread.

        Raises:
            QueueFullError: They would not fit the queue.
            DeadlineError: They cannot be finished in time.
            DrainingError: The worker has stopped.
            EngineError: The engine is beyond repair.
        """
        with self._gate:
            if self._closed is not None:
                raise copy(self._closed)
            self.intake.accept(jobs)
            self._inbox.put(_Submit(tuple(jobs), deliver, self._clock()))

    def withdraw(self, keys: Sequence[int]) -> None:
        """Cancel jobs; those that are running free their rows before the next step."""
        self._inbox.put(_Withdraw(tuple(keys)))

    def engine_ended(self) -> None:
        """Note that the engine is gone: every request gets EngineError from now on."""
        self._inbox.put(_EngineEnded())

    def check(self) -> None:
        """Raise what `submit` would raise now because the worker has ended.

        Raises:
            DrainingError: It was stopped.
            EngineError: The engine is beyond repair.
        """
        with self._gate:
            if self._closed is not None:
                raise copy(self._closed)

    def overloaded(self) -> bool:
        """Tell whether half of the queue is taken."""
        return self.intake.crowded

    @property
    def trail(self) -> StepTrail:
        """Return the last steps, for those who watch."""
        return self._batch.trail

    def inspect(self) -> Future[tuple[LoadedAdapter, ...]]:
        """Ask which adapters are in memory, the most recently used first."""
        answer: Future[tuple[LoadedAdapter, ...]] = Future()
        self._ask(_Inspect(answer))
        return answer

    def load(self, digest: str, size: int, *, pin: bool = False) -> Future[LoadedAdapter]:
        """Ask for an adapter in memory before any request does.

        Args:
            digest: The adapter.
            size: Bytes of its files.
            pin: Keep it in host memory until `unload`; the answer is PinLimitError where pinned
                adapters would take more than their share.
        """
        answer: Future[LoadedAdapter] = Future()
        self._ask(Hold(digest, size, pin, answer))
        return answer

    def unload(self, digest: str) -> Future[bool]:
        """Ask to drop an adapter once no request runs with it; answers whether it was there."""
        answer: Future[bool] = Future()
        self._ask(_Unload(digest, answer))
        return answer

    def _ask(self, message: _Question) -> None:
        with self._gate:
            if self._closed is not None:
                raise copy(self._closed)
            self._inbox.put(message)

    def _run(self) -> None:
        reason: HubError = DrainingError("the server is shutting down; send the request to another")
        try:
            self._prepare()
            while self._turn():
                pass
        except Exception:
            _log.exception("the engine cannot go on")
            reason = EngineError("the engine failed and cannot go on; restart the server")
            self._on_broken()
        finally:
            self._close(reason)

    def _turn(self) -> bool:
        if not self._receive(wait=not self._batch.busy):
            return False
        self._expire()
        self._load()
        if self._batch.recovering:
            self._batch.retry()
        else:
            self._admit()
        self._learn(self._batch.step())
        self._stock.drop_idle()
        self._metrics.running.set(len(self._ledger) - len(self._scheduler))
        self._metrics.waiting.set(len(self._scheduler))
        return True

    def _receive(self, *, wait: bool) -> bool:
        """Handle everything in the inbox; return False when told to stop."""
        timeout = self._patience() if wait else None
        try:
            while True:
                message = self._inbox.get(block=wait, timeout=timeout)
                wait = False
                if isinstance(message, _Stop):
                    return False
                self._handle(message)
        except Empty:
            return True

    def _patience(self) -> float | None:
        """Return how long it may sleep: until the first deadline, for ever where there is none."""
        deadline = self._ledger.next_deadline()
        return None if deadline is None else max(0.0, deadline - self._clock())

    def _handle(self, message: _Message | Loaded[Adapter]) -> None:
        match message:
            case _Submit():
                self._accept(message)
            case _Withdraw():
                self._drop(message.keys, RequestCancelledError("the caller withdrew the request"))
            case _EngineEnded():
                raise EngineError("the engine has ended")
            case _Inspect():
                answer_with(message.answer, self._stock.inspect())
            case Hold():
                self._holds.ask(message)
            case _Unload():
                answer_with(message.answer, self._holds.unload(message.digest))
            case Loaded():
                self._note_load(message)

    def _accept(self, message: _Submit) -> None:
        for job in message.jobs:
            steps = self.intake.forecast.steps_of(job)
            self._ledger.enter(job, message.deliver, message.accepted_at, steps)
            self._stock.keep(job.digest)
            error = self._stock.refusal_by_files(job.digest, job.adapter_bytes)
            if error is None:
                due = due_of(job, message.accepted_at)
                self._scheduler.enqueue(job, due=due, steps=steps)
            else:
                self._ledger.settle(job.key, self._clock(), error=error)
                self.intake.leave([job.key])

    def _drop(self, keys: Sequence[int], error: HubError) -> None:
        """Reply to requests with an error, wherever they are; replied ones are left alone."""
        known = [key for key in dict.fromkeys(keys) if key in self._ledger]
        self._batch.remove(known, error)
        self._fail_waiting([key for key in known if key in self._ledger], error)

    def _fail_waiting(self, keys: Sequence[int], error: HubError) -> None:
        for key in keys:
            self._scheduler.remove(key)
            self._ledger.settle(key, self._clock(), error=error)
        self.intake.leave(keys)

    def _expire(self) -> None:
        """Reply to those whose deadline has passed, waiting or running, and free their rows."""
        expired = self._ledger.expired(self._clock())
        if expired:
            self._drop(expired, DeadlineError("the deadline passed before the text was translated"))

    def _note_load(self, load: Loaded[Adapter]) -> None:
        error = self._stock.note_load(load)
        waited = [job.key for job in self._scheduler.jobs() if job.digest == load.digest]
        for key in waited:
            self._ledger[key].note_load(load.seconds, self._clock())
        if error is not None:
            self._fail_waiting(waited, error)
        self._holds.note_load(load.digest, error)

    def _load(self) -> None:
        wanted = self._holds.wanted() | self._scheduler.absent(self._stock.device)
        for digest in self._stock.plan(wanted):
            self._loader.start(digest, self._inbox.put)

    def _admit(self) -> None:
        self._batch.seen()
        if not self._gathering.ready(self._batch.rows) or self._batch.encoding:
            return
        if not len(self._scheduler):
            return
        self._give_up()
        admissions = self._scheduler.admit(
            self._width() - self._batch.rows,
            self._stock.device,
            self._stock.host,
            self._batch.pace.allowance() if self._batch.rows else None,
        )
        if admissions:
            self._gathering.joined()
        self.intake.leave([admission.job.key for admission in admissions])
        self._batch.admit(admissions)

    def _width(self) -> int:
        """Return the rows that may run, so that those that run keep their deadlines."""
        rows, most = self._batch.rows, self._scheduler.limits.max_rows
        if not rows:
            return most
        return self.intake.forecast.widest(self._batch.timed(self._clock()), rows, most)

    def _give_up(self) -> None:
        """Reply to those that could not be finished in time, before anything is spent on them.

        Where nothing runs one is kept: only trying shows whether the estimate is still true.
        """
        rows = self._batch.rows
        step_seconds = self.intake.forecast.step_seconds.mean(rows + 1)
        back = self.intake.forecast.after_seconds
        late = self._scheduler.late(self._clock() + back, step_seconds)
        if late and not rows and len(late) == len(self._scheduler):
            late.pop()
        if late:
            self._fail_waiting(
                late,
                DeadlineUnreachableError(
                    "the text waited so long that it can no longer be translated before the "
                    "deadline; allow more time, or retry later"
                ),
            )

    def _learn(self, turn: Stepped | None) -> None:
        """Mend the forecast, and what tenants were charged, by what a step did."""
        forecast = self.intake.forecast
        if turn is not None:
            forecast.note_turn(turn.rows, turn.seconds, len(turn.ended))
            for ended in turn.ended:
                job = ended.entry.job
                forecast.note_finished(job, ended.entry.steps, cut=ended.cut)
                if job.priority is Priority.BACKGROUND:
                    continue  # nobody was charged
                more = ended.output_tokens - ended.entry.expected_steps
                self._scheduler.share.charge(job.tenant, OUTPUT_WEIGHT * job.rows * more)
        pace = self._batch.pace
        if pace.seconds_per_token:
            self._scheduler.tokens_per_byte = pace.seconds_per_byte / pace.seconds_per_token
        self.intake.note_running(self._batch.rows, self._batch.row_steps)

    def _close(self, reason: HubError) -> None:
        with self._gate:
            self._closed = reason
        self._loader.close()
        self._holds.close(reason)
        try:
            while True:
                message = self._inbox.get(block=False)
                if isinstance(message, _Submit):
                    for job in message.jobs:
                        self._ledger.enter(job, message.deliver, message.accepted_at)
                elif isinstance(message, _Inspect | Hold | _Unload):
                    answer_with_error(message.answer, reason)
        except Empty:
            pass
        left = self._ledger.close(reason, self._clock())
        if left:
            _log.warning("%d requests were not finished at shutdown", left)
