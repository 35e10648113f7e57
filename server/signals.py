"""SIGTERM and SIGINT: the first asks to drain, the second to stop at once. SIGHUP reloads."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(slots=True)
class Signals:
    """What signals have come; lives on the event loop."""

    first: asyncio.Event = field(default_factory=asyncio.Event)
    second: asyncio.Event = field(default_factory=asyncio.Event)
    exit_code: int = 0
    on_hangup: list[Callable[[], None]] = field(default_factory=list)

    @classmethod
    def install(cls) -> Self:
        """Begin to listen for signals; from here on they no longer raise or kill."""
        signals = cls()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, signals.note, int(number))
        loop.add_signal_handler(signal.SIGHUP, signals.note_hangup)
        return signals

    def note_hangup(self) -> None:
        """Note SIGHUP: read again what can change, once the server is up."""
        for callback in self.on_hangup:
            callback()

    def note(self, number: int) -> None:
        """Note a signal."""
        self.exit_code = 128 + number
        (self.second if self.first.is_set() else self.first).set()

    async def race(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do work until the first signal; return whether it was done."""
        return await _race(work, self.first)

    async def race_second(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do work until the second signal; return whether it was done."""
        return await _race(work, self.second)


async def _race(work: Coroutine[Any, Any, None], event: asyncio.Event) -> bool:
    working = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if working.done():
        working.result()
        return True
    working.cancel()
    await asyncio.wait([working])
    return False
