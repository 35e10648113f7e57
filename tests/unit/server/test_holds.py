"""Loading, pinning and unloading at an operator's word, beside requests that run."""

from __future__ import annotations

from typing import Any

import pytest

from hub.errors import (
    CorruptBlobError,
    DrainingError,
    IncompatibleAdapterError,
    PinLimitError,
    RequestCancelledError,
)

A, B, C, D, E = (f"sha256:{letter}" for letter in "abcde")
WAIT = 10.0


def loaded(bench: Any) -> dict[str, Any]:
    return {one.digest: one for one in bench.worker.inspect().result(WAIT)}


def test_an_adapter_is_loaded_before_anybody_asks(bench: Any, job: Any) -> None:
    found = bench.worker.load(A, 10).result(WAIT)
    assert (found.digest, found.slot, found.size_bytes, found.pinned) == (A, 0, 10, False)
    assert loaded(bench).keys() == {A}
    bench.submit(job(1, digest=A))
    assert bench.next().error is None
    assert bench.loader.started.qsize() == 1  # the request did not load it again
    assert bench.worker.load(A, 10).result(WAIT).slot == 1


def test_a_pinned_adapter_outlives_all_others(bench: Any, job: Any) -> None:
    assert bench.worker.load(A, 10, pin=True).result(WAIT).pinned
    digests = [f"sha256:{letter}" for letter in "bcdefghijklmnop"]  # 15 of 10 bytes in 100
    for key, digest in enumerate(digests, 1):
        bench.submit(job(key, digest=digest))
        assert bench.next().error is None
    held = loaded(bench)
    assert held[A].pinned
    assert len(held) < len(digests)
    assert bench.worker.unload(A).result(WAIT)
    for key, digest in enumerate(digests, 100):
        bench.submit(job(key, digest=digest))
        assert bench.next().error is None
    assert A not in loaded(bench)


def test_pins_take_at_most_half_of_the_memory(bench: Any) -> None:
    for digest in (A, B, C, D, E):  # 5 of 10 bytes: half of 100
        assert bench.worker.load(digest, 10, pin=True).result(WAIT).pinned
    assert bench.worker.load(A, 10, pin=True).result(WAIT).pinned  # again: no more bytes
    with pytest.raises(PinLimitError, match="takes 10 bytes and 50 are pinned; at most 50") as told:
        bench.worker.load("sha256:f", 10, pin=True).result(WAIT)
    assert "unload" in told.value.message
    assert not loaded(bench)["sha256:f"].pinned
    bench.worker.unload(B).result(WAIT)
    assert bench.worker.load("sha256:f", 10, pin=True).result(WAIT).pinned


def test_what_does_not_fit_beside_the_pinned_is_refused_and_does_not_wait(
    bench: Any, job: Any
) -> None:
    bench.loader.automatic = False
    answer = bench.worker.load(A, 50, pin=True)
    bench.loader.started.get(timeout=WAIT)
    bench.loader.finish(A, nbytes=50)
    assert answer.result(WAIT).pinned
    bench.submit(job(1, digest=B))
    bench.loader.started.get(timeout=WAIT)
    bench.loader.finish(B, nbytes=60)
    error = bench.next().error
    assert isinstance(error, IncompatibleAdapterError)
    assert "50 are left of host_adapter_bytes beside 50 of pinned" in error.message


def test_unloading_waits_for_what_runs(bench: Any, job: Any) -> None:
    import threading

    reached, go_on = threading.Event(), threading.Event()

    def gate() -> None:
        reached.set()
        assert go_on.wait(WAIT)

    bench.engine.gate = gate
    bench.submit(job(1, 5, 6, digest=A))
    assert reached.wait(WAIT)
    answer = bench.worker.unload(A)
    go_on.set()
    outcome = bench.next()
    assert outcome.candidates[0].token_ids == (6, 5, ord("a"))
    assert answer.result(WAIT)
    assert loaded(bench) == {}
    assert bench.engine.slots == {}
    assert not bench.worker.unload(A).result(WAIT)
    bench.submit(job(2, digest=A))  # the next one loads it again
    assert bench.next().error is None
    assert bench.loader.started.qsize() == 2


def test_a_failed_load_is_told_to_those_who_asked(bench: Any) -> None:
    bench.loader.automatic = False
    first, second = bench.worker.load(A, 10), bench.worker.load(A, 10, pin=True)
    bench.loader.started.get(timeout=WAIT)
    bench.loader.finish(A, error=CorruptBlobError("bytes differ"))
    for answer in (first, second):
        with pytest.raises(CorruptBlobError):
            answer.result(WAIT)
    assert loaded(bench) == {}


def test_unloading_what_is_being_loaded_withdraws_the_pin(bench: Any) -> None:
    bench.loader.automatic = False
    answer = bench.worker.load(A, 10, pin=True)
    bench.loader.started.get(timeout=WAIT)
    assert not bench.worker.unload(A).result(WAIT)
    with pytest.raises(RequestCancelledError):
        answer.result(WAIT)
    bench.loader.finish(A)
    assert not loaded(bench)[A].pinned


def test_a_caller_that_goes_away_neither_pins_nor_harms_the_engine(bench: Any, job: Any) -> None:
    bench.loader.automatic = False
    answer = bench.worker.load(A, 10, pin=True)
    bench.loader.started.get(timeout=WAIT)
    assert answer.cancel()
    bench.worker.inspect().cancel()
    bench.worker.unload(B).cancel()
    bench.loader.finish(A)
    assert not loaded(bench)[A].pinned
    bench.loader.automatic = True
    bench.submit(job(1, digest=B))
    assert bench.next().error is None


def test_a_stopping_worker_answers_everybody(build: Any) -> None:
    bench = build()
    bench.loader.automatic = False
    bench.worker.start()
    waiting = bench.worker.load(A, 10)
    bench.loader.started.get(timeout=WAIT)
    bench.worker.stop()
    with pytest.raises(DrainingError):
        waiting.result(WAIT)
    with pytest.raises(DrainingError):
        bench.worker.load(B, 10)
    with pytest.raises(DrainingError):
        bench.worker.unload(B)
