"""Acceptance scenarios S04, S06, S26: groups, hours, priority, limits, active periods. Source: batch reference, 27."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

from gateway.batch.rules.definition import AlertDefinition, GroupDefinition, HoursDefinition, PeriodDefinition
from gateway.batch.rules.job import JobStatus, Priority
from gateway.batch.rules.throttle import Throttle
from gateway.batch.store.servers import assign_group, list_servers, put_group, put_period, put_server, set_draining
from tests.fakes import World, task

COPENHAGEN = "Europe/Copenhagen"


async def test_s04_affinity_of_a_named_group(world: World) -> None:
    servers = ("AOS1", "AOS2", "AOS3")
    for name in servers:
        await world.server(name, threads=10)
    await put_group(world.store, GroupDefinition(name="BG1"), now=world.clock.now())

    async def drain(*names: str) -> None:
        for name in servers:
            await set_draining(world.store, name, name in names, now=world.clock.now())

    async def ran() -> Mapping[str, set[str | None]]:
        """Run both jobs; where did the tasks of D, and those of G, run? Nowhere: they stay ready."""
        number = len(await world.rows("SELECT 1 FROM job"))
        for name, group in (("D", None), ("G", "BG1")):
            tasks = [task(f"{name}{n}", seconds=0) for n in range(6)]
            await world.job(f"{name}{number}", tasks, batch_group=group)
        await world.settle()
        rows = await world.rows("SELECT left(name, 1) AS kind, status, server FROM run_task WHERE run_id > $1", number)
        where = {kind: {row["server"] for row in rows if row["kind"] == kind} for kind in "DG"}
        for row in rows:
            assert row["status"] == ("ready" if where[row["kind"]] == {None} else "ended")
        return where

    async def takes(server: str) -> set[str]:
        """Run both jobs while only this server takes anything; which does it take? The rest is for the next run."""
        await drain(*(other for other in servers if other != server))
        where = await ran()
        await drain()
        return {kind for kind in "DG" if where[kind] == {server}}

    assert [await takes(name) for name in servers] == [{"D", "G"}] * 3  # (a) given to nobody, BG1 binds nobody
    for server in ("AOS2", "AOS3"):
        await assign_group(world.store, server, "BG1")
    assert [await takes(name) for name in servers] == [{"D"}, {"G"}, {"G"}]  # (b)
    where = await ran()
    assert where["D"] == {"AOS1"} and where["G"] <= {"AOS2", "AOS3"}
    await assign_group(world.store, "AOS2", "")
    assert [await takes(name) for name in servers] == [{"D"}, {"D", "G"}, {"G"}]  # (c)
    where = await ran()
    assert where["D"] <= {"AOS1", "AOS2"} and where["G"] <= {"AOS2", "AOS3"}
    await world.stop("AOS2")
    await world.stop("AOS3")
    job = await world.job(
        "G alone", [task(f"G{n}") for n in range(6)], batch_group="BG1", overdue_seconds=600,
        alerts=(AlertDefinition(user="ann", events=("overdue",), channels=("popup",)),),
    )  # fmt: skip
    await world.pass_(minutes=9)
    ready = {f"G{n}": "ready" for n in range(6)}
    assert await world.tasks(job) == ready  # (d)
    assert await world.rows("SELECT 1 FROM alert") == []
    await world.pass_(minutes=2)
    await world.pass_(minutes=30)
    assert [row["event"] for row in await world.rows("SELECT event FROM alert")] == ["overdue"]
    assert (await world.read(job)).status is JobStatus.EXECUTING
    assert (await world.tasks(job), await world.executing()) == (ready, {})


async def test_s04_a_new_server_takes_tasks_of_the_default_group(world: World) -> None:
    await world.server("AOS1", threads=1)
    await world.server("AOS2", threads=1)
    job = await world.job("D", [task("1"), task("2")])
    await world.settle()
    assert set((await world.executing()).values()) == {"AOS1", "AOS2"}
    await world.pass_(minutes=1)
    assert (await world.read(job)).status is JobStatus.ENDED


async def test_s06_capacity_by_day_and_night_in_the_users_zone(world: World) -> None:
    hours = [
        HoursDefinition(threads=2, start=time(8), end=time(18), zone=COPENHAGEN),
        HoursDefinition(threads=20, start=time(18), end=time(7, 30), zone=COPENHAGEN),
    ]
    world.clock.move_to(datetime(2026, 3, 2, 6, 59, tzinfo=UTC))  # 07:59 in Copenhagen: nothing is covered
    await world.server("night", hours=hours)
    # The first two take five minutes longer, so that they are in the middle of their work when the hours change.
    await world.job("busy", [task(f"T{n}", seconds=(45 if n < 2 else 40) * 60) for n in range(500)])

    async def running(day: int, hour: int, minute: int = 0) -> int:
        await world.to(datetime(2026, 3, day, hour, minute, tzinfo=UTC))
        return len(await world.executing())

    async def begun() -> int:
        return len(await world.rows("SELECT 1 FROM attempt"))

    assert await running(2, 6, 59) == 0
    assert await running(2, 7) == 2
    assert await running(2, 16, 50) == 2
    before = await begun()
    assert await running(2, 17) == 20  # 18:00 in Copenhagen: eighteen more, beside those that run
    assert await begun() == before + 18
    assert await running(3, 0) == 20
    assert await running(3, 6, 19) == 20
    before = await begun()
    assert await running(3, 6, 29) == 20
    assert await begun() == before + 20  # threads that became free at 07:20 and 07:25 were filled
    assert await running(3, 6, 59) == 20  # not covered since 07:30: they go on to their end, nothing new starts
    assert await running(3, 7) == 2  # two would be allowed, and two run: those that began at 07:25
    assert await begun() == before + 20
    assert await running(3, 7, 5) == 2  # these have ended
    assert await begun() == before + 22


async def test_a_draining_server_takes_nothing_new(world: World) -> None:
    await world.server("A", threads=2)
    job = await world.job("long", [task("T"), task("U")])
    await world.settle()
    await set_draining(world.store, "A", True, now=world.clock.now())
    other = await world.job("next", [task("V")])
    await world.pass_(minutes=5)
    assert (await world.read(job)).status is JobStatus.ENDED
    assert await world.tasks(other) == {"V": "ready"}
    await set_draining(world.store, "A", False, now=world.clock.now())
    await world.pass_(minutes=1)
    assert (await world.read(other)).status is JobStatus.ENDED


async def test_s26_priority_reserved_capacity_and_limits(world: World) -> None:
    world.chance = random.Random(26).random
    await world.server("A", threads=10, reserved_percent=10, groups=["", "L", "C", "K"])
    await put_group(world.store, GroupDefinition(name="L", priority=Priority.LOW, concurrency=4), now=world.clock.now())
    await put_group(world.store, GroupDefinition(name="C", priority=Priority.CRITICAL), now=world.clock.now())
    paused = await world.job("K", [task("K1", seconds=600)], batch_group="K")
    await world.settle()
    low = await world.job("L", [task(f"L{n}") for n in range(500)], batch_group="L")
    critical = await world.job("C", [task(f"C{n}") for n in range(50)], batch_group="C")
    await world.settle()
    running = Counter(name[0] for name in await world.executing())
    assert sum(running.values()) == 9  # one thread is kept for what is reserved
    assert running["L"] <= 4 and running["C"] >= 4
    await world.job("R", [task("R1")], priority=Priority.RESERVED)
    await world.settle()
    assert "R1" in await world.executing() and len(await world.executing()) == 10
    await put_group(world.store, GroupDefinition(name="K", concurrency=-1), now=world.clock.now())
    later = await world.job("K2", [task("K2")], batch_group="K")
    for _ in range(8):
        await world.pass_(minutes=1)
        running = Counter(name[0] for name in await world.executing())
        assert running["L"] <= 4
        assert len(await world.executing()) <= 10
    ended = Counter(name[0] for name, what in world.log if what == "returned")
    assert ended["C"] > ended["L"] > 0  # the one clearly more, the other never starved
    await world.pass_(minutes=2)
    assert (await world.read(critical)).status is JobStatus.ENDED
    assert (await world.read(low)).status is JobStatus.EXECUTING
    assert await world.tasks(paused) == {"K1": "ended"}  # it had been picked, and went on
    assert await world.tasks(later) == {"K2": "ready"}


async def test_s26_the_odds_are_about_six_to_one_over_a_hundred_picks(world: World) -> None:
    world.chance = random.Random(6).random
    await world.server("A", threads=10)
    await put_group(world.store, GroupDefinition(name="L", priority=Priority.LOW), now=world.clock.now())
    await put_group(world.store, GroupDefinition(name="C", priority=Priority.CRITICAL), now=world.clock.now())
    await set_draining(world.store, "A", True, now=world.clock.now())
    for name in "LC":
        await world.job(name, [task(f"{name}{n}", seconds=10) for n in range(120)], batch_group=name)
    await world.settle()
    await set_draining(world.store, "A", False, now=world.clock.now())
    await world.pass_(seconds=95)
    picked = Counter(name[0] for name, what in world.log if what == "started")
    assert picked.total() == 100
    assert 70 <= picked["C"] <= 98  # 86 expected; how many are drawn at once depends on who ends when


async def test_s26_an_active_period_holds_back_starts_and_lets_runs_go_on(world: World) -> None:
    night = PeriodDefinition(name="night", start=time(18), end=time(8))
    await put_period(world.store, night)
    world.clock.move_to(datetime(2026, 3, 2, 7, 0, tzinfo=UTC))
    await world.server("A")
    job = await world.job(
        "N", [task("N", seconds=45 * 60)], active_period="night", recurrence={"every": "1 hours"},
        start=datetime(2026, 3, 2, 7, 30, tzinfo=UTC),
    )  # fmt: skip
    await world.to(datetime(2026, 3, 2, 8, 5, tzinfo=UTC))
    assert set(await world.executing()) == {"N"}  # its period is over
    async with world.store.transaction() as connection:
        await connection.execute("""UPDATE task SET parameters = '{"seconds": 60}'""")
    await world.to(datetime(2026, 3, 2, 19, 45, tzinfo=UTC))
    runs = await world.runs(job)
    assert [f"{run['started_at']:%H:%M}" for run in runs] == ["07:30", "18:00", "18:30", "19:30"]
    assert {run["status"] for run in runs} == {"ended"}


async def test_reserved_percent_and_groups_are_read_anew(world: World) -> None:
    await world.server("A", threads=1)
    await world.settle()
    (server,) = await list_servers(world.store, "A")
    await world.job("two", [task("1"), task("2")])
    await world.settle()
    assert len(await world.executing()) == 1
    await put_server(world.store, replace(server.definition, threads=2), now=world.clock.now())
    await world.settle()
    assert len(await world.executing()) == 2


async def test_a_class_that_starts_too_often_waits_for_a_minute_while_others_wait(world: World) -> None:
    begin = world.clock.now()

    def began(first: str) -> list[str]:
        return [name for name, what in world.log if what == "started" and name.startswith(first)]

    await world.job("busy", [task(f"B{n}", seconds=0) for n in range(1, 66)])
    await world.job("calm", [task(f"C{n}", seconds=20, handler="idempotent") for n in (1, 2)])
    await world.server("A", threads=1)
    await world.settle()
    assert len(began("B")) == 60  # the sixty-first waits, because another one waits
    assert list(await world.executing()) == ["C1"]
    await world.pass_(seconds=20)
    assert (len(began("B")), list(await world.executing())) == (60, ["C2"])
    await world.pass_(seconds=20)
    assert len(began("B")) == 65  # nobody else waits

    async def first_of_both(at: int) -> str:
        """Let one of each class become ready at the same moment, the busy one with the lower number."""
        await world.to(begin + timedelta(seconds=at - 5))
        await world.job(f"thread {at}", [task(f"X{at}", seconds=5, handler="idempotent")])
        await world.settle()
        await world.job(f"busy {at}", [task(f"Y{at}", seconds=1)])
        await world.job(f"calm {at}", [task(f"Z{at}", seconds=1, handler="idempotent")])
        await world.to(begin + timedelta(seconds=at))
        (name,) = await world.executing()
        await world.pass_(seconds=3)
        return name

    assert await first_of_both(50) == "Z50"
    assert await first_of_both(60) == "Y60"


async def test_a_class_may_have_another_number_or_none(world: World) -> None:
    world.throttle = Throttle(per_minute=2, classes={"work": 0})
    await world.job("busy", [task(f"B{n}", seconds=0) for n in range(9)])
    await world.job("calm", [task("C", seconds=0, handler="idempotent")])
    await world.server("A", threads=1)
    await world.settle()
    assert [name for name, what in world.log if what == "started"] == [*(f"B{n}" for n in range(9)), "C"]
