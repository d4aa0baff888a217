"""Acceptance scenario S30: the life of a job queue entry, with servers and the real database on a clock of our own."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise

import pytest

from gateway.batch.rules.definition import EntryDefinition
from gateway.kernel.errors import EntryRefused, IllegalTransition
from gateway.queues import EntryAction, EntryStatus, add_entry, change_entry, edit_entry, list_entries, read_entry
from tests.fakes import World

WORKDAYS = (0, 1, 2, 3, 4)
FAILS = {"seconds": 0, "fails_in": [-1]}
WELL = {"seconds": 0}


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


async def test_s30_life_of_a_job_queue_entry(world: World) -> None:
    store, clock = world.store, world.clock
    await world.server("A", threads=3)
    night = EntryDefinition(
        name="E", run="work", parameters=FAILS, parameters_version=2, weekdays=WORKDAYS, minutes=30,
        starting=time(22), ending=time(2), max_attempts=3, rerun_delay_seconds=60,
        expires=clock.now() + timedelta(days=7),
    )  # fmt: skip
    e = await add_entry(store, night, by="ann", now=clock.now())
    s = await add_entry(
        store, EntryDefinition(name="S", run="work", parameters=WELL, parameters_version=2), by="ann", now=clock.now()
    )
    every_day = tuple(range(7))
    y = await add_entry(
        store,
        EntryDefinition(
            name="Y", run="work", parameters=WELL, parameters_version=2, weekdays=every_day, minutes=5,
            inactivity_minutes=30,
        ),
        by="ann", now=clock.now(),
    )  # fmt: skip
    assert {one.status for one in await list_entries(store)} == {EntryStatus.ON_HOLD}
    await world.pass_(minutes=10)
    assert await world.rows("SELECT 1 FROM run") == []
    for entry in (e, s, y):
        await change_entry(store, entry, EntryAction.READY, by="ben", now=clock.now())
    began = clock.now()
    await world.settle()

    # S succeeds: it is gone, its line in the log stays; who set it to ready ran it.
    with pytest.raises(EntryRefused, match="There is no entry"):
        await read_entry(store, s)
    (line,) = await world.rows("SELECT status, run_as, created_by, job FROM run WHERE entry_id = $1", s)
    assert tuple(line) == ("ended", "ben", "ann", "S")

    # Y finds nothing to do, and sleeps for half an hour.
    assert (await read_entry(store, y)).status is EntryStatus.INACTIVE
    await world.to(began + timedelta(minutes=29))
    assert len(await world.rows("SELECT 1 FROM run WHERE entry_id = $1", y)) == 1
    await world.to(began + timedelta(minutes=30))
    assert len(await world.rows("SELECT 1 FROM run WHERE entry_id = $1", y)) == 2
    await change_entry(store, y, EntryAction.HOLD, by="ben", now=clock.now())

    # E waits for its window, fails four times, a minute and a little more apart, and has failed then.
    assert (await read_entry(store, e)).next_start == at(6, 22)
    await world.to(at(6, 23))
    runs = await world.rows("SELECT started_at, status FROM run WHERE entry_id = $1 ORDER BY id", e)
    assert [run["status"] for run in runs] == ["error"] * 4
    assert runs[0]["started_at"] == at(6, 22)
    waits = [(after["started_at"] - before["started_at"]).total_seconds() for before, after in pairwise(runs)]
    assert waits == [60.01, 60.1, 61.0]
    failed = await read_entry(store, e)
    assert (failed.status, failed.attempts) == (EntryStatus.ERROR, 3)
    assert failed.error == "RuntimeError: attempt 1 goes wrong"

    # It is mended: only on hold it may be changed, and a change begins its attempts anew.
    mended = replace(night, parameters=WELL)
    with pytest.raises(IllegalTransition, match="Put it on hold first"):
        await edit_entry(store, e, mended, now=clock.now())
    await world.to(at(9, 20))
    await change_entry(store, e, EntryAction.HOLD, by="ben", now=clock.now())
    await edit_entry(store, e, mended, now=clock.now())
    assert (await read_entry(store, e)).attempts == 0
    await change_entry(store, e, EntryAction.READY, by="ben", now=clock.now())

    # Monday evening: from 22:00 every half hour through midnight until Tuesday 02:00, then Tuesday 22:00.
    await world.to(at(10, 22))
    starts = await world.rows(
        "SELECT started_at FROM run WHERE entry_id = $1 AND id > $2 ORDER BY id", e, failed.last_run_id
    )
    expected = [at(9, 22) + timedelta(minutes=30 * number) for number in range(9)]
    assert [start["started_at"] for start in starts] == [*expected, at(10, 22)]
    again = await read_entry(store, e)
    assert (again.attempts, again.next_start) == (0, at(10, 22, 30))

    # A week later it is removed, unrun, when it comes due.
    await world.to(at(13, 23))
    with pytest.raises(EntryRefused):
        await read_entry(store, e)
    last = await world.rows("SELECT max(started_at) AS at FROM run WHERE entry_id = $1", e)
    assert last[0]["at"] == at(13, 1, 30) + timedelta(minutes=30)


async def test_the_window_of_friday_lasts_into_saturday_and_the_next_opens_on_monday(world: World) -> None:
    await world.server("A")
    night = EntryDefinition(
        run="work", parameters=WELL, parameters_version=2, weekdays=WORKDAYS, minutes=60, starting=time(22),
        ending=time(2),
    )  # fmt: skip
    entry = await add_entry(world.store, night, by="ann", now=world.clock.now(), status=EntryStatus.READY)
    await world.to(at(9, 22, 30))
    starts = await world.rows("SELECT started_at FROM run WHERE entry_id = $1 ORDER BY id", entry)
    assert [one["started_at"] for one in starts] == [at(6, 22), at(6, 23), at(7), at(7, 1), at(7, 2), at(9, 22)]
