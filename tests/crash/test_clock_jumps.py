"""P25: clocks jump, of the database and of a node, and zones change theirs; machines sleep.

Jobs start once per planned start, none stands still, and nobody looks for work without rest.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from signal import SIGCONT, SIGSTOP
from zoneinfo import ZoneInfo

from gateway.kernel.local_time import changes, local_of, to_utc
from tests.clock import DatabaseClock, NodeClock
from tests.crash.environments import AHEAD, LOOKS
from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once
from tests.crash.site import CrashSite
from tests.site import until

DAY = 86_400.0
HOUR = timedelta(hours=1)
WORLD = "leases_of_ten_seconds short_looks counted_looks"
ZONE = ZoneInfo("Europe/Copenhagen")
FAR_AHEAD = "SELECT 1 FROM message WHERE finished_at > clock_timestamp() + interval '300 days'"
NIGHTLY = {
    "tasks": {"T": {"run": "command", "with": {"command": ["true"]}}},
    "recurrence": {"every": "day"},
    "start": "2025-01-01 02:30",
    "zone": ZONE.key,
}


async def jumping(site: CrashSite, build: str = "") -> DatabaseClock:
    """Start a gateway with a daily job and one that runs every minute, on a database whose clock can be moved."""
    clock = DatabaseClock(site.store)
    await clock.take_over()
    site.extra["jobs"] = {
        name: {
            "tasks": {"T": {"run": "command", "with": {"command": ["true"]}}},
            "recurrence": {"every": every},
        }
        for name, every in (("daily", "1 day"), ("minutely", "1 minute"))
    }
    await site.run(build=f"{WORLD} {build}".strip())
    return clock


async def planned(site: CrashSite, job: str) -> list[str]:
    """The local days (or minutes) for which runs of a job were planned, in the order of the runs."""
    form = "YYYY-MM-DD" if job == "daily" else "YYYY-MM-DD HH24:MI"
    rows = await site.query("SELECT to_char(planned_at, $2) AS at FROM run WHERE job = $1 ORDER BY id", job, form)
    return [row["at"] for row in rows]


async def has_runs(site: CrashSite, job: str, number: int) -> None:
    """Wait until so many occurrences of a job have ended."""

    async def enough() -> bool:
        rows = await site.query("SELECT 1 FROM run WHERE job = $1 AND ended_at IS NOT NULL", job)
        return len(rows) >= number

    await until(enough, f"{number} runs of {job}", tell=site.tail)


async def seconds_to_start(site: CrashSite, job: str) -> float | None:
    """How far ahead the next start of a job lies; None while it runs."""
    (row,) = await site.query(
        "SELECT extract(epoch FROM next_start - clock_timestamp())::float8 AS seconds, status FROM job WHERE name = $1",
        job,
    )
    return row["seconds"] if row["status"] == "waiting" else None


async def waits_for(site: CrashSite, job: str, seconds: float) -> None:
    """Wait until the next start of a job lies no further ahead than that."""

    async def near() -> bool:
        ahead = await seconds_to_start(site, job)
        return ahead is not None and ahead <= seconds

    await until(near, f"{job} is planned within {seconds:g} seconds", tell=site.tail)


def looks(site: CrashSite) -> int:
    """Return how often the engine has looked for what is due."""
    file = site.folder / LOOKS
    return file.stat().st_size if file.exists() else 0


def most_looks(began: float, per_second: float) -> float:
    """How often it may look: at its own pace, and whenever something happens."""
    return 200 + (time.monotonic() - began) * per_second


async def looked_again(site: CrashSite) -> None:
    """Wait until the engine has seen the present time of day."""
    before = looks(site)

    async def enough() -> bool:
        return looks(site) >= before + 3

    await until(enough, "the engine looks for what is due", tell=site.tail)


async def test_jobs_go_on_when_the_clock_jumps(crash_site: CrashSite) -> None:
    crash_site.add_port()
    began = time.monotonic()
    clock = await jumping(crash_site)
    with Partner(crash_site) as partner:
        await has_runs(crash_site, "daily", 1)
        await has_runs(crash_site, "minutely", 1)
        for number, ahead in enumerate((1, 2), start=2):
            await clock.jump(ahead * DAY)
            await has_runs(crash_site, "daily", number)
            partner.drop(3)
        runs = len(await planned(crash_site, "minutely"))
        await clock.jump(0.0)  # two days back
        await waits_for(crash_site, "minutely", 121.0)  # the nearest start was made already, while the clock was wrong
        await waits_for(crash_site, "daily", DAY * 3)
        await clock.jump(121.0)
        await has_runs(crash_site, "minutely", runs + 1)
        await drained(crash_site, partner)
    days = await planned(crash_site, "daily")
    assert len(days) == len(set(days)) == 3
    minutes = await planned(crash_site, "minutely")
    assert len(minutes) == len(set(minutes))
    assert not crash_site.told("lease.expired") and not crash_site.told("node.lost")
    assert crash_site.told("clock.set")
    assert looks(crash_site) <= most_looks(began, per_second=10)
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0


async def test_without_planning_anew_a_job_stands_still_for_the_length_of_the_jump(crash_site: CrashSite) -> None:
    clock = await jumping(crash_site, "no_planning_anew")
    await has_runs(crash_site, "daily", 1)
    await clock.jump(365 * DAY)
    await has_runs(crash_site, "daily", 2)
    await clock.jump(0.0)

    async def told() -> bool:
        return len(crash_site.happened("clock.set")) >= 2

    await until(told, "the clock was seen to jump", tell=crash_site.tail)
    await looked_again(crash_site)
    ahead = await seconds_to_start(crash_site, "daily")
    assert ahead is not None and ahead > DAY * 300


async def test_the_clock_of_a_node_has_no_say(crash_site: CrashSite) -> None:
    crash_site.add_port()
    node = NodeClock(crash_site.folder / AHEAD)
    began = time.monotonic()
    clock = await jumping(crash_site, "moved_clock")
    process = crash_site.process
    assert process is not None
    with Partner(crash_site) as partner:

        async def answered() -> bool:
            return partner.complete

        await has_runs(crash_site, "daily", 1)
        for seconds in (-7200.0, 7200.0, 365 * DAY):
            node.jump(seconds)
            await looked_again(crash_site)
            partner.drop(3)
            await until(answered, "everything is answered", tell=crash_site.tail)
        assert in_the_far_future(crash_site), "the archive does not tell that the clock of the node was moved"
        assert not await crash_site.query(FAR_AHEAD)
        assert len(await planned(crash_site, "daily")) == 1
        assert all(abs(one["step_seconds"]) < 60 for one in crash_site.happened("clock.set"))  # a slow answer at most
        node.jump(0.0)
        partner.drop(3)
        process.send_signal(SIGSTOP)  # the machine sleeps for two days, and its steady clock with it, but for a moment
        partner.drop(3)
        node.jump(2 * DAY)
        await clock.jump(2 * DAY)
        await asyncio.sleep(0.5)
        process.send_signal(SIGCONT)
        await has_runs(crash_site, "daily", 2)
        await drained(crash_site, partner)
    days = await planned(crash_site, "daily")
    assert len(days) == len(set(days)) == 2
    assert not crash_site.told("node.lost")
    assert looks(crash_site) <= most_looks(began, per_second=10)
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0


async def test_by_the_clock_of_the_node_jobs_start_again_and_the_engine_never_rests(crash_site: CrashSite) -> None:
    node = NodeClock(crash_site.folder / AHEAD)
    await jumping(crash_site, "moved_clock clock_of_the_node")
    await has_runs(crash_site, "daily", 1)
    node.jump(2 * DAY)
    await has_runs(crash_site, "daily", 2)
    await crash_site.kill()
    node.jump(0.0)
    began, before = time.monotonic(), looks(crash_site)
    await crash_site.run(build="counted_looks moved_clock restless")
    node.jump(DAY)

    async def too_often() -> bool:
        return looks(crash_site) - before > most_looks(began, per_second=1)

    await until(too_often, "the engine never rests", tell=crash_site.tail)


async def nightly(site: CrashSite, build: str = "") -> DatabaseClock:
    """Start a gateway with a job at 02:30 in a zone that changes its clocks, at a time of day that can be moved."""
    clock = DatabaseClock(site.store)
    await clock.take_over()
    site.extra["jobs"] = {"nightly": NIGHTLY}
    await site.run(build=f"{WORLD} {build}".strip())

    async def known() -> bool:
        return bool(await site.query("SELECT 1 FROM job WHERE name = 'nightly'"))

    await until(known, "the gateway knows the job", tell=site.tail)
    return clock


def in_the_far_future(site: CrashSite) -> bool:
    """Tell whether the node has put files into its archive by a clock that is ahead by most of a year."""
    ahead = datetime.now(UTC) + timedelta(days=300)
    return any(folder.name > f"{ahead:%Y-%m-%d}" for folder in (site.data / "archive" / "orders").iterdir())


async def is_at(clock: DatabaseClock, moment: datetime) -> None:
    """Let it be that time of day."""
    await clock.jump((moment - datetime.now(UTC)).total_seconds())


async def runs_at(site: CrashSite, moment: datetime) -> None:
    """Wait until the occurrence that was planned for a moment has ended."""

    async def ran() -> bool:
        return bool(
            await site.query(
                "SELECT 1 FROM run WHERE job = 'nightly' AND planned_at = $1 AND ended_at IS NOT NULL", moment
            )
        )

    await until(ran, f"it runs at {moment}", tell=site.tail)


async def runs_next_at(site: CrashSite, moment: datetime) -> None:
    """Wait until the next start is planned for a moment."""

    async def planned_so() -> bool:
        return bool(await site.query("SELECT 1 FROM job WHERE name = 'nightly' AND next_start = $1", moment))

    await until(planned_so, f"it is planned for {moment}", tell=site.tail)


def next_changes() -> tuple[datetime, datetime]:
    """Return when the clocks of the zone are next set forward, and back."""
    now = datetime.now(UTC)
    found = {
        change.astimezone(ZONE).utcoffset() > (change - HOUR).astimezone(ZONE).utcoffset(): change  # type: ignore[operator]
        for change in reversed(list(changes(now + timedelta(days=1), now + timedelta(days=400), ZONE)))
    }
    return found[True], found[False]


def night_after(moment: datetime) -> datetime:
    """Return when it is 02:30 on the day after."""
    day = local_of(moment, ZONE).replace(hour=2, minute=30, second=0) + timedelta(days=1)
    return to_utc(day, ZONE)


async def test_a_nightly_job_runs_once_a_night_whatever_is_done_to_the_clocks(crash_site: CrashSite) -> None:
    began = time.monotonic()
    clock = await nightly(crash_site)
    forward, back = next_changes()
    first_pass, second_pass = back - HOUR / 2, back + HOUR / 2
    for change, at in sorted([(forward, forward), (back, first_pass)]):
        await is_at(clock, at - timedelta(minutes=10))
        await runs_next_at(crash_site, at)
        await is_at(clock, at + timedelta(seconds=1))
        await runs_at(crash_site, at)
        await is_at(clock, max(change, second_pass if change == back else change) + timedelta(minutes=1))
        await looked_again(crash_site)
        await runs_next_at(crash_site, night_after(change))
    rows = await crash_site.query("SELECT planned_at AS at FROM run WHERE job = 'nightly' ORDER BY id")
    nights = [local_of(row["at"], ZONE).date() for row in rows]
    assert len(nights) == len(set(nights))
    assert looks(crash_site) <= most_looks(began, per_second=10)


async def test_with_naive_local_time_a_job_starts_at_a_time_that_there_is_not(crash_site: CrashSite) -> None:
    clock = await nightly(crash_site, "naive_local_time")
    forward, _ = next_changes()
    await is_at(clock, forward - timedelta(minutes=10))
    await runs_next_at(crash_site, forward + HOUR / 2)
