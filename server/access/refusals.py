"""How fast calls are refused: as fast as leaves the processor to those that are served.

A refusal costs a fraction of a translation, and a caller that calls again at once may have been
refused a thousand times while another is served once: then the refusals are the load. Up to a few
times as many as texts are translated are sent at once; those beyond wait, which costs nothing, and
so do their callers.

Pure: seconds come in, seconds go out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

PER_TEXT: Final = 3.0
"""Refusals for each text that is translated: with calls coming at four times what can be served,
three of four are refused at once."""
LEAST_RATE: Final = 20.0
BURST_SECONDS: Final = 0.25
MOST_SECONDS: Final = 5.0
IN_TIME: Final = 0.75
"""Of a caller's remaining time: it is told before it gives up by itself."""


@dataclass(slots=True)
class Refusals:
    """Spreads refusals over time."""

    _next: float = -math.inf  # when the latest was or will be sent

    def delay(self, now: float, texts_per_second: float, deadline: float | None) -> float:
        """Return how long the next refusal is to wait.

        Args:
            now: In any seconds that never go back.
            texts_per_second: That are translated at present.
            deadline: Of the caller, in the same seconds.
        """
        interval = 1 / (LEAST_RATE + PER_TEXT * texts_per_second)
        self._next = min(max(self._next, now - BURST_SECONDS) + interval, now + MOST_SECONDS)
        wait = max(0.0, self._next - now)
        return wait if deadline is None else min(wait, IN_TIME * max(0.0, deadline - now))
