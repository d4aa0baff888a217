"""P26: an outbound folder that is away, full or read-only makes answers wait and is told; then each is sent once."""

import asyncio
from collections.abc import Callable

import pytest

from tests.crash.environments import TROUBLE
from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once
from tests.crash.site import CrashSite
from tests.site import until


def away(site: CrashSite) -> Callable[[], object]:
    """Take the folder away, as an unmounted share; returns what brings it back."""
    elsewhere = site.outbound().rename(site.folder / "unmounted")
    return lambda: elsewhere.rename(site.outbound())


def failing(error: str) -> Callable[[CrashSite], Callable[[], object]]:
    """Let everything that is shown in the folder fail with this error of the system."""

    def begin(site: CrashSite) -> Callable[[], object]:
        sign = site.folder / TROUBLE
        sign.write_text(error)
        return sign.unlink

    return begin


@pytest.mark.parametrize(
    ("begin", "words"),
    [(away, "does not exist"), (failing("EROFS"), "read-only"), (failing("ENOSPC"), "its disk is full")],
    ids=["away", "read-only", "full"],
)
@pytest.mark.parametrize(
    ("files", "seconds"),
    [(8, 2.0), pytest.param(150, 600.0, marks=[pytest.mark.full, pytest.mark.timeout(0)])],
    ids=["short", "long"],
)
async def test_answers_wait_for_the_outbound_folder(
    crash_site: CrashSite, begin: Callable[[CrashSite], Callable[[], object]], words: str, files: int, seconds: float
) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    partner = Partner(crash_site)
    life = await crash_site.run(build="outbound_trouble")
    end = begin(crash_site)
    partner.drop(files)

    async def told() -> bool:
        waiting = await crash_site.query("SELECT 1 FROM queue WHERE reason = 'address_unavailable'")
        return bool(waiting) and any(words in event["error"] for event in crash_site.happened("port.degraded"))

    await until(told, "answers wait, and it says what is wrong", tell=crash_site.tail)
    await asyncio.sleep(seconds)
    await until(told, "they still wait", tell=crash_site.tail)
    rows = await crash_site.query("SELECT reason, attempts, error FROM queue WHERE direction = 'out' AND attempts > 0")
    assert rows and all(row["attempts"] <= 12 for row in rows), "each try waits twice as long as the one before"
    assert all(words in row["error"] for row in rows)

    async def shown() -> bool:
        (port,) = await crash_site.query("SELECT state, reason FROM port_status")
        return port["state"] == "degraded" and words in port["reason"]

    await until(shown, "the port says so", tell=crash_site.tail)
    end()
    with partner:
        await drained(crash_site, partner)
    assert life.returncode is None and crash_site.told("port.recovered")
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0


async def test_without_patience_answers_are_given_up(crash_site: CrashSite) -> None:
    """The proof can fail: a gateway that fails a response at once never sends it."""
    crash_site.add_port(process={"mode": "parallel"})
    partner = Partner(crash_site)
    await crash_site.run(build="outbound_trouble no_patience")
    end = failing("ENOSPC")(crash_site)
    partner.drop(4)

    async def given_up() -> bool:
        rows = await crash_site.query("SELECT reason FROM queue WHERE direction = 'out'")
        return bool(rows) and {row["reason"] for row in rows} == {"failed"}

    await until(given_up, "the responses are given up", tell=crash_site.tail)
    end()
    assert partner.verdict()["lost"] == len(partner.submitted)
