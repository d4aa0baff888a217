"""Ports of one gateway that runs: trouble with folders, the order of files, an operator who goes on after a halt."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.crash.process_factory import ProcessFactory
from tests.documents import READ, batch, envelope, guid, keys, single
from tests.e2e.operator import ask
from tests.e2e.test_running import event
from tests.e2e.test_spine import next_number
from tests.site import Site, running, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = ("B.xml", "a.xml", "Ä.xml", "b2.xml", "b10.xml", "A1.xml")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    tmp_path_factory: pytest.TempPathFactory, module_database_url: str, process_factory: ProcessFactory
) -> AsyncIterator[Site]:
    """The files of the port `ordered` are there before the gateway is: it finds them together."""
    site = Site(tmp_path_factory.mktemp("ports"), module_database_url, process_factory)
    site.add_port("one").add_port("two").add_port("three").add_port("ordered")
    site.add_port("halted", process={"on_error": "halt"})
    for number, name in enumerate(NAMES, start=1):
        site.drop(name, single(envelope(message_id=guid(number))), "ordered")
    async with running(site):
        await site.wait_answers(len(NAMES), "ordered")  # from here on only tests make orders
        yield site


async def test_missing_outbound_folder_degrades_one_port_and_nothing_is_lost(site: Site) -> None:
    away = site.outbound("one").rename(site.folder / "one" / "away")
    site.drop("a.xml", single(envelope(message_id=guid(1))), "one")
    site.drop("b.xml", single(envelope(message_id=guid(2))), "two")
    await site.wait_answers(1, "two")
    degraded = await event(site, "port.degraded", port="one")
    assert "does not exist" in degraded["error"]

    async def waits() -> bool:  # between two tries
        rows = await site.query("SELECT status, reason FROM queue WHERE direction = 'out' AND port = 'one'")
        return [tuple(row) for row in rows] == [("ready", "address_unavailable")]

    await until(waits, "the answer waits for its address", tell=site.tail)
    away.rename(site.outbound("one"))
    await site.wait_answers(1, "one")
    await event(site, "port.recovered", port="one")


async def test_missing_inbound_folder_is_told_and_taken_up_when_it_is_back(site: Site) -> None:
    site.inbound("three").rmdir()
    await event(site, "port.degraded", port="three")
    site.inbound("three").mkdir()
    site.drop("a.xml", single(envelope(message_id=guid(1))), "three")
    await site.wait_answers(1, "three")


async def test_files_are_answered_in_the_order_of_their_names_on_a_sequential_port(site: Site) -> None:
    rows = await site.query(
        "SELECT v.display, e.key FROM entity e JOIN message m ON m.id = e.request_id "
        "JOIN delivery v ON v.claim_id = m.claim_id WHERE m.port = 'ordered' ORDER BY e.key"
    )
    assert [row["display"] for row in rows] == ["a.xml", "A1.xml", "B.xml", "b10.xml", "b2.xml", "Ä.xml"]


async def test_operator_releases_a_halted_set_from_the_command_line(site: Site) -> None:
    key = f"SO-{await next_number(site)}"
    missing = envelope(keys(key), message_id=guid(201), action=READ)
    site.drop("a.xml", batch([missing, envelope(message_id=guid(202))]), "halted")
    await site.wait_answers(1, "halted")
    site.drop("b.xml", single(envelope(message_id=guid(203))), "halted")
    await site.wait_answers(2, "halted")
    # the order that was missing exists now: the failed message can succeed, and the rest behind it
    assert len((await ask(site, "queue", "release", guid(202), "--yes"))["released"]) == 2
    answers = await site.wait_answers(4, "halted")
    assert sum(key.encode() in content and b"DocPurpose" in content for content in answers.values()) == 1
