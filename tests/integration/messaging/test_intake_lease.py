"""A process holds its leases of intake only while it is at work."""

import asyncio

import pytest

from gateway.db.open import Store
from gateway.messaging.intake import lease
from gateway.messaging.intake.lease import IntakeLease
from gateway.messaging.queue.leases import start_incarnation
from tests.factories import ORDERS


async def test_lease_ends_with_the_last_run(store: Store) -> None:
    mine = IntakeLease(store, await start_incarnation(store, "a", "1"))
    others = IntakeLease(store, await start_incarnation(store, "b", "1"))
    async with mine.run():
        async with mine.run():
            assert await mine.claim(ORDERS, request=False)
        assert not await others.claim(ORDERS, request=False)
        assert mine.is_ours(ORDERS) and not others.is_ours(ORDERS)
    assert await others.claim(ORDERS, request=False)
    assert not await mine.claim(ORDERS, request=False)


async def test_lease_that_was_passed_on_is_not_ours_any_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()
    monkeypatch.setattr(lease, "_let_others_begin", begun.wait)  # a second, that a busy machine may sleep through
    mine = IntakeLease(store, await start_incarnation(store, "a", "1"))
    others = IntakeLease(store, await start_incarnation(store, "b", "1"))
    async with mine.run(), others.run():
        await mine.claim(ORDERS, request=False)
        await others.claim(ORDERS, request=True)
        again = asyncio.create_task(mine.claim(ORDERS, request=False))
        while not await others.claim(ORDERS, request=True):
            await asyncio.sleep(0.01)
        begun.set()
        assert not await again and not mine.is_ours(ORDERS)


async def test_lease_ends_also_when_the_run_is_interrupted(store: Store) -> None:
    mine = IntakeLease(store, await start_incarnation(store, "a", "1"))
    others = IntakeLease(store, await start_incarnation(store, "b", "1"))

    async def work() -> None:
        async with mine.run():
            await mine.claim(ORDERS, request=False)
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    while not mine.is_ours(ORDERS):
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert await others.claim(ORDERS, request=False)
