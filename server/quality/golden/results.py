"""What came of the last looks at adapters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from threading import Lock


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """A look at one adapter.

    Attributes:
        score: chrF++ of its golden lines as they are translated now.
        published: The same when it was published.
        changed: Share of the lines whose translation is another than then.
        at: When it was, in seconds since 1970 UTC.
    """

    name: str
    version: int
    pair: str
    score: float
    published: float
    changed: float
    at: float


@dataclass(slots=True)
class GoldenResults:
    """The last look at each adapter, by digest; safe to share between threads."""

    _found: OrderedDict[str, GoldenResult] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def put(self, digest: str, result: GoldenResult) -> None:
        """Note a look."""
        with self._lock:
            self._found[digest] = result

    def keep(self, digests: Collection[str]) -> None:
        """Forget adapters that are not served any more."""
        with self._lock:
            for digest in [one for one in self._found if one not in digests]:
                del self._found[digest]

    def shown(self, limit: int) -> list[GoldenResult]:
        """Return up to `limit` of them, those that were looked at first."""
        with self._lock:
            return list(self._found.values())[:limit]
