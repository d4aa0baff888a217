"""A defect that is met once costs time: what was under way is taken up again by the process that goes on."""

import pytest

from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once, unrest
from tests.crash.site import CrashSite
from tests.crash.test_disk_trouble import reached
from tests.site import until

POINTS = ("ingest.before_commit", "ingest.after_commit", "inbound.before_commit", "inbound.after_commit",
          "send.before_promise", "send.after_promise", "send.before_sent")  # fmt: skip


async def test_work_that_met_a_defect_is_taken_up_again(crash_site: CrashSite) -> None:
    """A defect at the first time that it comes to each of the points, in one life."""
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        partner.drop(10)
        faults = ",".join(f"{point}:1:raise" for point in POINTS)
        life = await crash_site.run(build="short_leases recorded", faults=faults)
        await drained(crash_site, partner)
        assert set(POINTS) <= reached(crash_site), "each of them has raised"
        assert crash_site.told("run.failed") and life.returncode is None
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0


async def test_claim_that_a_defect_left_and_nobody_takes_back_is_seen(crash_site: CrashSite) -> None:
    """The proof can fail: what was under way waits for ever, long after its claim should have run out."""
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        partner.drop(1)
        await crash_site.run(build="short_leases no_taking_back", faults="inbound.before_commit:1:raise")

        async def expired() -> bool:
            return crash_site.told("lease.expired")

        await until(expired, "the claim has run out", tell=crash_site.tail)
        with pytest.raises(AssertionError, match="everything is answered"):
            await drained(crash_site, partner, seconds=1.0)
        assert {"queue", "leases"} <= set(await unrest(crash_site))
