"""Which adapter is where: device slots over host memory over the registry.

Two pure tables, driven by the engine thread alone; neither holds a tensor, and recency is counted
in uses, not in time.

`SlotTable` is the device tier. Adapters of running requests are *pinned*; a placement may evict
unpinned ones only: those that nobody waits for before all others, among them the least popular
first, and the least recently used of those. Popularity is what an adapter was used of late, in a
slot or not, so a burst of adapters that come once does not push out those that come again and
again. Where none is unpinned, `to_drain` says which ones to stop using.

`HostTier` is the memory in front of the slots. What must stay is derived from the queue. Going
through the waiting adapters in order of arrival, those that fit the budget are *protected*; they
are loaded and kept, all others may be evicted. So the adapter that has been waited for longest
always gets its turn, whatever arrives meanwhile. An operator may *pin* adapters here: they are
protected before all others, and take at most half of the budget (`PINNED_SHARE`).

Invariants, checked by `check_integrity` (tests call it after every operation): bytes never exceed
the budget, a slot has one adapter and an adapter one slot, slot 0 is nobody's.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from itertools import count
from typing import Final

BASE = ""
"""The digest that stands for "no adapter"; it is always resident, in slot 0."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A host adapter to be copied into a slot, after the slots of `evicted` were cleared.

    Attributes:
        evicted: (digest, slot) of every adapter that has to go first.
    """

    digest: str
    slot: int
    evicted: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Seat:
    """A pinned slot for one request; `placement` is None when the adapter was there already."""

    slot: int
    placement: Placement | None = None


_MEMORY: Final = 10
"""After so many uses for each slot, all counts of uses are halved."""


class _Popularity:
    """Counts uses; old ones count half, a fourth and so on (TinyLFU, arXiv 1512.00727)."""

    def __init__(self, span: int) -> None:
        self._span = span
        self._uses: dict[str, int] = {}
        self._noted = 0

    def __getitem__(self, digest: str) -> int:
        return self._uses.get(digest, 0)

    def note(self, digest: str) -> None:
        self._uses[digest] = self[digest] + 1
        self._noted += 1
        if self._noted >= self._span:
            self._noted //= 2
            self._uses = {d: uses // 2 for d, uses in self._uses.items() if uses > 1}


@dataclass(slots=True)
class _Resident:
    slot: int
    size: int
    used: int
    pins: int = 0


class SlotTable:
    """The device tier: which adapter is in which slot."""

    def __init__(self, slots: int, budget_bytes: int) -> None:
        self.slots = slots
        self.budget_bytes = budget_bytes
        self._residents: dict[str, _Resident] = {}
        self._free = list(range(slots, 0, -1))  # pop() gives the lowest
        self._uses = count(1)
        self._popularity = _Popularity(_MEMORY * slots)

    def __contains__(self, digest: str) -> bool:
        return digest == BASE or digest in self._residents

    @property
    def used_bytes(self) -> int:
        """Return the bytes of all resident adapters."""
        return sum(resident.size for resident in self._residents.values())

    def resident(self) -> list[tuple[str, int, int, int]]:
        """Return (digest, slot, bytes, pins) of every adapter, most recently used first."""
        order = sorted(self._residents.items(), key=lambda item: -item[1].used)
        return [(digest, r.slot, r.size, r.pins) for digest, r in order]

    def acquire(
        self, digest: str, size: int, wanted: Set[str] = frozenset(), *, spare: bool = False
    ) -> Seat | None:
        """Pin an adapter's slot for one request, making room for it where needed.

        Args:
            digest: The adapter, or BASE.
            size: Its bytes on the device; used only when it is not resident.
            wanted: Adapters that other requests wait for; evicted only after all others.
            spare: Do not evict those at all.

        Returns:
            The seat, or None when room cannot be made without evicting an adapter that is pinned
            or to be spared.
        """
        if digest == BASE:
            return Seat(0)
        resident = self._residents.get(digest)
        if resident is None:
            seat = self._place(digest, size, self._evictable(wanted, spare))
        else:
            resident.pins += 1
            resident.used = next(self._uses)
            seat = Seat(resident.slot)
        if seat is not None:
            self._popularity.note(digest)
        return seat

    def release(self, digest: str) -> None:
        """Give back one pin; the adapter stays until its room is needed."""
        if digest == BASE:
            return
        resident = self._residents[digest]
        assert resident.pins > 0, f"released more often than acquired: {digest}"
        resident.pins -= 1

    def drop(self, digest: str) -> int:
        """Forget an unpinned adapter, as after a failed placement; return its slot."""
        resident = self._residents[digest]
        assert resident.pins == 0, f"dropped while pinned: {digest}"
        del self._residents[digest]
        self._free.append(resident.slot)
        return resident.slot

    def to_drain(self, size: int, before: Set[str] = frozenset()) -> frozenset[str]:
        """Choose pinned adapters whose release makes room for `size` bytes and a slot.

        Args:
            size: At most the budget.
            before: What was chosen last time, which is chosen again.
        """
        order = sorted(
            self._residents, key=lambda d: (self._residents[d].pins > 0, d not in before,
                                            self._residents[d].pins, self._residents[d].used)
        )  # fmt: skip
        victims = self._victims(size, order)
        return frozenset(d for d in victims or () if self._residents[d].pins)

    def _place(self, digest: str, size: int, order: list[str]) -> Seat | None:
        victims = self._victims(size, order)
        if victims is None:
            return None
        evicted = tuple((victim, self.drop(victim)) for victim in victims)
        slot = self._free.pop()
        self._residents[digest] = _Resident(slot, size, next(self._uses), pins=1)
        return Seat(slot, Placement(digest, slot, evicted))

    def _victims(self, size: int, order: list[str]) -> list[str] | None:
        """Return who has to go for `size` bytes and a slot, None when all would not do."""
        room, seats = self.budget_bytes - self.used_bytes, len(self._free)
        victims: list[str] = []
        for digest in order:
            if room >= size and seats:
                break
            victims.append(digest)
            room += self._residents[digest].size
            seats += 1
        return victims if room >= size and seats else None

    def _evictable(self, wanted: Set[str], spare: bool) -> list[str]:
        idle = [
            (digest in wanted, self._popularity[digest], resident.used, digest)
            for digest, resident in self._residents.items()
            if not resident.pins and not (spare and digest in wanted)
        ]
        return [digest for *_, digest in sorted(idle)]

    def check_integrity(self) -> None:
        """Assert the invariants."""
        taken = [resident.slot for resident in self._residents.values()]
        assert sorted(taken + self._free) == list(range(1, self.slots + 1))
        assert self.used_bytes <= self.budget_bytes
        assert all(resident.pins >= 0 for resident in self._residents.values())


PINNED_SHARE: Final = 0.5
"""Of the host budget; the rest belongs to the adapters that requests ask for."""


@dataclass(slots=True)
class _Held:
    size: int
    used: int
    ready: bool


@dataclass(frozen=True, slots=True)
class HostPlan:
    """What to do next in the host tier: first evict, then start loading."""

    evict: tuple[str, ...] = ()
    load: tuple[str, ...] = ()


class HostTier:
    """The host tier: which adapters are in memory or on their way into it."""

    def __init__(self, budget_bytes: int, max_loading: int) -> None:
        self.budget_bytes = budget_bytes
        self.max_loading = max_loading
        self._held: dict[str, _Held] = {}
        self._sizes: dict[str, int] = {}  # true sizes of wanted adapters, once known
        self._pinned: set[str] = set()  # all of them ready
        self._uses = count(1)

    def is_ready(self, digest: str) -> bool:
        """Tell whether the adapter can be placed now."""
        held = self._held.get(digest)
        return held is not None and held.ready

    def size(self, digest: str) -> int:
        """Return the bytes of a ready adapter."""
        return self._held[digest].size

    @property
    def used_bytes(self) -> int:
        """Return the bytes held or reserved for loads in progress."""
        return sum(held.size for held in self._held.values())

    def ready(self) -> list[tuple[str, int]]:
        """Return (digest, bytes) of every loaded adapter, most recently used first."""
        order = sorted(self._held.items(), key=lambda item: -item[1].used)
        return [(digest, held.size) for digest, held in order if held.ready]

    def touch(self, digest: str) -> None:
        """Note that the adapter was used."""
        self._held[digest].used = next(self._uses)

    @property
    def pinned(self) -> frozenset[str]:
        """Return the adapters that stay."""
        return frozenset(self._pinned)

    @property
    def pinned_bytes(self) -> int:
        """Return the bytes of all pinned adapters."""
        return sum(self._held[digest].size for digest in self._pinned)

    @property
    def room(self) -> int:
        """Return the largest adapter that fits beside the pinned ones."""
        return self.budget_bytes - self.pinned_bytes

    def may_pin(self, digest: str, size: int) -> bool:
        """Tell whether pinned adapters would stay within their share with this one among them."""
        others = self.pinned_bytes - (self._held[digest].size if digest in self._pinned else 0)
        return others + size <= PINNED_SHARE * self.budget_bytes

    def pin(self, digest: str) -> None:
        """Keep a ready adapter until it is unpinned; `may_pin` must have said yes."""
        assert self.may_pin(digest, self._held[digest].size), f"too large to pin: {digest}"
        assert self._held[digest].ready, f"pinned before it was loaded: {digest}"
        self._pinned.add(digest)

    def unpin(self, digest: str) -> None:
        """Let an adapter be evicted again."""
        self._pinned.discard(digest)

    def drop(self, digest: str) -> bool:
        """Forget a ready adapter, pinned or not; return whether it was there."""
        if not self.is_ready(digest):
            return False
        self._pinned.discard(digest)
        del self._held[digest]
        return True

    def plan(self, wanted: Iterable[tuple[str, int]]) -> HostPlan:
        """Decide what to load for the adapters that requests wait for.

        Args:
            wanted: (digest, estimated bytes), in order of arrival, without repetition.

        The loads of the plan count as started.
        """
        protected = self._protect(wanted)
        evict: list[str] = []
        load: list[str] = []
        for digest, size in protected.items():
            if digest in self._held:
                continue
            if self._loading() >= self.max_loading:
                break
            victims = self._victims(size, protected)
            if victims is None:  # room is reserved for a load that nobody waits for any more
                break
            for victim in victims:
                del self._held[victim]
            evict += victims
            self._held[digest] = _Held(size, next(self._uses), ready=False)
            load.append(digest)
        return HostPlan(tuple(evict), tuple(load))

    def loaded(self, digest: str, size: int) -> tuple[str, ...]:
        """Note that a load has ended, and how large the adapter really is.

        Returns:
            Whom to evict because it is larger than estimated; possibly the adapter itself, which
            is then loaded again when there is room.
        """
        held = self._held[digest]
        held.size, held.ready = size, True
        self._sizes[digest] = size
        evict: list[str] = []
        others = [d for d, h in self._held.items() if h.ready and d not in {digest, *self._pinned}]
        for victim in [*sorted(others, key=lambda d: self._held[d].used), digest]:
            if self.used_bytes <= self.budget_bytes:
                break
            del self._held[victim]
            evict.append(victim)
        return tuple(evict)

    def failed(self, digest: str) -> None:
        """Note that a load has failed; the next request for the adapter tries again."""
        del self._held[digest]

    def _protect(self, wanted: Iterable[tuple[str, int]]) -> dict[str, int]:
        """Return the pinned and the first of the wanted adapters that fit together, with sizes.

        A size that would not fit beside the pinned ones is taken for one that just does: such an
        adapter is loaded, and refused when its size is sure.
        """
        sizes = {digest: self._sizes.get(digest, size) for digest, size in wanted}
        self._sizes = {d: s for d, s in self._sizes.items() if d in sizes}
        protected = {digest: self._held[digest].size for digest in self._pinned}
        total, room = self.pinned_bytes, self.room
        for digest, estimate in sizes.items():
            if digest in protected:
                continue
            size = self._held[digest].size if digest in self._held else min(estimate, room)
            if total + size > self.budget_bytes:
                break
            protected[digest] = size
            total += size
        return protected

    def _victims(self, size: int, protected: dict[str, int]) -> list[str] | None:
        room = self.budget_bytes - self.used_bytes
        victims: list[str] = []
        idle = [(h.used, d) for d, h in self._held.items() if h.ready and d not in protected]
        for _, digest in sorted(idle):
            if room >= size:
                break
            victims.append(digest)
            room += self._held[digest].size
        return victims if room >= size else None

    def _loading(self) -> int:
        return sum(not held.ready for held in self._held.values())

    def check_integrity(self) -> None:
        """Assert the invariants."""
        assert self._loading() <= self.max_loading
        assert self.used_bytes <= self.budget_bytes
        assert all(self.is_ready(digest) for digest in self._pinned)
        assert self.pinned_bytes <= PINNED_SHARE * self.budget_bytes
