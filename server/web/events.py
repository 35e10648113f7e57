"""Server-sent events (WHATWG HTML, 9.2), which the page reads by fetch."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.responses import StreamingResponse


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, and data that JSON can say."""

    name: str
    data: Mapping[str, Any]

    def encode(self) -> bytes:
        """Return it as it is sent; JSON has no line breaks of its own."""
        data = json.dumps(self.data, ensure_ascii=False, separators=(",", ":"))
        return f"event: {self.name}\ndata: {data}\n\n".encode()


def stream_of(events: AsyncIterator[Event]) -> StreamingResponse:
    """Return a reply that sends events as they come, and ends them when the caller leaves."""
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_encoded(events), 200, headers, media_type="text/event-stream")


async def _encoded(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    async with aclosing(events) as source:  # type: ignore[type-var]  # all of ours are generators
        async for event in source:
            yield event.encode()
