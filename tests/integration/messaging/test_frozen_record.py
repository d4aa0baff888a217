"""A process that is frozen while it records, or takes a file in, loses its locks soon: who waits does not fail."""

import pytest
from asyncpg import Connection

from gateway.db.open import Store
from gateway.kernel.errors import StoreUnavailable
from gateway.messaging.intake.writing import ingestion
from gateway.messaging.processing.claims import InboundResult, record_inbound
from gateway.messaging.queue import leases
from gateway.messaging.queue.leases import give_back
from gateway.messaging.rules.message import Claimed, Work
from gateway.messaging.rules.states import Policy
from gateway.messaging.statements import entities_sql
from tests.factories import ORDERS, a_claim, a_file, a_message
from tests.integration.messaging.test_way_of_a_message import claim, put, record, rows


@pytest.fixture(autouse=True)
def impatient_records(patient_sessions: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others wait for locks as long as in all tests, but a record that stands still ends soon."""
    monkeypatch.setattr(leases, "IDLE_TIMEOUT", "1s")


def done(claimed: Claimed[Work]) -> InboundResult:
    return InboundResult(done=[(work, []) for work in claimed.items])


async def take_number(store: Store) -> int:
    async with store.transaction() as connection:
        return int(await entities_sql.take_numbers(connection, "Order", 1, 1, 1))


async def test_who_waits_for_a_frozen_record_goes_on_and_the_frozen_one_has_done_nothing(store: Store) -> None:
    """Its own port waits for the set and for the lane, a neighbour for the number."""
    await put(store, [a_message(1, lane="a"), a_message(2)], batch=True)
    frozen, other = await claim(store, 1), await claim(store, 1)
    numbers: list[int] = []
    with pytest.raises(StoreUnavailable):
        async with store.transaction() as connection:
            await entities_sql.take_numbers(connection, "Order", 1, 1, 1)
            try:
                await record_inbound(store, connection, frozen.fence, done(frozen))
            finally:
                numbers.append(await take_number(store))
                await record(store, other, done(other))
                await put(store, [a_message(1, lane="a")])
    assert numbers == [1]
    assert await rows(store, "SELECT processed FROM message_set") == [(1,)]
    await give_back(store, frozen.fence)
    again = await claim(store)
    assert [work.position for work in again.items] == [1, 1]
    await record(store, again, done(again))
    assert await rows(store, "SELECT count(*) FROM lane") == [(0,)]


async def test_who_works_on_a_lane_waits_for_a_frozen_intake_and_goes_on(store: Store) -> None:
    await put(store, [a_message(1, lane="a")])
    claimed = await claim(store)

    async def frozen(_: Connection) -> None:
        await record(store, claimed, done(claimed))

    file = a_claim()
    with pytest.raises(StoreUnavailable):
        async with ingestion(store, frozen) as ingesting:
            await ingesting.add_messages(ORDERS, file.id, None, None, Policy.CONTINUE, [a_message(1, lane="a")])
            await ingesting.end_file(a_file(file), None, [])
    assert await rows(store, "SELECT outcome FROM message") == [("processed",)]
    assert await rows(store, "SELECT count(*) FROM lane") == [(0,)]
