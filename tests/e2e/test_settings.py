"""Settings do what they say, in one real process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.crash.process_factory import ProcessFactory
from tests.documents import batch, envelope, order, single
from tests.site import Site, running, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

STAGED = "left-by-an-earlier-run.xml.1000.tmp"
OLD_DAY = "2020-02-02"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    tmp_path_factory: pytest.TempPathFactory, module_database_url: str, process_factory: ProcessFactory
) -> AsyncIterator[Site]:
    """A gateway that finds what earlier runs left: a staged file that nobody needs, and an archive of long ago."""
    site = Site(tmp_path_factory.mktemp("settings"), module_database_url, process_factory)
    site.add_port().add_port("off", logging="off").add_port("headers", logging="header")
    site.extra["retention"] = {"archive_days": 3}
    staging, day = site.data / "staging" / "orders", site.data / "archive" / "orders" / OLD_DAY
    for folder, name in ((staging, STAGED), (day, f"{uuid4()}~order.xml")):
        folder.mkdir(parents=True)
        (folder / name).touch()
    async with running(site):
        yield site


async def seen(site: Site, matches: Callable[[dict[str, object]], bool], what: str, number: int = 1) -> None:
    """Wait for the *number*-th event that matches."""

    async def told() -> bool:
        return sum(map(matches, site.events())) >= number

    await until(told, what, tell=site.tail)


async def test_staging_is_cleaned_of_what_no_promise_and_no_claim_needs(site: Site) -> None:
    staging = site.data / "staging" / "orders"
    left = staging / STAGED

    async def gone() -> bool:
        return not await asyncio.to_thread(left.exists)

    await until(gone, "what an earlier run left is removed", tell=site.tail)
    between = staging / "between-staging-and-promise.xml.1001.tmp"
    between.touch()
    left.touch()
    await site.query(
        "INSERT INTO lease (fence, owner, stage, port) SELECT 1001, max(id), 'send', 'orders' FROM incarnation"
        " WHERE parent IS NULL"
    )
    site.ports["orders"]["active"] = False
    site.write_config()
    await seen(site, lambda event: event["event"] == "port.closed", "the port closes")
    site.ports["orders"]["active"] = True
    site.write_config()
    await until(gone, "the folder is looked into when the port opens again", tell=site.tail)
    assert await asyncio.to_thread(between.exists)


async def test_what_was_kept_long_enough_is_removed_after_the_start(site: Site) -> None:
    await seen(site, lambda event: event["event"] == "housekeeping.done", "housekeeping is done")
    assert not await asyncio.to_thread((site.data / "archive" / "orders" / OLD_DAY).exists)
    (told,) = [event for event in site.events() if event["event"] == "housekeeping.done"]
    assert told["counts"] == {"archived": 1}

    async def ended_well() -> bool:
        rows = await site.query("SELECT runs, failures, last_outcome FROM job WHERE name = 'housekeeping'")
        return [tuple(row) for row in rows] == [(1, 0, "ended")]

    await until(ended_well, "the job remembers how it ended, although such runs are not kept", tell=site.tail)
    assert await site.query("SELECT 1 FROM run WHERE job = 'housekeeping'") == []


async def test_port_without_history_answers_and_forgets(site: Site) -> None:
    site.drop("a.xml", batch([envelope(), envelope(order("many"))]), "off")
    site.drop("a.xml", single(envelope()), "headers")
    await site.wait_answers(2, "off")
    await site.wait_answers(1, "headers")

    async def forgotten() -> bool:
        left = await site.query(
            "SELECT m.port, m.direction, m.outcome, d.content IS NOT NULL FROM message m"
            " LEFT JOIN document d ON d.message_id = m.id ORDER BY m.port, m.id"
        )
        return [tuple(row) for row in left] == [
            ("headers", "in", "processed", False), ("headers", "out", "sent", False), ("off", "in", None, True),
        ]  # fmt: skip

    await until(forgotten, "only what the logging mode says is left", tell=site.tail)
