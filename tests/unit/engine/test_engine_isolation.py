"""A row never feels its neighbours: who is beside it changes nothing."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hub.engine import cache, deltas, int8, model, native
from hub.engine import engine as engine_room
from hub.engine.adapters import HostAdapter
from hub.engine.engine import Engine
from hub.engine.requests import DecodeRequest, DecodingOptions, Finished
from hub.engine.vectors import VectorGroup
from hub.errors import NonFiniteRowError

GREEDY = DecodingOptions(max_new_tokens=12)
BEAM = DecodingOptions(beam_size=4, max_new_tokens=9, num_hypotheses=4)
RULED = DecodingOptions(max_new_tokens=12, no_repeat_ngram_size=2, repetition_penalty=1.3)
POISONED_SLOT = 31
CHANGED = "company changed a row"


def pool_of(lab: Any, zoo: Any) -> list[DecodeRequest]:
    """Requests of every slot, greedy and beam, with and without rules, short and long."""
    greedy = lab.requests(24, seed=31, options=GREEDY, slots=zoo.slots)
    beams = lab.requests(20, seed=32, options=BEAM, slots=zoo.slots[::-1])
    ruled = lab.requests(4, seed=33, options=RULED, slots=zoo.slots)
    return greedy + beams + ruled


def poisoned(adapter: HostAdapter) -> HostAdapter:
    """An adapter whose rows turn NaN, past the reader that would refuse it."""
    parts = tuple(
        replace(part, up=torch.full_like(part.up, float("nan")))
        if part.rank_scale is None
        else replace(part, rank_scale=torch.full_like(part.rank_scale, float("nan")))
        for part in adapter.parts
    )
    return replace(adapter, parts=parts)


def run_composition(
    engine: Engine,
    pool: Sequence[DecodeRequest],
    seed: int,
    longest: int = 40,
    hostile_too: bool = True,
) -> list[tuple[int, Finished]]:
    """Run a random company, admitted in waves; return `(index in the pool, result)`.

    Some requests are cancelled on the way and some run on the poisoned slot; neither kind is
    returned, but all of them shared steps with those that are.
    """
    chance = random.Random(seed)
    poison = [POISONED_SLOT] if hostile_too else []
    chosen = [chance.randrange(len(pool)) for _ in range(chance.randint(1, longest))]
    waiting = [
        replace(pool[index], key=key, slot=chance.choice([pool[index].slot] * 5 + poison))
        for key, index in enumerate(chosen)
    ]
    doomed = {request.key for request in waiting if chance.random() < 0.15}
    hostile = {request.key for request in waiting if request.slot == POISONED_SLOT}
    results: list[tuple[int, Finished]] = []
    while waiting or engine.running:
        wave: list[DecodeRequest] = []
        room = engine.max_rows - engine.running
        while waiting and waiting[0].options.beam_size <= room and chance.random() < 0.8:
            wave.append(waiting.pop(0))
            room -= wave[-1].options.beam_size
        engine.admit(wave)
        for finished in engine.step(chance.choice([0.0, math.inf])).finished:
            if finished.key in hostile:
                assert isinstance(finished.error, NonFiniteRowError)
            elif finished.key not in doomed:
                results.append((chosen[finished.key], finished))
        engine.cancel([key for key in doomed if chance.random() < 0.3])
    return results


def assert_compositions_hold(
    engine: Engine,
    pool: Sequence[DecodeRequest],
    seeds: Sequence[int],
    *,
    exact: bool,
    hostile: bool = True,
) -> None:
    alone = [engine.translate([request])[0] for request in pool]
    compared = 0
    for seed in seeds:
        for index, finished in run_composition(engine, pool, seed, hostile_too=hostile):
            compared += 1
            assert finished.error is None
            for own, expected in zip(finished.hypotheses, alone[index].hypotheses, strict=True):
                near = own.score == pytest.approx(expected.score, abs=1e-5)
                same = own == expected if exact else near and own.token_ids == expected.token_ids
                assert same, f"{CHANGED}: {own} is not {expected}"
    assert compared > 2 * len(seeds)


def zoo_engine(lab: Any, zoo: Any, quantization: str) -> Engine:
    engine: Engine = zoo.engine(lab, quantization, max_rows=64)
    engine.place(POISONED_SLOT, poisoned(engine.read_adapter(zoo.folders[0])))
    return engine


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_any_company_leaves_results_alone(lab: Any, zoo: Any, quantization: str) -> None:
    engine = zoo_engine(lab, zoo, quantization)
    assert_compositions_hold(engine, pool_of(lab, zoo), range(6), exact=quantization == "int8")


@pytest.fixture
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("quantization", ["float32", "bfloat16", "int8"])
def test_threads_let_nobody_feel_the_company(lab: Any, zoo: Any, quantization: str) -> None:
    engine = zoo.engine(lab, quantization)
    requests = lab.forced(20, seed=43, slots=zoo.slots, longest=30)
    alone = [engine.forced_logits([request])[0] for request in requests]
    for own, expected in zip(engine.forced_logits(requests), alone, strict=True):
        assert torch.equal(own, expected)


def test_int8_without_compiled_kernels_keeps_rows_apart_too(
    lab: Any, zoo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    portable = int8.Int8Precision(compiled=False, arena=None)
    monkeypatch.setattr(engine_room, "find_precision", lambda *_: portable)
    engine = zoo_engine(lab, zoo, "int8")
    assert_compositions_hold(engine, pool_of(lab, zoo), range(3), exact=True)
    compiled = engine.forced_logits(lab.forced(6, seed=3, slots=zoo.slots))
    monkeypatch.undo()
    for own, other in zip(
        compiled,
        zoo_engine(lab, zoo, "int8").forced_logits(lab.forced(6, seed=3, slots=zoo.slots)),
        strict=True,
    ):
        assert (own - other).norm() < 0.15 * other.norm()


@pytest.mark.skipif(not native.available(), reason="built without a C compiler")
def test_instruction_sets_change_no_bit(lab: Any, zoo: Any) -> None:
    engine = zoo_engine(lab, zoo, "int8")
    pool = [replace(request, key=key) for key, request in enumerate(pool_of(lab, zoo))]
    forced = lab.forced(8, seed=47, slots=zoo.slots, longest=30)
    found = {}
    for name in native.variants():
        with native.using(name):
            logits = engine.forced_logits(forced)
            found[name] = ([one.hypotheses for one in engine.translate(pool)], logits)
    texts, expected = found.pop("plain")
    assert len({str(text) for text in texts}) > len(pool) / 2
    for name, (others, logits) in found.items():
        assert others == texts, name
        assert all(torch.equal(*pair) for pair in zip(logits, expected, strict=True)), name


@pytest.mark.skipif("avx2" not in native.variants(), reason="needs a CPU with AVX2")
def test_company_changes_nothing_on_avx2(lab: Any, zoo: Any) -> None:
    with native.using("avx2"):
        engine = zoo_engine(lab, zoo, "int8")
        assert_compositions_hold(engine, pool_of(lab, zoo), range(2), exact=True)


COMPANIES = int(os.environ.get("HUB_TEST_COMPANIES", "100"))
"""How many mixed batches the slow run tries; 1000 before a release."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_many_companies(lab: Any, zoo: Any, quantization: str) -> None:
    engine = zoo_engine(lab, zoo, quantization)
    seeds = range(1000, 1000 + COMPANIES)
    assert_compositions_hold(engine, pool_of(lab, zoo), seeds, exact=quantization == "int8")


