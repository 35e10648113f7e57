"""Which blocks of a file are taken: pure arithmetic, for `server.residency.spill`.

What is stored may lie in several places, so that room is never lost between two pieces of it.
"""

from __future__ import annotations

from typing import Final

BLOCK: Final = 64 * 1024
"""Bytes of a block: little to lose at an adapter's end, few places for a large one."""

Run = tuple[int, int]
"""First byte and one past the last."""


class Blocks:
    """Blocks from 0 on, as many as fit a budget; those that were used before are used first."""

    def __init__(self, budget_bytes: int) -> None:
        self._most = budget_bytes // BLOCK
        self._end = 0  # no block from here on was ever used
        self._free: list[int] = []

    def fits(self, nbytes: int) -> bool:
        """Tell whether so many bytes fit when nothing else is there."""
        return _count(nbytes) <= self._most

    def take(self, nbytes: int) -> tuple[Run, ...] | None:
        """Take room for so many bytes, None where there is too little."""
        count = _count(nbytes)
        fresh = max(0, count - len(self._free))
        if self._end + fresh > self._most:
            return None
        used = len(self._free) - (count - fresh)
        blocks = [*self._free[used:], *range(self._end, self._end + fresh)]
        del self._free[used:]
        self._end += fresh
        return _runs(sorted(blocks))

    def give(self, runs: tuple[Run, ...]) -> None:
        """Give back what `take` returned."""
        for first, last in runs:
            self._free += range(first // BLOCK, last // BLOCK)


def _count(nbytes: int) -> int:
    return -(-nbytes // BLOCK)


def _runs(blocks: list[int]) -> tuple[Run, ...]:
    runs: list[Run] = []
    for block in blocks:
        first = block * BLOCK
        if runs and runs[-1][1] == first:
            first = runs.pop()[0]
        runs.append((first, (block + 1) * BLOCK))
    return tuple(runs)
