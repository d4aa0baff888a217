"""No port keeps the others from the database."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from gateway.db.shared import UnitPlaces
from gateway.kernel.ids import PortName

SLOW, OTHER = PortName("slow"), PortName("other")


async def enter(places: UnitPlaces, port: PortName, stack: AsyncExitStack) -> asyncio.Task[None]:
    """Ask for a connection; the task ends when the port has it."""
    task = asyncio.create_task(stack.enter_async_context(places.place(port)))
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def test_port_that_keeps_its_connections_leaves_some_to_others() -> None:
    places = UnitPlaces(10)
    async with AsyncExitStack() as stack:
        asked = [await enter(places, SLOW, stack) for _ in range(20)]
        assert [task.done() for task in asked].count(True) == 4  # two thirds of the seven
        assert (await enter(places, OTHER, stack)).done()
        for task in asked:
            task.cancel()


async def test_who_has_waited_longest_is_next() -> None:
    places = UnitPlaces(4)  # one for units
    async with AsyncExitStack() as first, AsyncExitStack() as second, AsyncExitStack() as third:
        assert (await enter(places, SLOW, first)).done()
        other = await enter(places, OTHER, second)
        again = await enter(places, SLOW, third)
        assert not other.done()
        await first.aclose()
        await asyncio.wait_for(other, 60)
        assert not again.done()
        await second.aclose()
        await asyncio.wait_for(again, 60)


async def test_who_gives_up_leaves_its_place_to_the_next() -> None:
    places = UnitPlaces(4)
    async with AsyncExitStack() as first, AsyncExitStack() as second, AsyncExitStack() as third:
        await enter(places, SLOW, first)
        given_up = await enter(places, OTHER, second)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        waiting = await enter(places, OTHER, third)
        await first.aclose()
        await asyncio.wait_for(waiting, 60)
