"""What goes on while a pass is on its way, and adapters that come back from their bytes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hub.engine.adapters import HostAdapter
from hub.engine.engine import Engine
from hub.engine.forms import flatten, restore
from hub.engine.requests import DecodeRequest, DecodingOptions, Finished

GREEDY = DecodingOptions(max_new_tokens=8)
BEAM = DecodingOptions(max_new_tokens=6, beam_size=4)


def pool_of(lab: Any, zoo: Any) -> list[DecodeRequest]:
    own = lab.requests(22, seed=71, options=GREEDY, slots=zoo.slots)
    beams = lab.requests(8, seed=72, options=BEAM, slots=zoo.slots)
    return [replace(one, key=key) for key, one in enumerate(own + beams)]


def tokens(ended: Sequence[Finished]) -> list[list[tuple[int, ...]]]:
    return [[own.token_ids for own in one.hypotheses] for one in ended]


@pytest.mark.parametrize("quantization", ["float32", "bfloat16", "int8"])
def test_every_kind_serves_the_same_from_its_bytes(lab: Any, zoo: Any, quantization: str) -> None:
    engine = zoo.engine(lab, quantization, max_rows=64)
    pool = pool_of(lab, zoo)
    plain = engine.translate([replace(one, slot=0) for one in pool])
    expected = engine.translate(pool)
    assert tokens(plain) != tokens(expected)
    for slot, folder in enumerate(zoo.folders, 1):
        adapter = engine.read_adapter(folder)
        form, data = flatten(adapter)
        engine.clear(slot)
        engine.place(slot, restore(form, data.clone()))
    found = engine.translate(pool)
    assert [one.hypotheses for one in found] == [one.hypotheses for one in expected]


class Crowd:
    """Requests that join at random, while slots that are free are written over and over."""

    def __init__(self, engine: Engine, hosts: Sequence[HostAdapter], chance: random.Random) -> None:
        self.engine, self.hosts, self.chance = engine, hosts, chance
        self.written_in_a_pass = 0
        self._right: set[int] = {0}

    def run(self, requests: Sequence[DecodeRequest]) -> list[Finished]:
        waiting, ended = list(requests), []
        while waiting or self.engine.running:
            while waiting and self.chance.random() < 0.7 and self._joins(waiting[0]):
                waiting.pop(0)
            ended += self.engine.step(0.0).finished
            self._write_over()
        return sorted(ended, key=lambda one: one.key)

    def _joins(self, request: DecodeRequest) -> bool:
        slot = request.slot
        if self.engine.running + request.options.beam_size > self.engine.max_rows:
            return False
        if slot not in self._right:
            if slot in self._busy:
                return False
            self.engine.place(slot, self.hosts[slot - 1])
            self._right.add(slot)
        self.engine.admit([request])
        return True

    @property
    def _busy(self) -> set[int]:
        return {*self.engine._rows.slots, *(one.slot for one in self.engine._sources.requests)}

    def _write_over(self) -> None:
        for slot in set(range(1, len(self.hosts) + 1)) - self._busy:
            if self.chance.random() < 0.5:
                self._right.discard(slot)
                self.engine.clear(slot)
                if self.chance.random() < 0.7:
                    self.engine.place(slot, self.chance.choice(self.hosts))
                self.written_in_a_pass += self.engine._sources._pass is not None


@pytest.mark.parametrize("quantization", ["float32", "bfloat16", "int8"])
def test_slots_beside_a_pass_are_written_between_its_slices(
    lab: Any, zoo: Any, quantization: str
) -> None:
    engine = zoo.engine(lab, quantization, max_rows=32)
    pool = pool_of(lab, zoo)
    alone = [engine.translate([request])[0] for request in pool]
    hosts = [engine.read_adapter(folder) for folder in zoo.folders]
    for seed in range(2):
        crowd = Crowd(engine, hosts, random.Random(seed))
        found = crowd.run(pool)
        assert crowd.written_in_a_pass > 10
        assert tokens(found) == tokens(alone)


class Counting(TorchDispatchMode):
    """Counts the operations of torch, and the numbers that they write."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.operations += 1
        self.numbers += found.numel() if isinstance(found, torch.Tensor) else 0
        return found


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_an_adapter_costs_the_same_to_place_beside_many_as_beside_one(
    lab: Any, zoo: Any, quantization: str
) -> None:
    """Elsewhere loading slows down with every adapter that is there (peft issue 981)."""
    engine = zoo.engine(lab, quantization, max_rows=4)
    hosts = [engine.read_adapter(folder) for folder in zoo.folders]
    counts = []
    for others in (hosts[1:2], hosts[1:]):
        for slot in range(1, len(hosts) + 1):
            engine.clear(slot)
        for slot, host in enumerate(others, 2):
            engine.place(slot, host)
        engine.place(1, hosts[0])  # the bank has its room from here on
        with Counting() as counted:
            engine.place(1, hosts[0])
        counts.append((counted.operations, counted.numbers))
    assert len(hosts) > 5
    assert counts[0][0] > 0
    assert counts[0] == counts[1]
