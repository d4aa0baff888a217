"""Typical mistakes of partners and what they read about them: our words, never those of a validator."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from lxml import etree

import schemas
from gateway.kernel.problem import Problem
from gateway.xml.catalog import Catalog
from gateway.xml.libxml2_errors import by_libxml2
from gateway.xml.verdict import Checker
from tests.unit.xml.documents import SALES_ORDER, XSI, line, part, sales_order

AX = Path(__file__).parents[2] / "data" / "ax-schemas"
TOOLS = "http://schemas.microsoft.com/dynamics/2008/01/documents/ToolJournal"
RAW = re.compile(
    r"Xsd[A-Z]|xs:|\{http|\{urn|must be one of \[|child element\(s\)|XML_PARSE|character data|Character content|PCDATA"
    r"|xmlParse|not expected|\[facet|facet '|nillable|attribute not allowed|Element '|content type|simple content"
    r"|type definition|resolve to|cannot substitute|declaration is abstract|mismatch|redefined|construct error"
    r"|Extra content|Start tag expected|is not defined|key-sequence|identity-constraint|wildcard|has to be"
    r"|value must be|valid xs|lesser than|\\[dcwi]|\[0-9\]|\.\.$|\?\.$"
)
"""How xmlschema and libxml2 talk."""
SCHEMA = r"""
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:t" xmlns="urn:t"
 elementFormDefault="qualified">
<xs:element name="Abs" abstract="true" type="xs:string"/>
<xs:element name="T"><xs:complexType><xs:sequence>
 <xs:choice><xs:element name="A" type="xs:string"/><xs:element name="B" type="xs:int"/></xs:choice>
 <xs:element name="Code" minOccurs="0"><xs:simpleType><xs:restriction base="xs:string">
   <xs:pattern value="[A-Z]{2}-\d{4}"/></xs:restriction></xs:simpleType></xs:element>
 <xs:element name="Guid" minOccurs="0"><xs:simpleType><xs:restriction base="xs:string">
   <xs:pattern value="[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"/></xs:restriction></xs:simpleType>
 </xs:element>
 <xs:element name="Either" minOccurs="0"><xs:simpleType>
  <xs:union memberTypes="xs:int xs:date"/></xs:simpleType></xs:element>
 <xs:element name="Several" minOccurs="0"><xs:simpleType><xs:list itemType="xs:int"/></xs:simpleType></xs:element>
 <xs:element name="Uri" minOccurs="0" type="xs:anyURI"/>
 <xs:element name="Word" minOccurs="0" type="xs:NMTOKEN"/>
 <xs:element name="Fixed" minOccurs="0" type="xs:string" fixed="x"/>
 <xs:element name="Digits" minOccurs="0"><xs:simpleType><xs:restriction base="xs:decimal"><xs:totalDigits value="5"/>
   <xs:fractionDigits value="2"/><xs:minInclusive value="0"/></xs:restriction></xs:simpleType></xs:element>
 <xs:element name="Empty" minOccurs="0"><xs:complexType/></xs:element>
 <xs:element name="Price" minOccurs="0"><xs:complexType><xs:simpleContent><xs:extension base="xs:decimal">
   <xs:attribute name="currency" use="required"><xs:simpleType><xs:restriction base="xs:string">
     <xs:pattern value="[A-Z]{3}"/></xs:restriction></xs:simpleType></xs:attribute></xs:extension></xs:simpleContent>
   </xs:complexType></xs:element>
 <xs:element name="Year" minOccurs="0" type="xs:gYear"/>
 <xs:element name="All" minOccurs="0"><xs:complexType><xs:all><xs:element name="a1" type="xs:string"/>
   <xs:element name="a2" type="xs:string"/></xs:all></xs:complexType></xs:element>
 <xs:element name="Item" minOccurs="0" maxOccurs="2" type="xs:byte"/>
 <xs:element name="Keys" minOccurs="0"><xs:complexType><xs:sequence>
   <xs:element name="k" maxOccurs="unbounded" type="xs:string"/></xs:sequence></xs:complexType>
   <xs:unique name="u"><xs:selector xpath="*"/><xs:field xpath="."/></xs:unique></xs:element>
 <xs:element name="Id" minOccurs="0" maxOccurs="2"><xs:complexType><xs:attribute name="id" type="xs:ID"/>
   </xs:complexType></xs:element>
 <xs:any namespace="##other" processContents="strict" minOccurs="0"/>
