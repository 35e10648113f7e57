"""64-bit digests of texts, many at a time: who was seen before, who is in the sample."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from heapq import heappush, heapreplace
from typing import Final

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint64]
_BYTES: Final = 8


def digests_of(texts: Iterable[str]) -> Digests:
    """Return each text's digest: its BLAKE2b, 64 bits long."""
    joined = b"".join(blake2b(text.encode(), digest_size=_BYTES).digest() for text in texts)
    return np.frombuffer(joined, dtype=">u8").astype(np.uint64)


def salted(digests: Digests, salt: str) -> Digests:
    """Return other digests, which follow from these and a salt, and look independent of them."""
    return _mixed(digests ^ digests_of([salt])[0])


def combined(one: Digests, other: Digests) -> Digests:
    """Return the digests of pairs."""
    return _mixed(_mixed(one) + other)


def _mixed(digests: Digests) -> Digests:
    """Return splitmix64's finaliser (Steele, Lea and Flood 2014) of each value: a bijection."""
    found = digests.copy()
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        found = (found ^ (found >> np.uint64(shift))) * np.uint64(factor)
    return found ^ (found >> np.uint64(31))


def place(digests: Digests) -> NDArray[np.float64]:
    """Return where each digest lies between 0 and 1."""
    return digests / 2.0**64


class SeenDigests:
    """A set of digests in 8 bytes each, kept as sorted runs that merge as they grow.

    Two different texts among n share a digest with a chance of n² / 2⁶⁵: three in a million for ten
    million texts.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._runs: list[Digests] = []

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def add(self, digests: Digests) -> NDArray[np.bool_]:
        """Take digests in, and return which of them were new: for equal ones, the first."""
        values, firsts = np.unique(digests, return_index=True)
        unseen = np.ones(len(values), dtype=np.bool_)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, values), len(run) - 1)
            unseen &= run[at] != values
        new = np.zeros(len(digests), dtype=np.bool_)
        new[firsts[unseen]] = True
        if unseen.any():
            self._runs.append(values[unseen])
            self._merge()
        return new

    def _merge(self) -> None:
        while len(self._runs) > 1 and 2 * len(self._runs[-1]) > len(self._runs[-2]):
            last = self._runs.pop()
            merged = np.concatenate((self._runs[-1], last))
            merged.sort(kind="stable")
            self._runs[-1] = merged


class BottomSample:
    """Keeps the items with the smallest keys: of digests, a uniform sample without replacement.

    What is kept depends on the items and not on their order. Memory goes with the sample alone.
    """

    def __init__(self, size: int) -> None:
        """Keep at most `size` items."""
        self._size = size
        self._heap: list[tuple[int, int, bytes]] = []
        self._offers = 0

    def candidates(self, keys: Digests) -> NDArray[np.intp]:
        """Return which keys may be small enough."""
        if self._size == 0:
            return np.empty(0, dtype=np.intp)
        if len(self._heap) < self._size:
            return np.arange(len(keys), dtype=np.intp)
        return np.nonzero(keys < np.uint64(-self._heap[0][0]))[0]

    def offer(self, key: int, item: bytes) -> None:
        """Keep an item if its key is small enough; of equal keys the earlier is kept."""
        self._offers += 1
        entry = (-key, -self._offers, item)
        if len(self._heap) < self._size:
            heappush(self._heap, entry)
        elif self._size and entry > self._heap[0]:
            heapreplace(self._heap, entry)

    def drain(self) -> list[bytes]:
        """Return the items by ascending key, and forget them."""
        entries, self._heap = self._heap, []
        entries.sort(reverse=True)
        return [item for _, _, item in entries]
