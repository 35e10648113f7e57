"""Work that nobody waits for: where the queue is full, it waits rather than fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hub.bulk.patience import delay_of
from hub.errors import QueueFullError
from server.access.admission import Limits
from server.messages import Detected, TranslateCommand, TranslateResult
from server.translation.files import FileTranslator

LONGEST_SECONDS: Final = 600.0
"""That one command waits for room in all."""


@dataclass(frozen=True, slots=True)
class WaitingTranslator:
    """Carries out commands when there is room for them.

    Attributes:
        inner: Carries them out.
        sleep: Waits.
    """

    inner: FileTranslator
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    @property
    def limits(self) -> Limits:
        """Return the most that one command may ask for."""
        return self.inner.limits

    def detect(self, contents: Sequence[str], mime_type: str = "") -> list[list[Detected]]:
        """Tell the language of texts; blocks."""
        return self.inner.detect(contents, mime_type)

    async def translate(self, command: TranslateCommand) -> TranslateResult:
        """Translate, as soon as the queue takes it.

        Raises:
            QueueFullError: It did not in ten minutes.
            HubError: Any other error.
        """
        waited, attempt = 0.0, 0
        while True:
            try:
                return await self.inner.translate(command)
            except QueueFullError as error:
                delay = delay_of(error, attempt)
                if waited + delay > LONGEST_SECONDS:
                    raise
                await self.sleep(delay)
                waited, attempt = waited + delay, attempt + 1
