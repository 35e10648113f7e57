"""Whatever arrives, every request runs within a bound, and never beyond a limit.

A small world drives scheduler and residency as the worker does, with loads and decoding that take
a number of rounds instead of time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.batching.fairness import MAX_IDLE, FairShare, cost_of
from server.batching.scheduler import BatchLimits, Scheduler
from server.batching.turn import Admission, Allowance
from server.messages import Job, Priority, Search
from server.residency.tables import BASE, HostTier, SlotTable

MAX_ROWS, MAX_TOKENS = 8, 32
SLOTS, DEVICE_BYTES, HOST_BYTES, MAX_LOADING = 2, 50, 60, 2
PATIENCE = 4


def job_of(
    key: int,
    digest: str = BASE,
    beam: int = 1,
    tokens: int = 4,
    tenant: str = "",
    priority: Priority = Priority.INTERACTIVE,
    deadline: float | None = None,
) -> Job:
    return Job(
        key=key,
        digest=digest,
        source_ids=tuple(range(tokens)),
        prefix_ids=(),
        search=Search(beam, 10, 1.0, 1),
        adapter_bytes=0 if digest == BASE else 20,
        tenant=tenant,
        priority=priority,
        deadline=deadline,
    )


@dataclass
class World:
    """Scheduler, tiers and a pretended engine."""

    steps_of: dict[int, int]
    load_rounds: int = 3
    scheduler: Scheduler = field(
        default_factory=lambda: Scheduler(BatchLimits(MAX_ROWS, MAX_TOKENS), PATIENCE)
    )
    device: SlotTable = field(default_factory=lambda: SlotTable(SLOTS, DEVICE_BYTES))
    host: HostTier = field(default_factory=lambda: HostTier(HOST_BYTES, MAX_LOADING))
    running: dict[int, tuple[Job, int]] = field(default_factory=dict)
    loading: dict[str, int] = field(default_factory=dict)
    done: list[int] = field(default_factory=list)

    def round(self) -> list[Admission]:
        self.load()
        return self.turn()

    def turn(self) -> list[Admission]:
        free = MAX_ROWS - sum(job.rows for job, _ in self.running.values())
        admitted = self.scheduler.admit(free, self.device, self.host)
        self._check(admitted, free)
        for admission in admitted:
            self.running[admission.job.key] = admission.job, self.steps_of[admission.job.key]
        self._step()
        return admitted

    def load(self) -> None:
        for digest in self.host.plan(self.scheduler.absent(self.device).items()).load:
            self.loading[digest] = self.load_rounds
        for digest in list(self.loading):
            self.loading[digest] -= 1
            if self.loading[digest] <= 0:
                del self.loading[digest]
                self.host.loaded(digest, 20)

    def _check(self, admitted: list[Admission], free: int) -> None:
        assert sum(a.job.rows for a in admitted) <= max(free, 0)
        assert len(admitted) <= 1 or sum(a.job.tokens for a in admitted) <= MAX_TOKENS
        resident = {d: slot for d, slot, _, _ in self.device.resident()}
        assert all(a.seat.slot == resident.get(a.job.digest, 0) for a in admitted)
        self.device.check_integrity()
        self.host.check_integrity()

    def _step(self) -> None:
        for key, (job, left) in list(self.running.items()):
            self.running[key] = job, left - 1
            if left <= 1:
                del self.running[key]
                self.device.release(job.digest)
                self.done.append(key)


JOBS = st.lists(
    st.tuples(
        st.integers(0, 6),  # adapter, 0 is the base
        st.integers(1, MAX_ROWS),  # beam
        st.integers(1, 2 * MAX_TOKENS),  # source tokens, possibly more than a pass may have
        st.integers(1, 6),  # decoding steps
        st.integers(0, 3),  # rounds since the job before
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(JOBS, st.integers(1, 5))
def test_every_request_runs_exactly_once(jobs: list[tuple[int, ...]], load_rounds: int) -> None:
    world = World({key: job[3] for key, job in enumerate(jobs)}, load_rounds)
    for key, (adapter, beam, tokens, _, pause) in enumerate(jobs):
        for _ in range(pause):
            world.round()
        digest = f"sha256:{adapter}" if adapter else BASE
        world.scheduler.enqueue(job_of(key, digest, beam, tokens))
    for _ in range(60 * len(jobs)):
        if len(world.done) == len(jobs):
            break
        world.round()
    assert sorted(world.done) == list(range(len(jobs)))
    assert not len(world.scheduler)
    assert not world.running
    assert all(pins == 0 for _, _, _, pins in world.device.resident())


class Flood:
    """Requests that arrive without end, two per round, and would fill every row and slot."""

    def __init__(self, world: World, digests: list[str], tenant: str = "") -> None:
        self.world = world
        self.digests = digests
        self.tenant = tenant
        self.keys = iter(range(1000, 100_000))

    def arrive(self) -> None:
        for digest in self.digests:
            key = next(self.keys)
            self.world.steps_of[key] = 5
            job = job_of(key, digest, tenant=self.tenant)
            self.world.scheduler.enqueue(job, due=-1.0 if self.tenant else 0.0)


def rounds_until_done(world: World, flood: Flood, key: int, limit: int = 200) -> int:
    for count in range(limit):
        flood.arrive()
        world.round()
        if key in world.done:
            return count
    pytest.fail(f"request {key} starved for {limit} rounds")


def test_wide_beam_is_not_starved_by_a_flood_of_narrow_ones() -> None:
    world = World({0: 3})
    flood = Flood(world, [BASE] * 4)
    for _ in range(5):
        flood.arrive()
        world.round()
    world.scheduler.enqueue(job_of(0, BASE, beam=MAX_ROWS))
    assert rounds_until_done(world, flood, 0) < 60


def test_third_adapter_is_not_starved_by_two_that_hold_the_slots() -> None:
    world = World({0: 3})
    flood = Flood(world, ["sha256:x", "sha256:y"])
    for _ in range(10):
        flood.arrive()
        world.round()
    assert len(world.device.resident()) == SLOTS
    world.scheduler.enqueue(job_of(0, "sha256:z"))
    assert rounds_until_done(world, flood, 0) < 60


def test_without_aging_the_third_adapter_does_starve() -> None:
    """The seeded bug that the test above must be able to catch."""
    world = World({0: 3})
    world.scheduler.patience = 10**9
    flood = Flood(world, ["sha256:x", "sha256:y"])
    for _ in range(10):
        flood.arrive()
        world.round()
    world.scheduler.enqueue(job_of(0, "sha256:z"))
    with pytest.raises(pytest.fail.Exception, match="starved"):
        rounds_until_done(world, flood, 0)


class Overtakings:
    """Counts, for the oldest request whose adapter is at hand, the turns that went past it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.worst = 0
        self._oldest = -1
        self._count = 0

    def round(self) -> None:
        self.world.load()
        ready = [
            job.key
            for job in self.world.scheduler.jobs()
            if job.digest in self.world.device or self.world.host.is_ready(job.digest)
        ]
        oldest = ready[0] if ready else -1
        if oldest != self._oldest:
            self._oldest, self._count = oldest, 0
        admitted = [admission.job.key for admission in self.world.turn()]
        if admitted and oldest not in admitted:
            self._count += 1
            self.worst = max(self.worst, self._count)


