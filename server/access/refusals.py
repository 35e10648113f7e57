"""How fast calls are refused: as fast as leaves the processor to those that are served.

A refusal costs a tenth of a translation or less, and a caller that calls again at once may have
been refused a thousand times while another is served once: then the refusals are the load. Up to a
few times as many as texts can be translated are sent at once; those beyond wait, which costs
nothing, and so do their callers.

Pure: seconds come in, seconds go out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

PER_TEXT: Final = 4.0
"""Refusals for each text that is translated: with calls coming at four times what can be served,
three of four are refused, and all of them at once."""
LEAST_RATE: Final = 50.0
BURST_SECONDS: Final = 0.25
MOST_SECONDS: Final = 5.0
IN_TIME: Final = 0.75
"""Of a caller's remaining time: it is told before it gives up by itself."""
_MEMORY_SECONDS: Final = 30.0
"""How long it is remembered what could be translated: who is refused slowly because little is
translated would stay, and let even less be translated."""


@dataclass(slots=True)
class Refusals:
    """Spreads refusals over time."""

    _next: float = -math.inf  # when the latest was or will be sent
    _most: float = 0.0  # texts a second of late
    _noted: float = -math.inf

    def delay(self, now: float, texts_per_second: float, deadline: float | None) -> float:
        """Return how long the next refusal is to wait.

        Args:
            now: In any seconds that never go back.
            texts_per_second: That are translated at present.
            deadline: Of the caller, in the same seconds.
        """
        faded = self._most * math.exp((self._noted - now) / _MEMORY_SECONDS)
        self._most, self._noted = max(faded, texts_per_second), now
        interval = 1 / (LEAST_RATE + PER_TEXT * self._most)
        self._next = min(max(self._next, now - BURST_SECONDS) + interval, now + MOST_SECONDS)
        wait = max(0.0, self._next - now)
        return wait if deadline is None else min(wait, IN_TIME * max(0.0, deadline - now))
