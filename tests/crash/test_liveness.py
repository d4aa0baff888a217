"""P37: the proofs can fail when nothing is lost or done twice, but something never comes to its end."""

import pytest

from tests.crash.partner import Partner
from tests.crash.proof import calm, drained, everything_happened_once, unrest
from tests.crash.site import CrashSite
from tests.crash.test_protocol_is_needed import single_of
from tests.site import until

LONG_ENOUGH_SECONDS = 2.0
"""Claims are given up after half of it, and every second try has come."""


@pytest.mark.parametrize(
    ("fault", "build", "left"),
    [
        ("send.before_sent:1:kill", "no_taking_back", {"queue", "leases"}),
        ("publish.rename:1:enospc", "no_waking", {"queue", "staging"}),
        ("publish.rename:1:enospc", "no_all_clear", {"troubled"}),
        ("send.before_promise:1:kill", "no_cleaning", {"staging"}),
    ],
    ids=["claims-kept", "no-second-try", "trouble-without-end", "files-left"],
)
async def test_what_never_comes_to_its_end_is_seen(
    crash_site: CrashSite, fault: str, build: str, left: set[str]
) -> None:
    """What was dropped later is answered: time is not what is missing. The shipped gateway, started next, ends all."""
    crash_site.add_port(process={"mode": "parallel"})
    found: dict[str, object] = {}
    with Partner(crash_site) as partner:
        crash_site.drop("first.xml", single_of(partner.new_ids(1)[0]))
        await crash_site.run(faults=fault, build=f"short_leases {build}")
        if fault.endswith(":kill"):
            await crash_site.ended()
            await crash_site.run(build=f"short_leases {build}")
        else:  # the answer that is to fail is the first one's

            async def failed() -> bool:
                return crash_site.told("port.degraded")

            await until(failed, "the first answer is put off", tell=crash_site.tail)
        (later,) = partner.new_ids(1)
        crash_site.drop("later.xml", single_of(later))

        async def stuck() -> bool:
            found.clear()
            found.update(await unrest(crash_site))
            return later in partner.answered and left <= set(found)

        await until(stuck, f"{left} are left", tell=lambda: f"{found}\n{crash_site.tail()}")
        with pytest.raises(AssertionError, match="nothing is left and all is well"):
            await calm(crash_site, seconds=LONG_ENOUGH_SECONDS)
        assert left <= set(await unrest(crash_site))
        await crash_site.kill()
        await crash_site.run()
        await drained(crash_site, partner)
    await everything_happened_once(crash_site, partner)


async def test_what_only_the_doctor_can_tell_is_seen(crash_site: CrashSite) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        await crash_site.run(build="counted_twice")
        partner.drop(5)

        async def nothing_else_left() -> bool:
            return partner.complete and set(await unrest(crash_site)) == {"wrong"}

        await until(nothing_else_left, "only the doctor finds something", tell=crash_site.tail)
        with pytest.raises(AssertionError, match="set-count"):
            await calm(crash_site, seconds=LONG_ENOUGH_SECONDS)
    await everything_happened_once(crash_site, partner)
