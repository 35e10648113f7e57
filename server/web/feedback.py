"""Corrected translations, on their way to whoever keeps them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from server.core import Core
from server.web.requests import AskedCorrection


@runtime_checkable
class FeedbackSink(Protocol):
    """Keeps corrections."""

    async def submit(self, correction: AskedCorrection, tenant: str) -> None:
        """Keep a correction of a tenant, durably.

        Raises:
            HubError: It is not one, or cannot be kept.
        """


def sink_of(core: Core) -> FeedbackSink | None:
    """Return who keeps corrections, None where this server keeps none."""
    return None
