"""Which waiting requests join the batch next.

Waiting requests form lines, one for each tenant and priority. Interactive lines go before batch
lines; among lines of one priority the tenant goes first that has been served least
(`server.batching.fairness`); within a line the request that is due first, then the one that came
first. Those that cannot run yet are skipped: rows, tokens or a slot are lacking, or their adapter
is still being loaded.

Skipping and preferring keep the batch full and deadlines kept, but let later requests overtake. So
a request counts the turns in which it was overtaken though its adapter was at hand: by later ones
of its own line, and, when it is the oldest of its line, by anybody. One that has counted `patience`
of them is *aged*: it goes first in its line, and the oldest of a line, once aged, before all lines.
That only the oldest ages by the other lines is what keeps a tenant that floods the queue from
ageing its way past the others.

Background requests are the server's own. They take what is left: they never age, keep no adapter
from making room and are counted against no tenant.

Slots are given out in two passes. In the first, only adapters that nobody waits for make room, so
that an adapter serves all who wait for it before it goes; in the second, rows that are still free
are worth more than that. An aged request may take either from the first pass on.

What holds up an aged request decides who waits with it:

- rows or tokens: nothing that came after it is admitted before it;
- a slot, all of them being pinned: nobody younger gets a slot before it, and one adapter (or as
  many as its size takes), the one that the fewest requests run on, is *drained*: no request joins
  it any more. All others go on, so that the batch stays full.

Hence the bound that the property tests hold it to: the oldest request whose adapter is at hand is
overtaken in at most `patience` turns, and as many more as the longest running request has steps.

Pure: no clock, no torch; time and devices belong to the worker.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, KeysView, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from server.batching.fairness import FairShare, cost_of
from server.batching.turn import Admission, Allowance, Drain, Room, Turn
from server.messages import Job, Priority
from server.residency.tables import HostTier, SlotTable

PATIENCE: Final = 16
CHANCE: Final = 0.75
"""Of the expected steps: with fewer left before its deadline, a request is given up."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much may run at once.

    Attributes:
        max_rows: Rows of one step, a beam counting as many.
        max_encode_tokens: Source tokens that may join in one step; one source may always join.
            While rows are decoding, `server.batching.pacing` allows less.
    """

    max_rows: int
    max_encode_tokens: int


@dataclass(slots=True)
class _Waiting:
    """A request in the queue.

    Attributes:
        arrival: Its place in the order of arrival.
        due: When it should be finished, in seconds of any clock.
        steps: That it is expected to need, one for each output token.
        overtaken: Turns in which it was.
        first: It is the oldest of its line and aged, as of the turn that is going on.
    """

    job: Job
    arrival: int
    due: float
    steps: float
    overtaken: int = 0
    first: bool = False

    @property
    def line(self) -> tuple[str, Priority]:
        return self.job.tenant, self.job.priority


@dataclass(slots=True)
class Scheduler:
    """The queue, and the policy that empties it."""

    limits: BatchLimits
    patience: int = PATIENCE
    share: FairShare = field(default_factory=FairShare)
    tokens_per_byte: float = 0.0
    """What placing a byte costs, in input tokens; the tenant pays that causes it."""
    _arrivals: Iterator[int] = field(default_factory=itertools.count)
    _waiting: dict[int, _Waiting] = field(default_factory=dict)
    _wanted: Counter[str] = field(default_factory=Counter)
    _drain: Drain | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def enqueue(self, job: Job, *, due: float = math.inf, steps: float = 0.0) -> None:
        """Append a job, whose rows must fit an empty batch.

        Args:
            job: What waits.
            due: When it should be finished; of a line, who is due first goes first.
            steps: That it is expected to need; its tenant is charged for them.
        """
        assert job.rows <= self.limits.max_rows, f"{job.rows} rows never fit"
        assert job.key not in self._waiting
        self._waiting[job.key] = _Waiting(job, next(self._arrivals), due, steps)
        if job.priority is not Priority.BACKGROUND:
            self.share.arrive(job.tenant)
            self._wanted[job.digest] += 1

    def remove(self, key: int) -> Job | None:
        """Take a job out of the queue; None when it is not in it."""
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return None
        self._forget(waiting.job)
        return waiting.job

    def remove_all(self, digest: str) -> list[Job]:
        """Take every job of an adapter out of the queue."""
        jobs = [w.job for w in self._waiting.values() if w.job.digest == digest]
        for job in jobs:
            self.remove(job.key)
        return jobs

    @property
    def draining(self) -> frozenset[str]:
        """Return the adapters that nobody joins, to make room for an aged request."""
        waits = self._drain is not None and self._drain.key in self._waiting
        return self._drain.digests if self._drain is not None and waits else frozenset()

    def jobs(self) -> Iterator[Job]:
        """Iterate over the waiting jobs in order of arrival."""
        return (waiting.job for waiting in self._waiting.values())

    def late(self, now: float, step_seconds: float) -> list[int]:
        """Return those that would miss their deadlines even if they joined now.

        Args:
            now: In the seconds of the deadlines.
            step_seconds: Of a step in which one more takes part.
        """
        return [
            waiting.job.key
            for waiting in self._waiting.values()
            if waiting.job.deadline is not None
            and now + CHANCE * waiting.steps * step_seconds > waiting.job.deadline
        ]

    def wanted(self) -> KeysView[str]:
        """Return the digests that are waited for."""
        return self._wanted.keys()

    def absent(self, device: SlotTable) -> dict[str, int]:
        """Return adapters waited for and not in a slot: digest → estimated bytes, by arrival."""
        found: dict[str, int] = {}
        for job in self.jobs():
            if job.digest not in device:
                found.setdefault(job.digest, job.adapter_bytes)
        return found

    def admit(
        self,
        free_rows: int,
        device: SlotTable,
        host: HostTier,
        allowance: Allowance | None = None,
    ) -> list[Admission]:
        """Choose who joins now; their seats are pinned, and they leave the queue.

        Args:
            free_rows: Rows that nobody holds.
            device: The slots.
            host: The memory in front of them.
            allowance: What may join, within the limits; None where nobody is held up by it.
        """
        if free_rows <= 0 or not self._waiting:
            return []
        ready = self._at_hand(device, host)
        turn = Turn(
            Room(free_rows, self._within_limits(allowance)), device, host, self.wanted(),
            self._drain,
        )  # fmt: skip
        if self._first_pass(turn, ready):
            self._last_pass(turn, ready)
        self._drain = turn.drain
        self._age(ready, turn.admitted)
        for key in turn.admitted:
            self.remove(key)
        return list(turn.admitted.values())

    def _within_limits(self, allowance: Allowance | None) -> Allowance:
        most = float(self.limits.max_encode_tokens)
        return (
            Allowance(most)
            if allowance is None
            else replace(allowance, tokens=min(most, allowance.tokens))
        )

    def _at_hand(self, device: SlotTable, host: HostTier) -> list[_Waiting]:
        return [
            waiting
            for waiting in self._waiting.values()
            if waiting.job.digest in device or host.is_ready(waiting.job.digest)
        ]

    def _first_pass(self, turn: Turn, ready: list[_Waiting]) -> bool:
        """Offer everyone a place; return whether there may be a second pass."""
        for waiting in self._in_order(ready):
            if turn.room.full or not self._offer(turn, waiting, last=False):
                return False
        turn.hopeless = math.inf
        return not turn.held

    def _last_pass(self, turn: Turn, ready: list[_Waiting]) -> None:
        """Let those in who lack a slot only because others wait for what lies in it."""
        left = [waiting for waiting in ready if waiting.job.key not in turn.admitted]
        for waiting in self._in_order(left):
            if turn.room.full or waiting.job.priority is Priority.BACKGROUND:
                return  # background requests are the last
            if waiting.job.digest not in turn.device:
                self._offer(turn, waiting, last=True)

    def _offer(self, turn: Turn, waiting: _Waiting, *, last: bool) -> bool:
        """Offer a place, and charge for it; return whether those behind may have one."""
        job = waiting.job
        goes_on = turn.offer(job, aged=waiting.first and not last, last=last)
        if job.key in turn.admitted and job.priority is not Priority.BACKGROUND:
            swap = self.tokens_per_byte * turn.placed[job.key]
            self.share.charge(job.tenant, cost_of(job, waiting.steps) + swap)
        return goes_on

    def _in_order(self, ready: Iterable[_Waiting]) -> Iterator[_Waiting]:
        """Yield the aged by arrival, then line by line, the tenant served least first.

        Counters are read again after each, so that a tenant whose request was admitted meanwhile
        goes behind the others.
        """
        aged, lines = self._lines(ready)
        yield from aged
        for priority in Priority:
            heap = [
                (self.share.served(tenant), line[-1].arrival, tenant)
                for (tenant, of), line in lines.items()
                if of is priority
            ]
            heapq.heapify(heap)
            while heap:
                _, _, tenant = heapq.heappop(heap)
                line = lines[tenant, priority]
                yield line.pop()
                if line:
                    heapq.heappush(heap, (self.share.served(tenant), line[-1].arrival, tenant))

    def _lines(
        self, ready: Iterable[_Waiting]
    ) -> tuple[list[_Waiting], dict[tuple[str, Priority], list[_Waiting]]]:
        """Return the oldest of lines where aged, and the others, who goes first at the end.

        Args:
            ready: In order of arrival.
        """
        lines: dict[tuple[str, Priority], list[_Waiting]] = defaultdict(list)
        for waiting in ready:
            lines[waiting.line].append(waiting)
        aged: list[_Waiting] = []
        for line in lines.values():
            line[0].first = self._aged(line[0])
            if line[0].first:
                aged.append(line.pop(0))
            line.sort(key=self._place, reverse=True)
        aged.sort(key=lambda waiting: waiting.arrival)
        return aged, {of: line for of, line in lines.items() if line}

    def _place(self, waiting: _Waiting) -> tuple[float, int]:
        return -math.inf if self._aged(waiting) else waiting.due, waiting.arrival

    def _aged(self, waiting: _Waiting) -> bool:
        in_line = waiting.job.priority is not Priority.BACKGROUND
        return in_line and waiting.overtaken >= self.patience

    def _age(self, ready: list[_Waiting], admitted: Mapping[int, Admission]) -> None:
        """Count a turn for everyone who was overtaken in it."""
        joined = [waiting for waiting in ready if waiting.job.key in admitted]
        if not joined:
            return
        latest = max(waiting.arrival for waiting in joined)
        latest_of_line: dict[tuple[str, Priority], int] = {}
        for waiting in joined:  # in order of arrival
            latest_of_line[waiting.line] = waiting.arrival
        oldest: set[tuple[str, Priority]] = set()
        for waiting in ready:
            if waiting.job.key in admitted:
                continue
            is_oldest = waiting.line not in oldest
            oldest.add(waiting.line)
            by = latest if is_oldest else latest_of_line.get(waiting.line, -1)
            waiting.overtaken += waiting.arrival < by

    def _forget(self, job: Job) -> None:
        if job.priority is Priority.BACKGROUND:
            return
        self.share.leave(job.tenant)
        self._wanted[job.digest] -= 1
        if not self._wanted[job.digest]:
            del self._wanted[job.digest]
