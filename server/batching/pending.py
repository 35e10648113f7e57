"""Every accepted request, from acceptance to its one reply.

The ledger is where "exactly one reply" is kept: a request is entered once, and settling it takes it
out, so there is no way to reply twice, and `close` replies to whatever is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from hub.errors import HubError
from server.messages import Candidate, Job, Outcome, Timings

Deliver = Callable[[Outcome], None]


@dataclass(slots=True)
class Entry:
    """One accepted request and what is known of its way so far.

    Attributes:
        expected_steps: That it is expected to take part in.
        steps: That it has taken part in.
    """

    job: Job
    deliver: Deliver
    accepted_at: float
    expected_steps: float = 0.0
    steps: int = 0
    slot: int = 0
    admitted_at: float | None = None
    batch_rows: int = 0
    batch_adapters: int = 0
    load_seconds: float = 0.0

    def note_load(self, seconds: float, now: float) -> None:
        """Note that its adapter's load ended, after this time or a part of it that it waited."""
        self.load_seconds = min(seconds, now - self.accepted_at)

    def admit(self, slot: int, now: float) -> None:
        """Note that it joined the batch."""
        self.slot = slot
        if self.admitted_at is None:
            self.admitted_at = now

    def join_step(self, rows: int, adapters: int) -> None:
        """Note a step that it took part in."""
        self.steps += 1
        self.batch_rows = max(self.batch_rows, rows)
        self.batch_adapters = max(self.batch_adapters, adapters)

    def timings(self, now: float, encode_seconds: float, decode_seconds: float) -> Timings:
        """Sum up where the time went."""
        admitted = now if self.admitted_at is None else self.admitted_at
        return Timings(
            admitted - self.accepted_at,
            encode_seconds,
            decode_seconds,
            self.batch_rows,
            self.batch_adapters,
            self.load_seconds,
            self.accepted_at,
            now,
        )


@dataclass(slots=True)
class Ledger:
    """The accepted requests that have not been replied to."""

    _entries: dict[int, Entry] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: int) -> bool:
        return key in self._entries

    def __getitem__(self, key: int) -> Entry:
        return self._entries[key]

    def enter(self, job: Job, deliver: Deliver, now: float, expected_steps: float = 0.0) -> None:
        """Accept a request; from now on it has a right to a reply."""
        assert job.key not in self._entries, f"accepted twice: {job.key}"
        self._entries[job.key] = Entry(job, deliver, now, expected_steps)

    def settle(
        self,
        key: int,
        now: float,
        *,
        candidates: Iterable[Candidate] = (),
        error: HubError | None = None,
        encode_seconds: float = 0.0,
        decode_seconds: float = 0.0,
    ) -> Entry:
        """Reply to a request, and strike it out."""
        entry = self._entries.pop(key)
        timings = entry.timings(now, encode_seconds, decode_seconds)
        entry.deliver(Outcome(key, tuple(candidates), error, timings))
        return entry

    def expired(self, now: float) -> list[int]:
        """Return the keys of those whose deadline has passed."""
        return [key for key, deadline in self._deadlines() if deadline <= now]

    def next_deadline(self) -> float | None:
        """Return the earliest deadline, None when there is none."""
        return min((deadline for _, deadline in self._deadlines()), default=None)

    def _deadlines(self) -> Iterator[tuple[int, float]]:
        for key, entry in self._entries.items():
            if entry.job.deadline is not None:
                yield key, entry.job.deadline

    def close(self, error: HubError, now: float) -> int:
        """Reply to all that are left with an error; return how many there were."""
        left = list(self._entries)
        for key in left:
            self.settle(key, now, error=error)
        return len(left)
