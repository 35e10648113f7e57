"""Slots in pages: what is placed stays whole, what is freed is free."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.engine.banks import Bank, BankKey, BankPart, Banks
from hub.engine.deltas import Int8Deltas, StepAdapters
from hub.engine.int8 import Int8Precision

LAYERS, WIDTH = 2, 16
KEY = BankKey("decoder", "fc1")
OTHER = BankKey("decoder", "output", "relu", normed=True, biased=True)


def part(key: BankKey, rank: int, seed: int) -> BankPart:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    down_bias = random(LAYERS, rank) if key.biased else None
    up_bias = random(LAYERS, WIDTH) if key.biased else None
    return Int8Deltas().pack(
        key, random(LAYERS, rank, WIDTH), random(LAYERS, rank, WIDTH), down_bias, up_bias
    )


operations = st.lists(
    st.tuples(st.integers(1, 9), st.integers(0, 12), st.integers(0, 99)), min_size=1, max_size=40
)


@given(operations)
@settings(max_examples=60)
def test_pages_hold_exactly_what_was_placed(steps: list[tuple[int, int, int]]) -> None:
    """Against a dict: rank 0 frees a slot, any other size places an adapter."""
    bank = Bank(KEY)
    model: dict[int, BankPart] = {}
    for slot, size, seed in steps:
        bank.clear(slot)
        model.pop(slot, None)
        if size:
            model[slot] = part(KEY, size * 8, seed)
            bank.place(slot, model[slot])
        found = {slot: page for page in bank.pages for slot in page.used}
        assert found.keys() == model.keys()
        for slot, page in found.items():
            low, high = page.used[slot]
            for name, tensor in model[slot].tensors.items():
                assert torch.equal(page.tensors[name][:, low:high], tensor)
        assert sum(not page.used for page in bank.pages) <= 1  # kept for the next adapter
        for page in bank.pages:
            intervals = sorted(page.used.values())
            assert all(high <= page.capacity for _, high in intervals)
            assert all(a[1] <= b[0] for a, b in itertools.pairwise(intervals))


def architecture(base_like: Any = None) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(d_model=WIDTH)


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=30),
    st.dictionaries(st.integers(1, 9), st.integers(1, 5), min_size=9, max_size=9),
    st.sampled_from([0, 4000, 1 << 30]),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_grouping_never_changes_a_bit(
    slots: list[int], ranks: dict[int, int], merge_macs: int
) -> None:
    """However rows are grouped, each gets what it gets alone; base rows get nothing."""
    precision, int8 = Int8Precision(), Int8Deltas()
    banks = Banks(architecture(), 9, merge_macs)
    for slot, rank in ranks.items():
        keys = [KEY, OTHER][: 1 + slot % 2]
        banks.place(slot, [part(key, rank * 8, slot) for key in keys])
    generator = torch.Generator().manual_seed(len(slots))
    x = torch.randn(len(slots), WIDTH, generator=generator)

    def run(rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        adapters = StepAdapters(banks.plan([slots[row] for row in rows]), int8, precision)
        out = torch.zeros(len(rows), WIDTH)
        adapters.add_low_rank("decoder", "fc1", 1, precision.operand(x[rows]), out)
        hidden = x[rows].clone()
        adapters.add_bottleneck("decoder", "output", 1, hidden)
        return out, hidden

    with torch.inference_mode():
        out, hidden = run(list(range(len(slots))))
        for row, slot in enumerate(slots):
            own_out, own_hidden = run([row])
            assert torch.equal(out[row], own_out[0])
            assert torch.equal(hidden[row], own_hidden[0])
            assert bool(out[row].any()) == bool(slot)
            assert torch.equal(hidden[row], x[row]) == (slot % 2 == 0)


def test_half_an_adapter_never_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A placement that fails in the middle frees what it had copied."""
    banks = Banks(architecture(), 2, merge_macs=0)
    banks.place(2, [part(KEY, 8, 2)])
    whole = Bank.place

    def fail_at_the_second(bank: Bank, slot: int, one: BankPart) -> None:
        if one.key == OTHER:
            raise MemoryError("no room")
        whole(bank, slot, one)

    monkeypatch.setattr(Bank, "place", fail_at_the_second)
    with pytest.raises(MemoryError):
        banks.place(1, [part(KEY, 8, 1), part(OTHER, 8, 1)])
    monkeypatch.undo()
    assert banks.placed == {2}
    banks.place(1, [part(OTHER, 8, 3)])
    [(key, groups)] = banks.plan([1, 2]).at("decoder", "fc1")
    assert key == KEY
    assert [group.count for group in groups] == [1]
