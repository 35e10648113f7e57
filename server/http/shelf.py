"""Documents between upload and download: in memory, for a while, within a limit.

Nothing is written to a disk. A document is known by an id and opened by a key that only its caller
was told. Each tenant has a share of the shelf, so that none fills it for all.

Pure but for the random ids: time comes in as seconds that never go back.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from hub.errors import NotFoundError, QueueFullError

MAX_BYTES: Final = 256 * 2**20
MAX_SHARE: Final = MAX_BYTES // 4
"""Of one tenant."""
RECORD_BYTES: Final = 4096
"""That a document counts beside its content, so that there are not millions of empty ones."""
KEPT_SECONDS: Final = 3600.0
"""From upload to the last chance of a download."""


class Progress(Enum):
    """How far a document is; the values are DeepL's."""

    QUEUED = "queued"
    TRANSLATING = "translating"
    DONE = "done"
    ERROR = "error"


@dataclass(slots=True, eq=False)
class ShelvedDocument:
    """A document on the shelf.

    Attributes:
        tenant: Who may have it; "" for anyone who knows its key.
        payer: In whose share it is.
        name: The caller's name of it.
        size: Bytes that it takes.
        characters: That are translated.
        data: The translation, once it is done.
        error: Why there is none.
    """

    id: str
    key: str
    tenant: str
    payer: str
    name: str
    size: int
    since: float
    characters: int = 0
    progress: Progress = Progress.QUEUED
    data: bytes = b""
    left: int = 0
    error: str = ""

    def finish(self, data: bytes, left: int = 0) -> None:
        """Keep the translation."""
        self.data, self.size, self.left = data, len(data), left
        self.progress = Progress.DONE

    def fail(self, error: str) -> None:
        """Keep why there is none."""
        self.error, self.size = error, 0
        self.progress = Progress.ERROR


@dataclass(slots=True)
class Shelf:
    """The documents of one server.

    Attributes:
        clock: Seconds that never go back.
        max_bytes: Of all documents together.
        max_share: Of those of one tenant.
        kept_seconds: After which a document is dropped.
    """

    clock: Callable[[], float]
    max_bytes: int = MAX_BYTES
    max_share: int = MAX_SHARE
    kept_seconds: float = KEPT_SECONDS
    _documents: dict[str, ShelvedDocument] = field(default_factory=dict)

    def put(self, tenant: str, payer: str, name: str, size: int) -> ShelvedDocument:
        """Make room for a document.

        Args:
            tenant: Who may have it; "" for anyone who knows its key.
            payer: In whose share it is.
            name: The caller's name of it.
            size: Bytes of its content.

        Raises:
            QueueFullError: There is none now.
        """
        self._drop_old()
        self._check(size, "all documents", self.max_bytes, self._documents.values())
        own = [one for one in self._documents.values() if one.payer == payer]
        whose = f"the documents of tenant {payer!r}" if payer else "all documents"
        self._check(size, whose, self.max_share, own)
        identifier, key = secrets.token_hex(16).upper(), secrets.token_hex(32).upper()
        made = ShelvedDocument(identifier, key, tenant, payer, name, size, self.clock())
        self._documents[identifier] = made
        return made

    def get(self, identifier: str, key: str, tenant: str) -> ShelvedDocument:
        """Return a document.

        Raises:
            NotFoundError: There is none such, or the key is not its own.
        """
        self._drop_old()
        found = self._documents.get(identifier)
        known = "" if found is None else found.key
        right = hmac.compare_digest(known.encode(), key.encode("utf-8", "replace"))
        if found is None or not right or found.tenant != tenant:
            raise NotFoundError("Not found: no document has this id and key, or no longer")
        return found

    def remove(self, document: ShelvedDocument) -> None:
        """Forget a document."""
        self._documents.pop(document.id, None)

    def _check(
        self, size: int, whose: str, limit: int, documents: Iterable[ShelvedDocument]
    ) -> None:
        taken = sum(one.size + RECORD_BYTES for one in documents)
        if taken + size + RECORD_BYTES > limit:
            raise QueueFullError(
                f"{whose} on this server take {taken:,} bytes and may take {limit:,}; {size:,} "
                "more are too many. Fetch translations that are done, which removes them, or "
                f"retry later: each is kept for {self.kept_seconds / 60:g} minutes at most"
            )

    def _drop_old(self) -> None:
        oldest = self.clock() - self.kept_seconds
        for one in [one for one in self._documents.values() if one.since < oldest]:
            self.remove(one)
