"""P9: without its database the gateway lives, says so, takes nothing in, answers nothing wrong, and goes on later."""

import asyncio
import signal
from random import Random

import psutil
import pytest

from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once
from tests.crash.server import OwnServer
from tests.crash.site import CrashSite
from tests.crash.test_random_kills import moment
from tests.site import until

CLAIM_WAVE = 200


async def says_so(site: CrashSite) -> None:
    async def said() -> bool:
        return site.told("store.unavailable")

    await until(said, "it says that the database is away", tell=site.tail)


@pytest.mark.parametrize(
    "seconds", [3.0, pytest.param(600.0, marks=[pytest.mark.full, pytest.mark.timeout(0)])], ids=["short", "long"]
)
async def test_files_wait_in_the_inbound_folder_while_the_database_is_away(
    away_site: CrashSite, server: OwnServer, seconds: float
) -> None:
    away_site.add_port()
    with Partner(away_site) as partner:
        life = await away_site.run()
        partner.drop(20)
        await drained(away_site, partner)
        before = psutil.Process(life.pid).memory_info().rss
        await server.stop()
        dropped = 0
        for _ in range(10):
            partner.drop(CLAIM_WAVE // 8)
            dropped += CLAIM_WAVE // 8
            await asyncio.sleep(seconds / 10)
        await says_so(away_site)
        assert life.returncode is None
        work = away_site.data / "work" / "orders"

        async def at_rest() -> bool:  # nothing is on its way from one folder to the other, or back
            return len(list(work.iterdir())) + len(list(away_site.inbound().iterdir())) == dropped

        await until(at_rest, "each file is in one of the folders", tell=away_site.tail)
        assert len(list(work.iterdir())) <= CLAIM_WAVE
        assert psutil.Process(life.pid).memory_info().rss < before + 30_000_000
        await server.start()
        await drained(away_site, partner)
        assert life.returncode is None and away_site.told("store.available")
        await everything_happened_once(away_site, partner)
        assert await away_site.stop() == 0


@pytest.mark.parametrize(
    "outages", [3, pytest.param(100, marks=[pytest.mark.full, pytest.mark.timeout(0)])], ids=["few", "many"]
)
async def test_database_that_crashes_in_the_middle_of_work_loses_and_repeats_nothing(
    away_site: CrashSite, server: OwnServer, chance: Random, outages: int
) -> None:
    away_site.add_port(process={"mode": "parallel"})
    with Partner(away_site, seed=chance.random()) as partner:
        life = await away_site.run()
        for _ in range(outages):
            partner.drop(30)
            before = len(partner.answered)
            if chance.random() < 0.7:
                await moment(lambda: len(partner.answered) > before)  # noqa: B023  (asked at once)
            await asyncio.sleep(chance.uniform(0, 0.1))
            await server.stop(signal.SIGQUIT)
            await says_so(away_site)
            await server.start()
        await drained(away_site, partner)
        assert life.returncode is None
        await everything_happened_once(away_site, partner)
        assert await away_site.stop() == 0


async def test_fault_for_a_database_that_crashed_is_seen(away_site: CrashSite, server: OwnServer) -> None:
    """The proof can fail: a gateway that gives up a request when its commit fails answers with a fault."""
    away_site.add_port()
    point = "inbound.before_commit"
    with Partner(away_site) as partner:
        partner.drop(1)
        away_site.launch(build="fault_on_database_error", pauses={point: str(away_site.folder)})
        await away_site.paused_at(point)
        await server.stop(signal.SIGQUIT)
        away_site.go_on(point)
        await server.start()

        async def harmed() -> bool:
            return len(partner.faults) > 0

        await until(harmed, "the request is answered with a fault", tell=away_site.tail)
