"""Turns at something that only a few may do at once, tenant by tenant.

A first-come queue would let a tenant with a hundred calls go a hundred times before the one call of
another. Here each tenant that waits has a line of its own, and the lines take turns.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_Line = deque[asyncio.Future[None]]


class Turns:
    """A semaphore that is fair between tenants; lives on one event loop."""

    def __init__(self, at_once: int) -> None:
        """Begin with nobody inside.

        Args:
            at_once: How many may be inside.
        """
        self._free = at_once
        self._lines: OrderedDict[str, _Line] = OrderedDict()  # whose turn is next comes first

    @asynccontextmanager
    async def of(self, tenant: str) -> AsyncIterator[None]:
        """Run the block when it is the tenant's turn."""
        if self._free and not self._lines:
            self._free -= 1
        else:
            await self._wait(tenant)
        try:
            yield
        finally:
            self._free += 1
            self._hand_over()

    async def _wait(self, tenant: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(tenant, deque()).append(turn)
        self._hand_over()
        try:
            await turn
        except asyncio.CancelledError:
            self._give_up(tenant, turn)
            raise

    def _give_up(self, tenant: str, turn: asyncio.Future[None]) -> None:
        """Leave the line, or pass on the turn that came too late."""
        if turn.done() and not turn.cancelled():
            self._free += 1
        elif tenant in self._lines and turn in self._lines[tenant]:
            self._lines[tenant].remove(turn)
            if not self._lines[tenant]:
                del self._lines[tenant]
        self._hand_over()

    def _hand_over(self) -> None:
        while self._free and self._lines:
            tenant, line = self._lines.popitem(last=False)
            turn = line.popleft()
            if line:
                self._lines[tenant] = line  # behind the others
            if not turn.done():
                self._free -= 1
                turn.set_result(None)
