"""Finding the culprit when a step fails as a whole.

An exception in a step names no row. So everything that ran is taken out and run again in ever
smaller groups: a group that passes is innocent, a group that fails is halved, a group of one that
fails is the culprit. Rows never feel their neighbours, so the innocent lose time and nothing else.

Pure: the worker runs the groups and reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Recovery:
    """Groups of request keys that are still under suspicion."""

    _groups: list[list[int]] = field(default_factory=list)

    @property
    def active(self) -> bool:
        """Tell whether any group is still to be run."""
        return bool(self._groups)

    def suspect(self, keys: Sequence[int]) -> list[int]:
        """Note that a group failed.

        Returns:
            The culprit, when the group was one request; else nothing: its halves run next.
        """
        if len(keys) <= 1:
            return list(keys)
        middle = len(keys) // 2
        self._groups += [list(keys[middle:]), list(keys[:middle])]
        return []

    def next_group(self) -> list[int]:
        """Take the group to run next; empty when its requests were all withdrawn."""
        return self._groups.pop()

    def discard(self, keys: Iterable[int]) -> None:
        """Forget requests that were withdrawn."""
        gone = set(keys)
        kept = ([key for key in group if key not in gone] for group in self._groups)
        self._groups = [group for group in kept if group]

    def members(self) -> set[int]:
        """Return every request under suspicion and not running."""
        return {key for group in self._groups for key in group}
