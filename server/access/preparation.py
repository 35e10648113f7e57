"""The way of a call from its arrival to the queue: checked, then prepared, a few at a time.

Preparing is routing, splitting and tokenizing: most of what a call costs outside of the engine. A
call for which the queue has no room, or whose deadline cannot be met, is refused before any of it;
a door that can, asks before it spends anything else on the call (`Preparation.refusal`). And no
more than a few are prepared at once, so that callers who all come at once take turns rather than
share the processor until none of them is done in time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from hub.errors import DeadlineError, DeadlineUnreachableError, HubError, QueueFullError
from server.access.refusals import Refusals
from server.access.turns import Turns
from server.batching.intake import Intake, Reservation
from server.messages import Priority, TranslateCommand

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
    _turns: Turns = field(default_factory=lambda: Turns(AT_ONCE))

    def refusal(
        self, contents: Sequence[str], deadline: float | None, tenant: str, priority: Priority
    ) -> HubError | None:
        """Return why a call would be refused now, None where it would not.

        Args:
            contents: Its texts.
            deadline: In the clock's seconds.
            tenant: Whose it is.
            priority: Of its texts.
        """
        try:
            self.intake.check(
                min(len(contents), self.window),
                sum(map(len, contents)),
                deadline=deadline,
                tenant=tenant,
                priority=priority,
            )
        except (QueueFullError, DeadlineError) as error:
            return error
        return None

    def delay(self, error: HubError, deadline: float | None) -> float:
        """Return how long a refusal is to wait before it is sent."""
        if not isinstance(error, QueueFullError | DeadlineUnreachableError):
            return 0.0
        served = self.intake.forecast.texts.per_second
        return self._refusals.delay(self.clock(), served, deadline)

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
            async with self._turns.of(command.tenant):
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
        except (QueueFullError, DeadlineUnreachableError) as error:
            delay = self.delay(error, command.deadline)
            if delay > 0:
                await asyncio.sleep(delay)
            raise
