"""Bulk work waits for a busy server rather than fail: it has nobody who waits for one answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from hub.errors import RETRY_DELAY, DrainingError, HubError, QueueFullError, QuotaError

_Result = TypeVar("_Result")

_SHORTEST: Final = 0.1
_LONGEST: Final = 60.0


@dataclass(frozen=True, slots=True)
class Patience:
    """Tries a call again when the server says that a later attempt may succeed.

    Attributes:
        seconds: To wait in all, for one call.
        sleep: Waits.
    """

    seconds: float = 600.0
    sleep: Callable[[float], None] = time.sleep

    def call(self, work: Callable[[], _Result]) -> _Result:
        """Return the result of the first attempt that is not refused for lack of room.

        Raises:
            HubError: Another error, or no attempt in all the time was let in.
        """
        waited, attempt = 0.0, 0
        while True:
            try:
                return work()
            except (QueueFullError, QuotaError, DrainingError) as error:
                delay = delay_of(error, attempt)
                if waited + delay > self.seconds:
                    raise
                self.sleep(delay)
                waited, attempt = waited + delay, attempt + 1


def delay_of(error: HubError, attempt: int) -> float:
    """Return how many seconds to wait: what the server said, and longer each time it says so."""
    stated = error.metadata.get(RETRY_DELAY, "")
    first = int(stated) / 1000 if stated.isdecimal() else 0.5
    grown = 1.0 if isinstance(error, QuotaError) else 1.5 ** min(attempt, 20)
    return min(_LONGEST, max(_SHORTEST, first * grown))