def per_tensor_magnitude(x: Tensor) -> Tensor:
    """The seeded bug: one scale for all rows, as plain dynamic quantization has it."""
    return x.abs().amax().clamp_min(1e-30).repeat(x.shape[0], 1)


def per_tensor_quantize(x: Tensor, out: Tensor, norm: native.NormStep = native.NO_NORM) -> Tensor:
    """The same bug in place of the compiled kernel."""
    if norm.kind == "layer":
        x = functional.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.epsilon)
    scale = per_tensor_magnitude(x)
    out[: len(x)].copy_((x * (127 / scale)).round_().add_(int8.ZERO_POINT))
    return scale


def test_the_check_catches_a_scale_per_tensor(
    lab: Any, zoo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "row_magnitude", per_tensor_magnitude)
    monkeypatch.setattr(deltas, "row_magnitude", per_tensor_magnitude)
    monkeypatch.setattr(native, "quantize", per_tensor_quantize)
    engine = zoo.engine(lab, "int8", max_rows=64)
    pool = [replace(one, slot=0) for one in pool_of(lab, zoo)]
    with pytest.raises(AssertionError, match=CHANGED):
        assert_compositions_hold(engine, pool, range(6), exact=False, hostile=False)


def test_the_check_catches_entries_of_others(
    lab: Any, zoo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second seeded bug: rows see as far as the longest of them, prefixes of others included."""

    def longest_for_all(lengths: Tensor, dtype: torch.dtype) -> Tensor:
        return cache.length_mask(lengths.max().expand(len(lengths)), dtype)

    engine = zoo_engine(lab, zoo, "int8")
    monkeypatch.setattr(model, "length_mask", longest_for_all)
    with pytest.raises(AssertionError, match=CHANGED):
        assert_compositions_hold(engine, pool_of(lab, zoo), range(6), exact=False)


def test_the_check_catches_vectors_on_the_wrong_rows(
    lab: Any, zoo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third seeded bug: every row that has a vector at a site gets the first one's."""
    engine = zoo_engine(lab, zoo, "int8")
    monkeypatch.setattr(
        VectorGroup,
        "values",
        lambda group: group.table[group.slots[:1]].expand(len(group.slots), -1),
    )
    with pytest.raises(AssertionError, match=CHANGED):
        assert_compositions_hold(engine, pool_of(lab, zoo), range(6), exact=False)


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_logits_are_the_same_bits_in_any_company(lab: Any, zoo: Any, quantization: str) -> None:
    """Encoder, caches, attention and adapters, along forced targets."""
    engine = zoo.engine(lab, quantization)
    requests = lab.forced(20, seed=41, slots=zoo.slots, longest=60)
    alone = [engine.forced_logits([request])[0] for request in requests]
    chance = random.Random(3)
    for size in (2, 3, 7, 20, 20):
        company = chance.sample(requests, size)
        for request, logits in zip(company, engine.forced_logits(company), strict=True):
            assert torch.equal(logits, alone[request.key])


def test_a_long_neighbour_changes_nothing(lab: Any, zoo: Any) -> None:
    """Padding: the same row beside sources and targets much longer than its own."""
    engine = zoo.engine(lab, "int8")
    short = DecodeRequest(0, (7, 8, 9), (5, 11, 12), 1, DecodingOptions(max_new_tokens=1))
    company = [
        replace(short, key=key, source_ids=(10 + key,) * (30 * key), prefix_ids=(6,) * (25 * key))
        for key in (1, 2, 3)
    ]
    [alone] = engine.forced_logits([short])
    assert torch.equal(engine.forced_logits([*company, short])[-1], alone)


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_a_poisoned_row_fails_alone_and_leaves_nothing_behind(
    lab: Any, zoo: Any, quantization: str
) -> None:
    engine = zoo_engine(lab, zoo, quantization)
    healthy = lab.requests(3, seed=51, options=GREEDY, slots=(0, 1, 2))
    expected = [engine.translate([request])[0].hypotheses for request in healthy]
    culprit = replace(healthy[0], key=9, slot=POISONED_SLOT)

    found = engine.translate([healthy[0], culprit, *healthy[1:]])
    assert isinstance(found[1].error, NonFiniteRowError)
    assert found[1].hypotheses == ()
    assert [found[i].hypotheses for i in (0, 2, 3)] == expected
    # The same rows of the caches again, now behind the poison.
    assert [one.hypotheses for one in engine.translate(healthy)] == expected


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_a_freed_slot_never_leaks(lab: Any, zoo: Any, quantization: str) -> None:
    engine = zoo.engine(lab, quantization)
    request = lab.forced(1, seed=61)[0]
    on = {slot: replace(request, slot=slot) for slot in zoo.slots}
    before = {slot: engine.forced_logits([on[slot]])[0] for slot in zoo.slots}
    wide, narrow = (engine.read_adapter(zoo.folders[slot - 1]) for slot in (5, 2))

    engine.clear(5)
    engine.place(5, narrow)
    assert torch.equal(engine.forced_logits([on[5]])[0], before[2])
    engine.place(2, wide)
    assert torch.equal(engine.forced_logits([on[2]])[0], before[5])
    for slot in set(zoo.slots) - {2, 5}:
        assert torch.equal(engine.forced_logits([on[slot]])[0], before[slot])
