"""One process at a time takes the files of a port; the lease passes on when it ends, is requested, or is of no use."""

import pytest

from gateway.db.open import Store
from gateway.kernel.errors import LeaseLost
from gateway.messaging.intake.lease import claim_intake, end_intake, guard_intake
from gateway.messaging.intake.writing import ingestion
from gateway.messaging.queue.leases import declare_nodes_lost, start_incarnation, stop_incarnation
from gateway.operations.nodes import Alive, alive
from gateway.operations.reads.places import turn_of_intake
from tests.factories import ORDERS, a_claim, a_file, a_message
from tests.integration.messaging.test_way_of_a_message import rows


async def two(store: Store) -> tuple[int, int]:
    return await start_incarnation(store, "a", "1"), await start_incarnation(store, "b", "1")


async def ingest(store: Store, incarnation: int) -> None:
    async with ingestion(store, lambda connection: guard_intake(connection, incarnation, ORDERS)) as ingesting:
        claim = a_claim()
        await ingesting.add_messages(ORDERS, claim.id, None, None, "continue", [a_message()])
        await ingesting.end_file(a_file(claim), None, [])


async def test_first_one_keeps_its_lease(store: Store) -> None:
    a, b = await two(store)
    assert [await claim_intake(store, one, ORDERS) for one in (a, b, a, b)] == [True, False, True, False]


async def test_whose_turn_it_is_can_be_asked(store: Store) -> None:
    a, _ = await two(store)
    assert await turn_of_intake(store, ORDERS) is None
    await claim_intake(store, a, ORDERS)
    turn = await turn_of_intake(store, ORDERS)
    assert turn is not None and alive(turn) is Alive.RUNNING
    await stop_incarnation(store, a)
    turn = await turn_of_intake(store, ORDERS)
    assert turn is not None and alive(turn) is Alive.STOPPED


@pytest.mark.parametrize("end", ["stopped", "lost", "unable"])
async def test_lease_passes_on_when_its_owner_ends(store: Store, end: str) -> None:
    a, b = await two(store)
    await claim_intake(store, a, ORDERS)
    match end:
        case "stopped":
            await stop_incarnation(store, a)
        case "lost":
            await declare_nodes_lost(store, {a: 0})
        case _:
            await end_intake(store, a, ORDERS)
    assert await claim_intake(store, b, ORDERS)
    assert not await claim_intake(store, a, ORDERS)


async def test_lease_ends_when_somebody_has_claimed_files_to_go_on_with(store: Store) -> None:
    a, b = await two(store)
    await claim_intake(store, a, ORDERS)
    assert not await claim_intake(store, b, ORDERS, request=True)
    assert not await claim_intake(store, a, ORDERS), "it ends its lease"
    assert await claim_intake(store, b, ORDERS, request=True)
    assert not await claim_intake(store, a, ORDERS)


async def test_lease_that_was_requested_in_vain_is_taken_again(store: Store) -> None:
    """Whoever asked may have stopped looking: nobody owns what nobody takes."""
    a, b = await two(store)
    await claim_intake(store, a, ORDERS)
    await claim_intake(store, b, ORDERS, request=True)
    assert [await claim_intake(store, a, ORDERS) for _ in range(3)] == [False, True, True]


async def test_nobody_waits_for_one_that_asked_and_ended(store: Store) -> None:
    a, b = await two(store)
    await claim_intake(store, a, ORDERS)
    await claim_intake(store, b, ORDERS, request=True)
    await stop_incarnation(store, b)
    assert await claim_intake(store, a, ORDERS)


async def test_file_that_is_read_after_the_turn_has_passed_on_is_not_taken_in(store: Store) -> None:
    a, b = await two(store)
    await claim_intake(store, a, ORDERS)
    await ingest(store, a)
    await declare_nodes_lost(store, {a: 0})
    await claim_intake(store, b, ORDERS)
    with pytest.raises(LeaseLost):
        await ingest(store, a)
    assert await rows(store, "SELECT count(*) FROM message") == [(1,)]


async def test_looking_on_writes_nothing(store: Store) -> None:
    a, b = await two(store)
    await claim_intake(store, a, ORDERS)
    before = await rows(store, "SELECT ctid::text, xmin::text FROM intake")
    for one in (a, b):
        await claim_intake(store, one, ORDERS)
    assert await rows(store, "SELECT ctid::text, xmin::text FROM intake") == before
