"""Jobs of one call on their way through the worker, a window of them at a time.

A call may hold a whole book. It has no more than a window of its sentences in the worker at once,
so that it neither fills the queue for everybody nor is refused for being long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Final

from hub.errors import QueueFullError
from server.messages import Job, Outcome
from server.protocols import JobRunner

MAX_WINDOW: Final = 256
_REFILL: Final = 8
"""A submission is worth while when this part of the window is free."""
RETRY_SECONDS: Final = 0.05


def window_of(queue_limit: int) -> int:
    """Return how many jobs of one call may be in the worker at once."""
    return max(1, min(MAX_WINDOW, queue_limit // 2))


async def run_jobs(worker: JobRunner, jobs: Sequence[Job], window: int) -> AsyncIterator[Outcome]:
    """Run jobs and yield their outcomes as they end; a caller that goes away withdraws the rest.

    Raises:
        HubError: The worker does not take the first of them.
    """
    feed = _Feed(worker, jobs, window)
    feed.refill()
    try:
        while feed.unfinished:
            yield await feed.next()
    finally:
        feed.withdraw()


class _Feed:
    """What of the jobs waits here, is in the worker, or has come back."""

    def __init__(self, worker: JobRunner, jobs: Sequence[Job], window: int) -> None:
        self._window = window
        self._worker = worker
        self._waiting = deque(jobs)
        self._running: set[int] = set()
        self._ended: asyncio.Queue[Outcome] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    @property
    def unfinished(self) -> bool:
        """Tell whether an outcome is still to come."""
        return bool(self._waiting or self._running)

    def refill(self) -> None:
        """Submit as many jobs as the window has room for.

        Raises:
            HubError: The worker takes none, for another reason than a full queue or while nothing
                of the call is running yet.
        """
        room = self._window - len(self._running)
        taken = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]
        if not taken:
            return
        try:
            self._worker.submit(taken, self._deliver)
        except BaseException:
            self._waiting.extendleft(reversed(taken))
            raise
        self._running.update(job.key for job in taken)

    async def next(self) -> Outcome:
        """Wait for the next outcome, and submit more jobs where there is room."""
        while not self._running:  # the queue was full when this call's window had become empty
            await asyncio.sleep(RETRY_SECONDS)
            self._refill_if_possible()
        outcome = await self._ended.get()
        self._running.discard(outcome.key)
        free = self._window - len(self._running)
        if self._waiting and free >= min(self._window // _REFILL, len(self._waiting)):
            self._refill_if_possible()
        return outcome

    def withdraw(self) -> None:
        """Take back what has not ended."""
        if self._running:
            self._worker.withdraw(list(self._running))
            self._running.clear()

    def _refill_if_possible(self) -> None:
        try:
            self.refill()
        except QueueFullError:
            return  # what runs of this call ends, and then there is another chance

    def _deliver(self, outcome: Outcome) -> None:
        """Take an outcome, on the worker's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ended.put_nowait, outcome)
