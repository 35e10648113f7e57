"""The way of a call from its arrival to the queue: checked, then prepared, a few at a time.

Preparing is routing, splitting and tokenizing: most of what a call costs outside of the engine. A
call for which the queue has no room, or whose deadline cannot be met, is refused before any of it.
And no more than a few are prepared at once, so that callers who all come at once take turns rather
than share the processor until none of them is done in time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from hub.errors import DeadlineUnreachableError, QueueFullError
from server.access.refusals import Refusals
from server.batching.intake import Intake, Reservation
from server.messages import TranslateCommand

AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Preparation:
    """Lets calls through to be prepared; lives on the event loop.

    Attributes:
        intake: Of the queue.
        window: Texts of one call that are in the queue at once.
        clock: Seconds of deadlines.
    """

    intake: Intake
    window: int
    clock: Callable[[], float] = time.monotonic
    _refusals: Refusals = field(default_factory=Refusals)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    @asynccontextmanager
    async def of(self, command: TranslateCommand) -> AsyncIterator[None]:
        """Keep places in the queue for a call while the block prepares it.

        The block must be followed by the submission of its jobs without a pause, or another call
        may take the places.

        Raises:
            QueueFullError: There is no room for it.
            DeadlineError: Its deadline has passed, or cannot be met.
        """
        with await self._reserve(command):
            async with self._turns:
                yield

    async def _reserve(self, command: TranslateCommand) -> Reservation:
        try:
            return self.intake.reserve(
                min(len(command.contents), self.window),
                sum(len(text) for text in command.contents),
                deadline=command.deadline,
                tenant=command.tenant,
                priority=command.priority,
            )
        except (QueueFullError, DeadlineUnreachableError):
            served = self.intake.forecast.texts.per_second
            delay = self._refusals.delay(self.clock(), served, command.deadline)
            if delay > 0:
                await asyncio.sleep(delay)
            raise
