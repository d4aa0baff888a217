"""A commit whose reply is lost counts or does not; either way the work goes on, once."""

import pytest

from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once
from tests.crash.site import CrashSite


@pytest.mark.parametrize("world", ["lost_replies", "lost_promises"])
async def test_work_goes_on_after_a_reply_that_got_lost(crash_site: CrashSite, world: str) -> None:
    """A claim nobody knows of runs out while the process lives; a staged file nobody promised is removed."""
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        partner.drop(10)
        await crash_site.run(build=f"short_leases {world}")
        await drained(crash_site, partner, seconds=30)
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0
