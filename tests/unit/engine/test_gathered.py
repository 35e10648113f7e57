"""Gathered adapters against one product per slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hub.engine.banks import EMPTY_PLAN, BankKey, BankPart, Banks, Plan
from hub.engine.deltas import FloatDeltas, StepAdapters
from hub.engine.gathered import AdapterBuffers, AdapterShape, GatheredDeltas, gatherable
from hub.engine.linear import FloatPrecision
from hub.engine.vectors import VectorGroup, VectorPlan

LAYERS, WIDTH, SLOTS = 2, 16, 9
LOW_RANK = BankKey("decoder", "fc1")
KEYS = (
    LOW_RANK,
    BankKey("decoder", "output", "relu", normed=True, biased=True),
    BankKey("decoder", "output", "gelu", normed=False, biased=True),
    BankKey("decoder", "output", "relu", normed=False, biased=False),
)
PRECISION = FloatPrecision("float32", torch.float32)


def part(key: BankKey, rank: int, seed: int) -> BankPart:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return FloatDeltas(torch.float32).pack(
        key,
        random(LAYERS, rank, WIDTH),
        random(LAYERS, rank, WIDTH),
        random(LAYERS, rank) if key.biased else None,
        random(LAYERS, WIDTH) if key.biased else None,
    )


def banks_of(ranks: dict[int, int]) -> Banks:
    """Slot n has keys n % 4 and, where n is odd, the low-rank one too; the rest is NaN."""
    architecture: Any = SimpleNamespace(d_model=WIDTH)
    banks = Banks(architecture, SLOTS, 0)
    for slot, rank in ranks.items():
        keys = {KEYS[slot % 4], *([LOW_RANK] if slot % 2 else [])}
        banks.place(slot, [part(key, rank * 8, slot) for key in sorted(keys)])
    for _, page in banks.pages(banks.placed):
        poison(page)
    return banks


def poison(page: Any) -> None:
    """Fill what no slot uses with NaN."""
    for name, tensor in page.tensors.items():
        free = torch.ones(tensor.shape[1], dtype=torch.bool)
        for low, high in page.used.values():
            free[low // 8 if name == "up_bias" else low : high] = False
            if name == "up_bias":
                free[low // 8 + 1 : high // 8] = True
        tensor[:, free] = float("nan")


def run(adapters: StepAdapters, x: Tensor) -> tuple[Tensor, Tensor]:
    out, hidden = torch.zeros_like(x), x.clone()
    adapters.add_low_rank("decoder", "fc1", 1, PRECISION.operand(x), out)
    adapters.add_bottleneck("decoder", "output", 1, hidden)
    return out, hidden


def gathered(banks: Banks, slots: Sequence[int], rows: int) -> tuple[AdapterBuffers, StepAdapters]:
    buffers = AdapterBuffers(AdapterShape.of(banks, slots), rows)
    buffers.fill(slots)
    deltas = GatheredDeltas(torch.float32)
    return buffers, StepAdapters(buffers.plan, deltas, PRECISION)


@given(
    st.lists(st.integers(0, SLOTS), min_size=1, max_size=20),
    st.dictionaries(st.integers(1, SLOTS), st.integers(1, 5), min_size=SLOTS, max_size=SLOTS),
    st.integers(0, 5),
)
@settings(max_examples=40, deadline=None)
def test_rows_get_what_one_product_per_slot_gives(
    slots: list[int], ranks: dict[int, int], spare: int
) -> None:
    banks = banks_of(ranks)
    count = len(slots)
    x = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(count))
    expected = run(StepAdapters(banks.plan(slots), FloatDeltas(torch.float32), PRECISION), x)
    _, adapters = gathered(banks, slots, count + spare)
    padded = torch.cat([x, torch.ones(spare, WIDTH)])
    out, hidden = run(adapters, padded)
    for row, slot in enumerate(slots):
        assert bool(expected[0][row].any()) == (slot % 2 == 1 or slot in (4, 8))
        if slot in (0, 4, 8):
            assert torch.equal(expected[1][row], x[row])
    torch.testing.assert_close(out[:count], expected[0], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(hidden[:count], expected[1], atol=1e-4, rtol=1e-5)
    assert not out[count:].any()
    assert torch.equal(hidden[count:], padded[count:])


def test_the_adapters_compared_above_act() -> None:
    banks, slots = banks_of(dict.fromkeys(range(1, SLOTS + 1), 5)), list(range(SLOTS + 1))
    x = torch.randn(len(slots), WIDTH, generator=torch.Generator().manual_seed(1))
    _, hidden = run(StepAdapters(banks.plan(slots), FloatDeltas(torch.float32), PRECISION), x)
    assert [torch.equal(hidden[slot], x[slot]) for slot in slots] == [
        slot in (0, 4, 8) for slot in slots
    ]


def test_new_rows_are_new_numbers_in_the_same_tensors() -> None:
    banks = banks_of(dict.fromkeys(range(1, SLOTS + 1), 2))
    first, second = [1, 5, 0, 9], [9, 0, 1, 5]
    assert AdapterShape.of(banks, first) == AdapterShape.of(banks, second)
    buffers, adapters = gathered(banks, first, 4)
    ((_, (group,)),) = buffers.plan.at("decoder", "fc1")
    held = (group.mask.data_ptr(), group.bias_index.data_ptr())
    x = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(1))
    before = run(adapters, x)
    buffers.fill(second)
    after = run(adapters, x)
    assert (group.mask.data_ptr(), group.bias_index.data_ptr()) == held
    plain = StepAdapters(banks.plan(second), FloatDeltas(torch.float32), PRECISION)
    for found, expected, old in zip(after, run(plain, x), before, strict=True):
        assert not torch.allclose(expected, old, atol=1e-2)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


def test_a_poisoned_row_stays_alone() -> None:
    banks = banks_of(dict.fromkeys(range(1, SLOTS + 1), 1))
    slots = [1, 2, 0, 3]
    x = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(2))
    _, adapters = gathered(banks, slots, 4)
    sound = run(adapters, x)
    x[1] = float("nan")
    for found, expected in zip(run(adapters, x), sound, strict=True):
        for row in (0, 2, 3):
            assert torch.equal(found[row], expected[row])


def test_a_bank_of_two_pages_is_gathered_page_by_page() -> None:
    architecture: Any = SimpleNamespace(d_model=WIDTH)
    banks = Banks(architecture, SLOTS, 0)
    for slot in (1, 2, 3):
        banks.place(slot, [part(LOW_RANK, 1000, slot)])
    slots = [3, 1, 0, 2]
    shape = AdapterShape.of(banks, slots)
    assert [use.rank for use in shape.uses] == [1024, 1024]
    _, adapters = gathered(banks, slots, 4)
    x = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(3))
    plain = StepAdapters(banks.plan(slots), FloatDeltas(torch.float32), PRECISION)
    (out, _), (expected, _) = run(adapters, x), run(plain, x)
    assert bool(expected[[0, 1, 3]].any(1).all())
    torch.testing.assert_close(out, expected, atol=1e-2, rtol=1e-5)


@pytest.mark.parametrize(("ranks", "rank"), [((1,), 8), ((1, 3), 32), ((5, 2), 64)])
def test_the_common_rank_is_a_power_of_two(ranks: Sequence[int], rank: int) -> None:
    architecture: Any = SimpleNamespace(d_model=WIDTH)
    banks = Banks(architecture, SLOTS, 0)
    for slot, size in enumerate(ranks, start=1):
        banks.place(slot, [part(LOW_RANK, size * 8, slot)])
    banks.place(9, [part(LOW_RANK, 400, 9)])
    (use,) = AdapterShape.of(banks, [0, 1, len(ranks)]).uses
    assert use.rank == rank


@dataclass(frozen=True)
class LaterPlan(Plan):
    """A plan of an engine that has learned another kind of adapter."""

    later: dict[str, int] = field(default_factory=dict)


def test_what_is_not_known_is_not_gathered() -> None:
    plan = banks_of(dict.fromkeys(range(1, SLOTS + 1), 1)).plan([1, 2, 3, 4])
    assert gatherable(plan)
    assert gatherable(EMPTY_PLAN)
    assert gatherable(LaterPlan(plan.sites))
    assert not gatherable(LaterPlan(plan.sites, later={"new": 1}))
    group = VectorGroup(torch.ones(2, WIDTH), None, torch.ones(4, dtype=torch.int64))
    vectors = VectorPlan({("input", "decoder", "fc2", 0): group})
    assert not gatherable(Plan(plan.sites, vectors))
    ((key, groups),) = plan.at("decoder", "fc1")
    other = replace(key, activation="silu")
    assert not gatherable(Plan({("decoder", "fc1"): [(other, groups)]}))
    groups[0].page.tensors["magnitude"] = torch.ones(1)
    assert not gatherable(plan)
