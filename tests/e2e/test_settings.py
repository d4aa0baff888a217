"""Settings do what they say, in the real process."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

from tests.documents import batch, envelope, order, single
from tests.site import Site, until


async def seen(site: Site, matches: Callable[[dict[str, object]], bool], what: str, number: int = 1) -> None:
    """Wait for the *number*-th event that matches."""

    async def told() -> bool:
        return sum(map(matches, site.events())) >= number

    await until(told, what, tell=site.tail)


async def test_staging_is_cleaned_of_what_no_promise_and_no_claim_needs(site: Site) -> None:
    site.add_port()
    staging = site.data / "staging" / "orders"
    staging.mkdir(parents=True)
    left = staging / "left-by-an-earlier-run.xml.1000.tmp"
    left.touch()
    await site.start()

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
    assert await site.stop() == 0


async def test_what_was_kept_long_enough_is_removed_after_the_start(site: Site) -> None:
    site.extra["retention"] = {"archive_days": 3}
    site.add_port()
    day = site.data / "archive" / "orders" / "2020-02-02"
    day.mkdir(parents=True)
    (day / f"{uuid4()}~order.xml").touch()
    await site.start()
    await seen(site, lambda event: event["event"] == "housekeeping.done", "housekeeping is done")
    assert not await asyncio.to_thread(day.exists)
    (told,) = [event for event in site.events() if event["event"] == "housekeeping.done"]
    assert told["counts"] == {"archived": 1}

    async def ended_well() -> bool:
        rows = await site.query("SELECT runs, failures, last_outcome FROM job WHERE name = 'housekeeping'")
        return [tuple(row) for row in rows] == [(1, 0, "ended")]

    await until(ended_well, "the job remembers how it ended, although such runs are not kept", tell=site.tail)
    assert await site.query("SELECT 1 FROM run WHERE job = 'housekeeping'") == []
    assert await site.stop() == 0


async def test_port_without_history_answers_and_forgets(site: Site) -> None:
    site.add_port(logging="off").add_port("headers", logging="header")
    await site.start()
    site.drop("a.xml", batch([envelope(), envelope(order("many"))]))
    site.drop("a.xml", single(envelope()), "headers")
    await site.wait_answers(2)
    await site.wait_answers(1, "headers")

    async def forgotten() -> bool:
        left = await site.query(
            "SELECT m.port, m.direction, m.outcome, d.content IS NOT NULL FROM message m"
            " LEFT JOIN document d ON d.message_id = m.id ORDER BY m.port, m.id"
        )
        return [tuple(row) for row in left] == [
            ("headers", "in", "processed", False), ("headers", "out", "sent", False), ("orders", "in", None, True),
        ]  # fmt: skip

    await until(forgotten, "only what the logging mode says is left", tell=site.tail)
    assert await site.stop() == 0
