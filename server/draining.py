"""The calls in progress at all doors: what a server waits for before it stops."""

from __future__ import annotations

import asyncio

from hub.errors import DrainingError


class Calls:
    """The calls in progress; drained before the server stops.

    Attributes:
        begun: Calls that ever began, those that were refused included.
        refusing: Whether new calls are told to go elsewhere.
    """

    def __init__(self) -> None:
        self.begun = 0
        self.refusing = False
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self) -> None:
        """Note that a call began."""
        self.begun += 1
        self._count += 1
        self._idle.clear()

    def check(self) -> None:
        """Refuse a call that has just begun, while the server drains.

        Raises:
            DrainingError: It drains.
        """
        if self.refusing:
            raise DrainingError("the server is shutting down; send the request to another")

    def end(self) -> None:
        """Note that a call ended."""
        self._count -= 1
        if not self._count:
            self._idle.set()

    @property
    def idle(self) -> bool:
        """Tell whether no call is in progress."""
        return not self._count

    async def wait_idle(self) -> None:
        """Wait until no call is in progress."""
        await self._idle.wait()
