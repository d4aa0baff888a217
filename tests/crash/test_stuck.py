"""P31: what is stuck is seen. Three kinds of it are made by deaths; a gateway that heals none of them tells all.

The shipped gateway heals two of them by itself; the third, answers of a port that is no longer configured, is a
person's to mend.
"""

import pytest

from tests.crash.environments import IMPATIENT
from tests.crash.proof import look_into
from tests.crash.site import KILLED, CrashSite
from tests.documents import envelope, guid, single
from tests.site import until

STUCK = {"dead-owner", "file-not-read", "response-waits"}


async def get_stuck(site: CrashSite) -> None:
    """Die three times: with an answer of a port that is then removed, with a request in work, with a claimed file."""
    for port, point in (
        ("gone", "inbound.after_commit"), ("orders", "inbound.before_commit"), ("claimed", "claim.inbound.flushed"),
    ):  # fmt: skip
        site.add_port(port)
        site.drop(f"{port}.xml", single(envelope(message_id=guid(1))), port)
        life = site.launch(faults=f"{point}:1:kill", build="no_taking_back no_recovery")
        assert await life.wait() in KILLED, site.tail()
        site.ports.pop("gone", None)


def be_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the doctor, in this process, wait as briefly as the gateway does."""
    for module, names in IMPATIENT.items():
        for name, value in names.items():
            monkeypatch.setattr(module, name, value)


async def told(site: CrashSite) -> set[str]:
    """Return the codes that the gateway told, having seen that the exception log tells the same."""
    events = {event["code"] for event in site.happened("stuck.found")}
    rows = await site.query("SELECT code FROM exception WHERE code LIKE 'stuck.%'")
    assert {row["code"].removeprefix("stuck.") for row in rows} >= events
    return events


async def test_what_is_stuck_is_told_and_listed(crash_site: CrashSite, monkeypatch: pytest.MonkeyPatch) -> None:
    await get_stuck(crash_site)
    await crash_site.run(build="no_taking_back no_recovery impatient")

    async def all_told() -> bool:
        return await told(crash_site) >= STUCK

    await until(all_told, "all of it is told", tell=crash_site.tail)
    told_of = [(one["code"], one["what"]) for one in crash_site.happened("stuck.found")]
    assert len(told_of) == len(set(told_of)), "each once"
    be_impatient(monkeypatch)

    async def all_listed() -> bool:
        return {one.code for one in await look_into(crash_site)} >= STUCK

    await until(all_listed, "all of it is listed", tell=crash_site.tail)


async def test_shipped_gateway_heals_what_it_can_and_tells_the_rest(
    crash_site: CrashSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await get_stuck(crash_site)
    await crash_site.run(build="impatient")

    async def healed() -> bool:
        answered = len(crash_site.answers("orders")) + len(crash_site.answers("claimed"))
        return answered == 2 and "response-waits" in await told(crash_site)

    await until(healed, "the others are answered, and the third is told", tell=crash_site.tail)
    be_impatient(monkeypatch)

    async def nothing_else() -> bool:
        return {one.code for one in await look_into(crash_site)} == {"response-waits"}

    await until(nothing_else, "the doctor finds the third alone", tell=crash_site.tail)


async def test_gateway_that_does_not_watch_tells_nothing(crash_site: CrashSite) -> None:
    """The proof can fail."""
    await get_stuck(crash_site)
    await crash_site.run(build="no_taking_back no_recovery impatient no_watch")
    with pytest.raises(AssertionError, match="something is told"):

        async def something() -> bool:
            return bool(await told(crash_site))

        await until(something, "something is told", seconds=4.0)
