"""Acceptance scenarios S11-S15, S17: when occurrences start, and what an operator may change.

Source: batch reference, section 27.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.batch.rules.definition import DependencyDefinition
from gateway.batch.rules.job import Base, HistoryMode, JobStatus, Missed, Wanted
from gateway.batch.rules.transitions import JobAction
from gateway.batch.store.cancel import cancel_job, requeue_job
from gateway.batch.store.jobs import change_status, delete_job
from gateway.batch.store.starting import start_due, start_now
from gateway.kernel.errors import IllegalTransition
from gateway.kernel.ids import JobId
from tests.fakes import World, task

DAY = datetime(2026, 3, 2, tzinfo=UTC)


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return DAY.replace(hour=hour, minute=minute, second=second)


async def starts(world: World, job: int) -> list[str]:
    """When the occurrences of a job really started."""
    return [f"{run['started_at']:%H:%M}" for run in await world.runs(job)]


async def test_s11_start_time_and_pick_up(world: World) -> None:
    world.clock.move_to(at(9, 0, 20))
    await world.server("A", threads=10)
    j1 = await world.job("J1", [task("1")])
    j2 = await world.job("J2", [task("2")], start=at(9, 30))
    j3 = await world.job("J3", [task("3")], start=at(8) - timedelta(days=1), status=JobStatus.WITHHOLD)
    await world.settle()
    assert ((await world.read(j1)).status, (await world.read(j1)).original_start) == (JobStatus.EXECUTING, at(9, 0, 20))
    await world.to(at(9, 10))
    assert (await world.runs(j2), await world.runs(j3)) == ([], [])
    await change_status(world.store, j3, JobAction.ARM, by="ann", now=world.clock.now())
    await world.to(at(10))
    assert [(await world.runs(job))[0]["started_at"] for job in (j1, j2, j3)] == [at(9, 0, 20), at(9, 30), at(9, 10)]


@pytest.mark.parametrize(
    ("recurrence", "days"),
    [
        (
            {"every": "1 weeks", "on": ["wednesday"]},
            ["05-07", "05-14", "05-21", "05-28", "06-04", "06-11", "06-18", "06-25", "07-02", "07-09"],
        ),
        ({"every": "2 weeks", "on": ["wednesday"]}, ["05-07", "05-21", "06-04", "06-18", "07-02", "07-16", "07-30"]),
        (
            {"every": "1 weeks", "on": ["tuesday", "wednesday"]},
            ["05-07", "05-13", "05-14", "05-20", "05-21", "05-27", "05-28", "06-03", "06-04", "06-10"],
        ),
    ],
    ids=["weekly", "every second week", "two days"],
)
async def test_s12_weekly_with_a_count_and_a_zone(world: World, recurrence: dict[str, object], days: list[str]) -> None:
    world.clock.move_to(datetime(2014, 5, 1, tzinfo=UTC))
    await world.server("A")
    job = await world.job(
        "weekly", [task("T", seconds=300)], start=datetime(2014, 5, 7, 1, tzinfo=ZoneInfo("America/Los_Angeles")),
        recurrence={**recurrence, "zone": "America/Los_Angeles", "end_after": 10},
    )  # fmt: skip
    for day in days[1:]:
        planned = datetime.strptime(f"2014-{day} 08:00 +0000", "%Y-%m-%d %H:%M %z")
        await world.to(planned - timedelta(minutes=1))
        now = await world.read(job)
        assert (now.status, now.next_start) == (JobStatus.WAITING, planned)
    await world.to(datetime(2014, 8, 1, tzinfo=UTC))
    runs = await world.runs(job)
    assert [f"{run['planned_at']:%m-%d %H:%M}" for run in runs] == [f"{day} 08:00" for day in days]
    assert {run["ended_at"] - run["started_at"] for run in runs} == {timedelta(minutes=5)}
    assert (await world.read(job)).status is (JobStatus.ENDED if len(days) == 10 else JobStatus.WAITING)


async def test_s13_month_ends_and_both_clock_changes(world: World) -> None:
    zone = ZoneInfo("Europe/Copenhagen")
    world.clock.move_to(datetime(2025, 1, 30, 12, tzinfo=UTC))
    await world.server("A", threads=5)
    common, work = {"zone": "Europe/Copenhagen"}, [task("T", seconds=0)]
    monthly = await world.job(
        "M", work, start=datetime(2025, 1, 31, 23, tzinfo=zone), recurrence={"every": "1 months", **common}
    )
    daily = await world.job(
        "D", work, start=datetime(2025, 3, 29, 2, 30, tzinfo=zone), recurrence={"every": "1 days", **common}
    )
    hourly = await world.job(
        "H", work, start=datetime(2025, 3, 30, tzinfo=zone), recurrence={"every": "60 minutes", **common}
    )

    async def local(job: int) -> list[datetime]:
        return [run["started_at"].astimezone(zone) for run in await world.runs(job)]

    async def between(action: JobAction, moment: datetime) -> None:
        """Nothing of them matters in between."""
        await world.to(moment)
        for job in (daily, hourly):
            await change_status(world.store, job, action, by="ann", now=world.clock.now())

    await between(JobAction.WITHHOLD, datetime(2025, 3, 31, 1, tzinfo=UTC))
    assert [f"{moment:%m-%d %H:%M}" for moment in await local(daily)] == ["03-29 02:30", "03-30 03:00", "03-31 02:30"]
    await between(JobAction.ARM, datetime(2025, 10, 25, 21, 30, tzinfo=UTC))
    await between(JobAction.WITHHOLD, datetime(2025, 10, 27, 2, tzinfo=UTC))
    later = (await local(daily))[4:]
    assert [f"{moment:%m-%d %H:%M}" for moment in later] == ["10-26 02:30", "10-27 02:30"]
    assert later[0].utcoffset() == timedelta(hours=2)  # the first of the two
    hours = await local(hourly)
    assert [sum(f"{moment:%m-%d}" == day for moment in hours) for day in ("03-30", "10-26")] == [23, 25]
    of_nights = [moment for moment in hours if f"{moment:%m-%d}" in {"03-30", "10-26"}]
    gaps = [after.astimezone(UTC) - before.astimezone(UTC) for before, after in itertools.pairwise(of_nights)]
    assert Counter(gaps)[timedelta(hours=1)] == 23 + 25 - 2  # all but the summer between the two nights
    await world.to(datetime(2025, 11, 1, tzinfo=UTC))
    assert [f"{moment:%m-%d %H:%M}" for moment in await local(monthly)] == [
        "01-31 23:00", "02-28 23:00", "03-31 23:00", "04-30 23:00", "05-31 23:00", "06-30 23:00", "07-31 23:00",
        "08-31 23:00", "09-30 23:00", "10-31 23:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("missed", "base", "expected"),
    [
        (Missed.COALESCE, Base.SCHEDULE, ["08:00", "08:10", "08:40", "08:50", "09:00", "09:47", "09:50"]),
        (Missed.SKIP, Base.SCHEDULE, ["08:00", "08:10", "08:40", "08:50", "09:00", "09:50"]),
        (
            Missed.ALL, Base.SCHEDULE,
            ["08:00", "08:10", "08:34", "08:34", "08:40", "08:50", "09:00", *["09:47"] * 4, "09:50"],
        ),
        (Missed.COALESCE, Base.FINISH, ["08:00", "08:10", "08:44", "08:54", "09:47"]),
    ],
)  # fmt: skip
async def test_s14_overrun_outage_catch_up(world: World, missed: Missed, base: Base, expected: list[str]) -> None:
    world.clock.move_to(at(7, 59))
    await world.server("A", threads=5)
    job = await world.job(
        "J", [task("T", seconds=0)], start=at(8), recurrence={"every": "10 minutes"}, missed=missed, base=base
    )
    await world.to(at(8, 5))
    async with world.store.transaction() as connection:  # the occurrence of 08:10 takes 24 minutes
        await connection.execute("""UPDATE task SET parameters = '{"seconds": 1440}'""")
    await world.to(at(8, 15))
    async with world.store.transaction() as connection:
        await connection.execute("""UPDATE task SET parameters = '{"seconds": 0}'""")
    await world.to(at(9, 1))
    await world.stop("A")
    world.clock.move_to(at(9, 47))
    await world.server("A", threads=5)
    await world.to(at(9, 55))
    assert await starts(world, job) == expected
    runs = await world.runs(job)
    assert all(before["ended_at"] <= after["started_at"] for before, after in itertools.pairwise(runs))
    assert all(run["planned_at"] <= run["started_at"] for run in runs)
    if base is Base.SCHEDULE:
        assert next(f"{run['planned_at']:%H:%M}" for run in runs if run["overran"]) == "08:10"
        assert {run["planned_at"].minute % 10 for run in runs} == {0}  # both are kept: on the grid, and when it began


async def test_s15_a_recurring_job_that_fails_comes_back(world: World) -> None:
    world.clock.move_to(at(9, 30))
    await world.server("A")
    job = await world.job(
        "hourly", [task("T", seconds=60, fails_in=[-1])], start=at(10), recurrence={"every": "1 hours"},
        history=HistoryMode.ERRORS,
    )  # fmt: skip
    await world.to(at(10, 5))
    now = await world.read(job)
    assert (now.status, now.next_start, now.last_outcome) == (JobStatus.WAITING, at(11), "error")
    async with world.store.transaction() as connection:
        await connection.execute("""UPDATE task SET parameters = '{"seconds": 60}'""")
    await world.to(at(11, 5))
    after = await world.read(job)
    assert (after.last_outcome, after.runs, after.failures) == ("ended", 2, 1)
    assert [run["status"] for run in await world.runs(job)] == ["error"]


async def jobs_in_each_status(world: World) -> Mapping[JobStatus, JobId]:
    """A job in each status. Those under way are worked on; those that failed or went well have used a retry."""
    await world.server("A", threads=9)
    jobs = {
        JobStatus.WITHHOLD: await world.job("withhold", [task("T")], status=JobStatus.WITHHOLD),
        JobStatus.WAITING: await world.job("waiting", [task("T")], start=world.clock.now() + timedelta(days=1)),
        JobStatus.EXECUTING: await world.job("executing", [task("T", seconds=600)]),
        JobStatus.CANCELLING: await world.job("cancelling", [task("T", seconds=600, handler="stubborn")]),
        JobStatus.ERROR: await world.job("error", [task("T", fails_in=[-1], max_retries=1)]),
        JobStatus.ENDED: await world.job("ended", [task("T", fails_in=[1], max_retries=1)]),
        JobStatus.CANCELED: await world.job("canceled", [task("T", handler="stubborn")]),
    }
    await world.settle()
    for status in (JobStatus.CANCELLING, JobStatus.CANCELED):
        await cancel_job(world.store, jobs[status], by="ann", now=world.clock.now())
    await world.pass_(minutes=2)
    assert {status: (await world.read(job)).status for status, job in jobs.items()} == {
        each: each for each in JobStatus
    }
    return jobs


REFUSED = {
    JobAction.ARM: {JobStatus.WAITING, JobStatus.EXECUTING, JobStatus.CANCELLING},
    JobAction.WITHHOLD: {JobStatus.WITHHOLD, JobStatus.CANCELLING},
    JobAction.CANCEL: set(JobStatus) - {JobStatus.WAITING, JobStatus.EXECUTING},
    JobAction.FORCE_REQUEUE: set(JobStatus),  # also of one that executes: its lease is alive
    JobAction.DELETE: {JobStatus.EXECUTING, JobStatus.CANCELLING},
}


async def test_s17_each_refusal_names_the_present_status_and_changes_nothing(world: World) -> None:
    jobs = await jobs_in_each_status(world)

    async def ask(job: JobId, action: JobAction) -> None:
        now = world.clock.now()
        match action:
            case JobAction.ARM | JobAction.WITHHOLD:
                await change_status(world.store, job, action, by="ann", now=now)
            case JobAction.CANCEL:
                await cancel_job(world.store, job, by="ann", now=now)
            case JobAction.FORCE_REQUEUE:
                await requeue_job(world.store, job, by="ann", now=now)
            case JobAction.DELETE:
                await delete_job(world.store, job, by="ann")

    before = await world.rows("SELECT * FROM job ORDER BY id")
    for action, statuses in REFUSED.items():
        for status in statuses:
            with pytest.raises(IllegalTransition) as refused:
                await ask(jobs[status], action)
            shown = "on hold" if status is JobStatus.WITHHOLD else status.value
            assert str(refused.value).startswith(f"Job {status.value!r} is {shown}: it cannot be ")
    assert await world.rows("SELECT * FROM job ORDER BY id") == before


async def test_s17_a_job_that_is_armed_has_all_its_tasks_and_retries_again(world: World) -> None:
    jobs = await jobs_in_each_status(world)
    armed = [jobs[each] for each in (JobStatus.WITHHOLD, JobStatus.ERROR, JobStatus.ENDED, JobStatus.CANCELED)]
    used = "SELECT retries FROM run_task t JOIN run r ON r.id = t.run_id WHERE r.job_id = ANY($1) ORDER BY t.id"
    assert [row["retries"] for row in await world.rows(used, armed)] == [1, 1, 0]
    for job in armed:
        assert (
            await change_status(world.store, job, JobAction.ARM, by="ann", now=world.clock.now()) is JobStatus.WAITING
        )
    await world.settle()
    rows = await world.rows(
        "SELECT t.status, t.attempts, t.retries FROM job j JOIN run_task t ON t.run_id = j.run_id WHERE j.id = ANY($1)",
        armed,
    )
    assert [tuple(row) for row in rows] == [("executing", 1, 0)] * 4


async def test_s17_changing_status_by_hand(world: World) -> None:
    await world.server("A")
    now = world.clock.now
    store = world.store
    job = await world.job("T", [task("T", fails_in=[-1])], status=JobStatus.WITHHOLD, start=now() + timedelta(hours=1))

    async def ask(action: JobAction) -> JobStatus:
        return await change_status(store, job, action, by="ann", now=now())

    assert await ask(JobAction.ARM) is JobStatus.WAITING
    assert await ask(JobAction.WITHHOLD) is JobStatus.WITHHOLD
    await ask(JobAction.ARM)
    await world.pass_(hours=1)
    with pytest.raises(IllegalTransition, match="executing"):
        await delete_job(store, job, by="ann")
    with pytest.raises(IllegalTransition, match="executing"):
        await ask(JobAction.ARM)
    assert await ask(JobAction.WITHHOLD) is JobStatus.EXECUTING  # a wish: the occurrence ends first
    await world.pass_(minutes=1)
    assert (await world.read(job)).status is JobStatus.WITHHOLD
    assert await ask(JobAction.ARM) is JobStatus.WAITING
    await world.pass_(minutes=1)
    assert (await world.read(job)).status is JobStatus.ERROR
    assert await ask(JobAction.ARM) is JobStatus.WAITING  # restart: all tasks afresh
    await world.settle()
    assert await world.tasks(job) == {"T": "executing"}
    await world.pass_(minutes=1)
    await delete_job(store, job, by="ann")
    assert len(await world.rows("SELECT 1 FROM run WHERE job_id = $1", job)) == 3


async def test_a_job_starts_when_others_have_come_so_far(world: World) -> None:
    await world.server("A", threads=5)
    first = await world.job("first", [task("1")], recurrence={"every": "1 hours"})
    second = await world.job("second", [task("2", fails_in=[-1])])
    after = await world.job(
        "after", [task("3")],
        dependencies=(DependencyDefinition(parent="first"), DependencyDefinition(parent="second", wanted=Wanted.ERROR)),
    )  # fmt: skip
    await world.pass_(minutes=1)
    assert await starts(world, after) == ["12:01"]
    await world.pass_(hours=2)
    assert await starts(world, after) == ["12:01"]  # the second has not failed again since
    assert len(await world.runs(first)) == 3
    await change_status(world.store, second, JobAction.ARM, by="ann", now=world.clock.now())
    await world.pass_(minutes=1)
    assert await starts(world, after) == ["12:01", "14:02"]


async def test_a_job_started_by_hand_keeps_its_planned_start(world: World) -> None:
    await world.server("A")
    job = await world.job("hourly", [task("T")], start=at(13), recurrence={"every": "1 hours"})
    world.clock.move_to(at(12, 20))
    await start_now(world.store, job, by="ann", now=world.clock.now())
    await world.to(at(13, 30))
    assert [(run["cause"], f"{run['planned_at']:%H:%M}") for run in await world.runs(job)] == [
        ("operator", "12:20"), ("schedule", "13:00")
    ]  # fmt: skip


async def test_two_servers_start_a_planned_start_once(world: World) -> None:
    jobs = [await world.job(f"j{n}", [task("T")]) for n in range(30)]
    await asyncio.gather(*(start_due(world.store, world.clock.now(), limit=7) for _ in range(12)))
    runs = await world.rows("SELECT job_id, count(*) AS runs FROM run GROUP BY job_id")
    assert {row["runs"] for row in runs} == {1}
    assert {row["job_id"] for row in runs} <= set(jobs)


async def test_a_clock_that_was_set_back_does_not_stop_a_recurring_job(world: World) -> None:
    await world.server("A")
    job = await world.job("minutely", [task("T", seconds=0)], recurrence={"every": "10 minutes"})
    await world.pass_(minutes=35)
    world.clock.jump(86_400)  # wrongly
    await world.settle()
    world.clock.jump(-86_400)
    await world.settle()
    await world.pass_(minutes=15)
    planned = [f"{run['planned_at']:%d %H:%M}" for run in await world.runs(job)]
    assert planned == ["01 12:00", "01 12:10", "01 12:20", "01 12:30", "01 12:40", "01 12:50"]


async def test_a_job_that_can_no_longer_be_read_ends_and_the_others_go_on(world: World) -> None:
    await world.server("A", threads=2)
    broken = await world.job("broken", [task("T", seconds=0)], start=at(13), recurrence={"every": "1 hours"})
    fine = await world.job("fine", [task("T", seconds=0)], start=at(13), recurrence={"every": "1 hours"})
    async with world.store.transaction() as connection:
        await connection.execute("""UPDATE job SET recurrence = '{"every": "1 fortnights"}' WHERE id = $1""", broken)
    await world.to(at(13, 5))
    assert (await world.runs(broken), len(await world.runs(fine))) == ([], 1)
    (row,) = await world.rows("SELECT status FROM job WHERE id = $1", broken)
    assert row["status"] == "ended"
