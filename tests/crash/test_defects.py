"""A defect that is met once costs time: what was under way is taken up again by the process that goes on."""

import pytest

from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once
from tests.crash.site import CrashSite


@pytest.mark.parametrize(
    "point",
    ["ingest.before_commit", "ingest.after_commit", "inbound.before_commit", "inbound.after_commit",
     "send.before_promise", "send.after_promise", "send.before_sent"],
)  # fmt: skip
async def test_work_that_met_a_defect_is_taken_up_again(crash_site: CrashSite, point: str) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        partner.drop(10)
        life = await crash_site.run(build="short_leases", faults=f"{point}:1:raise")
        await drained(crash_site, partner, seconds=30)
        assert crash_site.told("run.failed") and life.returncode is None
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0
