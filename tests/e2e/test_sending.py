"""Documents that nobody has asked for, sent by command through the ports of one gateway."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from lxml import etree

from tests.crash.process_factory import ProcessFactory
from tests.documents import MESSAGE, READ, SALES_ORDER
from tests.e2e.operator import ask, gateway
from tests.e2e.test_outbound import created, with_copies
from tests.site import Site, running, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    tmp_path_factory: pytest.TempPathFactory, module_database_url: str, process_factory: ProcessFactory
) -> AsyncIterator[Site]:
    """Two ports that send orders, one whose folder cannot be used, and two orders."""
    site = Site(tmp_path_factory.mktemp("sending"), module_database_url, process_factory)
    with_copies(site, "copies", "archive", "gone", name="{port}-{response_id}.xml")
    site.ports["gone"]["operations"] = ["CustomerService.read"]
    (site.folder / "gone" / "out").rmdir()
    (site.folder / "gone" / "out").touch()
    async with running(site):
        await created(site, 2)
        yield site


def header(content: bytes) -> dict[str, str | None]:
    found = etree.fromstring(content).find(f"{{{MESSAGE}}}Header")
    assert found is not None
    return {etree.QName(child).localname: child.text for child in found}


async def test_document_goes_through_every_port_that_sends_it(site: Site) -> None:
    keys = ("--key", "SalesId=SO-100022", "--key", "SalesId=SO-100021")
    told = await ask(site, "send", "SalesOrderService.read", *keys, "--wait")
    assert told["done"] and {request["port"] for request in told["requests"]} == {"copies", "archive"}
    for request in told["requests"]:
        name = request["file_name"]
        content = site.answers(request["port"])[name]
        assert name.startswith(f"{request['port']}-")
        head = header(content)
        assert list(head) == ["MessageId", "Action"]
        assert head["Action"] == READ
        assert str(head["MessageId"]).strip("{}").lower() in name
        document = etree.fromstring(content).find(f".//{{{SALES_ORDER}}}SalesOrder")
        assert document is not None
        assert [e.text for e in document.iter(f"{{{SALES_ORDER}}}SalesId")] == ["SO-100022", "SO-100021"]


async def test_a_port_that_sends_says_at_once_whether_its_folder_can_be_used(site: Site) -> None:
    async def told() -> bool:
        states = {port["port"]: port["state"] for port in (await ask(site, "ports"))["ports"]}
        return states["copies"] == "open" and states["gone"] == "degraded"

    await until(told, "both ports have said how they are", tell=site.tail, pause=0.3)


async def test_port_is_named_and_header_says_what_was_asked(site: Site) -> None:
    options = ("--port", "copies", "--company", "DAT", "--conversation", "monday")
    told = await ask(site, "send", "SalesOrderService.read", "-k", "SalesId=SO-100021", *options, "--wait")
    (request,) = told["requests"]
    assert request["port"] == "copies"
    head = header(site.answers("copies")[request["file_name"]])
    assert (head["Company"], head["ConversationId"]) == ("DAT", "monday")


async def test_command_says_why_nothing_can_be_sent(site: Site) -> None:
    for arguments, expected in (
        (("Ping.ping", "-k", "a=b"), "no active outbound port sends 'Ping.ping'; they send"),
        (("SalesOrderService.read", "-k", "a=b", "--port", "orders"), "the port orders is inbound"),
        (("SalesOrderService.read", "-k", "a=b", "--port", "copys"), "did you mean copies?"),
    ):
        code, _, err = await gateway(site, "send", *arguments)
        assert code == 1
        assert expected in " ".join(err.split())
    code, _, err = await gateway(site, "send", "SalesOrderService.read", "--key", "SO-100021")
    assert code == 2 and "Field=Value" in err


async def test_missing_document_ends_the_wait_with_its_error(site: Site) -> None:
    options = ("--key", "SalesId=SO-7", "--port", "copies", "--wait")
    code, out, _ = await gateway(site, "send", "SalesOrderService.read", *options)
    assert code == 1
    assert "SO-7" in out
