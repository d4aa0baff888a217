"""From a dropped file to one response file per request, through one real process with a port for each case."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
import pytest_asyncio
from lxml import etree

from tests.crash.process_factory import ProcessFactory
from tests.documents import (
    KEY,
    KEY_LIST,
    MESSAGE,
    PING,
    READ,
    SALES_ORDER,
    batch,
    envelope,
    forms_of_the_example,
    guid,
    keys,
    order,
    single,
)
from tests.site import Site, running, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAULT = "http://schemas.microsoft.com/dynamics/2008/01/documents/Fault"


class Answer:
    """A response file, read."""

    def __init__(self, content: bytes) -> None:
        self.root = etree.fromstring(content)
        self.namespace = etree.QName(self.root).namespace

    def header(self, name: str) -> str | None:
        return self.root.findtext(f"{{*}}Header/{{*}}{name}")

    def text(self, name: str) -> str | None:
        return self.root.findtext(f".//{{*}}{name}")

    def texts(self, name: str) -> list[str | None]:
        return [element.text for element in self.root.iter(f"{{*}}{name}")]


def read(answers: dict[str, bytes]) -> dict[str, Answer]:
    """Return answers by the request they answer."""
    found = [Answer(content) for content in answers.values()]
    return {str(answer.header("RequestMessageId")): answer for answer in found}


@dataclass(frozen=True)
class Stopped:
    """What an error policy makes of a set of three whose second one fails."""

    answered: set[int]
    faults: set[int]
    statuses: Sequence[str]


POLICIES: Mapping[str, Stopped] = {
    "continue": Stopped({1, 3}, {2}, ["error/failed"]),
    "halt": Stopped({1}, {2}, ["error/failed", "hold/set_halted"]),
    "rollback": Stopped(set(), {2}, ["hold/set_rolled_back", "error/failed", "hold/set_rolled_back"]),
}
MODES = ("sequential", "parallel")
FAILING = ("document", "service")
FORMS = forms_of_the_example()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    tmp_path_factory: pytest.TempPathFactory, module_database_url: str, process_factory: ProcessFactory
) -> AsyncIterator[Site]:
    site = Site(tmp_path_factory.mktemp("spine"), module_database_url, process_factory)
    for name in (
        "created",
        "missing",
        "ping",
        "place",
        "duplicates",
        "archived",
        *(f"form{n}" for n in range(len(FORMS))),
    ):
        site.add_port(name)
    for policy in POLICIES:
        for mode in MODES:
            for failing in FAILING:
                site.add_port(f"{policy}-{mode}-{failing}", process={"mode": mode, "on_error": policy})
    async with running(site):
        yield site


async def next_number(site: Site) -> int:
    """Return the number that the next order gets: none is left out."""
    (row,) = await site.query("SELECT count(*) AS orders FROM entity")
    return 100021 + int(row["orders"])


async def test_documented_example_works_as_printed_and_in_every_other_form(site: Site) -> None:
    first = await next_number(site)
    for number, (content, _) in enumerate(FORMS.values()):
        site.drop("order.xml", content, f"form{number}")
    sales_ids: list[str] = []
    for number, (form, (_, count)) in enumerate(FORMS.items()):
        answers = read(await site.wait_answers(count, f"form{number}"))
        scheme = "https" if form == "as printed" else "http"
        assert len(answers) == count, form
        for request_id, answer in answers.items():
            assert request_id in ("{722B196B-4ACB-4048-8ED3-36915A7DD269}", "{44920385-3194-498F-8AC7-438F3632DF51}")
            assert answer.namespace == MESSAGE.replace("http", scheme), form
            own_id = answer.header("MessageId")
            assert own_id is not None and own_id != request_id
            assert re.fullmatch(r"\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}", own_id)
            action = f"{scheme}://schemas.microsoft.com/dynamics/2008/01/services/SalesOrderService/create"
            assert answer.header("Action") == action
            assert answer.root.find(f".//{{{KEY_LIST.replace('http', scheme)}}}EntityKeyList") is not None
            assert answer.root.find(f".//{{{KEY.replace('http', scheme)}}}EntityKey") is not None
            assert answer.text("Field") == "SalesId"
            sales_ids.append(str(answer.text("Value")))
    assert sorted(sales_ids) == [f"SO-{first + n}" for n in range(13)], "no gaps, no repeats"


async def test_created_order_can_be_read_in_the_form_of_the_request(site: Site) -> None:
    site.drop("a.xml", single(envelope(order("7"), message_id=guid(1))), "created")
    key = str(read(await site.wait_answers(1, "created"))[guid(1)].text("Value"))
    site.drop("b.xml", single(envelope(keys(key), message_id=guid(2), action=READ)), "created")
    answer = read(await site.wait_answers(2, "created"))[guid(2)]
    document = answer.root.find(f".//{{{SALES_ORDER}}}SalesOrder")
    assert document is not None
    names = [etree.QName(child).localname for child in document[2]]
    assert names == ["_DocumentHash", "CustAccount", "PurchOrderFormNum", "ReceiptDateRequested", "RecId", "RecVersion",
                     "SalesId", "SalesLine"]  # fmt: skip
    assert (
        answer.text("SalesQty") == "7" and answer.text("DocPurpose") == "Original" and answer.text("SenderId") == "DAT"
    )
    https = {n: v.replace("http://", "https://") for n, v in {"body": keys(key), "action": READ}.items()}
    request = envelope(
        https["body"], message_id=guid(3), action=https["action"], namespace=MESSAGE.replace("http", "https")
    )
    site.drop("c.xml", single(request), "created")
    answer = read(await site.wait_answers(3, "created"))[guid(3)]
    assert answer.root.find(f".//{{{SALES_ORDER.replace('http', 'https')}}}SalesTable") is not None


async def test_reading_a_missing_key_is_a_fault_that_names_it(site: Site) -> None:
    site.drop("a.xml", single(envelope(keys("SO-1"), message_id=guid(1), action=READ)), "missing")
    answer = read(await site.wait_answers(1, "missing"))[guid(1)]
    assert answer.text("Code") == "RequestFailed"
    assert "SO-1" in str(answer.text("Text"))


async def test_python_handler_answers(site: Site) -> None:
    hello = single(envelope('<Hello xmlns="urn:x">world</Hello>', message_id=guid(1), action=PING))
    site.drop("a.xml", hello, "ping")
    answer = read(await site.wait_answers(1, "ping"))[guid(1)]
    # the port validates, and no schema declares this document
    assert answer.text("Code") == "SchemaValidation"
    site.drop("b.xml", single(envelope(order(), message_id=guid(2), action=PING)), "ping")
    answer = read(await site.wait_answers(2, "ping"))[guid(2)]
    assert answer.text("SalesQty") == "10"


async def test_fault_tells_line_column_path_and_value_in_the_partners_file(site: Site) -> None:
    content = batch(
        [envelope(message_id=guid(1)), envelope(order("ten"), message_id=guid(2)), envelope(message_id=guid(3))]
    )
    site.drop("a.xml", content, "place")
    answers = read(await site.wait_answers(3, "place"))
    fault = answers[guid(2)]
    assert fault.root.find(f".//{{{FAULT}}}Fault") is not None and fault.text("Code") == "SchemaValidation"
    line = content.decode().splitlines()[3]
    assert fault.text("Line") == "4" and fault.text("Column") == str(line.index("<SalesQty>") + 1)
    assert fault.text("Found") == "ten" and str(fault.text("Path")).endswith("/SalesLine[1]/SalesQty")
    assert [answers[guid(n)].text("Field") for n in (1, 3)] == ["SalesId", "SalesId"]
    assert any(name.endswith(".fault.xml") for name in site.answers("place"))
    (row,) = await site.query(
        "SELECT code, line, file, message_id FROM exception WHERE severity = 'error' AND port = 'place'"
    )
    assert (row["code"], row["line"], row["file"]) == ("schema", 4, "a.xml")
    assert str(row["message_id"]).upper() in guid(2)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("failing", FAILING)
async def test_error_policy_of_a_set(site: Site, policy: str, mode: str, failing: str) -> None:
    port, expected = f"{policy}-{mode}-{failing}", POLICIES[policy]
    number = await next_number(site)
    bad = order("ten") if failing == "document" else keys("SO-1")
    action = {"action": READ} if failing == "service" else {}
    members = [envelope(message_id=guid(1)), envelope(bad, message_id=guid(2), **action), envelope(message_id=guid(3))]
    site.drop("a.xml", batch(members), port)
    count = len(expected.answered) + len(expected.faults)
    answers = read(await site.wait_answers(count, port))
    assert {n for n in (1, 2, 3) if guid(n) in answers and answers[guid(n)].text("Field")} == expected.answered
    assert {n for n in (1, 2, 3) if guid(n) in answers and answers[guid(n)].text("Code")} == expected.faults
    rows = await site.query(
        "SELECT status || '/' || reason AS state FROM queue WHERE direction = 'in' AND port = $1 ORDER BY message_id",
        port,
    )
    assert [row["state"] for row in rows] == expected.statuses
    site.drop("b.xml", single(envelope(message_id=guid(9))), port)
    answer = read(await site.wait_answers(count + 1, port))[guid(9)]
    used = number + len(expected.answered)
    assert answer.text("Value") == f"SO-{used}", "numbers of what was undone are used again"


async def test_duplicate_is_refused_in_the_same_set_and_in_a_later_file(site: Site) -> None:
    twice = batch([envelope(message_id=guid(1)), envelope(message_id=guid(1).lower())])
    site.drop("a.xml", twice, "duplicates")
    await site.wait_answers(2, "duplicates")
    site.drop("b.xml", single(envelope(message_id=guid(1).strip("{}"))), "duplicates")
    answers = [Answer(content) for content in (await site.wait_answers(3, "duplicates")).values()]
    assert sorted(str(answer.text("Code")) for answer in answers) == ["DuplicateMessage", "DuplicateMessage", "None"]
    (row,) = await site.query(
        "SELECT count(*) AS orders FROM entity e JOIN message m ON m.id = e.request_id WHERE m.port = 'duplicates'"
    )
    assert row["orders"] == 1


async def test_claimed_files_are_archived_and_bad_ones_explained(site: Site) -> None:
    good = single(envelope(message_id=guid(1)))
    site.drop("good.xml", good, "archived")
    site.drop("bad.xml", b'<?xml version="1.0"?>\n<!DOCTYPE x><x/>', "archived")
    await site.wait_answers(1, "archived")
    archive, error = site.data / "archive" / "archived", site.data / "error" / "archived"

    async def settled() -> bool:  # an answer may come before that
        return any(archive.rglob("*good.xml")) and any(error.rglob("*bad.xml"))

    await until(settled, "both files lie where they end", tell=site.tail)
    (archived,) = archive.rglob("*good.xml*")
    assert archived.read_bytes() == good
    (reason,) = error.rglob("*.txt")
    assert "dtd.forbidden" in reason.read_text() and "line 2" in reason.read_text()
    assert list(site.inbound("archived").iterdir()) == []
    assert list((site.data / "work" / "archived").iterdir()) == []
