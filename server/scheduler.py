"""Which waiting requests join the batch next.

Requests are taken in order of arrival, skipping those that cannot run yet: rows, source tokens or a
slot are lacking, or their adapter is still being loaded. Skipping keeps the batch full but lets
later requests overtake, so every waiting request counts the steps in which it was overtaken though
its adapter was at hand; when one has counted `patience` of them, nothing that came after it is
admitted before it. What runs then drains, frees rows and unpins slots, and it gets in: a request
waits for at most `patience` overtakings and the longest running request.

Pure: no clock, no torch; time and devices belong to the worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, KeysView
from dataclasses import dataclass, field
from typing import Final

from server.messages import Job
from server.residency import HostTier, Seat, SlotTable

PATIENCE: Final = 16


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much may run at once.

    Attributes:
        max_rows: Rows of one step, a beam counting as many.
        max_encode_tokens: Source tokens that may join in one step; one source may always join.
            Encoding holds up the rows that are decoding, so this bounds how long.
    """

    max_rows: int
    max_encode_tokens: int


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that joins the batch, and the seat that was pinned for it."""

    job: Job
    seat: Seat


@dataclass(slots=True)
class _Waiting:
    job: Job
    overtaken: int = 0


@dataclass(slots=True)
class _Room:
    """What one admission round may still give out."""

    limits: BatchLimits
    rows: int
    tokens: int = 0

    def fits(self, job: Job) -> bool:
        most = self.limits.max_encode_tokens
        return job.rows <= self.rows and (not self.tokens or self.tokens + job.tokens <= most)

    def take(self, job: Job) -> None:
        self.rows -= job.rows
        self.tokens += job.tokens


@dataclass(slots=True)
class Scheduler:
    """The queue, and the policy that empties it."""

    limits: BatchLimits
    patience: int = PATIENCE
    _waiting: dict[int, _Waiting] = field(default_factory=dict)
    _wanted: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self._waiting)

    def enqueue(self, job: Job) -> None:
        """Append a job, whose rows must fit an empty batch."""
        assert job.rows <= self.limits.max_rows, f"{job.rows} rows never fit"
        assert job.key not in self._waiting
        self._waiting[job.key] = _Waiting(job)
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

    def expired(self, now: float) -> list[int]:
        """Return the keys of waiting jobs whose deadline has passed."""
        return [
            key
            for key, waiting in self._waiting.items()
            if waiting.job.deadline is not None and waiting.job.deadline <= now
        ]

    def jobs(self) -> Iterator[Job]:
        """Iterate over the waiting jobs in order of arrival."""
        return (waiting.job for waiting in self._waiting.values())

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

    def admit(self, free_rows: int, device: SlotTable, host: HostTier) -> list[Admission]:
        """Choose who joins now; their seats are pinned, and they leave the queue."""
        room = _Room(self.limits, free_rows)
        admitted: list[Admission] = []
        overtaken: list[_Waiting] = []
        skipped: list[_Waiting] = []
        for waiting in self._waiting.values():
            if room.rows <= 0:
                break
            job = waiting.job
            if job.digest not in device and not host.is_ready(job.digest):
                continue
            seat = self._seat(job, room, device, host)
            if seat is not None:
                room.take(job)
                admitted.append(Admission(job, seat))
                overtaken = list(skipped)
            elif waiting.overtaken >= self.patience:
                break
            else:
                skipped.append(waiting)
        for waiting in overtaken:
            waiting.overtaken += 1
        for admission in admitted:
            self.remove(admission.job.key)
        return admitted

    def _seat(self, job: Job, room: _Room, device: SlotTable, host: HostTier) -> Seat | None:
        if not room.fits(job):
            return None
        size = 0 if job.digest in device else host.size(job.digest)
        return device.acquire(job.digest, size, self.wanted())

    def _forget(self, job: Job) -> None:
        self._wanted[job.digest] -= 1
        if not self._wanted[job.digest]:
            del self._wanted[job.digest]
