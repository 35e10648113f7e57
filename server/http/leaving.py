"""A caller that hangs up withdraws its request: the task that serves it is cancelled.

HTTP has no deadlines and no cancellation of its own, and clients that give up try again; without
this each of their attempts would be translated to the end.
"""

from __future__ import annotations

import asyncio

from starlette.types import Message, Send

from server.http.bodies import Inbox


class Leaving:
    """Watches one request from the end of its body to the end of its reply."""

    def __init__(self, inbox: Inbox, send: Send) -> None:
        """Take the request's two sides; nothing is watched before `watch`."""
        self._inbox = inbox
        self._send = send
        self._gone = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Begin; the body must have been read."""
        serving = asyncio.current_task()
        assert serving is not None

        async def wait() -> None:
            await self._inbox.wait_gone()
            self._gone.set()
            serving.cancel()

        self._watcher = asyncio.create_task(wait())

    async def receive(self) -> Message:
        """Tell a streaming reply when the caller has left."""
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Send a part of the reply; with the last one the watch ends."""
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.close()
        await self._send(message)

    def settle(self) -> None:
        """Take back the cancellation that came from here.

        Raises:
            CancelledError: It came from elsewhere: the server stops.
        """
        serving = asyncio.current_task()
        if not self._gone.is_set() or serving is None or serving.uncancel():
            raise asyncio.CancelledError

    def close(self) -> None:
        """End the watch."""
        if self._watcher is not None:
            self._watcher.cancel()
