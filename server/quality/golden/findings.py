"""What golden lines say of the canaries, for those who decide on them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal

from server.quality.golden.comparing import Comparison

Finding = Comparison | Literal["pending", "none"]
"""A comparison; that it is still to be made; or that there is nothing to compare."""


@dataclass(slots=True)
class GoldenFindings:
    """What came of each canary, by its id; safe to share between threads.

    Attributes:
        looking: Whether golden lines are looked at here; else no comparison is waited for.
    """

    looking: bool
    _found: dict[int, Finding] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def of(self, canary_id: int) -> Finding:
        """Return what is known of a canary."""
        with self._lock:
            return self._found.get(canary_id, "pending" if self.looking else "none")

    def put(self, canary_id: int, finding: Finding) -> None:
        """Note what came of a comparison; it is made once."""
        with self._lock:
            self._found[canary_id] = finding

    def keep(self, canary_ids: Collection[int]) -> None:
        """Forget canaries that have ended."""
        with self._lock:
            for one in [known for known in self._found if known not in canary_ids]:
                del self._found[one]
