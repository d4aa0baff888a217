"""P18: events and notifications only shorten waiting; without them everything is found all the same."""

import pytest
from asyncpg import connect

from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once
from tests.crash.site import CrashSite
from tests.site import until

SWEEP_SECONDS = 1.0


@pytest.mark.parametrize(
    ("files", "seconds"),
    [(300, 60.0), pytest.param(10_000, SWEEP_SECONDS + 5, marks=pytest.mark.full)],
    ids=["few", "many"],
)
async def test_files_are_found_without_any_event(crash_site: CrashSite, files: int, seconds: float) -> None:
    """The full proof keeps the promised time, and what taking so many files needs; the small one runs beside others."""
    crash_site.add_port(process={"mode": "parallel"}, receive={"sweep_seconds": SWEEP_SECONDS})
    with Partner(crash_site) as partner:
        await crash_site.run(build="deaf")
        for _ in range(3):
            partner.drop(files // 3, most=1)

            async def found() -> bool:
                return not list(crash_site.inbound().iterdir())

            await until(found, "the sweep finds them", seconds=seconds + files / 500, tell=crash_site.tail)
        await drained(crash_site, partner)
    await everything_happened_once(crash_site, partner)


async def test_without_a_sweep_lost_events_are_lost_files(crash_site: CrashSite) -> None:
    """The proof can fail: a gateway that trusts events alone finds nothing that it was not told of."""
    crash_site.add_port(process={"mode": "parallel"}, receive={"sweep_seconds": SWEEP_SECONDS})
    with Partner(crash_site) as partner:
        await crash_site.run(build="deaf no_sweep")
        partner.drop(1)
        connection = await connect(crash_site.store)
        try:
            await until(lambda: cut_off(connection), "there is a listener", tell=crash_site.tail)
        finally:
            await connection.close()
        # every listener begins with a look at everything; one that comes back late may find some of those that follow
        for _ in range(10):
            await drained(crash_site, partner)
            partner.drop(1)
            try:
                await drained(crash_site, partner, seconds=SWEEP_SECONDS + 3)
            except AssertionError:
                break
    assert partner.verdict()["lost"] > 0


@pytest.mark.parametrize("cuts", [5, pytest.param(20, marks=pytest.mark.full)], ids=["few", "many"])
async def test_a_listener_that_is_cut_off_comes_back_and_nothing_waits_for_it(crash_site: CrashSite, cuts: int) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        await crash_site.run()
        connection = await connect(crash_site.store)
        try:
            for _ in range(cuts):
                await until(lambda: cut_off(connection), "there is a listener to cut off", tell=crash_site.tail)
                partner.drop(2)

                async def answered() -> bool:
                    return partner.complete

                await until(answered, "nothing waits for it", tell=crash_site.tail)
            await until(lambda: cut_off(connection), "it is back after the last cut", tell=crash_site.tail)
        finally:
            await connection.close()
        await drained(crash_site, partner)
        assert crash_site.told("store.listener_lost")
    await everything_happened_once(crash_site, partner)


async def cut_off(connection) -> bool:  # type: ignore[no-untyped-def]
    """End the listener's connection to this database; False when there is none."""
    ended = await connection.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'gateway listener' AND datname = current_database()"
    )
    return bool(ended)
