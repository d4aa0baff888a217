"""From a send request to a file that nobody asked for, through the real process."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.documents import MESSAGE, READ, SALES_ORDER, batch, envelope, guid, order
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


async def created(site: Site, count: int = 1) -> None:
    """Create orders SO-100021 and following."""
    site.drop("a.xml", batch([envelope(order(str(n)), message_id=guid(n)) for n in range(1, count + 1)]))
    await site.wait_answers(count)


async def gateway(site: Site, *arguments: str) -> tuple[int, str, str]:
    """Run a command; returns exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *arguments, "--config", str(site.config),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def header(content: bytes) -> dict[str, str | None]:
    found = etree.fromstring(content).find(f"{{{MESSAGE}}}Header")
    assert found is not None
    return {etree.QName(child).localname: child.text for child in found}


async def test_document_goes_through_every_port_that_sends_it(site: Site) -> None:
    with_copies(site, "copies", "archive", name="{port}-{response_id}.xml")
    await site.start()
    await created(site, 2)
    keys = ("--key", "SalesId=SO-100022", "--key", "SalesId=SO-100021")
    code, out, err = await gateway(site, "send", "SalesOrderService.read", *keys, "--wait", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["done"] and {request["port"] for request in told["requests"]} == {"copies", "archive"}
    for request in told["requests"]:
        ((name, content),) = site.answers(request["port"]).items()
        assert name == request["file_name"] and name.startswith(f"{request['port']}-")
        head = header(content)
        assert list(head) == ["MessageId", "Action"]
        assert head["Action"] == READ
        assert str(head["MessageId"]).strip("{}").lower() in name
        document = etree.fromstring(content).find(f".//{{{SALES_ORDER}}}SalesOrder")
        assert document is not None
        assert [e.text for e in document.iter(f"{{{SALES_ORDER}}}SalesId")] == ["SO-100022", "SO-100021"]
    assert await site.stop() == 0


async def test_a_port_that_sends_says_at_once_whether_its_folder_can_be_used(site: Site) -> None:
    with_copies(site, "copies", "gone")
    (site.folder / "gone" / "out").rmdir()
    (site.folder / "gone" / "out").touch()
    await site.start()

    async def told() -> bool:
        _, out, _ = await gateway(site, "ports", "--json")
        states = {port["port"]: port["state"] for port in json.loads(out)["ports"]}
        return states["copies"] == "open" and states["gone"] == "degraded"

    await until(told, "both ports have said how they are", tell=site.tail)


async def test_port_is_named_and_header_says_what_was_asked(site: Site) -> None:
    with_copies(site, "copies", "archive")
    await site.start()
    await created(site)
    options = ("--port", "copies", "--company", "DAT", "--conversation", "monday")
    code, _, err = await gateway(site, "send", "SalesOrderService.read", "-k", "SalesId=SO-100021", *options, "--wait")
    assert code == 0, err
    ((name, content),) = site.answers("copies").items()
    assert name.startswith("copies.")
    head = header(content)
    assert (head["Company"], head["ConversationId"]) == ("DAT", "monday")
    assert site.answers("archive") == {}


async def test_request_that_fails_leaves_its_neighbours_alone(site: Site) -> None:
    with_copies(site, "copies")
    await site.start()
    await created(site)
    await site.stop()
    for key in ("SO-1", "SO-100021"):  # both wait for the next start, and are claimed together
        code, _, err = await gateway(site, "send", "SalesOrderService.read", "--key", f"SalesId={key}")
        assert code == 0, err
    await site.start()
    await site.wait_answers(1, "copies")

    async def failed() -> bool:
        return [tuple(row) for row in await site.query("SELECT status, reason FROM send_request")] == [
            ("error", "failed")
        ]

    await until(failed, "the request fails", tell=site.tail)
    (row,) = await site.query("SELECT code, text, port FROM exception")
    assert (row["code"], row["port"]) == ("document.not-found", "copies")
    assert "SO-1" in row["text"]


async def test_command_says_why_nothing_can_be_sent(site: Site) -> None:
    with_copies(site, "copies")
    await site.start()
    for arguments, expected in (
        (("Ping.ping", "-k", "a=b"), "no active outbound port sends 'Ping.ping'; they send SalesOrderService.read"),
        (("SalesOrderService.read", "-k", "a=b", "--port", "orders"), "the port orders is inbound"),
        (("SalesOrderService.read", "-k", "a=b", "--port", "copys"), "did you mean copies?"),
    ):
        code, _, err = await gateway(site, "send", *arguments)
        assert code == 1
        assert expected in " ".join(err.split())
    code, _, err = await gateway(site, "send", "SalesOrderService.read", "--key", "SO-100021")
    assert code == 2 and "Field=Value" in err


async def test_missing_document_ends_the_wait_with_its_error(site: Site) -> None:
    with_copies(site, "copies")
    await site.start()
    code, out, _ = await gateway(site, "send", "SalesOrderService.read", "--key", "SalesId=SO-7", "--wait")
    assert code == 1
    assert "SO-7" in out


@pytest.mark.parametrize("point", ["outbound.before_commit", "outbound.after_commit"])
async def test_killed_gateway_sends_a_document_exactly_once(site: Site, point: str) -> None:
    with_copies(site, "copies")
    await site.start()
    await created(site)
    await site.stop()
    await gateway(site, "send", "SalesOrderService.read", "--key", "SalesId=SO-100021")
    await site.start(faults=f"{point}:1:kill")
    assert await site.ended() in (137, -9)  # the point lies in a process that the gateway launched
    await site.start()
    await site.wait_answers(1, "copies")

    async def settled() -> bool:
        rows = await site.query(
            "SELECT (SELECT count(*) FROM queue) + (SELECT count(*) FROM send_request) AS open,"
            " (SELECT count(*) FROM message WHERE port = 'copies' AND outcome = 'sent') AS sent"
        )
        return (rows[0]["open"], rows[0]["sent"]) == (0, 1)

    await until(settled, "the document is sent", tell=site.tail)
    assert await site.stop() == 0
    assert len(site.answers("copies")) == 1
    assert not list(Path(site.data / "staging" / "copies").glob("*.tmp"))


async def test_outbound_port_can_be_added_while_running(site: Site) -> None:
    site.add_port()
    await site.start()
    await created(site)
    with_copies(site, "copies")
    site.write_config()
    code, _, err = await gateway(site, "send", "SalesOrderService.read", "--key", "SalesId=SO-100021", "--wait")
    assert code == 0, err
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
