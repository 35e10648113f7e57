"""Calls that are cancelled or run out of time at any moment leave nothing behind.

`HUB_CANCELS=10000 pytest -m slow tests/integration/server/test_server_leaks.py` makes more of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hub.client import Decoding

COUNT = int(os.environ.get("HUB_CANCELS", "600"))
FICKLE = Path(__file__).parents[2] / "support" / "fickle.py"


@dataclass(frozen=True)
class Held:
    """What a server holds on to.

    Attributes:
        waiting: Requests in the ledger, jobs in the queue, places of the intake, its lines and
            reservations.
        running: Rows of the batch and of the engine, and requests that pin an adapter.
        turns: Free places of those who prepare calls.
        tasks: Of the event loop.
        descriptors: Of the process.
    """

    waiting: tuple[int, ...]
    running: tuple[int, ...]
    turns: int
    tasks: int
    descriptors: int


def held_by(house: Any) -> Held:
    core, edge = house.application.core, house.application._edge
    worker, turns = core.worker, core.translator.preparation._turns
    intake, loop = worker.intake, edge._server._loop
    pinned = sum(one.running for one in worker.inspect().result(30))  # after whatever was sent
    return Held(
        waiting=(
            len(worker._ledger), len(worker._scheduler), len(intake._places), len(intake._lines),
            intake._reserved, intake._preparing, edge._calls._count,
        ),
        running=(worker._batch.rows, len(worker._batch._engine._rows.slots), pinned),
        turns=turns._free,
        tasks=len(asyncio.all_tasks(loop)),
        descriptors=len(list(Path("/proc/self/fd").iterdir())),
    )  # fmt: skip


def settled(house: Any, like: Held | None = None) -> Held:
    """Return what is held once nothing changes any more, or it is as it was."""
    house.client.translate(["Monday"], "en", "ko", decoding=Decoding(max_output_tokens=4))
    held, until = held_by(house), time.monotonic() + 30
    while time.monotonic() < until:
        before, held = held, held_by(house)
        if held == like or (like is None and held == before and not any(held.waiting)):
            break
    return held


def torment(house: Any, count: int, adapters: list[str], seed: int) -> Counter[str]:
    """Make calls that end at random moments, in another process; count how."""
    done = subprocess.run(
        [sys.executable, str(FICKLE), house.target, str(count), str(seed), *adapters],
        stdout=subprocess.PIPE,
        check=True,
    )
    return Counter(json.loads(done.stdout))


def check(house: Any, count: int) -> None:
    adapters = [house.publisher.lora(f"leak-{n}", seed=n).ref for n in range(4)]
    torment(house, 24, adapters, seed=1)
    before = settled(house)
    told = torment(house, count, adapters, seed=2)
    after = settled(house, before)
    # A few are opened once, as they are first needed: connections of threads to the catalog.
    assert after.descriptors <= before.descriptors + 8
    assert after.tasks <= before.tasks
    assert replace(after, descriptors=before.descriptors, tasks=before.tasks) == before
    assert before.running == (0, 0, 0)
    assert not any(before.waiting)
    assert told.total() == count
    assert told["CANCELLED"] > 0
    assert told["DEADLINE_EXCEEDED"] > 0
    assert told.keys() <= {"OK", "CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}, told


def test_a_few_calls_that_go_away_leave_nothing(house: Any) -> None:
    check(house, 60)


@pytest.mark.slow
@pytest.mark.timeout(COUNT)
def test_calls_that_go_away_leave_nothing(house: Any) -> None:
    check(house, COUNT)
