"""Label values that come from callers, kept few.

A Prometheus series exists for every distinct set of label values, and a counter that changes its
labels looks like a restart. So a label keeps the values that come first and never gives one up;
all later ones are counted together as "other".
"""

from __future__ import annotations

from threading import Lock
from typing import Final

OTHER: Final = "other"
BASE_LABEL: Final = "base"


class BoundedLabel:
    """Keeps the values of a label few: the first `limit` distinct ones, then "other"."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[str] = set()
        self._lock = Lock()

    def of(self, value: str) -> str:
        """Return the value, or "other" when there have been too many."""
        with self._lock:
            if value not in self._seen and len(self._seen) < self._limit:
                self._seen.add(value)
            return value if value in self._seen else OTHER


class BoundedPairs:
    """Keeps combinations of a language pair and an adapter few, not only each of the two.

    Two labels of 20 values each would make 400 combinations, of some forty series each.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[tuple[str, str]] = set()
        self._lock = Lock()

    def of(self, pair: str, adapter: str) -> tuple[str, str]:
        """Return both values, or "other" twice when there have been too many combinations."""
        both = (pair, adapter)
        with self._lock:
            if both not in self._seen and len(self._seen) < self._limit:
                self._seen.add(both)
            return both if both in self._seen else (OTHER, OTHER)
