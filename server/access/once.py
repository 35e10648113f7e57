"""Blocking work that many calls wait for, done once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass


@dataclass(slots=True)
class Once:
    """Runs something on a thread; whoever asks meanwhile waits for the same run.

    So callers take one thread of the pool, however many they are. Lives on one event loop.
    """

    _running: asyncio.Future[None] | None = None

    async def run(self, pool: Executor, work: Callable[[], None]) -> None:
        """Wait for the run that goes on, or for a new one; raises what it raises."""
        if self._running is None:
            self._running = asyncio.get_running_loop().run_in_executor(pool, work)
            self._running.add_done_callback(self._end)
        await asyncio.shield(self._running)  # who goes away leaves it to the others

    def _end(self, run: asyncio.Future[None]) -> None:
        self._running = None
        if not run.cancelled():
            run.exception()  # seen, though nobody may be left to raise it to
