"""Limits that all entries keep to: places of users, waiting ones, time, and the window of the gateway's own jobs."""

from datetime import datetime, timedelta

import pytest

from gateway.batch.rules.definition import EntryDefinition
from gateway.contracts.task import Runnable
from gateway.kernel.errors import EntryRefused, IllegalTransition
from gateway.kernel.ids import EntryId
from gateway.operations.entries import entry_row
from gateway.queues import (
    EntryAction,
    EntryStatus,
    KeptBy,
    add_entry,
    change_entry,
    edit_entry,
    enqueue,
    list_entries,
    read_entry,
    run_once,
)
from gateway.runtime.jobs import keep_jobs
from tests.fakes import Work, World, _Worker
from tests.integration.queues.test_categories import category
from tests.integration.queues.test_configured_queues import settings

S = EntryStatus


async def limit(world: World, **limits: object) -> None:
    for name, value in limits.items():
        await world.rows(f"UPDATE entry_limits SET {name} = $1", value)


async def add(world: World, user: str = "ann", **options: object) -> EntryId:
    parameters = {"seconds": options.pop("seconds", 60)}
    entry = EntryDefinition(run="work", parameters=parameters, **options)  # type: ignore[arg-type]
    return await add_entry(world.store, entry, by=user, now=world.clock.now(), status=S.READY)


async def statuses(world: World) -> dict[int, EntryStatus]:
    return {one.id: one.status for one in await list_entries(world.store)}


async def test_a_user_has_so_many_in_process_at_once(world: World) -> None:
    await limit(world, per_user=2)
    mine = [await add(world) for _ in range(4)]
    others = await add(world, "ben")
    await world.server("A", threads=8)
    await world.settle()
    assert await statuses(world) == {
        **dict(zip(mine, [S.IN_PROCESS, S.IN_PROCESS, S.READY, S.READY], strict=True)), others: S.IN_PROCESS
    }  # fmt: skip
    kept = await read_entry(world.store, mine[2])
    assert (kept.kept_by, entry_row(kept).kept_by) == (KeptBy.USER, KeptBy.USER)
    with pytest.raises(IllegalTransition, match="ann has as many entries in process as a user may have"):
        await run_once(world.store, mine[3], by="ben", now=world.clock.now())
    await world.pass_(minutes=1)
    assert await statuses(world) == {mine[2]: S.IN_PROCESS, mine[3]: S.IN_PROCESS}
    await world.pass_(minutes=1)
    assert await statuses(world) == {}
    assert await world.rows("SELECT 1 FROM user_slot") == []


async def test_whom_the_limit_of_a_user_keeps_takes_nobodys_place(world: World) -> None:
    await limit(world, per_user=1)
    await category(world, "SalesPost")
    first = await add(world, "carl", category="SalesPost", seconds=60)
    second = await add(world, category="SalesPost", seconds=60)
    third = await add(world, "ben", category="SalesPost", seconds=60)
    await world.server("A", threads=8)
    await world.settle()
    assert await statuses(world) == {first: S.IN_PROCESS, second: S.WAITING, third: S.WAITING}
    long = await add(world, seconds=600)
    await world.pass_(minutes=1)
    assert await statuses(world) == {second: S.READY, third: S.IN_PROCESS, long: S.IN_PROCESS}
    await world.pass_(minutes=9, seconds=30)
    assert await statuses(world) == {second: S.IN_PROCESS}


async def test_a_limit_that_is_set_later_counts_from_then_on(world: World) -> None:
    mine = [await add(world, seconds=60) for _ in range(3)]
    await world.server("A", threads=8)
    await world.settle()
    assert list((await statuses(world)).values()) == [S.IN_PROCESS] * 3
    await limit(world, per_user=1)
    more = [await add(world, seconds=60) for _ in range(2)]
    await world.settle()
    assert [(await statuses(world))[one] for one in more] == [S.IN_PROCESS, S.READY]
    await world.pass_(minutes=5)
    assert await statuses(world) == {}
    assert len(await world.rows("SELECT 1 FROM run")) == len(mine) + len(more)


async def test_a_user_has_so_many_that_wait(world: World) -> None:
    await limit(world, waiting_per_user=2)
    store, now = world.store, world.clock.now()
    await add(world)
    with pytest.raises(EntryRefused, match="ann has 1 job queue entries that are ready or wait, and 2 is the limit"):
        async with store.transaction() as connection:
            await enqueue(connection, store.queries, [EntryDefinition(run="work")] * 2, user="ann", now=now)
    await add(world, "ben")
    await add(world)
    held = await add_entry(store, EntryDefinition(run="work"), by="ann", now=now)
    assert len(await list_entries(store, user="ann")) == 3
    with pytest.raises(EntryRefused, match="2 is the limit") as refused:
        await change_entry(store, held, EntryAction.READY, by="ann", now=now)
    assert refused.value.code == "entry.limit"


