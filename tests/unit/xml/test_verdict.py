from collections.abc import Sequence
from pathlib import Path

import pytest
from lxml import etree

import schemas
from gateway.kernel.problem import Problem
from gateway.xml.catalog import Catalog
from gateway.xml.grammar import LARGE
from gateway.xml.verdict import Checker
from tests.unit.xml.documents import SALES_ORDER, XSI, envelope_text, line, part, sales_order

REQUEST = """
<SalesOrder xmlns="http://schemas.microsoft.com/dynamics/2008/01/documents/SalesOrder">
  <SalesTable class="entity">
    <CustAccount>100002</CustAccount>
    <PurchOrderFormNum>P0</PurchOrderFormNum>
    <ReceiptDateRequested>2011-05-31</ReceiptDateRequested>
    <SalesLine class="entity">
      <ItemId>10003</ItemId>
      <SalesQty>10</SalesQty>
      <SalesUnit>Pcs</SalesUnit>
    </SalesLine>
  </SalesTable>
</SalesOrder>
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog([schemas.FOLDER])


@pytest.fixture(scope="module")
def checker(catalog: Catalog) -> Checker:
    return Checker(catalog)


def only(problems: tuple[Problem, ...]) -> Problem:
    (problem,) = problems
    return problem


@pytest.mark.parametrize("form", ["http://", "https://"])
def test_the_printed_request_is_valid_in_both_forms(checker: Checker, form: str) -> None:
    assert checker.check(part(REQUEST.replace("http://", form))) == ()


def test_keys_in_mixed_forms_are_valid(checker: Checker) -> None:
    text = (
        '<EntityKeyList xmlns="https://schemas.microsoft.com/dynamics/2006/02/documents/EntityKeyList">'
        '<EntityKey xmlns="http://schemas.microsoft.com/dynamics/2006/02/documents/EntityKey"><KeyData>'
        "<KeyField><Field>SalesId</Field><Value>1</Value></KeyField></KeyData></EntityKey></EntityKeyList>"
    )

    assert checker.check(part(text)) == ()
    assert checker.check(part(text.replace("<Value>1</Value>", ""))) != ()


@pytest.mark.parametrize(
    "text",
    [
        '<QueryCriteria xmlns="http://schemas.microsoft.com/dynamics/2006/02/documents/QueryCriteria"><CriteriaElement>'
        "<DataSourceName>CustTable</DataSourceName><FieldName>AccountNum</FieldName><Operator>Equal</Operator>"
        "<Value1>4507</Value1><Value2/></CriteriaElement></QueryCriteria>",
        '<DocumentPaging xmlns="http://schemas.microsoft.com/dynamics/2011/02/documents/DocumentPaging">'
        "<PageSize>100</PageSize></DocumentPaging>",
        '<EntityKeyList xmlns="http://schemas.microsoft.com/dynamics/2006/02/documents/EntityKeyList"/>',
    ],
)
def test_criteria_paging_and_an_empty_key_list_are_documents(checker: Checker, text: str) -> None:
    assert checker.check(part(text)) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '<SalesOrder xmlns="urn:foreign"/>',
            "No schema declares the document SalesOrder in the namespace urn:foreign",
        ),
        ('<SalesOrder xmlns=""/>', 'no namespace (xmlns="")'),
        (f'<SalesOrders xmlns="{SALES_ORDER}"/>', "No schema declares the document SalesOrders"),
        (envelope_text(""), "cannot stand inside a message"),
        (f'<A xmlns="urn:a" {XSI} xsi:type="xs:anyType" xmlns:xs="http://www.w3.org/2001/XMLSchema"/>', "No schema"),
        (f'<A xmlns="urn:a" {XSI} xsi:schemaLocation="urn:a http://127.0.0.1:1/a.xsd"/>', "No schema"),
    ],
)
def test_an_unknown_document_is_refused_with_the_reason(checker: Checker, text: str, said: str) -> None:
    problem = only(checker.check(part(text)))

    assert problem.code == "document.unknown"
    assert said in problem.text


def test_xsi_type_on_the_root_is_refused_even_when_the_type_exists(checker: Checker) -> None:
    text = f'<SalesOrder xmlns="{SALES_ORDER}" {XSI} xsi:type="AxdSalesOrder"/>'

    assert only(checker.check(part(text))).code == "xsi.type.forbidden"


def test_xsi_type_inside_counts_where_the_schema_defines_it(checker: Checker) -> None:
    sample = (schemas.FOLDER / "documents/Customer.sample.xml").read_text().partition("?>")[2]

    assert checker.check(part(sample)) == ()
    assert checker.check(part(sample.replace("_DirOrganization", "_Nobody"))) != ()


def test_the_prefix_of_a_type_may_be_declared_on_the_envelope(checker: Checker) -> None:
    """libxml2 sees the subtree alone; declarations further out must still count."""
    name = "http://schemas.microsoft.com/dynamics/2008/01/documents/Customer"
    text = (
        f'<Customer xmlns="{name}"><CustTable class="entity"><DirParty class="entity" '
        f'xsi:type="c:AxdEntity_DirParty_DirPerson"><Gender>None</Gender></DirParty></CustTable></Customer>'
    )
    root = etree.fromstring(envelope_text(text).replace("<Envelope ", f'<Envelope {XSI} xmlns:c="{name}" '))

    assert checker.check(root[1][0][0]) == ()


def test_a_schema_location_hint_is_ignored(checker: Checker) -> None:
    text = sales_order().replace("<SalesOrder ", '<SalesOrder xsi:schemaLocation="urn:a file:///etc/passwd" ')

    assert checker.check(part(text)) == ()


def test_the_tree_is_left_as_it_was(checker: Checker) -> None:
    document = part(sales_order("<CustAccount>1</CustAccount>" + line("<ItemId>1</ItemId><SalesQty>x</SalesQty>")))
    whole = document.getroottree()
    before = etree.tostring(whole)

    assert checker.check(document) != ()
    assert etree.tostring(whole) == before


def test_one_terse_problem_stands_for_all_when_nothing_is_explained(catalog: Catalog) -> None:
    problem = only(Checker(catalog).check(part(sales_order("<Nope/>")), explain=False))

    assert (problem.code, problem.path, problem.expected) == ("schema", "/SalesOrder", None)


def test_the_second_document_of_a_name_carries_its_number(checker: Checker) -> None:
    first = part(sales_order() + sales_order("<Nope/>"))
    second = first.getnext()
    assert second is not None

    assert only(checker.check(second)).path == "/SalesOrder[2]/SalesTable[1]/Nope"


def test_a_large_document_is_judged_alike(checker: Checker) -> None:
    many = line() * (LARGE // 2 + 1)

    assert checker.check(part(sales_order("<CustAccount>1</CustAccount>" + many))) == ()
    assert checker.check(part(sales_order("<CustAccount>1</CustAccount>" + many + "<Nope/>"))) != ()


@pytest.mark.parametrize("value", ["99999999-01-01", "-0044-03-15", "12011-05-31"])
def test_a_date_no_calendar_can_hold_is_a_range_problem_even_where_the_schema_allows_it(
    tmp_path: Path, value: str
) -> None:
    (tmp_path / "a.xsd").write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:a" elementFormDefault="qualified">'
        '<xs:element name="a"><xs:complexType><xs:sequence><xs:element name="when" type="xs:date"/>'
        '<xs:element name="what" type="xs:string"/></xs:sequence></xs:complexType></xs:element></xs:schema>'
    )
    checker = Checker(Catalog([schemas.FOLDER, tmp_path]))

    problem = only(checker.check(part(f'<a xmlns="urn:a"><when>{value}</when><what>2011-05-31</what></a>')))
    assert (problem.code, problem.path, problem.found) == ("value.range", "/a/when", value)
    assert checker.check(part(f'<a xmlns="urn:a"><when>2011-05-31</when><what>{value}</what></a>')) == ()


_FOR_DATES = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:d" targetNamespace="urn:d"
    elementFormDefault="qualified">
  <xs:element name="d"><xs:complexType><xs:choice maxOccurs="unbounded">
    <xs:element name="text" type="xs:string"/>
    <xs:element ref="when"/>
    <xs:element name="any" type="base"/>
    <xs:any namespace="##other" processContents="lax"/>
  </xs:choice></xs:complexType></xs:element>
  <xs:element name="when" type="xs:date"/>
  <xs:complexType name="base"/>
  <xs:complexType name="dated"><xs:complexContent><xs:extension base="base"><xs:sequence>
    <xs:element name="day" type="xs:date"/>
  </xs:sequence></xs:extension></xs:complexContent></xs:complexType>
</xs:schema>"""


