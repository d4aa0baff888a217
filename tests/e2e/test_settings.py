"""Settings do what they say, in the real process."""

import asyncio
from collections.abc import Callable

from tests.site import Site, until


async def seen(site: Site, matches: Callable[[dict[str, object]], bool], what: str, number: int = 1) -> None:
    """Wait for the *number*-th event that matches."""

    async def told() -> bool:
        return sum(map(matches, site.events())) >= number

    await until(told, what, tell=site.tail)


async def test_staging_is_cleaned_at_the_start_and_never_while_the_gateway_runs(site: Site) -> None:
    site.add_port()
    staging = site.data / "staging" / "orders"
    staging.mkdir(parents=True)
    left = staging / "left-by-an-earlier-run.xml.1.tmp"
    left.touch()
    await site.start()
    assert not left.exists()
    between = staging / "between-staging-and-promise.xml.9.tmp"
    between.touch()
    site.ports["orders"]["active"] = False
    site.write_config()
    await seen(site, lambda event: event["event"] == "port.closed", "the port closes")
    site.ports["orders"]["active"] = True
    site.write_config()
    await seen(site, lambda event: event["event"] == "port.opened", "the port opens again", 2)
    await seen(site, lambda event: event["event"] == "config.reloaded", "the change is in use", 2)
    assert await asyncio.to_thread(between.exists)
    assert await site.stop() == 0
