"""One admission turn: what it may give out, who gets a seat, and for whom slots are kept.

`server.batching.scheduler` decides in which order requests are offered a place; here is what an
offer comes to. Pure, as it is.
"""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass, field

from server.messages import Job
from server.residency.tables import HostTier, Seat, SlotTable


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that joins the batch, and the seat that was pinned for it."""

    job: Job
    seat: Seat


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may join in one turn: shares of the one and of the other, together at most 1.

    Attributes:
        tokens: Source tokens to encode.
        nbytes: Adapter bytes to place.
    """

    tokens: float
    nbytes: float = math.inf


@dataclass(slots=True)
class Room:
    """What one admission turn may still give out."""

    rows: int
    allowance: Allowance
    spent: float = 0.0

    def fits(self, job: Job, placed: int) -> bool:
        """Tell whether a job fits that needs `placed` bytes brought in; the first one always."""
        within = not self.spent or self.spent + self._share(job, placed) <= 1
        return job.rows <= self.rows and within

    @property
    def full(self) -> bool:
        """Tell whether nothing more can fit."""
        return self.rows <= 0 or self.spent >= 1

    def take(self, job: Job, placed: int) -> None:
        """Give a job its place."""
        self.rows -= job.rows
        self.spent += self._share(job, placed)

    def _share(self, job: Job, placed: int) -> float:
        # Never 0, so that the first one counts as spent whatever it takes.
        bytes_share = placed / self.allowance.nbytes if self.allowance.nbytes else float(placed > 0)
        return max(1, job.tokens) / self.allowance.tokens + bytes_share


@dataclass(slots=True)
class Turn:
    """One admission turn: who has been let in, and what those behind may still have."""

    room: Room
    device: SlotTable
    host: HostTier
    wanted: Set[str]
    drain: Drain | None
    admitted: dict[int, Admission] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()
    held: bool = False  # slots are kept for an aged request
    hopeless: float = math.inf  # a placement of this size has found no room in this pass
    placed: dict[int, int] = field(default_factory=dict)  # bytes, by the request that caused it

    def offer(self, job: Job, *, aged: bool, last: bool) -> bool:
        """Let a job in if it can be; return whether those behind may be let in before it.

        Args:
            job: Its adapter was at hand when the turn began.
            aged: It has been overtaken long enough.
            last: Adapters that others wait for may make room.
        """
        resident = job.digest in self.device
        if not resident and not self.host.is_ready(job.digest):
            return True  # it has just made room for another
        size = 0 if resident else self.host.size(job.digest)
        if not self.room.fits(job, size):
            return not aged
        if job.digest in self.closed or (not resident and self._no_slot(size, aged)):
            return True
        seat = self.device.acquire(job.digest, size, self.wanted, spare=not (aged or last))
        if seat is not None:
            self.room.take(job, size)
            self.admitted[job.key] = Admission(job, seat)
            self.placed[job.key] = size
        elif aged:
            self._hold(job, size)
        else:
            self.hopeless = min(self.hopeless, size)
        return True

    def _no_slot(self, size: int, aged: bool) -> bool:
        return self.held or (not aged and size >= self.hopeless)

    def _hold(self, job: Job, size: int) -> None:
        """Keep slots for an aged job, and drain as many as it needs."""
        before = self.drain.digests if self.drain and self.drain.key == job.key else frozenset()
        self.held = True
        self.closed = self.device.to_drain(size, before)
        self.drain = Drain(job.key, self.closed)


@dataclass(frozen=True, slots=True)
class Drain:
    """Adapters that nobody joins any more, and the request that they make room for."""

    key: int
    digests: frozenset[str]
