"""The worker against a fake engine: every accepted request ends in exactly one reply."""

from __future__ import annotations

import itertools
import random
import threading
from dataclasses import replace
from typing import Any

import pytest

from hub.errors import (
    CorruptBlobError,
    DeadlineError,
    DecodingError,
    DrainingError,
    EngineError,
    IncompatibleAdapterError,
    NonFiniteRowError,
    QueueFullError,
    RequestCancelledError,
)

A, B, C = "sha256:a", "sha256:b", "sha256:c"
POISON_ROW, POISON_STEP, POISON_ADMIT, POISON_REFUSED = 666, 667, 668, 669
WAIT = 10.0


class Gate:
    """Holds the engine before its next step until the test lets it go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.open.wait(WAIT)


def tokens(outcome: Any) -> tuple[int, ...]:
    assert outcome.error is None, outcome.error
    result: tuple[int, ...] = outcome.candidates[0].token_ids
    return result


def test_each_row_runs_with_its_own_adapter(bench: Any, job: Any) -> None:
    bench.submit(job(1, 5, 6), job(2, 5, 6, digest=A), job(3, 5, 6, digest=B))
    outcomes = bench.collect(3)
    assert tokens(outcomes[1]) == (6, 5, 0)
    assert tokens(outcomes[2]) == (6, 5, ord("a"))
    assert tokens(outcomes[3]) == (6, 5, ord("b"))


@pytest.mark.parametrize("left", ["finished", "withdrawn"])
def test_a_worker_with_nothing_to_do_sleeps(build: Any, job: Any, left: str) -> None:
    bench = build()  # not started: the test takes its turns
    bench.submit(job(1, 5, 6))
    if left == "withdrawn":
        bench.worker._turn()
        bench.worker.withdraw([1])
    while bench.delivered.empty():
        bench.worker._turn()
    bench.worker.inspect()  # something to wake up for
    bench.worker._turn()
    busy = bench.worker._batch.busy
    bench.worker.start()  # the fixture stops it
    assert not busy


def test_more_adapters_than_slots_are_swapped(bench: Any, job: Any) -> None:
    digests = [f"sha256:{letter}" for letter in "abcdefgh"]
    bench.submit(*(job(key, 7, digest=digest) for key, digest in enumerate(digests, 1)))
    outcomes = bench.collect(8)
    assert [tokens(outcomes[key])[-1] for key in range(1, 9)] == [ord(d[-1]) for d in digests]
    assert bench.value("hub_adapter_cache_evictions_total", tier="device") >= 6
    assert bench.value("hub_adapter_cache_misses_total", tier="device") == 8
    assert bench.value("hub_adapters_resident", tier="device") == 2


def test_second_request_hits_the_slot(bench: Any, job: Any) -> None:
    bench.submit(job(1, digest=A))
    bench.collect(1)
    bench.submit(job(2, digest=A))
    bench.collect(1)
    assert bench.value("hub_adapter_cache_hits_total", tier="device") == 1
    assert bench.value("hub_adapter_cache_misses_total", tier="device") == 1
    assert bench.value("hub_adapter_cache_misses_total", tier="host") == 1


def test_timings_name_the_fullest_step(build: Any, job: Any) -> None:
    bench = build()
    bench.submit(job(1, *range(60), beam=3), job(2, *range(5), digest=A), job(3, *range(60)))
    bench.worker.start()
    outcomes = bench.collect(3)
    assert outcomes[1].timings.batch_rows == 5
    assert outcomes[3].timings.batch_distinct_adapters == 1
    assert outcomes[1].timings.encode_seconds == 0.1
    assert outcomes[1].timings.decode_seconds == 0.2


def test_one_load_serves_all_who_wait_for_it(bench: Any, job: Any) -> None:
    bench.loader.automatic = False
    bench.submit(job(1, digest=A), job(2, digest=A))
    assert bench.loader.started.get(timeout=WAIT) == A
    bench.submit(job(3, digest=A), job(4))
    assert bench.next().key == 4  # nobody else waits for the load
    bench.loader.finish(A)
    assert set(bench.collect(3)) == {1, 2, 3}
    assert bench.loader.started.empty()


def test_a_failed_load_fails_its_own_requests_only(bench: Any, job: Any) -> None:
    bench.loader.automatic = False
    bench.submit(job(1, digest=A), job(2, digest=B), job(3))
    assert {bench.loader.started.get(timeout=WAIT) for _ in "12"} == {A, B}
    bench.loader.finish(A, error=CorruptBlobError("bytes differ"))
    bench.loader.finish(B)
    outcomes = bench.collect(3)
    assert isinstance(outcomes[1].error, CorruptBlobError)
    assert tokens(outcomes[2])[-1] == ord("b")
    assert outcomes[3].error is None
    bench.submit(job(4, digest=A))  # the next request tries again
    assert bench.loader.started.get(timeout=WAIT) == A
    bench.loader.finish(A)
    assert tokens(bench.next())[-1] == ord("a")


def test_an_adapter_larger_than_the_device_budget_is_refused(build: Any, job: Any) -> None:
    bench = build(device_bytes=50)
    bench.loader.automatic = False
    bench.worker.start()
    bench.submit(job(1, digest=A))
    bench.loader.started.get(timeout=WAIT)
    bench.loader.finish(A, nbytes=51)
    error = bench.next().error
    assert isinstance(error, IncompatibleAdapterError)
    assert "51" in error.message
    assert "50" in error.message
    assert "HUB_DEVICE" in error.message


def test_a_failed_placement_fails_its_own_requests_only(bench: Any, job: Any) -> None:
    bench.engine.place_error = RuntimeError("secret of the device")
    bench.submit(job(1, digest=A), job(2, digest=A), job(3))
    outcomes = bench.collect(3)
    assert isinstance(outcomes[1].error, EngineError)
    assert "secret" not in outcomes[1].error.message
    assert isinstance(outcomes[2].error, EngineError)
    assert outcomes[3].error is None
    bench.engine.place_error = None
    bench.submit(job(4, digest=A))
    assert tokens(bench.next())[-1] == ord("a")


def test_a_poisoned_row_fails_alone(bench: Any, job: Any) -> None:
    bench.submit(job(1, 1, 2, 3), job(2, POISON_ROW, 2, 3), job(3, 4, 5, 6))
    outcomes = bench.collect(3)
    assert isinstance(outcomes[2].error, NonFiniteRowError)
    assert tokens(outcomes[1])[:3] == (3, 2, 1)
    assert tokens(outcomes[3])[:3] == (6, 5, 4)


@pytest.mark.parametrize("poison", [POISON_STEP, POISON_ADMIT])
def test_an_exception_in_a_step_fails_the_culprit_only(
    bench: Any, job: Any, poison: int, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [job(key, key, 2, 3, digest=(A, B, "")[key % 3]) for key in range(1, 8)]
    bench.submit(*jobs, job(8, poison, 2, 3))
    outcomes = bench.collect(8)
    error = outcomes.pop(8).error
    assert isinstance(error, EngineError)
    assert "secret" not in error.message
    assert "secret" in caplog.text  # but the log has it
    for key, outcome in outcomes.items():
        mark = {0: ord("a"), 1: ord("b"), 2: 0}[key % 3]
        assert tokens(outcome) == (3, 2, key, mark)
    bench.submit(job(9))  # and the worker goes on
    assert bench.next().error is None


def test_a_refused_request_does_not_disturb_its_neighbours(bench: Any, job: Any) -> None:
    """Two run; then two join, of which the engine refuses one, and one that it refuses alone."""
    gate = Gate()
    bench.engine.gate = gate
    bench.submit(job(1, *range(20)), job(2, *range(20), digest=A))
    assert gate.reached.wait(WAIT)
    bench.submit(job(3, POISON_REFUSED, digest=B), job(4, 5, 6, digest=B))
    gate.open.set()
    bench.submit(job(5, POISON_REFUSED))
    outcomes = bench.collect(5)
    for key in (3, 5):
        error = outcomes[key].error
        assert isinstance(error, DecodingError)
        assert f"request {key} " in error.message
    assert tokens(outcomes[1]) == (*reversed(range(20)), 0)
    assert tokens(outcomes[2]) == (*reversed(range(20)), ord("a"))
    assert tokens(outcomes[4]) == (6, 5, ord("b"))
    assert sorted(bench.engine.admitted) == [1, 2, 4], "nobody was run again"
    assert bench.engine.cancelled == []
    loaded = bench.worker.inspect().result(WAIT)
    assert [adapter.running for adapter in loaded] == [0, 0]


def test_a_cancelled_request_frees_its_rows_before_the_next_step(bench: Any, job: Any) -> None:
    gate = Gate()
    bench.engine.gate = gate
    bench.submit(job(1, *range(50), beam=8))  # all rows, for long
    bench.submit(job(2, 5))
    assert gate.reached.wait(WAIT)
    bench.worker.withdraw([1])
    gate.open.set()
    outcomes = bench.collect(2)
    assert isinstance(outcomes[1].error, RequestCancelledError)
    assert tokens(outcomes[2]) == (5, 0)
    assert bench.engine.cancelled == [1]
    assert bench.engine.steps <= 3


def test_withdrawing_what_waits_or_is_done_is_harmless(bench: Any, job: Any) -> None:
    bench.loader.automatic = False
    bench.submit(job(1, digest=A))
    bench.loader.started.get(timeout=WAIT)
    bench.worker.withdraw([1, 1, 99])
    assert isinstance(bench.next().error, RequestCancelledError)
    bench.worker.withdraw([1])
    bench.loader.finish(A)
    bench.submit(job(2))
    assert bench.next().key == 2


def test_a_request_that_expired_in_the_queue_never_runs(build: Any, job: Any) -> None:
    bench = build()
    bench.submit(job(1, deadline=5.0), job(2, deadline=20.0))
    bench.now[0] = 10.0
    bench.worker.start()
    outcomes = bench.collect(2)
    assert isinstance(outcomes[1].error, DeadlineError)
    assert outcomes[2].error is None
    assert outcomes[2].timings.queue_seconds == 10.0


def test_a_running_request_whose_deadline_passes_frees_its_rows(bench: Any, job: Any) -> None:
    gate = Gate()
    bench.engine.gate = gate
    bench.submit(job(1, *range(50), beam=8, deadline=5.0))  # all rows, for long
    bench.submit(job(2, 5, deadline=20.0))
    assert gate.reached.wait(WAIT)
    bench.now[0] = 10.0
    gate.open.set()
    outcomes = bench.collect(2)
    assert isinstance(outcomes[1].error, DeadlineError)
    assert tokens(outcomes[2]) == (5, 0)
    assert bench.engine.cancelled == [1]
    assert bench.engine.steps <= 3


def test_a_deadline_is_kept_while_nothing_runs(build: Any, job: Any) -> None:
    """Its adapter never arrives, and no message wakes the worker."""
    bench = build()
    bench.loader.automatic = False
    bench.worker.start()
    bench.worker._clock = itertools.count().__next__  # every look is a second later
    bench.submit(job(1, digest=A, deadline=1.0))
    assert isinstance(bench.next().error, DeadlineError)


def test_what_joins_a_running_batch_is_bounded_by_one_steps_time(build: Any, job: Any) -> None:
    """The engine says that encoding takes three steps' time for 64 tokens."""
    bench = build(encode_tokens=1000)
    gate = Gate()
    bench.engine.gate, bench.engine.seconds_per_token = gate, 3 / 64
    bench.worker.start()
    bench.submit(job(1, *range(40)))
    assert gate.reached.wait(WAIT)
    bench.submit(*(job(key, *range(key, key + 40)) for key in range(2, 6)))
    gate.open.set()
    bench.collect(5)
    assert bench.engine.joined == [1, 1, 1, 1, 1]  # 80 tokens are more than 64
    bench.submit(*(job(key, *range(40)) for key in range(6, 8)))
    bench.collect(2)
    assert bench.engine.joined[-1] == 2  # nobody was running


