"""Leases live by beats: who counts keeps its work, whoever stands still loses it, and no clock has a say."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from asyncpg import Connection

from gateway.db.open import Store, open_store
from gateway.kernel.ids import Fence
from gateway.kernel.retry import LONGEST_SECONDS
from gateway.messaging.processing.claims import InboundResult, claim_inbound, record_inbound
from gateway.messaging.queue.leases import (
    beat,
    declare_nodes_lost,
    draw_fence,
    drop_lease,
    ports_with_work,
    read_beats,
    start_incarnation,
    stop_incarnation,
    take_back,
    take_lease,
    wake_due,
)
from gateway.messaging.rules.message import Retry
from gateway.messaging.rules.states import Stage
from gateway.messaging.statements.lease_sql import LostNode
from tests.clock import DatabaseClock
from tests.factories import ORDERS
from tests.integration.messaging.test_way_of_a_message import a_message, claim, put, rows
from tests.statements import replaced


async def a_lease(store: Store, owner: int = 1) -> Fence:
    async with store.transaction() as connection:
        fence = await draw_fence(connection)
        await take_lease(connection, fence, owner, Stage.INBOUND, ORDERS, 1)
        return fence


async def a_lost_node(store: Store) -> int:
    incarnation = await start_incarnation(store, "lost", "1")
    await declare_nodes_lost(store, {incarnation: 0})
    return incarnation


async def test_beat_counts_the_process_and_what_it_works_on_only(store: Store) -> None:
    own, other = await start_incarnation(store, "a", "1"), await start_incarnation(store, "b", "1")
    held, doubtful, others = await a_lease(store, own), await a_lease(store, own), await a_lease(store, other)
    store.held.add(held)
    assert not await beat(store, own)
    beats = await read_beats(store, other)
    assert beats.leases == {held: 1, doubtful: 0, others: 0}
    assert beats.processes == {own: 1}


async def test_lease_that_counted_on_since_it_was_seen_stays(store: Store) -> None:
    fence = await a_lease(store)
    seen = (await read_beats(store, 0)).leases
    store.held.add(fence)
    await start_incarnation(store, "a", "1")
    await beat(store, 1)
    assert await take_back(store, seen) == 0
    assert await take_back(store, (await read_beats(store, 0)).leases) == 1


async def test_lease_that_is_just_being_completed_is_neither_waited_for_nor_taken(store: Store) -> None:
    incarnation = await start_incarnation(store, "a", "1")
    completing, other = await a_lease(store, incarnation), await a_lease(store, incarnation)
    store.held |= {completing, other}
    async with store.transaction() as connection:
        await drop_lease(store, connection, completing)
        await beat(store, incarnation)
        assert await take_back(store, {completing: 0, other: 1}) == 1


async def test_pool_that_is_used_up_does_not_look_like_a_death(database_url: str, tmp_path: Path) -> None:
    async with open_store(database_url, tmp_path / "data", pool_size=1) as store:
        incarnation = await start_incarnation(store, "a", "1")
        fence = await a_lease(store, incarnation)
        store.held.add(fence)
        async with store.transaction():
            await beat(store, incarnation)
            assert (await read_beats(store, 0)).leases == {fence: 1}


async def test_lost_node_is_told_once_and_its_work_is_ready_again(store: Store) -> None:
    await put(store, [a_message()])
    lost = await start_incarnation(store, "lost", "1")
    assert await claim_inbound(store, lost, ORDERS, 10) is not None
    (one,) = await declare_nodes_lost(store, {lost: 0})
    assert isinstance(one, LostNode) and (one.incarnation, one.node) == (lost, "lost")
    assert await declare_nodes_lost(store, {lost: 0}) == []
    assert await claim_inbound(store, 99, ORDERS, 10) is not None
    assert lost not in (await read_beats(store, 0)).processes


async def test_process_that_counted_on_since_it_was_seen_is_not_lost(store: Store) -> None:
    incarnation = await start_incarnation(store, "a", "1")
    await beat(store, incarnation)
    assert await declare_nodes_lost(store, {incarnation: 0}) == []


async def test_process_that_was_taken_for_dead_is_told_at_its_next_beat(store: Store) -> None:
    incarnation = await a_lost_node(store)
    assert await beat(store, incarnation)
    assert not await beat(store, incarnation)
    assert (await read_beats(store, 0)).processes == {incarnation: 2}


async def test_nobody_observes_processes_that_ended_or_began_anew(store: Store) -> None:
    first, stopped = await start_incarnation(store, "a", "1"), await start_incarnation(store, "b", "1")
    await stop_incarnation(store, stopped)
    second = await start_incarnation(store, "a", "2")
    assert first != second
    assert (await read_beats(store, 0)).processes == {second: 0}


async def test_what_else_lies_under_a_lease_is_reaped_with_it(store: Store) -> None:
    reaped: list[list[Fence]] = []

    async def reap(_: Store, connection: Connection, fences: Sequence[Fence]) -> None:
        assert await connection.fetchval("SELECT count(*) FROM lease WHERE fence = ANY($1)", fences) == 0
        reaped.append(list(fences))

    first = await start_incarnation(store, "a", "1")
    fences = [await a_lease(store, first), await a_lease(store, first), await a_lease(store, first)]
    await take_back(store, {fences[0]: 0}, [reap])
    await declare_nodes_lost(store, {first: 0}, [reap])
    await a_lease(store, first)
    await start_incarnation(store, "a", "2", [reap])
    assert reaped == [[fences[0]], fences[1:], [Fence(fences[2] + 1)]]


@pytest.fixture
async def clock(database_url: str) -> DatabaseClock:
    clock = DatabaseClock(database_url)
    await clock.take_over()
    return clock


@pytest.fixture
async def moved(clock: DatabaseClock, database_url: str, tmp_path: Path) -> AsyncIterator[Store]:
    """A store on the database with the clock that can be moved."""
    async with open_store(database_url, tmp_path / "data") as store:
        yield store


async def waiting_messages(store: Store, seconds: float) -> None:
    """Let two messages wait for their next try: one without a lane, one at the head of its lane with one behind."""
    await put(store, [a_message(1), a_message(2, lane="port"), a_message(3, lane="port")])
    claimed = await claim(store)
    free, head, behind = sorted(claimed.items, key=lambda work: (work.lane is not None, work.key))
    result = InboundResult(again=[Retry(free, seconds, "away"), Retry(head, seconds, "away")], released=[behind])
    async with store.transaction() as connection:
        await record_inbound(store, connection, claimed.fence, result)


@pytest.mark.parametrize("jump", [-7200.0, 7200.0, 31_536_000.0], ids=["back", "ahead", "a-year-ahead"])
async def test_waiting_time_survives_a_clock_that_jumps(moved: Store, clock: DatabaseClock, jump: float) -> None:
    await waiting_messages(moved, 200.0)
    assert await wake_due(moved) == (set(), pytest.approx(200.0, abs=150.0))
    await clock.jump(jump)
    stages, _ = await wake_due(moved)
    assert stages == {Stage.INBOUND}
    assert await ports_with_work(moved, Stage.INBOUND, [ORDERS]) == [ORDERS]
    assert len((await claim(moved)).items) == 3
    assert await wake_due(moved) == (set(), None)


async def test_longest_waiting_time_is_waited(moved: Store) -> None:
    await waiting_messages(moved, LONGEST_SECONDS)
    stages, seconds = await wake_due(moved)
    assert stages == set() and seconds is not None and seconds > LONGEST_SECONDS - 60
    assert await claim_inbound(moved, 1, ORDERS, 10) is None


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
async def test_lease_survives_a_clock_that_jumps(moved: Store, clock: DatabaseClock, jump: float) -> None:
    incarnation = await start_incarnation(moved, "a", "1")
    fence = await a_lease(moved, incarnation)
    moved.held.add(fence)
    seen = await read_beats(moved, 0)
    await clock.jump(jump)
    await beat(moved, incarnation)
    assert await take_back(moved, seen.leases) == 0 and await declare_nodes_lost(moved, seen.processes) == []
    assert await rows(moved, "SELECT beats FROM lease") == [(1,)]


BY_THE_CLOCK = {
    "still_leases": """SELECT fence FROM lease JOIN unnest($1::bigint[], $2::bigint[]) AS seen (f, n) ON fence = f
        WHERE taken_at < clock_timestamp() - interval '30 s' FOR UPDATE OF lease""",
    "reclaim_postponed": "SELECT $1::float8",
}
"""Statements that believe the clock: a claim lasts until a time of day, and what waits does so however long it is."""


async def test_claims_and_waiting_times_that_go_by_the_clock_are_seen_to_suffer(
    moved: Store, clock: DatabaseClock
) -> None:
    """The proofs can fail."""
    with replaced(**BY_THE_CLOCK):
        incarnation = await start_incarnation(moved, "a", "1")
        moved.held.add(await a_lease(moved, incarnation))
        seen = await read_beats(moved, 0)
        await clock.jump(7200.0)
        await beat(moved, incarnation)
        assert await take_back(moved, seen.leases) == 1, "the owner lives"
        await waiting_messages(moved, 200.0)
        await clock.jump(-7200.0)
        assert await wake_due(moved) == (set(), pytest.approx(4 * 3600.0, abs=900.0)), "it waits for hours"
