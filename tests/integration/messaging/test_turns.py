"""A process has its turns only while it is at work."""

import asyncio

from gateway.db.open import Store
from gateway.messaging.intake.turns import Turns
from gateway.messaging.queue.leases import start_incarnation
from tests.factories import ORDERS


async def test_turn_ends_with_the_last_occurrence(store: Store) -> None:
    mine = Turns(store, await start_incarnation(store, "a", "1"))
    others = Turns(store, await start_incarnation(store, "b", "1"))
    async with mine.occurrence():
        async with mine.occurrence():
            assert await mine.take(ORDERS, asking=False)
        assert not await others.take(ORDERS, asking=False)
        assert mine.has(ORDERS) and not others.has(ORDERS)
    assert await others.take(ORDERS, asking=False)
    assert not await mine.take(ORDERS, asking=False)


async def test_turn_that_was_passed_on_is_not_ours_any_more(store: Store) -> None:
    mine = Turns(store, await start_incarnation(store, "a", "1"))
    others = Turns(store, await start_incarnation(store, "b", "1"))
    async with mine.occurrence(), others.occurrence():
        await mine.take(ORDERS, asking=False)
        await others.take(ORDERS, asking=True)
        again = asyncio.create_task(mine.take(ORDERS, asking=False))
        while not await others.take(ORDERS, asking=True):
            await asyncio.sleep(0.01)
        assert not await again and not mine.has(ORDERS)


async def test_turn_ends_also_when_the_occurrence_is_interrupted(store: Store) -> None:
    mine = Turns(store, await start_incarnation(store, "a", "1"))
    others = Turns(store, await start_incarnation(store, "b", "1"))

    async def work() -> None:
        async with mine.occurrence():
            await mine.take(ORDERS, asking=False)
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    while not mine.has(ORDERS):
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert await others.take(ORDERS, asking=False)
