"""Turns between tenants, and what of them is left when callers go away."""

from __future__ import annotations

import asyncio
import random

from server.access.turns import Turns


def order_of(*tenants: str, at_once: int = 1) -> list[str]:
    """Return in which order calls of tenants have their turn that all came while it was taken."""

    async def run() -> list[str]:
        turns, had, leave = Turns(at_once), [], asyncio.Event()

        async def hold() -> None:
            async with turns.of("first"):
                await leave.wait()

        async def call(tenant: str) -> None:
            async with turns.of(tenant):
                had.append(tenant)
                await asyncio.sleep(0)

        holders = [asyncio.create_task(hold()) for _ in range(at_once)]
        calls = [asyncio.create_task(call(tenant)) for tenant in tenants]
        for _ in range(3):
            await asyncio.sleep(0)
        assert not had
        leave.set()
        await asyncio.gather(*holders, *calls)
        return had

    return asyncio.run(run())


def test_tenants_take_turns_however_many_calls_one_has() -> None:
    assert order_of(*["flood"] * 5, "steady", "steady") == [
        "flood", "steady", "flood", "steady", "flood", "flood", "flood",
    ]  # fmt: skip


def test_one_tenant_is_served_in_order_of_arrival() -> None:
    async def run() -> list[int]:
        turns, had = Turns(2), []

        async def call(number: int) -> None:
            async with turns.of(""):
                had.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*(call(number) for number in range(10)))
        return had

    assert asyncio.run(run()) == list(range(10))


def test_callers_that_go_away_take_no_turn_with_them() -> None:
    async def run() -> None:
        turns, chance, inside, most = Turns(3), random.Random(4), 0, 0

        async def call(tenant: str) -> None:
            nonlocal inside, most
            async with turns.of(tenant):
                inside += 1
                most = max(most, inside)
                try:
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                finally:
                    inside -= 1

        for _ in range(100):
            calls = [asyncio.create_task(call(chance.choice("abc"))) for _ in range(20)]
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            for one in chance.sample(calls, 15):
                one.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        assert inside == 0
        assert most == 3
        assert turns._free == 3
        assert not turns._lines

    asyncio.run(run())
