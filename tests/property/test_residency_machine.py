"""The two tiers as state machines: every invariant after every operation."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from server.residency.tables import BASE, HostTier, SlotTable

DIGESTS = st.sampled_from([f"sha256:{letter}" for letter in "abcdefgh"])
SLOTS, DEVICE_BYTES = 3, 100
HOST_BYTES, MAX_LOADING = 100, 2


def size_of(digest: str) -> int:
    """An adapter's size never changes: it is what its digest stands for."""
    return 10 + 15 * (ord(digest[-1]) - ord("a")) % 70


class SlotMachine(RuleBasedStateMachine):
    """Requests come and go; beside the table runs the simplest model of who is pinned."""

    pinned = Bundle("pinned")

    def __init__(self) -> None:
        super().__init__()
        self.table = SlotTable(SLOTS, DEVICE_BYTES)
        self.pins: dict[str, int] = {}
        self.places: dict[str, int] = {}  # what the engine would have in its slots

    @rule(target=pinned, digest=DIGESTS, wanted=st.sets(DIGESTS))
    def acquire(self, digest: str, wanted: set[str]) -> str:
        before = {d for d, count in self.pins.items() if count}
        seat = self.table.acquire(digest, size_of(digest), wanted)
        if seat is None:
            others = before - {digest}
            no_slot = len(others) >= SLOTS
            no_bytes = sum(map(size_of, others)) + size_of(digest) > DEVICE_BYTES
            assert digest not in self.places
            assert no_slot or no_bytes
            return BASE
        if seat.placement is not None:
            for victim, slot in seat.placement.evicted:
                assert not self.pins.get(victim), "evicted while pinned"
                assert self.places.pop(victim) == slot
            assert seat.slot not in self.places.values(), "slot taken"
            self.places[digest] = seat.slot
        assert self.places[digest] == seat.slot
        self.pins[digest] = self.pins.get(digest, 0) + 1
        return digest

    @rule(digest=consumes(pinned))
    def release(self, digest: str) -> None:
        self.table.release(digest)
        if digest != BASE:
            self.pins[digest] -= 1

    @rule()
    def acquire_base(self) -> None:
        seat = self.table.acquire(BASE, 0)
        assert seat is not None
        assert seat.slot == 0
        assert seat.placement is None

    @invariant()
    def sound(self) -> None:
        self.table.check_integrity()
        assert {(d, s) for d, s, _, _ in self.table.resident()} == set(self.places.items())
        assert all(pins == self.pins.get(d, 0) for d, _, _, pins in self.table.resident())


class HostMachine(RuleBasedStateMachine):
    """Adapters are wanted, loaded, lost and forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.tier = HostTier(HOST_BYTES, MAX_LOADING)
        self.loading: set[str] = set()
        self.ready: set[str] = set()
        self.pinned: set[str] = set()

    @rule(wanted=st.lists(DIGESTS, unique=True), underestimate=st.integers(1, 3))
    def plan(self, wanted: list[str], underestimate: int) -> None:
        plan = self.tier.plan((digest, size_of(digest) // underestimate) for digest in wanted)
        assert set(plan.evict) <= self.ready - self.pinned
        assert not set(plan.load) & (self.loading | (self.ready - set(plan.evict)))
        if wanted and wanted[0] in self.ready and size_of(wanted[0]) <= self.tier.room:
            assert wanted[0] not in plan.evict, "the first in line lost its adapter"
        self.ready -= set(plan.evict)
        self.loading |= set(plan.load)

    @rule(data=st.data(), fails=st.booleans())
    def end_load(self, data: st.DataObject, fails: bool) -> None:
        if not self.loading:
            return
        digest = data.draw(st.sampled_from(sorted(self.loading)))
        self.loading.remove(digest)
        if fails:
            self.tier.failed(digest)
            return
        evicted = self.tier.loaded(digest, size_of(digest))
        self.ready = (self.ready | {digest}) - set(evicted)

        assert not set(evicted) & self.pinned, "a load pushed a pinned adapter out"

    @rule(digest=DIGESTS)
    def pin(self, digest: str) -> None:
        others = sum(size_of(each) for each in self.pinned - {digest})
        fits = others + size_of(digest) <= HOST_BYTES // 2
        assert self.tier.may_pin(digest, size_of(digest)) == fits
        if fits and digest in self.ready:
            self.tier.pin(digest)
            self.pinned.add(digest)

    @rule(digest=DIGESTS)
    def unpin(self, digest: str) -> None:
        self.tier.unpin(digest)
        self.pinned.discard(digest)

    @rule(digest=DIGESTS)
    def drop(self, digest: str) -> None:
        assert self.tier.drop(digest) == (digest in self.ready)
        self.ready.discard(digest)
        self.pinned.discard(digest)

    @invariant()
    def sound(self) -> None:
        self.tier.check_integrity()
        assert {digest for digest, _ in self.tier.ready()} == self.ready
        assert self.tier.pinned == self.pinned
        assert self.tier.room == HOST_BYTES - sum(map(size_of, self.pinned))


TestSlotTable = SlotMachine.TestCase
TestSlotTable.settings = settings(max_examples=30, stateful_step_count=30)
TestHostTier = HostMachine.TestCase
TestHostTier.settings = settings(max_examples=30, stateful_step_count=30)
