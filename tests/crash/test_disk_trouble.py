"""P5, P6: a full or failing disk is told, nothing half-written is shown, and all is answered once it works again."""

import json
from random import Random

import pytest
from asyncpg import connect

from tests.crash.environments import OPERATIONS
from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once
from tests.crash.site import CrashSite
from tests.site import until

NO_ROOM = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
"""
FULL_IN_THE_DATABASE = """
CREATE CONSTRAINT TRIGGER full_disk AFTER {when} ON {table} DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION no_room();
"""


def full(*points: str, times: int) -> str:
    """The disk is full the first times that a point is reached."""
    return ",".join(f"{point}:{nth}:enospc" for point in points for nth in range(1, times + 1))


def reached(site: CrashSite) -> set[str]:
    """Return the points that a recorded life has come to."""
    lines = [json.loads(line) for line in (site.folder / OPERATIONS).read_text().splitlines()]
    return {one["point"] for one in lines if "point" in one}


async def execute(site: CrashSite, statements: str) -> None:
    connection = await connect(site.store)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("points", "part"),
    [
        (("claim.rename", "settle.move"), "receive"),
        (("stage.write", "stage.syncfs", "stage.fsync", "publish.rename"), "respond"),
    ],
    ids=["receive", "respond"],
)
@pytest.mark.parametrize("times", [1, pytest.param(4, marks=pytest.mark.full)], ids=["once", "four-times"])
async def test_full_disk_delays_and_is_told(
    crash_site: CrashSite, points: tuple[str, ...], part: str, times: int
) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        partner.drop(10)
        await crash_site.run(build="recorded", faults=full(*points, times=times))
        await drained(crash_site, partner)
        told = crash_site.happened("port.degraded")
        assert told and all(event["part"] == part for event in told)
        assert "its disk is full" in told[0]["error"]
        assert crash_site.told("port.recovered")
        used = {*points} - {"stage.syncfs"}  # which is for groups of files
        assert used <= reached(crash_site), "each of them has failed"
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0


async def test_database_without_room_at_its_commit_delays_and_is_told(crash_site: CrashSite) -> None:
    """The commit fails as PostgreSQL says that its disk is full, for as long as the trigger is there."""
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        life = await crash_site.run()
        await execute(crash_site, NO_ROOM)
        for table, when in (("delivery", "INSERT"), ("message", "INSERT"), ("queue", "UPDATE")):
            await execute(crash_site, FULL_IN_THE_DATABASE.format(table=table, when=when))
            before, answered = len(crash_site.happened("store.unavailable")), len(partner.answered)
            partner.drop(4)

            async def said(before: int = before) -> bool:
                return len(crash_site.happened("store.unavailable")) > before

            await until(said, "it says that the database cannot", tell=crash_site.tail)
            assert len(partner.answered) == answered
            await execute(crash_site, f"DROP TRIGGER full_disk ON {table}")
            await drained(crash_site, partner)
        assert life.returncode is None
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0


async def test_response_that_could_not_be_written_and_is_shown_all_the_same_is_seen(crash_site: CrashSite) -> None:
    """The proof can fail: a gateway that takes no notice of a full disk shows less than the response."""
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        partner.drop(1, most=1)
        await crash_site.run(faults=full("stage.write", times=1), build="every_write_believed")

        async def shown() -> bool:
            return partner.verdict()["partial"] > 0

        await until(shown, "half a response is shown", tell=crash_site.tail)


async def test_intake_that_fills_the_disk_is_seen(crash_site: CrashSite) -> None:
    """The proof can fail: without the reserve files are taken as long as there is any room."""
    crash_site.add_port()
    crash_site.extra["queue"] = {"min_free_bytes": 10**15}
    with Partner(crash_site) as partner:
        partner.drop(1)
        await crash_site.run(build="no_room_kept")
        await drained(crash_site, partner)
    assert not crash_site.told("port.paused")


async def test_intake_stops_before_the_disk_is_full(crash_site: CrashSite) -> None:
    crash_site.add_port()
    crash_site.extra["queue"] = {"min_free_bytes": 10**15}
    with Partner(crash_site) as partner:
        partner.drop(5)
        await crash_site.run()

        async def paused() -> bool:
            return crash_site.told("port.paused")

        await until(paused, "intake pauses", tell=crash_site.tail)
        assert "free on the disk" in crash_site.happened("port.paused")[0]["reason"]
        assert len(list(crash_site.inbound().iterdir())) == 5 and not partner.answered
        crash_site.extra["queue"] = {"min_free_bytes": 0}
        crash_site.write_config()
        await drained(crash_site, partner)
        assert crash_site.told("port.resumed")
    await everything_happened_once(crash_site, partner)


@pytest.mark.parametrize("files", [4, pytest.param(100, marks=pytest.mark.full)], ids=["few", "many"])
async def test_response_whose_flush_failed_is_written_anew(crash_site: CrashSite, files: int) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        partner.drop(files)
        await crash_site.run(build="forgetful_disk recorded")
        await drained(crash_site, partner)
        assert crash_site.told("port.degraded")
    await everything_happened_once(crash_site, partner)


async def test_flushing_the_same_file_again_shows_damaged_responses(crash_site: CrashSite) -> None:
    """The proof can fail: a gateway that tries the flush once more believes it."""
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        partner.drop(12)
        await crash_site.run(build="forgetful_disk retry_fsync")

        async def over() -> bool:
            return len(partner.answered) + len(partner.partial) >= len(partner.submitted)

        await until(over, "everything has an answer or half of one", tell=crash_site.tail)
    assert partner.verdict()["partial"] > 0


FOLDERS = ("claim.work.flush", "claim.inbound.flush", "settle.flush", "stage.folder.flush", "publish.outbound.flush",
           "publish.staging.flush")  # fmt: skip


async def test_folder_that_cannot_be_flushed_delays_and_is_told(crash_site: CrashSite) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        partner.drop(10)
        await crash_site.run(faults=",".join(f"{point}:1:eio" for point in FOLDERS if not point.startswith("stage.")))
        await drained(crash_site, partner)
        assert {event["part"] for event in crash_site.happened("port.degraded")} == {"receive", "respond"}
    await everything_happened_once(crash_site, partner)


@pytest.mark.full
@pytest.mark.timeout(0)
async def test_failing_flushes_in_fifty_lives(crash_site: CrashSite, chance: Random) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site, seed=chance.random()) as partner:
        for _ in range(50):
            partner.drop(6)
            points = chance.sample((*FOLDERS, "stage.fsync", "stage.syncfs"), 2)
            await crash_site.run(faults=",".join(f"{point}:{chance.randint(1, 2)}:eio" for point in points))
            await drained(crash_site, partner)
            await crash_site.kill()
    await everything_happened_once(crash_site, partner)
