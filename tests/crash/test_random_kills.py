"""P1: SIGKILL at any moment loses nothing and repeats nothing."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once
from tests.crash.site import CrashSite

WINDOW_SECONDS = 0.12


async def moment(reached: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a moment as closely as a test can see it; a life in which it does not come is killed at the end."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not reached() and loop.time() < deadline:
        await asyncio.sleep(0.002)


async def kill_again_and_again(site: CrashSite, partner: Partner, chance: Random, kills: int, build: str = "") -> None:
    """Kill so many lives up to 120 ms after their start, after their first claim or after their first answers."""
    for _ in range(kills):
        partner.drop(chance.randint(2, 8))
        life = site.launch(build=build)
        await moment(reached(site, partner, chance.choice(("start", "claim", "answer", "answer"))))
        await asyncio.sleep(chance.uniform(0, WINDOW_SECONDS))
        assert life.returncode is None, site.tail()
        await site.kill()
    await site.run(build=build)


def reached(site: CrashSite, partner: Partner, what: str) -> Callable[[], bool]:
    """Return the question whether this life has come so far."""
    work, before = site.data / "work" / partner.port, len(partner.answered)
    match what:
        case "claim":
            # an answer says that the claim has been and gone between two looks; no other may come in this life
            return lambda: len(partner.answered) > before or (work.is_dir() and any(work.iterdir()))
        case "answer":
            return lambda: len(partner.answered) > before
        case _:
            return lambda: True


@pytest.mark.parametrize("mode", ["parallel", "sequential"])
@pytest.mark.parametrize(
    "kills", [6, pytest.param(250, marks=[pytest.mark.full, pytest.mark.timeout(0)])], ids=["few", "many"]
)
async def test_killed_at_random_instants_it_answers_everything_once(
    crash_site: CrashSite, chance: Random, mode: str, kills: int
) -> None:
    crash_site.add_port(process={"mode": mode})
    with Partner(crash_site, seed=chance.random()) as partner:
        await kill_again_and_again(crash_site, partner, chance, kills)
        await drained(crash_site, partner)
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0
