"""Two nodes on a port that may have so much in work: whoever finds it full is told as soon as there is room."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.db.listen import CHANNEL
from gateway.db.open import Store, open_store
from gateway.db.statements import session_sql
from gateway.messaging.processing.claims import InboundResult, PortContended, claim_inbound, record_inbound
from gateway.messaging.queue.leases import give_back, read_beats, start_incarnation, take_back
from gateway.messaging.rules.message import Claimed, Work
from gateway.messaging.rules.states import Stage
from tests.factories import ORDERS, a_message
from tests.integration.db.test_listen import listening
from tests.integration.messaging.test_way_of_a_message import put, record

AT_ONCE = 2


@pytest.fixture
async def other(store: Store, tmp_path: Path) -> AsyncIterator[Store]:
    """The store of a second node on the same database."""
    async with open_store(store.url, tmp_path / "other") as other:
        yield other


async def claim(store: Store, incarnation: int) -> Claimed[Work] | None:
    return await claim_inbound(store, incarnation, ORDERS, 10, at_once=AT_ONCE)


async def a_full_port(store: Store, incarnation: int) -> Claimed[Work]:
    """Let one node have in work what may be, while more waits."""
    await put(store, [a_message(n) for n in range(1, 5)])
    claimed = await claim(store, incarnation)
    assert claimed is not None and len(claimed.items) == AT_ONCE
    return claimed


def done(claimed: Claimed[Work]) -> InboundResult:
    return InboundResult(done=[(work, []) for work in claimed.items])


async def mark(store: Store) -> None:
    """Hint at something of our own, so that what was hinted before is known to have come."""
    async with store.transaction() as connection:
        await session_sql.hint(connection, CHANNEL, "mark")


@pytest.mark.parametrize("end", ["recorded", "given back", "taken back", "started anew"])
async def test_node_that_found_the_port_full_is_told_when_the_other_ends_its_claim(
    store: Store, other: Store, end: str
) -> None:
    first = await start_incarnation(store, "a", "1")
    claimed = await a_full_port(store, first)
    async with listening(other.url) as hints:
        assert await hints.get() is None
        assert await claim(other, 99) is None
        match end:
            case "recorded":
                await record(store, claimed, done(claimed))
            case "given back":
                await give_back(store, claimed.fence)
            case "taken back":
                assert await take_back(other, (await read_beats(other, 99)).leases) == 1
            case _:
                await start_incarnation(store, "a", "1")
        await mark(store)
        assert await hints.get() == Stage.INBOUND
        found = await claim(other, 99)
    assert found is not None and len(found.items) == AT_ONCE


async def test_every_claim_that_holds_the_port_tells(store: Store, other: Store) -> None:
    await put(store, [a_message(n) for n in range(1, 5)])
    claims = [await claim_inbound(store, 1, ORDERS, 1, at_once=AT_ONCE) for _ in range(AT_ONCE)]
    async with listening(other.url) as hints:
        assert await hints.get() is None
        for claimed in claims:
            assert await claim(other, 99) is None
            assert claimed is not None
            await record(store, claimed, done(claimed))
            await mark(store)
            assert [await hints.get(), await hints.get()] == [Stage.INBOUND, "mark"]
            assert await claim_inbound(other, 99, ORDERS, 1, at_once=AT_ONCE) is not None


async def test_nobody_is_told_when_nobody_waits_for_room(store: Store, other: Store) -> None:
    claimed = await a_full_port(store, 1)
    async with listening(other.url) as hints:
        assert await hints.get() is None
        assert await claim(store, 1) is None, "its own claims, whose end it sees"
        await record(store, claimed, done(claimed))
        await mark(store)
        assert await hints.get() == "mark"


async def test_nobody_waits_in_the_database_for_a_claim_that_is_just_ending(store: Store, other: Store) -> None:
    """Its process may be frozen. Whoever finds the port full asks again, and is told by those that can tell."""
    await put(store, [a_message(n) for n in range(1, 5)])
    ending, going_on = [await claim_inbound(store, 1, ORDERS, 1, at_once=AT_ONCE) for _ in range(AT_ONCE)]
    assert ending is not None and going_on is not None
    with pytest.raises(PortContended):
        async with store.transaction() as connection:
            await record_inbound(store, connection, ending.fence, done(ending))
            async with asyncio.timeout(60):
                with pytest.raises(PortContended):
                    await claim(other, 99)
            raise PortContended("it is frozen, and its transaction is ended")
    async with listening(other.url) as hints:
        assert await hints.get() is None
        assert await claim(other, 99) is None
        await record(store, ending, done(ending))
        assert await hints.get() == Stage.INBOUND
    found = await claim(other, 99)
    assert found is not None and len(found.items) == 1