</xs:sequence></xs:complexType></xs:element>
</xs:schema>"""
ACCOUNT = "<CustAccount>100002</CustAccount>"
ITEM = "<ItemId>1</ItemId>"


def of_t(fields: str) -> str:
    return f'<T xmlns="urn:t" {XSI}>{fields}</T>'


def tools(fields: str) -> str:
    return f'<ToolJournal xmlns="{TOOLS}" {XSI}><ToolTable class="entity">{fields}</ToolTable></ToolJournal>'


IN_LINE = "SalesQtty is not an element of SalesLine; did you mean SalesQty?"
FORMS = 'it must be in the form 2 capital letters, "-", 4 digits.'
CASES = [
    (sales_order(ACCOUNT + line(ITEM + "<SalesQtty>1</SalesQtty>")), IN_LINE),
    (sales_order(ACCOUNT + line(ITEM + "<salesqty>1</salesqty>")), "upper and lower case count, write SalesQty."),
    (sales_order(ACCOUNT).replace("SalesTable", "salesTable"), "upper and lower case count, write SalesTable."),
    (sales_order(ACCOUNT + line(ITEM + line())), "SalesLine stands inside another SalesLine; close that one"),
    (sales_order(ACCOUNT + f'<SalesTable class="entity">{ACCOUNT}</SalesTable>'), "inside another SalesTable; close"),
    (sales_order(ACCOUNT + line(ITEM + "<Deadline>2011-01-01</Deadline>")), "SalesLine; it belongs in SalesTable."),
    (sales_order(ACCOUNT).replace("SalesTable ", "SalesLine ").replace("SalesTable>", "SalesLine>"), "in SalesTable."),
    (sales_order(ACCOUNT + "<Colour/>"), "Colour is not an element of SalesTable."),
    (sales_order(line()), "CustAccount is missing; it must stand in SalesTable before SalesLine."),
    (sales_order(""), "SalesTable is not complete: CustAccount is missing."),
    (sales_order(ACCOUNT + ACCOUNT), "CustAccount stands too often in SalesTable; it may stand there once."),
    (sales_order(ACCOUNT, attributes=""), 'The attribute class is missing on SalesTable; write class="entity".'),
    (sales_order(ACCOUNT, attributes='Class="entity"'), "Class is not an attribute of SalesTable; upper"),
    (sales_order(ACCOUNT, attributes='class="entity" a="1"'), "a is not an attribute of SalesTable; remove it."),
    (sales_order(ACCOUNT, attributes='class="entity" action="kill"'), "one of: create, update, replace, delete."),
    (sales_order(ACCOUNT, attributes='class="entity" action="Create"'), "upper and lower case count, write create."),
    (sales_order('<CustAccount a="1">1</CustAccount>'), "a is not an attribute of CustAccount; remove it."),
    (sales_order(ACCOUNT + "free text"), "Text stands directly in SalesTable, which may hold none; remove it."),
    (sales_order(ACCOUNT + "<InclTax><b/></InclTax>"), "InclTax holds elements (b); it may hold only a value."),
    (sales_order(ACCOUNT + "<InclTax>yes</InclTax>"), "upper and lower case count, write Yes."),
    (sales_order(ACCOUNT + "<SalesStatus>Deliverd</SalesStatus>"), "did you mean Delivered? It must be one of: None,"),
    (sales_order(ACCOUNT + "<InclTax>1</InclTax>"), 'has the value "1", which is not allowed; it must be one of: No,'),
    (sales_order(ACCOUNT + "<Deadline/>"), "has an empty value, which is not allowed; it must be a date such as"),
    (sales_order(ACCOUNT + '<InclTax xsi:nil="true">Yes</InclTax>'), 'has xsi:nil="true" and a value; leave one'),
    (sales_order(ACCOUNT + '<InclTax xsi:nil="perhaps"/>'), "xsi:nil on InclTax must be true or false."),
    (sales_order(ACCOUNT + '<InclTax xsi:type="Nobody">Yes</InclTax>'), "xsi:type on InclTax names no type that its"),
    (sales_order(ACCOUNT + '<InclTax xsi:type="p:Nobody">Yes</InclTax>'), "xsi:type on InclTax names no type that its"),
    (sales_order(ACCOUNT + line(ITEM).replace(" ", ' xsi:type="AxdEntity_InventDim" ')), "xsi:type on SalesLine names"),
    (tools("<BorrowedAt>25:00</BorrowedAt><ToolId>1</ToolId>"), "it must be a time of day such as 13:20:00."),
    (tools("<ToolID>1</ToolID>"), "ToolID is not an element of ToolTable; upper and lower case count, write ToolId."),
    (tools("<ToolId/>"), "it must be at least 1 character long."),
    (of_t("<Code>AA-1234</Code>"), "One of A, B is missing; it must stand in T before Code."),
    (of_t("<A/><Code>aa-12</Code>"), FORMS),
    (of_t("<A/><Guid>zz</Guid>"), "it must be a GUID such as 722B196B-4ACB-4048-8ED3-36915A7DD269."),
    (of_t("<A/><Either>x</Either>"), "to 2147483647 or a date such as"),
    (of_t("<A/><Several>1 x 2</Several>"), "a whole number from -2147483648"),
    (of_t("<A/><Uri>http://[</Uri>"), "an address (URI) such as"),
    (of_t("<A/><Word>a b</Word>"), "one word of letters"),
    (of_t("<A/><Fixed>y</Fixed>"), 'Fixed must have the value "x".'),
    (of_t("<A/><Digits>1.234</Digits>"), "a number with at most 2 digits after the point."),
    (of_t("<A/><Digits>-1</Digits>"), "it must be at least 0."),
    (of_t("<A/><Empty>text</Empty>"), "Text stands directly in Empty, which may hold none; remove it."),
    (of_t("<A/><Empty><x/></Empty>"), "x is not an element of Empty."),
    (of_t('<A/><Price currency="eur">1.5</Price>'), "currency of Price has the value"),
    (of_t("<A/><Price>1.5</Price>"), "The attribute currency is missing on Price."),
    (of_t("<A/><Year>11</Year>"), "it must be a year such as 2011."),
    (of_t("<A/><All><a1/></All>"), "All is not complete: a2 is missing."),
    (of_t("<A/><Item>300</Item>"), "it must be a whole number from -128 to 127."),
    (of_t("<A/>" + "<Item>1</Item>" * 3), "Item stands too often in T; it may stand there 2 times."),
    (of_t("<A/><Keys><k>1</k><k>1</k></Keys>"), 'The value "1" of k stands more than once; it may stand only once.'),
    (of_t('<A/><Id id="1"/>'), "it must be a name: a letter or _ first"),
    (of_t('<A/><z xmlns="urn:z"/>'), "z is not allowed here: the schemas do not have it."),
    ('<Abs xmlns="urn:t">x</Abs>', "Abs cannot be used itself"),
    (f'<SalesOder xmlns="{SALES_ORDER}"/>', "did you mean SalesOrder?"),
    (f'<salesOrder xmlns="{SALES_ORDER}"/>', "upper and lower case count, write SalesOrder."),
    ('<SalesOrder xmlns="urn:x"/>', "No schema declares the document SalesOrder in the namespace urn:x"),
]  # fmt: skip


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("xsd")
    (folder / "t.xsd").write_text(SCHEMA.strip())
    return Catalog([schemas.FOLDER, AX, folder])


@pytest.fixture(scope="module")
def checker(catalog: Catalog) -> Checker:
    return Checker(catalog)


def raw(problems: Sequence[Problem]) -> Iterator[str]:
    """Yield what sounds like a validator; names and values of the partner are his own."""
    for problem in problems:
        for text in (problem.text, problem.expected or ""):
            if RAW.search(text):
                yield text


@pytest.mark.parametrize(("document", "said"), CASES, ids=lambda value: value[-40:] if isinstance(value, str) else "")
def test_partner_reads_what_is_wrong_and_what_to_write(checker: Checker, document: str, said: str) -> None:
    problems = checker.check(part(document))

    assert any(said in problem.text for problem in problems), [problem.text for problem in problems]
    assert list(raw(problems)) == []


@pytest.mark.parametrize("document", [document for document, _ in CASES], ids=range(len(CASES)))
def test_second_validator_speaks_as_plainly(catalog: Catalog, document: str) -> None:
    """It is asked where the first one finds nothing."""
    root = part(document)
    grammar = catalog.element(str(root.tag))
    if grammar is None:
        return  # no schema, no validator

    assert not grammar.valid(root)

    problems = [problem for _, problem in by_libxml2(grammar, root)]

    assert problems
    assert list(raw(problems)) == []


def test_every_cause_is_told_by_itself(checker: Checker) -> None:
    problems = checker.check(part(sales_order(ACCOUNT + line(ITEM + "<Foo/><SalesQty>x</SalesQty>") * 3)))

    assert len({problem.cause for problem in problems}) == 2
    assert [problem.text.partition(". The document")[2] for problem in problems if "The document" in problem.text] == [
        " has this mistake 3 times.",
        " has this mistake 3 times.",
    ]


def test_what_a_partner_wrote_is_always_fit_to_be_told(checker: Checker) -> None:
    for problem in checker.check(part(sales_order(f"<CustAccount>{'x' * 5000}</CustAccount>"))):
        assert len(problem.text) <= 1000
        etree.Element("x").text = problem.text