async def test_one_that_waited_too_long_for_its_turn_is_removed(world: World) -> None:
    await limit(world, waiting_hours=8.0)
    await category(world, "SalesPost")
    first = await add(world, category="SalesPost", seconds=9 * 3600)
    await world.pass_(minutes=1)
    once = await add(world, category="SalesPost")
    again = await add(world, category="SalesPost", weekdays=tuple(range(7)), minutes=5, seconds=0)
    later = await add(world, category="SalesPost", earliest=world.clock.now() + timedelta(hours=7))
    await world.server("A")
    await world.pass_(hours=8)
    assert await statuses(world) == {first: S.IN_PROCESS, once: S.WAITING, again: S.WAITING, later: S.WAITING}
    await world.pass_(hours=1)
    assert once not in await statuses(world)
    assert again in await statuses(world)
    await world.pass_(minutes=2)
    ran = {row["entry_id"] for row in await world.rows("SELECT entry_id FROM run")}
    assert ran == {first, again, later}


async def test_nothing_takes_longer_than_the_longest_time(world: World) -> None:
    store, now = world.store, world.clock.now()
    endless = Runnable(
        name="endless", description="", parameters=Work, make=lambda p: _Worker(world, p), timeout_seconds=None
    )
    world.more_runnables["endless"] = endless
    two_days = 48 * 3600.0
    with pytest.raises(EntryRefused, match="may take up to 172800 seconds, not 172801") as refused:
        await add(world, timeout_seconds=two_days + 1)
    assert refused.value.code == "entry.limit"
    number = await add(world, timeout_seconds=two_days, earliest=now + timedelta(days=400))
    await change_entry(store, number, EntryAction.HOLD, by="ann", now=now)
    with pytest.raises(EntryRefused, match="max_timeout_seconds"):
        await edit_entry(store, number, EntryDefinition(run="work", timeout_seconds=two_days + 1), now=now)
    entry = EntryDefinition(run="endless", parameters={"seconds": 90 * 3600})
    number = await add_entry(store, entry, by="ann", now=now, status=S.READY)
    await world.server("A")
    await world.to(now + timedelta(seconds=two_days - 1))
    assert (await read_entry(store, number)).status is S.IN_PROCESS
    await world.to(now + timedelta(seconds=two_days + 30))
    found = await read_entry(store, number)
    assert (found.status, found.error_code) == (S.ERROR, "task.timeout")


async def test_limits_come_from_the_configuration(world: World) -> None:
    await keep_jobs(world.store, settings("job_queues: {limits: {per_user: 5, waiting_hours: 8}}"))
    (row,) = await world.rows("SELECT max_timeout_seconds, per_user, waiting_per_user, waiting_hours FROM entry_limits")
    assert tuple(row) == (172_800.0, 5, None, 8.0)
    await keep_jobs(world.store, settings("job_queues: {limits: {waiting_per_user: 100, max_timeout_seconds: 60}}"))
    (row,) = await world.rows("SELECT max_timeout_seconds, per_user, waiting_per_user, waiting_hours FROM entry_limits")
    assert tuple(row) == (60.0, None, 100, None)


async def test_the_jobs_of_the_gateway_start_in_their_window(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def house() -> str:
        return "SELECT p.start_time, p.end_time, p.zone FROM job j JOIN active_period p ON p.name = j.active_period " \
            "WHERE j.name = 'housekeeping'"  # fmt: skip

    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    window = "job_queues: {limits: {system_tasks: {from: '01:00', to: '05:00'ZONE}}}"
    await keep_jobs(world.store, settings(window.replace("ZONE", "")))
    (row,) = await world.rows(house())
    assert [str(value) for value in row] == ["01:00:00", "05:00:00", "Asia/Tokyo"]
    await keep_jobs(world.store, settings(window.replace("ZONE", ", zone: Europe/Copenhagen")))
    (row,) = await world.rows(house())
    assert row["zone"] == "Europe/Copenhagen"
    await keep_jobs(world.store, settings("job_queues: {}"))
    assert await world.rows(house()) == []
    assert await world.rows("SELECT 1 FROM active_period") == []


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"zone": "Mars/Phobos"}, "no time zone 'Mars/Phobos'"),
        ({"weekdays": (7,)}, "numbers from 0"),
        ({"priority": -1}, "a number from 0 to 1000000"),
        ({"minutes": -5}, "0 to 525600 minutes"),
        ({"earliest": datetime(2026, 3, 6, 16)}, "need a time zone"),
        ({"expires": datetime(2026, 3, 6, 16)}, "need a time zone"),
        ({"max_attempts": 11}, "at most 10 further attempts"),
        ({"rerun_delay_seconds": 3601}, "0 to 3600 seconds"),
        ({"inactivity_minutes": 3}, "at least 5 minutes"),
        ({"timeout_seconds": 0}, "may take up to"),
    ],
)
async def test_code_adds_nothing_that_would_hold_up_the_others(
    world: World, wrong: dict[str, object], problem: str
) -> None:
    with pytest.raises(EntryRefused, match=problem):
        await add(world, **wrong)
    assert await list_entries(world.store) == []