def test_files_larger_than_the_memory_may_hold_a_smaller_adapter(build: Any, job: Any) -> None:
    bench = build(device_bytes=50, host_bytes=50)
    bench.worker.start()
    bench.submit(replace(job(1, digest=A), adapter_bytes=150))
    assert tokens(bench.next())[-1] == ord("a")
    bench.submit(replace(job(2, digest=B), adapter_bytes=500))
    assert isinstance(bench.next().error, IncompatibleAdapterError)
    assert bench.loader.started.get(timeout=WAIT) == A
    assert bench.loader.started.empty()


def test_the_queue_is_bounded_and_all_or_nothing(build: Any, job: Any) -> None:
    bench = build(queue_limit=3)
    bench.submit(job(1), job(2))
    with pytest.raises(QueueFullError, match=r"2 texts wait .* 2 more .* limit of 3"):
        bench.submit(job(3), job(4))
    bench.submit(job(5))
    bench.worker.start()
    assert set(bench.collect(3)) == {1, 2, 5}
    bench.submit(job(6), job(7), job(8))
    assert set(bench.collect(3)) == {6, 7, 8}


def test_stopping_replies_to_everyone(build: Any, job: Any) -> None:
    bench = build()
    gate = Gate()
    bench.engine.gate = gate
    bench.loader.automatic = False
    bench.worker.start()
    bench.submit(job(1, *range(50)), job(2, digest=A))
    assert gate.reached.wait(WAIT)
    stopper = threading.Thread(target=bench.worker.stop)
    stopper.start()
    gate.open.set()
    stopper.join(WAIT)
    outcomes = bench.collect(2)
    assert all(isinstance(outcome.error, DrainingError) for outcome in outcomes.values())
    with pytest.raises(DrainingError):
        bench.submit(job(3))


