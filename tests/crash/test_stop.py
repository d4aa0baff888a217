"""P19: SIGTERM ends it in good order at any moment; a second one ends it at once, which is as safe."""

import asyncio
from random import Random
from signal import SIGTERM

import pytest

from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once
from tests.crash.site import CrashSite
from tests.crash.test_random_kills import moment, reached
from tests.site import until

ABORTED_STATUS = 130


async def nothing_is_held(site: CrashSite) -> None:
    """What was not finished is as it was before it was claimed: no lease, nobody's, no attempt counted."""
    rows = await site.query(
        "SELECT (SELECT count(*) FROM lease) AS leases, (SELECT count(*) FROM queue WHERE fence IS NOT NULL) AS held,"
        " (SELECT coalesce(sum(attempts), 0) FROM queue) AS attempts"
    )
    assert dict(rows[0]) == {"leases": 0, "held": 0, "attempts": 0}


@pytest.mark.parametrize(
    "stops", [9, pytest.param(100, marks=[pytest.mark.full, pytest.mark.timeout(0)])], ids=["few", "many"]
)
async def test_stopped_at_random_instants_it_ends_in_good_order(
    crash_site: CrashSite, chance: Random, stops: int
) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site, seed=chance.random()) as partner:
        for _ in range(stops):
            partner.drop(chance.randint(2, 8))
            life = crash_site.launch()
            await moment(reached(crash_site, partner, chance.choice(("start", "claim", "answer"))))
            await asyncio.sleep(chance.uniform(0, 0.3))
            ended = await crash_site.stop(SIGTERM)
            if ended == -SIGTERM:
                assert not crash_site.told("port.opened"), "it has touched nothing before it can be asked"
            else:
                assert ended == 0 and not crash_site.told("gateway.drain_over"), crash_site.tail()
            assert life.returncode == ended
            await nothing_is_held(crash_site)
        await crash_site.run()
        await drained(crash_site, partner)
        assert await crash_site.stop() == 0
    await everything_happened_once(crash_site, partner)


async def test_a_second_signal_ends_it_at_once_and_the_next_start_completes(crash_site: CrashSite) -> None:
    """Four lives, each of which is ended at another point of what the one before has left, and a last one."""
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        for point in ("claim.renamed", "settle.moved", "stage.written", "publish.renamed"):
            partner.drop(5)
            life = crash_site.launch(pauses={point: str(crash_site.folder)})
            await crash_site.paused_at(point)
            life.send_signal(SIGTERM)

            async def stopping() -> bool:
                return crash_site.told("gateway.stopping")

            await until(stopping, "it says that it stops", tell=crash_site.tail)
            assert life.returncode is None
            assert await crash_site.stop(SIGTERM) == ABORTED_STATUS
        await crash_site.run()
        await drained(crash_site, partner)
        assert await crash_site.stop() == 0
    await everything_happened_once(crash_site, partner)


async def stopped_in_the_middle(site: CrashSite, build: str = "") -> None:
    """Stop a gateway whose work does not end in the time it has for that."""
    site.extra["shutdown"] = {"drain_seconds": 0.2}
    life = site.launch(build=build, pauses={"publish.renamed": str(site.folder)})
    await site.paused_at("publish.renamed")
    life.send_signal(SIGTERM)

    async def over() -> bool:
        return site.told("gateway.drain_over")

    await until(over, "its time to drain is over", tell=site.tail)
    site.go_on("publish.renamed")
    assert await site.ended() == 0, site.tail()


async def test_work_that_does_not_end_in_time_is_given_back(crash_site: CrashSite) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        partner.drop(10)
        await stopped_in_the_middle(crash_site)
        await nothing_is_held(crash_site)
        await crash_site.run()
        await drained(crash_site, partner)
    await everything_happened_once(crash_site, partner)


async def test_work_that_is_not_given_back_is_seen(crash_site: CrashSite) -> None:
    """The proof can fail: a gateway that only ends leaves behind what it had claimed."""
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        partner.drop(10)
        await stopped_in_the_middle(crash_site, "claims_kept")
        with pytest.raises(AssertionError, match="leases"):
            await nothing_is_held(crash_site)
