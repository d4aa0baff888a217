"""Outbound ports that are killed, added, and whose folders are away, through real processes."""

from pathlib import Path
from typing import Any

from tests.documents import batch, envelope, guid, order
from tests.e2e.operator import ask
from tests.site import Site, until


def with_copies(site: Site, *names: str, **options: Any) -> Site:
    """Add a port that takes orders in and outbound ports that send copies of them."""
    site.add_port()
    for name in names:
        folder = site.folder / name / "out"
        folder.mkdir(parents=True)
        site.ports[name] = {
            "direction": "outbound",
            "send": {"folder": str(folder), **options},
            "operations": ["SalesOrderService.read"],
        }
    return site


async def _told(site: Site, name: str) -> None:
    async def told() -> bool:
        return any(event["event"] == name for event in site.events())

    await until(told, f"{name} is told", tell=site.tail)


async def created(site: Site, count: int = 1) -> None:
    """Create orders SO-100021 and following."""
    site.drop("a.xml", batch([envelope(order(str(n)), message_id=guid(n)) for n in range(1, count + 1)]))
    await site.wait_answers(count)


async def test_killed_gateway_sends_each_document_exactly_once_and_a_bad_request_leaves_its_neighbour_alone(
    site: Site,
) -> None:
    with_copies(site, "copies")
    await site.start(faults="outbound.before_commit:1:kill")
    await created(site)
    await ask(site, "send", "SalesOrderService.read", "--key", "SalesId=SO-100021")
    assert await site.ended() in (137, -9)  # the point lies in a process that the gateway launched
    await ask(site, "send", "SalesOrderService.read", "--key", "SalesId=SO-1")
    await site.start(faults="outbound.after_commit:1:kill")  # both wait
    assert await site.ended() in (137, -9)
    await site.start()
    await site.wait_answers(1, "copies")

    async def settled() -> bool:
        rows = await site.query(
            "SELECT (SELECT count(*) FROM queue) AS queued,"
            " (SELECT array_agg(status || '/' || reason) FROM send_request) AS requests,"
            " (SELECT count(*) FROM message WHERE port = 'copies' AND outcome = 'sent') AS sent"
        )
        return tuple(rows[0]) == (0, ["error/failed"], 1)

    await until(settled, "one document is sent, the other request has failed", tell=site.tail)
    (row,) = await site.query("SELECT code, text, port FROM exception")
    assert (row["code"], row["port"]) == ("document.not-found", "copies")
    assert "SO-1" in row["text"]
    assert await site.stop() == 0
    assert len(site.answers("copies")) == 1
    assert not list(Path(site.data / "staging" / "copies").glob("*.tmp"))


async def test_outbound_port_can_be_added_while_running(site: Site) -> None:
    site.add_port()
    await site.start()
    await created(site)
    with_copies(site, "copies")
    site.write_config()
    await _told(site, "config.reloaded")
    await ask(site, "send", "SalesOrderService.read", "--key", "SalesId=SO-100021", "--wait")
    assert len(site.answers("copies")) == 1


async def test_folder_that_comes_back_is_noticed_long_before_the_next_try(site: Site) -> None:
    site.add_port()
    await site.start()
    elsewhere = site.outbound().rename(site.folder / "unmounted")
    site.drop("a.xml", envelope(order("1")).encode())

    async def put_off() -> bool:
        rows = await site.query("UPDATE queue SET not_before = now() + interval '5 minutes'"
                                " WHERE reason = 'address_unavailable' RETURNING port")  # fmt: skip
        return bool(rows)

    await until(put_off, "the answer waits for its folder", tell=site.tail)
    await _told(site, "port.degraded")  # one that is back before anybody has seen this is tried when it is due
    elsewhere.rename(site.outbound())
    await site.wait_answers(1)


async def test_port_is_well_as_soon_as_nothing_waits_for_its_folder_whoever_took_it_away(site: Site) -> None:
    """Another node may have delivered it, or an operator holds it: then nothing is sent here that would show it."""
    site.add_port()
    await site.start(faults="stage.write:1:enospc")
    site.drop("a.xml", envelope(order("1")).encode())

    async def held() -> bool:
        rows = await site.query("UPDATE queue SET status = 'hold', reason = 'held_by_operator', not_before = NULL"
                                " WHERE reason = 'address_unavailable' RETURNING port")  # fmt: skip
        return bool(rows)

    await until(held, "the answer is put off", tell=site.tail)

    async def state(wanted: str) -> bool:
        degraded = [event["event"] for event in site.events() if event["event"] in ("port.degraded", "port.recovered")]
        rows = await site.query("SELECT state FROM port_status")
        return bool(degraded) and [row["state"] for row in rows] == [wanted]

    await until(lambda: state("open"), "the port is well again", tell=site.tail)
