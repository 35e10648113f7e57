"""Work that goes on after its request has been answered, as a call of its own.

It is counted, logged and traced like a call, in the name of who asked for it, and the server waits
for it before it stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from contextvars import Context
from dataclasses import dataclass, field
from typing import Final

from hub.errors import HubError
from server.access.identity import act_for, current_identity
from server.entrance import Entrance
from server.faults import as_hub_error
from server.telemetry.calls import note_error, note_tenant
from server.telemetry.counting import CallCount, MethodSeries
from server.telemetry.traces import tracing

AT_ONCE: Final = 4
"""Jobs that run at once; the others wait, so that a hundred uploads do not fill the queue."""


@dataclass(slots=True)
class Jobs:
    """The jobs of one server.

    Attributes:
        service: Their name in logs and metrics, with `name`.
    """

    entrance: Entrance
    service: str
    name: str
    _running: set[asyncio.Task[None]] = field(default_factory=set)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def start(
        self, work: Callable[[], Awaitable[None]], failed: Callable[[HubError], None]
    ) -> None:
        """Begin a job for the current caller.

        Args:
            work: Does it.
            failed: Is told why it could not be done.
        """
        identity = current_identity()

        async def run() -> None:
            act_for(identity)
            await self._run(work, failed)

        task = asyncio.get_running_loop().create_task(run(), context=Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(
        self, work: Callable[[], Awaitable[None]], failed: Callable[[HubError], None]
    ) -> None:
        entrance, method = self.entrance, f"{self.service}/{self.name}"
        with ExitStack() as around:
            if entrance.tracer is not None:
                around.enter_context(
                    tracing(around.enter_context(entrance.tracer.call(method, ())))
                )
            around.enter_context(entrance.access.call(method, {}))
            labels = ("unary", self.service, self.name)
            count = around.enter_context(
                CallCount(MethodSeries(entrance.metrics, labels), entrance.calls)
            )
            note_tenant(current_identity().tenant)
            try:
                async with self._room:
                    await work()
            except Exception as error:
                found = as_hub_error(error, f"doing {method}")
                count.code = found.code
                entrance.metrics.rejected.labels(found.reason).inc()
                note_error(found)
                failed(found)
