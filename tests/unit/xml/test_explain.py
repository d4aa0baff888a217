"""What a partner is told: rows 97 to 102 of the catalogue of bad inputs, and the rest of what schemas say."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lxml import etree

import schemas
from gateway.kernel.errors import FileRefused
from gateway.kernel.problem import MAX_PROBLEMS, Problem
from gateway.xml import explain
from gateway.xml.catalog import Catalog
from gateway.xml.explain import EXPLAINED_WHOLE, MAX_PLACES, MOST_FOUND
from gateway.xml.grammar import Grammar
from gateway.xml.locate import Locator
from gateway.xml.names import paths_of
from gateway.xml.remembered import MOST_IN_FULL
from gateway.xml.verdict import Checker
from gateway.xml.xmlschema_errors import Found
from tests.unit.xml.documents import envelope_text, line, part, sales_order

ACCOUNT = "<CustAccount>100002</CustAccount>"
BATCH = '<Batch xmlns="http://schemas.microsoft.com/dynamics/2009/06/documents/Batch">'


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog([schemas.FOLDER])


@pytest.fixture(scope="module")
def checker(catalog: Catalog) -> Checker:
    return Checker(catalog)


def told(checker: Checker, fields: str, **options: str) -> list[Problem]:
    return list(checker.check(part(sales_order(fields, **options))))


@pytest.mark.parametrize(
    "value", ["NaN", "INF", "1e400", "1,5", "0x10", "١٢", "1_000", "", "ten", "1.5.5", "1 000", "--1", "+", "½"]
)
def test_a_quantity_must_be_a_plain_decimal(checker: Checker, value: str) -> None:
    (problem,) = told(checker, ACCOUNT + line(f"<ItemId>1</ItemId><SalesQty>{value}</SalesQty>"))

    assert problem.path == "/SalesOrder/SalesTable[1]/SalesLine[1]/SalesQty"
    assert (problem.code, problem.found) == ("schema", value)
    assert problem.expected is not None
    assert "decimal number such as 12.50" in problem.expected


@pytest.mark.parametrize("value", ["2011-02-30", "0000-00-00", "31.05.2011", "2011-5-31", "20110531", "tomorrow"])
def test_a_date_must_exist_and_be_written_as_iso(checker: Checker, value: str) -> None:
    (problem,) = told(checker, f"{ACCOUNT}<Deadline>{value}</Deadline>")

    assert (problem.code, problem.found) == ("schema", value)
    assert problem.path == "/SalesOrder/SalesTable[1]/Deadline"
    assert problem.expected == "a date such as 2011-05-31 that exists in the calendar"


@pytest.mark.parametrize("value", ["99999999-01-01", "1850-01-01"])
def test_a_date_out_of_range_is_told_as_such(checker: Checker, value: str) -> None:
    (problem,) = told(checker, f"{ACCOUNT}<Deadline>{value}</Deadline>")

    assert (problem.code, problem.found) == ("value.range", value)


@pytest.mark.parametrize("value", ["9" * 25, "9" * 30, "0.1234567890123", "9" * 100_000])
def test_a_decimal_with_too_many_digits_is_refused_exactly(checker: Checker, value: str) -> None:
    problems = told(checker, ACCOUNT + line(f"<ItemId>1</ItemId><SalesQty>{value}</SalesQty>"))

    assert {problem.path for problem in problems} == {"/SalesOrder/SalesTable[1]/SalesLine[1]/SalesQty"}
    assert all(problem.found is not None and len(problem.found) <= 200 for problem in problems)


@pytest.mark.parametrize("value", ["123456789012.123456789012", "999999999999999999999999", " 5 ", "-0", "00010.50"])
def test_a_legal_decimal_is_accepted_however_it_is_written(checker: Checker, value: str) -> None:
    assert told(checker, ACCOUNT + line(f"<ItemId>1</ItemId><SalesQty>{value}</SalesQty>")) == []


@pytest.mark.parametrize("value", ["P1D", "24:00:01", "2011-05-31T23:59:60Z", "2011-05-31+15:00", "2011-05-31+14:00"])
def test_odd_dates_are_judged_without_an_exception(checker: Checker, value: str) -> None:
    problems = told(checker, f"{ACCOUNT}<Deadline>{value}</Deadline>")

    assert problems == [] or problems[0].found == value


@pytest.mark.parametrize(
    ("fields", "path", "said", "expected"),
    [
        ("<Deadline>2011-01-01</Deadline>", "/Deadline", "CustAccount is missing", "CustAccount"),
        ("", "", "SalesTable is not complete: CustAccount is missing", "CustAccount"),
        (ACCOUNT + line(""), "/SalesLine[1]", "SalesLine is not complete: ItemId is missing", "ItemId"),
        (ACCOUNT + "<Colour>red</Colour>", "/Colour", "Colour is not an element of SalesTable", None),
        (ACCOUNT + "<DeliverDate/>", "/DeliverDate", "DeliverDate is not an element", "DeliveryDate"),
        (
            ACCOUNT + "<Deadline>2011-01-01</Deadline><CashDisc>1</CashDisc>",
            "/CashDisc",
            "CashDisc is out of order in SalesTable: it must stand before CustAccount",
            "CashDisc before CustAccount",
        ),
        (
            "<Deadline>2011-01-01</Deadline>" + ACCOUNT,
            "/Deadline",
            "CustAccount must stand before it",
            "CustAccount before Deadline",
        ),
        (ACCOUNT + ACCOUNT, "/CustAccount[2]", "CustAccount stands too often in SalesTable", "at most once"),
        (
            ACCOUNT + '<InclTax xmlns="">Yes</InclTax>',
            "/InclTax",
            "in the wrong namespace; remove xmlns",
            "/SalesOrder",
        ),
        (ACCOUNT + "<InclTax>Perhaps</InclTax>", "/InclTax", 'the value "Perhaps"', "one of: No, Yes"),
        (f"<CustAccount>{'1' * 21}</CustAccount>", "/CustAccount", "not allowed", "at most 20 characters long"),
        (ACCOUNT + "<RecId>99999999999999999999</RecId>", "/RecId", "not allowed", "from -9223372036854775808"),
        ('<CustAccount xsi:nil="true"/>', "/CustAccount", "xsi:nil is not allowed on it", None),
        (
            ACCOUNT + "<InclTax><b/></InclTax>",
            "/InclTax[1]",
            "InclTax holds elements (b); it may hold only a value",
            None,
        ),
        (ACCOUNT + "free text", "", "Text stands directly in SalesTable", None),
        (
            ACCOUNT + '<InclTax xsi:type="Nobody">Yes</InclTax>',
            "/InclTax",
            "names no type that its schema allows",
            None,
        ),
        (
            ACCOUNT + '<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="file:///etc/passwd"/>',
            "/include",
            "include is not an element of SalesTable",
            None,
        ),
    ],
)
def test_a_violation_is_told_in_words(
    checker: Checker, fields: str, path: str, said: str, expected: str | None
) -> None:
    problem = told(checker, fields)[0]

    assert problem.path == f"/SalesOrder/SalesTable[1]{path}"
    assert said in problem.text
    if expected is not None:
        assert problem.expected is not None
        assert expected in problem.expected


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ("", 'The attribute class is missing on SalesTable; write class="entity".'),
        ('class="x"', 'class of SalesTable has the value "x", which is not allowed; it must be "entity".'),
        ('class="entity" colour="1"', "colour is not an attribute of SalesTable; remove it."),
        ('class="entity" action="kill"', "it must be one of: create, update, replace, delete."),
    ],
)
def test_a_wrong_attribute_is_told_on_its_element(checker: Checker, attributes: str, said: str) -> None:
    (problem,) = told(checker, ACCOUNT, attributes=attributes)

    assert problem.path == "/SalesOrder/SalesTable[1]"
    assert said in problem.text


def test_several_violations_come_in_document_order(checker: Checker) -> None:
    problems = told(
        checker, f"<CustAccount>{'1' * 21}</CustAccount><Colour/><Deadline>x</Deadline>" + line() + line("<Foo/>")
    )

    assert [str(problem.path).removeprefix("/SalesOrder/SalesTable[1]") for problem in problems] == [
        "/CustAccount",
        "/Colour",
        "/Deadline",
        "/SalesLine[2]/Foo",
    ]


def test_of_one_mistake_five_places_are_told_and_all_are_counted(checker: Checker) -> None:
    problems = told(checker, ACCOUNT + line("<ItemId>1</ItemId><SalesQty>x</SalesQty>") * 50 + "<Colour/>")

    assert len(problems) == MAX_PLACES + 1
    assert problems[0].text.endswith(" The document has this mistake 50 times.")
    assert not any("times" in problem.text for problem in problems[1:])
    assert problems[-1].text == "Colour is not an element of SalesTable."


def test_at_most_twenty_problems_are_told_and_each_mistake_before_any_is_repeated(checker: Checker) -> None:
    unknown = "".join(f"<Colour{number}/>" for number in range(15))
    problems = told(checker, ACCOUNT + line("<ItemId>1</ItemId><SalesQty>x</SalesQty>") * 50 + line(unknown))

    assert len(problems) == MAX_PROBLEMS
    assert len({problem.cause for problem in problems}) == 16


def test_a_flood_of_errors_in_a_large_document_is_told_with_exact_elements(checker: Checker) -> None:
    good, bad = line(), line("<ItemId>1</ItemId><SalesQty>1,5</SalesQty>")
    problems = told(checker, ACCOUNT + good * EXPLAINED_WHOLE + bad * 500 + line("") + "<Colour/>")

    start = "/SalesOrder/SalesTable[1]"
    assert [problem.path for problem in problems] == [
        *(f"{start}/SalesLine[{EXPLAINED_WHOLE + 1 + number}]/SalesQty" for number in range(MAX_PLACES)),
        f"{start}/SalesLine[{EXPLAINED_WHOLE + 501}]",
        f"{start}/Colour",
    ]
    assert problems[0].found == "1,5"
    assert problems[0].text.endswith(" The document has this mistake 500 times.")


def test_a_search_that_ended_says_at_least(checker: Checker) -> None:
    problems = told(checker, ACCOUNT + line("<ItemId>1</ItemId><SalesQty>1,5</SalesQty>") * (2 * MOST_FOUND))

    assert re.search(r"The document has this mistake at least 1\d\d\d times\.$", problems[0].text)


def test_missing_and_unknown_elements_of_a_large_document_are_placed(checker: Checker) -> None:
    problems = told(
        checker, ACCOUNT + line() * EXPLAINED_WHOLE + line("") + line("<InventDimId>1</InventDimId>") + "<Colour/>"
    )

    start = "/SalesOrder/SalesTable[1]"
    assert [problem.path for problem in problems] == [
        f"{start}/SalesLine[{EXPLAINED_WHOLE + 1}]",
        f"{start}/SalesLine[{EXPLAINED_WHOLE + 2}]",
        f"{start}/Colour",
    ]


@pytest.mark.parametrize(
    ("mistakes", "most"),
    [
        ([line(f"<ItemId>1</ItemId><SalesQty>{number},5</SalesQty>") for number in range(30)], 1),
        ([line() + "<Nope/>"] * 30, MOST_IN_FULL),
        (["<PurchOrderFormNum>1</PurchOrderFormNum>" * 2] * 30, MOST_IN_FULL),
    ],
    ids=["values", "unknown", "repeated"],
)
def test_the_same_mistake_in_many_messages_is_explained_a_few_times(
    catalog: Catalog, mistakes: list[str], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained: list[object] = []
    in_full = explain.by_xmlschema

    def counted(grammar: Grammar, document: etree._Element) -> list[Found]:
        explained.append(document)
        return in_full(grammar, document)

    monkeypatch.setattr(explain, "by_xmlschema", counted)
    checker = Checker(catalog)
    said = [told(checker, ACCOUNT + mistake) for mistake in mistakes]
    assert len(explained) == most
    assert said == [told(Checker(catalog), ACCOUNT + mistake) for mistake in mistakes]
    checker.begin()
    explained.clear()
    told(checker, ACCOUNT + mistakes[0])
    assert len(explained) == 1


def test_paths_of_many_siblings_cost_one_count_of_them() -> None:
    document = part(sales_order(line() * 3 + "<a/>" + line()))
    table = document[0]
    assert [*paths_of([*table, document], document).values()] == [
        *(f"/SalesOrder/SalesTable[1]/SalesLine[{number}]" for number in (1, 2, 3)),
        "/SalesOrder/SalesTable[1]/a",
        "/SalesOrder/SalesTable[1]/SalesLine[4]",
        "/SalesOrder",
    ]


def test_what_is_told_can_always_be_written_down(checker: Checker) -> None:
    problems = told(checker, ACCOUNT + f"<InclTax>{'&#x85;&#9;' * 300}</InclTax>")

    assert len(problems[0].found or "") == 200
    for problem in problems:
        etree.Element("x").text = problem.text


# places in the partner's file


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def place(text: str, mark: str) -> tuple[int, int]:
    """Return line and column of *mark* in a text, counted the plain way."""
    before = text[: text.index(mark)].replace("\r\n", "\n")
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def explained(catalog: Catalog, path: Path, encoding: str, text: str, position: int) -> tuple[Problem, ...]:
    root = etree.fromstring(text.partition("?>")[2].strip().encode(), etree.XMLParser(remove_comments=True))
    envelope = root[position - 1] if root.tag.endswith("Batch") else root
    problems = Checker(catalog).check(envelope[1][0][0])
    assert problems
    with opened(path) as fd:
        return Locator().place(fd, encoding, position, envelope, problems)


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [
        ("UTF-8", "utf-8"),
        ("UTF-8", "utf-8-sig"),
        ("UTF-16LE", "utf-16"),
        ("UTF-16BE", "utf-16-be"),
        ("GB18030", "gb18030"),
    ],
)
@pytest.mark.parametrize("break_", ["\n", "\r\n"])
def test_the_place_is_the_one_in_the_partners_file(
    catalog: Catalog, tmp_path: Path, encoding: str, codec: str, break_: str
) -> None:
    lines = line("<ItemId>é</ItemId> <SalesQty>1,5</SalesQty>")
    bad = envelope_text(sales_order(f"<CustAccount>Größe 中文 😀</CustAccount>\n\t<!-- <SalesQty> -->{lines}"))
    good = envelope_text(sales_order(ACCOUNT + "<CustGroup><![CDATA[<Envelope>]]></CustGroup>"))
    commented = f"\n<!-- one <Envelope/>\n-->{good}"
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n{BATCH}{commented * 2}\n  {bad}\n</Batch>'
    text = text.replace("\n", break_)
    path = tmp_path / "file.xml"
    path.write_bytes(text.encode(codec))

    (problem,) = explained(catalog, path, encoding, text, position=3)

    assert problem.path == "/SalesOrder/SalesTable[1]/SalesLine[1]/SalesQty"
    assert (problem.line, problem.column) == place(text, "<SalesQty>1,5")


@pytest.mark.parametrize(
    ("fields", "mark"),
    [
        (ACCOUNT + "\n <Colour/>", "<Colour"),
        (ACCOUNT + "\n <Deadline>2011-01-01</Deadline>\n <CashDisc>1</CashDisc>", "<CashDisc"),
        (ACCOUNT + "\n" + line() + "\n   " + line("<SalesUnit>Pcs</SalesUnit>"), "<SalesUnit"),
        (ACCOUNT + "\n\n<Deadline>31.05.2011</Deadline>", "<Deadline"),
        (ACCOUNT + "\n\n<Deadline>99999999-01-01</Deadline>", "<Deadline"),
    ],
)
def test_each_kind_of_violation_has_its_place(catalog: Catalog, tmp_path: Path, fields: str, mark: str) -> None:
    text = f'<?xml version="1.0"?>\n{envelope_text(sales_order(fields))}'
    path = tmp_path / "file.xml"
    path.write_text(text)

    problem = explained(catalog, path, "UTF-8", text, position=1)[0]

    assert (problem.line, problem.column) == place(text, mark)


@pytest.mark.parametrize(
    ("path_", "mark"),
    [
        ("/Envelope/Header/Action", "<Action"),
        ("/Envelope/Header/Company", "<Header"),
        ("/Envelope/Body/MessageParts/SalesOrder", "<SalesOrder"),
        ("/Envelope", "<Envelope"),
    ],
)
def test_a_problem_of_the_header_gets_the_place_of_what_is_there(
    catalog: Catalog, tmp_path: Path, path_: str, mark: str
) -> None:
    text = envelope_text(sales_order())
    path = tmp_path / "file.xml"
    path.write_text(text)

    with opened(path) as fd:
        (problem,) = Locator().place(
            fd, "UTF-8", 1, etree.fromstring(text), [Problem(code="header.x", text="x", path=path_)]
        )

    assert (problem.line, problem.column) == place(text, mark)


def test_header_and_body_of_one_envelope_may_be_asked_one_after_the_other(catalog: Catalog, tmp_path: Path) -> None:
    text = envelope_text(sales_order())
    path = tmp_path / "file.xml"
    path.write_text(text)
    locator = Locator()
    root = etree.fromstring(text)

    with opened(path) as fd:
        both = [
            locator.place(fd, "UTF-8", 1, root, [Problem(code="x", text="x", path=asked)])[0].line
            for asked in ("/SalesOrder", "/Envelope/Header/Action")
        ]

    assert both == [5, 3]


def test_the_next_file_behind_the_same_number_is_another_file(catalog: Catalog, tmp_path: Path) -> None:
    locator = Locator()
    lines = []
    for name, shift in (("one", ""), ("two", "\n\n\n\n")):
        text = shift + envelope_text(sales_order())
        (tmp_path / name).write_text(text)
        with opened(tmp_path / name) as fd:
            problem = Problem(code="x", text="x", path="/SalesOrder")
            lines.append(locator.place(fd, "UTF-8", 1, etree.fromstring(text.strip()), [problem])[0].line)

    assert lines == [5, 9]


def test_a_doctype_is_refused_here_too(catalog: Catalog, tmp_path: Path) -> None:
    text = envelope_text(sales_order())
    path = tmp_path / "file.xml"
    path.write_text(f"<!DOCTYPE Envelope>{text}")

    with opened(path) as fd, pytest.raises(FileRefused) as refused:
        Locator().place(fd, "UTF-8", 1, etree.fromstring(text), [Problem(code="x", text="x", path="/Envelope")])

    assert refused.value.code == "dtd.forbidden"


def test_what_the_first_fault_needs_can_be_made_in_advance() -> None:
    catalog = Catalog([schemas.FOLDER])
    name = str(part(sales_order()).tag)
    grammar = catalog.element(name)
    assert grammar is not None
    assert "explaining" not in vars(grammar)
    catalog.prepare(name)
    assert vars(grammar)["explaining"] is not None


def test_documents_that_cannot_be_explained_are_no_trouble_in_advance(tmp_path: Path) -> None:
    (tmp_path / "broken.xsd").write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:b">'
        '<xs:element name="Broken" type="xs:nothing"/></xs:schema>'
    )
    catalog = Catalog([schemas.FOLDER, tmp_path])
    catalog.prepare("{urn:b}Broken")
    catalog.prepare("{urn:b}Unknown")
