"""P25: the clock of the database jumps; jobs start once per planned start, and none stands still."""

import pytest

from tests.clock import DatabaseClock
from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once
from tests.crash.site import CrashSite
from tests.site import until

DAY = 86_400.0
WORLD = "short_leases short_looks"


async def jumping(site: CrashSite, build: str = "") -> DatabaseClock:
    """Start a gateway with a daily job and one that runs every minute, on a database whose clock can be moved."""
    clock = DatabaseClock(site.store)
    await clock.take_over()
    site.extra["retention"] = {"history_days": 36_500}  # history must not be too old a year ahead
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


async def waits_for(site: CrashSite, job: str, seconds: float) -> None:
    """Wait until the next start of a job lies no further ahead than that."""

    async def near() -> bool:
        (row,) = await site.query(
            "SELECT status = 'waiting' AND extract(epoch FROM next_start - clock_timestamp()) <= $2 AS near"
            " FROM job WHERE name = $1", job, seconds,
        )  # fmt: skip
        return bool(row["near"])

    await until(near, f"{job} is planned within {seconds:g} seconds", seconds=20, tell=site.tail)


async def test_jobs_go_on_when_the_clock_jumps(crash_site: CrashSite) -> None:
    crash_site.add_port()
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
    with pytest.raises(AssertionError, match="planned within"):
        await waits_for(crash_site, "daily", DAY * 3)
