"""What the page of a worker tells whoever reads it after the worker's end."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from gateway.kernel.ids import MessageKey
from gateway.messaging.services import in_flight
from gateway.messaging.services.in_flight import CALLED_FOR, NOBODY, Held, InFlightJournal

ONE, TWO, THREE = (MessageKey(key) for key in (5, 6, 2**62))


@pytest.fixture
def pages() -> Iterator[tuple[InFlightJournal, InFlightJournal]]:
    """The page as its worker writes it, and as the gateway reads it."""
    descriptor = InFlightJournal.make()
    yield InFlightJournal(descriptor), InFlightJournal(descriptor)
    os.close(descriptor)


async def test_what_is_in_hand_is_told(pages: tuple[InFlightJournal, InFlightJournal]) -> None:
    writer, reader = pages
    places = [writer.set(key, Held.LOOP) for key in (ONE, TWO, THREE)]
    writer.unset(places[1])
    assert dict(reader.read().held) == {ONE: Held.LOOP, THREE: Held.LOOP}


async def test_code_that_only_waits_ends_nothing(pages: tuple[InFlightJournal, InFlightJournal]) -> None:
    writer, reader = pages
    writer.set(ONE, Held.LOOP)
    assert not reader.read().suspects()
    places = [writer.set(key, Held.THREAD) for key in (TWO, THREE)]
    assert set(reader.read().suspects()) == {TWO, THREE}
    writer.put_on_loop(ONE)
    assert set(reader.read().suspects()) == {ONE}
    writer.put_on_loop(NOBODY)
    writer.abandon(places[0])
    assert set(reader.read().suspects()) == {THREE}
    writer.unset(places[1])
    assert set(reader.read().suspects()) == {TWO}, "what nobody waits for is to blame when nothing else was at work"


async def test_a_place_is_used_again(pages: tuple[InFlightJournal, InFlightJournal]) -> None:
    writer, reader = pages
    for key in range(1, 6000):
        writer.unset(writer.set(MessageKey(key), Held.THREAD))
    assert not reader.read().held


@pytest.mark.parametrize("outlives", [False, True], ids=["in a call", "after its call"])
async def test_turns_are_counted_while_code_is_at_work(
    pages: tuple[InFlightJournal, InFlightJournal], monkeypatch: pytest.MonkeyPatch, outlives: bool
) -> None:
    monkeypatch.setattr(in_flight, "_TURN_SECONDS", 0.001)
    writer, reader = pages
    assert reader.turns == 0
    if outlives:
        writer.watch_loop()
        CALLED_FOR.set(ONE)
        assert await asyncio.create_task(_turns(reader)) == 1
    else:
        place = writer.set(ONE, Held.LOOP)
        async with asyncio.timeout(60):
            while reader.turns < 3:
                await asyncio.sleep(0)
        writer.unset(place)
    async with asyncio.timeout(60):
        while reader.turns:
            await asyncio.sleep(0)


async def _turns(reader: InFlightJournal) -> int:
    """Return what counts in the middle of a step: soon after it nothing is at work any more."""
    return reader.turns


async def test_each_step_on_the_loop_belongs_to_a_message_in_its_subtasks_too(
    pages: tuple[InFlightJournal, InFlightJournal],
) -> None:
    writer, reader = pages
    writer.watch_loop()
    seen: list[MessageKey] = []

    async def look() -> None:
        for _ in range(2):
            seen.append(reader.read().on_loop)
            await asyncio.sleep(0)

    async def two_at_once() -> None:
        await asyncio.gather(look(), look())
        assert reader.read().on_loop == CALLED_FOR.get()
        with pytest.raises(ValueError, match="mine"):
            await asyncio.create_task(fail())

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("mine")

    async def for_a_message(key: MessageKey) -> None:
        CALLED_FOR.set(key)
        await asyncio.create_task(two_at_once())

    await asyncio.gather(for_a_message(ONE), for_a_message(TWO), look())
    assert sorted(seen) == sorted([ONE] * 4 + [TWO] * 4 + [NOBODY] * 2)
    assert reader.read().on_loop == NOBODY
    await asyncio.create_task(_cancelled(writer))
    assert reader.read().on_loop == NOBODY


async def _cancelled(writer: InFlightJournal) -> None:
    CALLED_FOR.set(ONE)
    waits = asyncio.create_task(asyncio.sleep(3600))
    await asyncio.sleep(0)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