def test_an_engine_beyond_repair_fails_everyone_and_says_so(
    build: Any, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = build()
    broken = threading.Event()
    monkeypatch.setattr(bench.worker, "_on_broken", broken.set)

    def cancel(keys: object) -> None:
        raise RuntimeError("cannot cancel")

    monkeypatch.setattr(bench.engine, "cancel", cancel)
    bench.submit(job(1, POISON_STEP), job(2))
    bench.worker.check()
    bench.worker.start()
    outcomes = bench.collect(2)
    assert broken.wait(WAIT)
    assert all(isinstance(outcome.error, EngineError) for outcome in outcomes.values())
    with pytest.raises(EngineError):
        bench.submit(job(3))
    with pytest.raises(EngineError):
        bench.worker.check()


def test_inspection_shows_slots_and_host(bench: Any, job: Any) -> None:
    bench.submit(job(1, digest=A))
    bench.submit(job(2, digest=B))
    bench.submit(job(3, digest=C))
    bench.collect(3)
    loaded = bench.worker.inspect().result(WAIT)
    assert {adapter.digest for adapter in loaded} == {A, B, C}
    assert sorted(adapter.slot for adapter in loaded) == [0, 1, 2]
    assert all(adapter.running == 0 for adapter in loaded)


@pytest.mark.parametrize("seed", range(8))
def test_random_traffic_ends_in_one_reply_each(build: Any, job: Any, seed: int) -> None:
    """Mixed adapters, beams, poison and withdrawals; every row shows its own adapter's mark."""
    chance = random.Random(seed)
    bench = build(slots=2, device_bytes=30, host_bytes=40, queue_limit=1000)
    bench.worker.start()
    jobs = {}
    for key in range(1, 201):
        digest = chance.choice(["", *(f"sha256:{letter}" for letter in "abcdef")])
        source = [chance.randrange(100) for _ in range(chance.randrange(1, 12))]
        if chance.random() < 0.03:
            source[0] = chance.choice([POISON_ROW, POISON_STEP, POISON_ADMIT, POISON_REFUSED])
        jobs[key] = job(key, *source, digest=digest, beam=chance.choice([1, 1, 1, 4, 8]))
    withdrawn = {key for key in jobs if chance.random() < 0.1}
    for key, one in jobs.items():
        bench.submit(one)
        if key in withdrawn:
            bench.worker.withdraw([key])
    outcomes = bench.collect(len(jobs))
    assert bench.delivered.empty()
    for key, outcome in outcomes.items():
        poisoned = jobs[key].source_ids[0] >= POISON_ROW
        if outcome.error is None:
            mark = ord(jobs[key].digest[-1]) if jobs[key].digest else 0
            assert tokens(outcome) == (*reversed(jobs[key].source_ids), mark)
            assert not poisoned
        else:
            assert poisoned or key in withdrawn, outcome.error
    loaded = bench.worker.inspect().result(WAIT)
    assert all(adapter.running == 0 for adapter in loaded)
    assert bench.engine.running == {}