LONGEST = 6


@settings(max_examples=150)
@given(JOBS, st.integers(1, 4), st.integers(0, 6))
def test_the_oldest_is_overtaken_no_more_often_than_the_bound(
    jobs: list[tuple[int, ...]], load_rounds: int, seed: int
) -> None:
    """A flood of two requests a round, over few adapters, beside random jobs."""
    world = World({}, load_rounds)
    watch, flood = Overtakings(world), Flood(world, [f"sha256:{seed % 3}", f"sha256:{seed % 5}"])
    for key, (adapter, beam, tokens, steps, pause) in enumerate(jobs):
        for _ in range(pause):
            flood.arrive()
            watch.round()
        world.steps_of[key] = min(steps, LONGEST)
        world.scheduler.enqueue(job_of(key, f"sha256:{adapter}" if adapter else BASE, beam, tokens))
    for _ in range(100):
        watch.round()
    assert watch.worst <= PATIENCE + LONGEST


def test_without_draining_the_bound_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seeded bug: an aged request waits, and nobody makes room for it."""
    monkeypatch.setattr(SlotTable, "to_drain", lambda *_: frozenset())
    world = World({0: 3})
    watch, flood = Overtakings(world), Flood(world, ["sha256:x", "sha256:y"])
    for count in range(80):
        flood.arrive()
        if count == 10:
            world.scheduler.enqueue(job_of(0, "sha256:z"))
        watch.round()
    assert watch.worst > PATIENCE + LONGEST


def test_draining_one_adapter_lets_the_others_go_on() -> None:
    world = World({0: 3})
    flood = Flood(world, ["sha256:x", "sha256:y"])
    for _ in range(10):
        flood.arrive()
        world.round()
    world.scheduler.enqueue(job_of(0, "sha256:z"))
    joined: set[str] = set()
    while 0 not in world.done:
        flood.arrive()
        free = MAX_ROWS - len(world.running)
        admitted = world.round()
        if world.scheduler.draining:
            joined |= {admission.job.digest for admission in admitted}
            assert len(admitted) == free, "rows stay empty"
    assert joined == {"sha256:y"}, "either would do, but nobody joins the other"


def test_an_adapter_that_is_waited_for_serves_before_it_is_evicted() -> None:
    """Slots x and y are idle; z comes first, but a request for x or y need not be placed twice."""
    world = World(dict.fromkeys(range(10), 1), load_rounds=1)
    for key, digest in enumerate(("sha256:x", "sha256:y")):
        world.scheduler.enqueue(job_of(key, digest))
        world.round()
    world.host.plan([("sha256:z", 20)])
    world.host.loaded("sha256:z", 20)
    limits = BatchLimits(1, MAX_TOKENS)
    world.scheduler = Scheduler(limits, PATIENCE)
    for key, digest in enumerate(("sha256:z", "sha256:x", "sha256:y"), 2):
        world.scheduler.enqueue(job_of(key, digest))
    order = [admission.job.key for _ in range(3) for admission in one_row(world)]
    assert order == [3, 2, 4]  # x first; then z takes the place of x, for which nobody waits


def one_row(world: World) -> list[Admission]:
    admitted = world.scheduler.admit(1, world.device, world.host)
    for admission in admitted:
        world.device.release(admission.job.digest)
    return admitted


def test_a_free_row_is_worth_more_than_an_adapter_that_is_waited_for() -> None:
    """Only a wide beam waits for x and y, and it does not fit yet: z gets its slot."""
    world = World(dict.fromkeys(range(10), 1), load_rounds=1)
    for key, digest in enumerate(("sha256:x", "sha256:y")):
        world.scheduler.enqueue(job_of(key, digest))
        world.round()
    world.host.plan([("sha256:z", 20)])
    world.host.loaded("sha256:z", 20)
    for key, digest in enumerate(("sha256:x", "sha256:y"), 2):
        world.scheduler.enqueue(job_of(key, digest, beam=4))
    world.scheduler.enqueue(job_of(4, "sha256:z"))
    assert [a.job.key for a in world.scheduler.admit(2, world.device, world.host)] == [4]


def test_what_joins_running_rows_is_bounded_by_the_allowance() -> None:
    world = World({})
    for key in range(6):
        world.scheduler.enqueue(job_of(key, tokens=4))
    admitted = world.scheduler.admit(8, world.device, world.host, Allowance(10, 100))
    assert len(admitted) == 2
    assert len(world.scheduler.admit(8, world.device, world.host, Allowance(1, 100))) == 1
    assert len(world.scheduler.admit(8, world.device, world.host)) == 3


def test_placing_and_encoding_share_one_allowance() -> None:
    world = World({})
    for number in range(2):
        world.host.plan([(f"sha256:{number}", 20)])
        world.host.loaded(f"sha256:{number}", 20)
        world.scheduler.enqueue(job_of(number, f"sha256:{number}"))
    tight = Allowance(tokens=8, nbytes=30)  # 4/8 + 20/30 is more than 1, but the first may join
    assert [a.job.key for a in world.scheduler.admit(8, world.device, world.host, tight)] == [0]
    wide = Allowance(tokens=8, nbytes=40)
    world.scheduler.enqueue(job_of(2))
    assert [a.job.key for a in world.scheduler.admit(8, world.device, world.host, wide)] == [1]
    assert len(world.scheduler) == 1


def test_requests_overtake_one_whose_adapter_is_still_loading() -> None:
    world = World({0: 1, 1: 1}, load_rounds=10)
    world.scheduler.enqueue(job_of(0, "sha256:slow"))
    world.scheduler.enqueue(job_of(1, BASE))
    for _ in range(20):
        world.round()
    assert world.done == [1, 0]


TENANTS = ("", "a", "b")
MANY_JOBS = st.lists(
    st.tuples(
        st.integers(0, 4),  # adapter, 0 is the base
        st.integers(1, MAX_ROWS),  # beam
        st.integers(1, LONGEST),  # decoding steps
        st.integers(0, 3),  # rounds since the job before
        st.sampled_from(TENANTS),
        st.sampled_from((Priority.INTERACTIVE, Priority.BATCH)),
        st.floats(0, 100),  # when it is due
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(MANY_JOBS, st.integers(1, 4), st.integers(0, 6))
def test_the_bound_holds_between_tenants_priorities_and_deadlines(
    jobs: list[tuple[int, int, int, int, str, Priority, float]], load_rounds: int, seed: int
) -> None:
    """As above; the flood is of a tenant of its own, interactive and always due first."""
    world = World({}, load_rounds)
    watch = Overtakings(world)
    flood = Flood(world, [f"sha256:{seed % 3}", f"sha256:{seed % 5}"], tenant="flood")
    for key, (adapter, beam, steps, pause, tenant, priority, due) in enumerate(jobs):
        for _ in range(pause):
            flood.arrive()
            watch.round()
        world.steps_of[key] = steps
        digest = f"sha256:{adapter}" if adapter else BASE
        job = job_of(key, digest, beam, tenant=tenant, priority=priority)
        world.scheduler.enqueue(job, due=due, steps=float(steps))
    for _ in range(150):
        watch.round()
    assert watch.worst <= PATIENCE + LONGEST
    assert not len(world.scheduler) or len(world.done) > len(jobs)


def drain_order(world: World, rows: int = 1) -> list[int]:
    """Admit `rows` at a time, each for one step, and return the keys in order."""
    order: list[int] = []
    while len(world.scheduler):
        admitted = world.scheduler.admit(rows, world.device, world.host)
        assert admitted
        order += [admission.job.key for admission in admitted]
        for admission in admitted:
            world.device.release(admission.job.digest)
    return order


def without_aging() -> World:
    world = World({})
    world.scheduler.patience = 10**9
    return world


def test_who_is_due_first_goes_first() -> None:
    world = without_aging()
    for key, due in enumerate((9.0, 3.0, 7.0, 3.0)):
        world.scheduler.enqueue(job_of(key), due=due)
    assert drain_order(world) == [1, 3, 2, 0]


def test_interactive_goes_before_batch_and_batch_is_not_starved() -> None:
    world = World({})
    for key in range(60):
        priority = Priority.BATCH if key < 2 else Priority.INTERACTIVE
        world.scheduler.enqueue(job_of(key, priority=priority))
    order = drain_order(world)
    assert order[:PATIENCE] == list(range(2, 2 + PATIENCE))
    assert order.index(0) == PATIENCE
    assert order.index(1) <= 2 * PATIENCE + 1
    calm = without_aging()
    for key in range(60):
        priority = Priority.BATCH if key < 2 else Priority.INTERACTIVE
        calm.scheduler.enqueue(job_of(key, priority=priority))
    assert drain_order(calm)[-2:] == [0, 1]


def test_background_requests_go_behind_all_others_and_never_age() -> None:
    world = World({})
    world.scheduler.enqueue(job_of(0, priority=Priority.BACKGROUND))
    for key in range(1, 60):
        priority = Priority.BATCH if key % 2 else Priority.INTERACTIVE
        world.scheduler.enqueue(job_of(key, priority=priority))
    assert drain_order(world)[-1] == 0


def test_background_requests_make_nobody_go_and_are_nobodys() -> None:
    world = World({})
    for digest in ("sha256:1", "sha256:2"):  # both slots, each with somebody who waits for it
        world.scheduler.enqueue(job_of(int(digest[-1]), digest))
    before = world.scheduler.share.served("golden")
    assert set(world.scheduler.wanted()) == {"sha256:1", "sha256:2"}
    background = job_of(9, "sha256:9", tenant="golden", priority=Priority.BACKGROUND)
    world.scheduler.enqueue(background)
    assert set(world.scheduler.wanted()) == {"sha256:1", "sha256:2"}
    assert "sha256:9" in world.scheduler.absent(world.device)  # it is loaded all the same
    assert world.scheduler.remove(9) == background
    assert world.scheduler.share.served("golden") == before


def test_a_flood_of_one_tenant_does_not_hold_up_another() -> None:
    """100 requests wait of one; each of the other's ten is served within a few turns."""
    world = World({})
    for key in range(100):
        world.scheduler.enqueue(job_of(key, tenant="flood"), steps=10)
    waits = []
    for key in range(1000, 1010):
        world.scheduler.enqueue(job_of(key, tenant="small"), steps=10)
        turns = 0
        while True:
            turns += 1
            (admitted,) = world.scheduler.admit(1, world.device, world.host)
            world.device.release(admitted.job.digest)
            if admitted.job.key == key:
                break
        waits.append(turns)
    assert max(waits) <= 3


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 4)), min_size=20, max_size=60))
def test_backlogged_tenants_are_served_alike(sizes: list[tuple[int, int]]) -> None:
    """The gap stays within the bound of the paper: twice the dearest request, whoever asks what."""
    world = without_aging()
    served = dict.fromkeys("ab", 0.0)
    costs: dict[int, float] = {}
    for key, (tokens, steps) in enumerate([*sizes, *sizes]):
        tenant = "a" if key < len(sizes) else "b"
        job = job_of(key, tokens=tokens if tenant == "a" else 31 - tokens, tenant=tenant)
        costs[key] = cost_of(job, steps)
        world.scheduler.enqueue(job, steps=steps)
    waiting = {tenant: len(sizes) for tenant in served}
    while all(waiting.values()):
        (admitted,) = world.scheduler.admit(1, world.device, world.host)
        world.device.release(admitted.job.digest)
        served[admitted.job.tenant] += costs[admitted.job.key]
        waiting[admitted.job.tenant] -= 1
        assert abs(served["a"] - served["b"]) <= 2 * max(costs.values())


