"""Waits end when they should, and not before."""

import asyncio
from itertools import islice

import pytest

from gateway.db.waiting import (
    back_off,
    uninterrupted,
    wait_for_all,
    wait_for_any,
    wait_or_stop,
)
from gateway.kernel.retry import CONNECT


async def test_uninterrupted_work_ends_before_the_cancellation_is_raised() -> None:
    started, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        await go_on.wait()
        done.set()

    task = asyncio.create_task(uninterrupted(work(), go_on.set))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


async def test_uninterrupted_work_gives_its_result_or_raises() -> None:
    async def fail() -> None:
        raise KeyError("x")

    assert await uninterrupted(asyncio.sleep(0, 7)) == 7
    with pytest.raises(KeyError):
        await uninterrupted(fail())


def test_back_off_grows_to_a_limit() -> None:
    delays = list(islice(back_off(), 50))
    assert delays[0] <= 0.1
    assert all(delay <= 5.0 for delay in delays)
    assert max(delays) >= CONNECT.most_seconds * 0.75


async def test_waiting_ends_at_a_stop() -> None:
    stopping = asyncio.Event()
    async with asyncio.timeout(60):
        waiting = asyncio.create_task(wait_or_stop(stopping, 3600))
        stopping.set()
        await waiting


async def test_waiting_ends_with_the_first_of_several_events() -> None:
    never, soon = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(60):
        waiting = asyncio.create_task(wait_for_any(3600, never, soon))
        soon.set()
        await waiting
    await wait_for_any(0, never)


async def test_a_cancellation_reaches_all_that_is_waited_for() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("work")

    async def wait() -> None:
        await wait_for_all([asyncio.create_task(work()), asyncio.create_task(work())])

    task = asyncio.create_task(wait())
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["work", "work"]
    await wait_for_all([])
