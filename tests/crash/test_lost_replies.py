"""A commit whose reply is lost counts or does not; either way the work goes on, once."""

import pytest

from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once, unrest
from tests.crash.site import CrashSite
from tests.site import until


@pytest.mark.parametrize("world", ["lost_replies", "lost_promises"])
async def test_work_goes_on_after_a_reply_that_got_lost(crash_site: CrashSite, world: str) -> None:
    """A claim nobody knows of runs out while the process lives; a staged file nobody promised is removed."""
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        partner.drop(10)
        await crash_site.run(build=f"short_leases {world}")
        await drained(crash_site, partner)
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0


async def test_claim_that_nobody_knows_of_and_nobody_takes_back_is_seen(crash_site: CrashSite) -> None:
    """The proof can fail: what lies under such a claim is never worked on, long after it should have run out."""
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        partner.drop(1)
        await crash_site.run(build="short_leases lost_replies no_taking_back")

        async def expired() -> bool:
            return crash_site.told("lease.expired")

        await until(expired, "the claim has run out", tell=crash_site.tail)
        with pytest.raises(AssertionError, match="everything is answered"):
            await drained(crash_site, partner, seconds=1.0)
        assert {"queue", "leases"} <= set(await unrest(crash_site))
