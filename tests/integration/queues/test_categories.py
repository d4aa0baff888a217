"""Entries of one category exclude one another, on all servers; whoever waits is woken by whoever frees the place."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from asyncpg import UniqueViolationError

from gateway.batch.rules.definition import EntryDefinition
from gateway.batch.rules.job import JobStatus
from gateway.batch.store.cancel import cancel_run
from gateway.batch.store.ending import task_reaper
from gateway.db.unit import UnitConnection, UnitTransaction
from gateway.kernel.errors import EntryRefused, IllegalTransition
from gateway.kernel.ids import EntryId, PortName
from gateway.queues import (
    EntryAction,
    EntryStatus,
    KeptBy,
    UnitQueue,
    add_entry,
    change_entry,
    enqueue,
    list_entries,
    read_entry,
    run_once,
    start_entries,
)
from tests.fakes import World

S = EntryStatus


async def category(world: World, name: str, width: int = 1) -> None:
    async with world.store.transaction() as connection:
        await connection.execute("INSERT INTO entry_category (name, width) VALUES ($1, $2)", name, width)


async def add(world: World, category: str | None = "SalesPost", **options: object) -> EntryId:
    parameters = {"seconds": options.pop("seconds", 60), "fails_in": options.pop("fails_in", ())}
    entry = EntryDefinition(
        run="work",
        parameters=parameters,
        parameters_version=2,
        category=category,
        **options,  # type: ignore[arg-type]
    )
    return await add_entry(world.store, entry, by="ann", now=world.clock.now(), status=S.READY)


async def statuses(world: World) -> dict[int, EntryStatus]:
    return {one.id: one.status for one in await list_entries(world.store)}


async def began(world: World) -> list[tuple[int, datetime, datetime]]:
    rows = await world.rows("SELECT entry_id, started_at, ended_at FROM run ORDER BY started_at, id")
    return [(row["entry_id"], row["started_at"], row["ended_at"]) for row in rows]


async def test_one_of_a_category_is_in_process_by_priority_and_then_number(world: World) -> None:
    await category(world, "SalesPost")
    low, first, second = [await add(world, priority=priority) for priority in (2000, 1000, 1000)]
    high = await add(world, priority=500)
    free = await add(world, None)
    for name in ("A", "B"):
        await world.server(name, threads=4)
    await world.settle()
    assert await statuses(world) == {
        high: S.IN_PROCESS, first: S.WAITING, second: S.WAITING, low: S.WAITING, free: S.IN_PROCESS
    }  # fmt: skip
    await world.pass_(minutes=1)
    assert await statuses(world) == {first: S.IN_PROCESS, second: S.WAITING, low: S.WAITING}
    await world.pass_(minutes=4)
    assert await statuses(world) == {}
    runs = [run for run in await began(world) if run[0] != free]
    assert [entry for entry, *_ in runs] == [high, first, second, low]
    assert all(before[2] <= after[1] for before, after in pairwise(runs))


async def test_a_wider_category_lets_that_many_run(world: World) -> None:
    await category(world, "SalesPost", width=2)
    entries = [await add(world) for _ in range(5)]
    await world.server("A", threads=8)
    await world.settle()
    now = await statuses(world)
    assert [now[entry] for entry in entries] == [S.IN_PROCESS] * 2 + [S.WAITING] * 3
    await world.pass_(minutes=3)
    assert await statuses(world) == {}


async def test_places_are_unique_rows(world: World) -> None:
    await category(world, "SalesPost")
    one, other = [await add(world) for _ in range(2)]
    statement = "INSERT INTO entry_slot (category, slot, entry_id) VALUES ('SalesPost', 1, $1)"
    await world.rows(statement, one)
    with pytest.raises(UniqueViolationError):
        await world.rows(statement, other)


async def test_who_fails_or_is_lost_frees_the_place(world: World) -> None:
    await category(world, "SalesPost")
    failing, second, third = [await add(world, fails_in=fails) for fails in ((-1,), (), ())]
    await world.server("A", threads=4)
    await world.pass_(minutes=1)
    assert await statuses(world) == {failing: S.ERROR, second: S.IN_PROCESS, third: S.WAITING}
    fences = [row["fence"] for row in await world.rows("SELECT fence FROM run_task WHERE fence IS NOT NULL")]
    async with world.store.transaction() as connection:  # as the observers of a dead server do
        await task_reaper(world.clock.now)(world.store, connection, fences)
        await connection.execute("DELETE FROM lease WHERE fence = ANY($1::bigint[])", fences)
    assert (await read_entry(world.store, second)).interruptions == 1
    await world.pass_(minutes=4)
    assert await statuses(world) == {failing: S.ERROR}
    outcomes = await world.rows("SELECT entry_id, status FROM run ORDER BY id")
    assert [tuple(row) for row in outcomes][1:3] == [(second, "error"), (second, "ended")]


async def test_one_that_kills_its_servers_ends_in_error(world: World) -> None:
    entry = await add(world, None)
    for _ in range(4):
        await start_entries(world.store, world.clock.now())
        (task,) = await world.rows("SELECT id FROM run_task WHERE status = 'ready'")
        await world.rows("INSERT INTO lease (fence, owner, stage, port) VALUES ($1, 1, 'task', '')", task["id"])
        await world.rows("UPDATE run_task SET status = 'executing', fence = id, attempts = 1 WHERE id = $1", task["id"])
        await world.rows(
            "INSERT INTO attempt (run_task_id, number, server, started_at) VALUES ($1, 1, 'A', now())", task["id"]
        )
        async with world.store.transaction() as connection:
            await task_reaper(world.clock.now)(world.store, connection, [task["id"]])
    found = await read_entry(world.store, entry)
    assert (found.status, found.error_code) == (S.ERROR, "task.server_lost")


async def test_a_place_that_is_not_used_goes_to_the_next(world: World) -> None:
    await category(world, "SalesPost")
    running, waiting, expiring = [await add(world) for _ in range(3)]
    soon = world.clock.now() + timedelta(seconds=30)
    await world.rows("UPDATE queue_entry SET expires = $2, priority = 1 WHERE id = $1", expiring, soon)
    await world.rows("UPDATE queue_entry SET priority = 0 WHERE id = $1", running)
    await world.server("A", threads=4)
    await world.settle()
    assert await statuses(world) == {running: S.IN_PROCESS, waiting: S.WAITING, expiring: S.WAITING}
    await world.pass_(minutes=1)
    assert await statuses(world) == {waiting: S.IN_PROCESS}


async def test_one_that_is_held_or_removed_while_woken_leaves_the_place(world: World) -> None:
    await category(world, "SalesPost")
    first, second, third = [await add(world) for _ in range(3)]
    await start_entries(world.store, world.clock.now())
    run = (await read_entry(world.store, first)).run_id
    assert run is not None
    await cancel_run(world.store, run, by="ben", now=world.clock.now())
    assert await statuses(world) == {first: S.ERROR, second: S.READY, third: S.WAITING}
    await change_entry(world.store, second, EntryAction.DELETE, by="ben", now=world.clock.now())
    assert await statuses(world) == {first: S.ERROR, third: S.READY}
    found = await read_entry(world.store, first)
    assert (found.error_code, found.error) == ("task.canceled", "its run was cancelled by ben")


async def test_one_in_process_stays_and_is_held_when_its_run_has_ended(world: World) -> None:
    entry = await add(world, None, weekdays=tuple(range(7)), minutes=5)
    await world.server("A")
    await world.settle()
    with pytest.raises(IllegalTransition, match="in process: it cannot be deleted"):
        await change_entry(world.store, entry, EntryAction.DELETE, by="ben", now=world.clock.now())
    await change_entry(world.store, entry, EntryAction.HOLD, by="ben", now=world.clock.now())
    assert (await read_entry(world.store, entry)).hold_after
    await world.pass_(minutes=30)
    assert await statuses(world) == {entry: S.ON_HOLD}
    assert len(await began(world)) == 1


async def test_a_try_leaves_an_entry_as_it_was_and_takes_its_place(world: World) -> None:
    await category(world, "SalesPost")
    tried = await add(world, weekdays=(0,), minutes=5, fails_in=(-1,))
    other = await add(world)
    await change_entry(world.store, tried, EntryAction.HOLD, by="ben", now=world.clock.now())
    run = await run_once(world.store, tried, by="ben", now=world.clock.now())
    with pytest.raises(IllegalTransition, match=f"entry {tried} of its category SalesPost is in process"):
        await run_once(world.store, other, by="ben", now=world.clock.now())
    await world.server("A", threads=4)
    await world.settle()
    assert await statuses(world) == {tried: S.IN_PROCESS, other: S.WAITING}
    await world.pass_(minutes=5)
    assert await statuses(world) == {tried: S.ON_HOLD}
    assert (await read_entry(world.store, tried)).error == "RuntimeError: attempt 1 goes wrong"
    (row,) = await world.rows("SELECT cause, status FROM run WHERE id = $1", run)
    assert tuple(row) == ("operator", JobStatus.ERROR)


async def test_an_entry_is_there_exactly_when_its_transaction_committed(world: World) -> None:
    store, now = world.store, world.clock.now()
    entry = EntryDefinition(run="work", parameters={"seconds": 0}, parameters_version=2, record="SalesOrder/SO-1")
    await world.server("A")
    with pytest.raises(RuntimeError):
        async with store.transaction() as connection:
            await enqueue(connection, store.queries, [entry], user="ann", now=now)
            raise RuntimeError
    await world.settle()
    assert await world.rows("SELECT 1 FROM run") == []
    async with store.transaction() as connection:
        numbers = await enqueue(connection, store.queries, [entry], user="ann", now=now)
        assert (await start_entries(store, now)).started == ()  # nobody sees it yet
    with pytest.raises(EntryRefused, match="an entry about SalesOrder/SO-1 already"):
        async with store.transaction() as connection:
            await enqueue(connection, store.queries, [entry], user="ann", now=now)
    await world.settle()
    (run,) = await world.rows("SELECT entry_id, run_as, status FROM run")
    assert tuple(run) == (numbers[0], "ann", "ended")


async def test_a_service_adds_entries_in_the_transaction_of_its_request(world: World) -> None:
    store, entry = world.store, EntryDefinition(run="work", record="SalesOrder/SO-1")
    port = PortName("orders")
    async with UnitTransaction(store, port, silent_seconds=0.0) as unit:
        queue = UnitQueue(UnitConnection(unit), store.queries)
        with pytest.raises(RuntimeError):
            async with unit.attempt():
                await queue.enqueue(entry, user="ann")
                raise RuntimeError
        async with unit.attempt():
            number = await queue.enqueue(entry, user="ann")
        assert await list_entries(store) == []
    (added,) = await list_entries(store, record="SalesOrder/SO-1")
    assert (added.id, added.status, added.user_name, added.source) == (number, S.READY, "ann", "code")


async def test_two_starts_at_once_never_share_a_place(world: World) -> None:
    await category(world, "SalesPost", width=2)
    for _ in range(6):
        await add(world)
    await asyncio.gather(*(start_entries(world.store, world.clock.now(), limit=2) for _ in range(6)))
    now = list((await statuses(world)).values())
    assert (now.count(S.IN_PROCESS), now.count(S.WAITING)) == (2, 4)
    assert [row["slot"] for row in await world.rows("SELECT slot FROM entry_slot ORDER BY slot")] == [1, 2]


async def test_an_unknown_category_is_refused(world: World) -> None:
    with pytest.raises(EntryRefused, match="no job queue category 'Sales'"):
        await add(world, "Sales")


async def test_a_queue_that_is_stopped_starts_nothing_and_its_group_says_where(world: World) -> None:
    await category(world, "SalesPost")
    await world.server("A", groups=["posting"])
    await world.rows(
        "INSERT INTO job_queue (name, categories, batch_group, is_started) "
        "VALUES ('SPPOST', '{SalesPost}', 'posting', false)"
    )
    taken, free = await add(world, seconds=0), await add(world, None, seconds=0)
    await world.pass_(hours=1)
    assert (await statuses(world))[taken] is S.READY
    assert (await read_entry(world.store, taken)).kept_by is KeptBy.STOPPED
    await world.rows("UPDATE job_queue SET is_started = true")
    await world.settle()
    assert list(await statuses(world)) == [free]  # its own group, the default one, has no server
    (row,) = await world.rows("SELECT server FROM run_task JOIN run ON run.id = run_id WHERE entry_id = $1", taken)
    assert row["server"] == "A"


async def test_what_cannot_be_helped_by_trying_again_uses_no_attempts(world: World) -> None:
    await world.server("A")
    entry = EntryDefinition(run="gone", max_attempts=5)
    number = await add_entry(world.store, entry, by="ann", now=world.clock.now(), status=S.READY)
    await world.pass_(minutes=1)
    found = await read_entry(world.store, number)
    assert (found.status, found.attempts, found.error_code) == (S.ERROR, 0, "task.unknown")


@pytest.mark.parametrize(
    ("run", "version", "error"),
    [
        ("newer", 1, None),  # brought to the present version
        ("newer", 3, "stored for version 3 of newer; this gateway has version 2"),
        ("newer", None, "not in order: minutes"),  # meant for the present version
        ("work", 1, "stored for version 1 of work; this gateway has version 2"),  # which cannot read older ones
    ],
)
async def test_parameters_fit_or_end_the_entry_at_once(
    world: World, run: str, version: int | None, error: str | None
) -> None:
    world.more_runnables["newer"] = replace(
        world.find("work"), name="newer", upgrade=lambda _, given: {"seconds": given["minutes"] * 60}
    )
    await world.server("A")
    entry = EntryDefinition(run=run, parameters={"minutes": 0}, parameters_version=version, max_attempts=3)
    number = await add_entry(world.store, entry, by="ann", now=world.clock.now(), status=S.READY)
    await world.pass_(minutes=1)
    if error is None:
        assert await statuses(world) == {}
        return
    found = await read_entry(world.store, number)
    assert (found.status, found.attempts, found.error_code) == (S.ERROR, 0, "task.unpack")
    assert error in str(found.error)


@pytest.mark.parametrize("when", ["it is due", "it has run"])
async def test_an_entry_whose_zone_is_gone_holds_up_no_other(world: World, when: str) -> None:
    store = world.store
    entry = await add(world, None, seconds=60, weekdays=tuple(range(7)), minutes=30)
    other = await add(world, None, seconds=600)
    gone = "UPDATE queue_entry SET zone = 'Mars/Phobos' WHERE id = $1"
    if when == "it is due":
        await world.rows(gone, entry)
    await world.server("A", threads=2)
    await world.settle()
    await world.rows(gone, entry)
    await world.pass_(minutes=1)
    found = await read_entry(store, entry)
    assert (found.status, found.error_code) == (S.ERROR, "entry.timing")
    assert "There is no time zone 'Mars/Phobos'" in str(found.error)
    assert (await read_entry(store, other)).status is S.IN_PROCESS


@pytest.mark.parametrize(("retries", "runs"), [(True, 2), (False, 1)])
async def test_a_timeout_is_tried_again_unless_it_must_not_be(world: World, retries: bool, runs: int) -> None:
    await world.server("A", threads=2)
    entry = await add(world, None, seconds=600, timeout_seconds=60, max_attempts=1, retries_timeout=retries)
    await world.pass_(minutes=5)
    found = await read_entry(world.store, entry)
    assert (found.status, found.error_code) == (S.ERROR, "task.timeout")
    assert len(await began(world)) == runs
