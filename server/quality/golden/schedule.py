"""When which adapter's golden lines are translated again: one at a time, those in memory first.

An adapter is due for the first time at a random moment of the first interval after it was seen, and
then about once in an interval, give or take a tenth: so a fleet of servers that were started
together does not look at the same adapter at the same time.

Pure: no clock, no randomness of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Set
from dataclasses import dataclass, field
from typing import Final

JITTER: Final = 0.1
POSTPONE: Final = 0.05
"""Of the interval: how long an adapter waits for which there was no room."""


@dataclass(slots=True)
class Schedule:
    """When adapters are due, by digest.

    Attributes:
        interval: Seconds between two looks at an adapter.
        chance: Returns a random number, 0 to 1.
    """

    interval: float
    chance: Callable[[], float]
    _due: dict[str, float] = field(default_factory=dict)

    def know(self, digests: Collection[str], now: float) -> None:
        """Take in which adapters there are now; others are forgotten."""
        self._due = {
            digest: self._due[digest]
            if digest in self._due
            else now + self.interval * self.chance()
            for digest in digests
        }

    def next(self, now: float, resident: Set[str]) -> str | None:
        """Return the adapter whose turn it is, None where none is due.

        Args:
            now: Seconds, of any clock.
            resident: Adapters in memory, which go first.
        """
        due = [
            (digest not in resident, at, digest) for digest, at in self._due.items() if at <= now
        ]
        return min(due)[2] if due else None

    def done(self, digest: str, now: float) -> None:
        """Note that an adapter was looked at."""
        spread = 1 - JITTER + 2 * JITTER * self.chance()
        self._due[digest] = now + self.interval * spread

    def postpone(self, digest: str, now: float) -> None:
        """Note that there was no room for it."""
        self._due[digest] = now + self.interval * POSTPONE