def test_who_causes_a_swap_pays_for_it() -> None:
    """Both have as much to do; the one that brings adapters in is served less."""
    world = without_aging()
    world.scheduler.tokens_per_byte = 1.0
    for key in range(2):
        digest = f"sha256:{key}"
        world.host.plan([(digest, 20)])
        world.host.loaded(digest, 20)
        world.scheduler.enqueue(job_of(key, digest, tenant="swaps"))
    for key in range(100, 112):
        world.scheduler.enqueue(job_of(key, tenant="base"))
    order = drain_order(world)
    assert order[:2] in ([0, 100], [100, 0])
    between = order.index(1) - order.index(0)
    assert between > 4  # 20 bytes cost 20 tokens, as five requests of the other


def test_being_away_earns_no_credit() -> None:
    share = FairShare()
    share.arrive("busy")
    share.charge("busy", 1000)
    share.arrive("back")
    assert share.served("back") == share.served("busy") == 1000
    share.leave("busy")
    share.leave("back")
    share.charge("back", 50)
    share.arrive("new")
    assert share.served("new") >= 1000


def test_counters_of_tenants_that_left_are_forgotten() -> None:
    share = FairShare()
    for number in range(5 * MAX_IDLE):
        share.arrive(f"tenant-{number}")
        share.charge(f"tenant-{number}", 1)
        share.leave(f"tenant-{number}")
    assert len(share._served) <= MAX_IDLE + 1


def test_the_tenant_that_makes_counters_too_many_keeps_its_own() -> None:
    share = FairShare()
    for number in range(MAX_IDLE):
        share.arrive(f"tenant-{number}")
        share.leave(f"tenant-{number}")
    share.arrive("one")  # now they are forgotten
    share.charge("one", 7)
    share.arrive("other")  # is compared with those that wait
    assert share.served("other") == share.served("one") == 7


def test_what_can_no_longer_be_done_in_time_is_named() -> None:
    world = World({})
    world.scheduler.enqueue(job_of(0, deadline=1.0), steps=20)
    world.scheduler.enqueue(job_of(1, deadline=3.0), steps=20)
    world.scheduler.enqueue(job_of(2), steps=20)
    assert world.scheduler.late(0.0, 0.01) == []
    assert world.scheduler.late(0.0, 0.1) == [0]  # 15 of 20 steps take 1.5 s
    assert world.scheduler.late(2.0, 0.1) == [0, 1]
