"""Room for bodies that are held in memory while their requests are served.

Callers who are nobody may send one where a key is a part of it, so all of them together have a
limit. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hub.errors import QueueFullError

MAX_BYTES: Final = 256 * 2**20


@dataclass(slots=True)
class BodyRoom:
    """The bytes of all bodies.

    Attributes:
        max_bytes: That they may take together.
        taken: That they take now.
    """

    max_bytes: int = MAX_BYTES
    taken: int = 0

    def take(self, size: int) -> None:
        """Make room for a piece of a body.

        Raises:
            QueueFullError: There is none now.
        """
        if self.taken + size > self.max_bytes:
            raise QueueFullError(
                f"bodies of requests in progress take {self.taken:,} of {self.max_bytes:,} bytes; "
                "retry when some of them have been answered"
            )
        self.taken += size

    def release(self, size: int) -> None:
        """Give room back."""
        self.taken -= size