@pytest.fixture
def dates(tmp_path: Path) -> Checker:
    (tmp_path / "d.xsd").write_text(_FOR_DATES)
    return Checker(Catalog([schemas.FOLDER, tmp_path]))


def test_far_dates_are_found_by_what_is_declared_at_their_place(dates: Checker) -> None:
    far = "12011-05-31"
    texts = f"<text>{far}</text>" * 50
    problems = dates.check(part(f'<d xmlns="urn:d">{texts}<when>{far}</when><when>2011-05-31</when></d>'))
    assert [(each.code, each.path) for each in problems] == [("value.range", "/d/when[1]")]
    chosen = f'<any {XSI} xsi:type="dated"><day>{far}</day></any>'
    problems = dates.check(part(f'<d xmlns="urn:d">{texts}{chosen}</d>'))
    assert [(each.code, each.path) for each in problems] == [("value.range", "/d/any[1]/day")]
    assert dates.check(part(f'<d xmlns="urn:d">{texts}<o xmlns="urn:o">{far}</o></d>')) == ()


def test_texts_that_look_like_far_dates_cost_no_walk_through_the_document(
    dates: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def walk(*_: object) -> Sequence[object]:
        raise AssertionError("the whole document is walked through")

    monkeypatch.setattr("gateway.xml.explain.by_xmlschema", walk)
    chosen = f'<any {XSI} xsi:type="dated"><day>2011-05-31</day></any>'
    assert dates.check(part(f'<d xmlns="urn:d">{"<text>12011-05-31</text>" * 50}{chosen}</d>')) == ()
