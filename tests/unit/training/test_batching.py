"""Batches keep to their token budget, hold every line once, and depend on seed and epoch alone."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.loop.batching import (
    PlannedBatch,
    Position,
    batches_from,
    padded_tokens,
    plan_epoch,
    updates_from,
)

LENGTHS = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=80)


def test_padded_tokens_by_hand() -> None:
    # three rows, padded to 5 source and 7 target positions
    assert padded_tokens([(5, 2), (1, 7), (3, 3)]) == 3 * (5 + 7)
    assert padded_tokens([]) == 0


@given(lengths=LENGTHS, tokens=st.integers(1, 400), seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_every_line_once_within_budget(
    lengths: list[tuple[int, int]], tokens: int, seed: int, epoch: int
) -> None:
    plan = plan_epoch(lengths, tokens=tokens, seed=seed, epoch=epoch)
    assert sorted(index for batch in plan for index in batch) == list(range(len(lengths)))
    for batch in plan:
        assert len(batch) == 1 or padded_tokens([lengths[index] for index in batch]) <= tokens


def test_same_seed_same_plan_other_epoch_other_plan() -> None:
    lengths = [(1 + index % 9, 1 + index % 7) for index in range(200)]
    first = plan_epoch(lengths, tokens=64, seed=1, epoch=0)
    assert first == plan_epoch(lengths, tokens=64, seed=1, epoch=0)
    assert first != plan_epoch(lengths, tokens=64, seed=1, epoch=1)
    assert first != plan_epoch(lengths, tokens=64, seed=2, epoch=0)


def test_length_buckets_waste_little() -> None:
    lengths = [(1 + index % 40, 1 + index % 40) for index in range(2000)]
    plan = plan_epoch(lengths, tokens=1024, seed=0, epoch=0)
    padded = sum(padded_tokens([lengths[index] for index in batch]) for batch in plan)
    real = sum(source + target for source, target in lengths)
    assert real / padded > 0.85


def test_continues_where_it_stopped() -> None:
    lengths = [(1 + index % 9, 1 + index % 7) for index in range(50)]
    whole = list(islice(batches_from(lengths, tokens=64, seed=3, start=Position()), 40))
    for cut in (1, 7, 25):
        resumed = batches_from(lengths, tokens=64, seed=3, start=whole[cut - 1][0])
        assert list(islice(resumed, 40 - cut)) == whole[cut:]
    assert whole[-1][0].epoch > 0, "the test must cross an epoch"


def test_nothing_to_batch_is_an_error() -> None:
    with pytest.raises(ValueError, match="no examples"):
        next(batches_from([], tokens=8, seed=0, start=Position()))


@given(lengths=LENGTHS, accumulate=st.integers(1, 5), done=st.integers(0, 4))
def test_updates_take_the_batches_in_order_and_go_on_anywhere(
    lengths: list[tuple[int, int]], accumulate: int, done: int
) -> None:
    plain = [
        indices
        for _, indices in islice(
            batches_from(lengths, tokens=100, seed=3, start=Position()), 6 * accumulate
        )
    ]
    asked = {"tokens": 100, "accumulate": accumulate, "seed": 3}
    updates = list(islice(updates_from(lengths, **asked, start=Position()), 6))
    assert [batch.indices for update in updates for batch in update.batches] == plain
    assert all(len(update.batches) == accumulate for update in updates)
    later = list(islice(updates_from(lengths, **asked, start=updates[done].follows), 5 - done))
    assert later == updates[done + 1 :]


def test_a_batch_is_seeded_by_run_and_place() -> None:
    batches = [PlannedBatch(Position(epoch, number), (0,)) for epoch in (0, 1) for number in (0, 1)]
    seeds = {batch.seed(run) for batch in batches for run in (1, 2)}
    assert len(seeds) == 8
    assert PlannedBatch(Position(1, 1), (5, 6)).seed(2) in seeds
