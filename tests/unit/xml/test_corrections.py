"""Where libxml2 leaves the standard: what is put right, and what is not."""

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from lxml import etree

import schemas
from gateway.kernel.errors import ConfigError
from gateway.kernel.problem import Problem
from gateway.xml import corrections
from gateway.xml.catalog import Catalog
from gateway.xml.grammar import LARGE
from gateway.xml.verdict import Checker
from tests.unit.xml.documents import XSI, part, parts
from tests.unit.xml.test_schema_links import schema, write


def checker(folder: Path, body: str, **files: str) -> Checker:
    write(folder, a=schema("urn:a", body, prefixes='xmlns:x="http://www.w3.org/2001/XMLSchema"'), **files)
    catalog = Catalog([schemas.FOLDER, folder])
    assert catalog.problems() == ()
    return Checker(catalog)


def told(problems: Sequence[Problem]) -> list[tuple[str | None, str | None]]:
    return [(problem.path, problem.found) for problem in problems]


_ITEMS = (
    '<xs:element name="R"><xs:complexType><xs:sequence><xs:element ref="I" maxOccurs="unbounded"/></xs:sequence>'
    '</xs:complexType></xs:element><xs:element name="I" type="Item"/><xs:complexType name="Item"><xs:sequence>'
    '<xs:element name="own" type="Own" minOccurs="0"/><xs:element name="other" type="xs:IDREF" minOccurs="0"/>'
    '<xs:element name="text" type="xs:string" minOccurs="0"/>'
    '<xs:any namespace="##other" processContents="lax" minOccurs="0"/></xs:sequence>'
    '<xs:attribute name="id" type="xs:ID"/><xs:attribute name="ref" type="xs:IDREF"/>'
    '<xs:attribute name="refs" type="xs:IDREFS"/><xs:attribute name="text" type="xs:string"/></xs:complexType>'
    '<xs:simpleType name="Own"><xs:restriction base="xs:ID"><xs:maxLength value="9"/></xs:restriction></xs:simpleType>'
    '<xs:complexType name="Derived"><xs:complexContent><xs:extension base="Item">'
    '<xs:attribute name="another" type="x:IDREF"/></xs:extension></xs:complexContent></xs:complexType>'
)


@pytest.fixture
def items(tmp_path: Path) -> Checker:
    return checker(tmp_path, _ITEMS)


def test_neighbours_may_have_the_same_ids(items: Checker) -> None:
    """libxml2 would compare the ids of a whole file."""
    for one in parts('<R xmlns="urn:a"><I id="q1"/><I ref="q1"/></R>' * 3):
        assert items.check(one) == ()


@pytest.mark.parametrize(
    "inside",
    [
        '<I id="a"/><I id="b" refs="a  b"/>',
        '<I ref="b"/><I id="b"/>',
        "<I><own>a</own><other>a</other></I>",
        '<I id=" a "/><I><other>\n a</other></I>',
        f'<I {XSI} xsi:type="Derived" another="a" id="a"/>',
        '<I text="a"><text>a</text></I><I text="a"><text>a</text></I>',
        '<I id="a"><own xmlns="urn:foreign">a</own></I>',
    ],
)
def test_ids_are_unique_and_references_lead_to_them(items: Checker, inside: str) -> None:
    assert items.check(part(f'<R xmlns="urn:a">{inside}</R>')) == ()


@pytest.mark.parametrize(
    ("inside", "where"),
    [
        ('<I id="q1"/><I id="q1"/>', ("/R/I[2]", "q1")),
        ('<I id="a"/><I><own>a</own></I>', ("/R/I[2]/own", "a")),
        ('<I ref="nobody"/>', ("/R/I", "nobody")),
        ('<I id="a" refs="a b"/>', ("/R/I", "b")),
        ("<I><other>a</other></I>", ("/R/I[1]/other", "a")),
        (f'<I {XSI} xsi:type="Derived" another="a"/>', ("/R/I", "a")),
    ],
)
def test_an_id_that_repeats_or_a_reference_to_nobody_is_told(
    items: Checker, inside: str, where: tuple[str, str]
) -> None:
    neighbour, one = parts(f'<R xmlns="urn:a"><I id="nobody"/><I id="b"/></R><R xmlns="urn:a">{inside}</R>')

    assert items.check(neighbour) == ()
    assert [(path.replace("/R[2]", "/R"), found) for path, found in told(items.check(one)) if path] == [where]


def test_ids_are_told_beside_what_else_is_wrong(items: Checker) -> None:
    problems = items.check(part('<R xmlns="urn:a"><I id="a"/><I id="a" ref="b"/><Nope/></R>'))

    assert [(problem.path, problem.found) for problem in problems[-2:]] == [("/R/I[2]", "a"), ("/R/I[2]", "b")]
    assert [problem.path for problem in problems[:-2]] == ["/R/Nope"]


def test_large_documents_are_judged_by_the_same_rule(items: Checker) -> None:
    many = "".join(f'<I id="n{number}"/>' for number in range(LARGE + 1))

    assert items.check(part(f'<R xmlns="urn:a">{many}<I ref="n7"/></R>')) == ()
    assert told(items.check(part(f'<R xmlns="urn:a">{many}<I id="n7"/></R>'))) == [(f"/R/I[{LARGE + 2}]", "n7")]


def test_xml_id_is_one_where_the_schema_says_so(tmp_path: Path) -> None:
    body = (
        '<xs:import namespace="http://www.w3.org/XML/1998/namespace"/><xs:element name="a"><xs:complexType>'
        '<xs:sequence><xs:element name="b" maxOccurs="9"><xs:complexType><xs:attribute ref="xml:id"/>'
        "</xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element>"
    )
    one = checker(tmp_path, body)

    assert one.check(part('<a xmlns="urn:a"><b xml:id="p"/><b xml:id="q"/></a>')) == ()
    assert told(one.check(part('<a xmlns="urn:a"><b xml:id="p"/><b xml:id="p"/></a>'))) == [("/a/b[2]", "p")]


def test_documents_without_what_may_be_an_id_cost_no_types(items: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("types are asked for")

    monkeypatch.setattr(corrections.DeclaredTypes, "__init__", refuse)
    assert items.check(part('<R xmlns="urn:a"><I text="a"/></R>')) == ()


def restricted(kind: str, facet: str) -> str:
    return f'<xs:element name="a"><xs:simpleType><xs:restriction base="xs:{kind}">{facet}</xs:restriction>' + (
        "</xs:simpleType></xs:element>"
    )


def facet(name: str, value: str) -> str:
    return f'<xs:{name} value="{value}"/>'


_AS_THE_STANDARD = [
    # 24:00:00 is 00:00:00, of the next day where there is one
    (restricted("time", facet("minExclusive", "00:00:00")), "24:00:00", False),
    (restricted("time", facet("minInclusive", "08:00:00")), "24:00:00", False),
    (restricted("time", facet("maxInclusive", "23:59:59")), "24:00:00", True),
    (restricted("time", facet("enumeration", "00:00:00")), "24:00:00", True),
    (restricted("dateTime", facet("maxExclusive", "2012-01-01T00:00:00")), "2011-12-31T24:00:00", False),
    (restricted("dateTime", facet("maxInclusive", "2012-01-01T00:00:00")), "2011-12-31T24:00:00", True),
    (restricted("dateTime", facet("enumeration", "2012-01-01T00:00:00")), "2011-12-31T24:00:00", True),
    (restricted("time", ""), "24:00:00", True),
    (restricted("time", ""), "24:00:01", False),
    (restricted("string", facet("maxLength", "8")), "24:00:00", True),
    # a fixed value is a value, not a text
    ('<xs:element name="a" type="xs:decimal" fixed="1.0"/>', "1.00", True),
    ('<xs:element name="a" type="xs:decimal" fixed="1.0"/>', "1.01", False),
    ('<xs:element name="a" type="xs:decimal" fixed="1.0"/>', "", True),
    ('<xs:element name="a" type="xs:boolean" fixed="true"/>', "1", True),
    ('<xs:element name="a" type="xs:dateTime" fixed="2011-01-01T00:00:00Z"/>', "2011-01-01T01:00:00+01:00", True),
    ('<xs:element name="a" type="xs:string" fixed="1.0"/>', "1.00", False),
    # what is no difference: decimals of any length, zones, lists, white space, characters beyond 16 bits
    (restricted("decimal", ""), "1" * 40, True),
    (restricted("decimal", facet("totalDigits", "3")), "001.20", True),
    (restricted("date", ""), "2100-02-29", False),
    (restricted("date", ""), "2011-01-01+15:00", False),
    (restricted("string", facet("length", "1")), "\U0001f600", True),
    (restricted("string", facet("pattern", r"[a-z-[aeiou]]+")), "xaz", False),
    (restricted("string", facet("pattern", r"\p{Lu}\d")), "É٣", True),
    (restricted("int", facet("pattern", "1")), " 1 ", True),
    (restricted("NMTOKENS", facet("maxLength", "2")), "a b c", False),
]


@pytest.mark.parametrize(("body", "value", "valid"), _AS_THE_STANDARD)
def test_values_are_judged_as_the_standard_says(tmp_path: Path, body: str, value: str, valid: bool) -> None:
    assert (checker(tmp_path, body).check(part(f'<a xmlns="urn:a">{escape(value)}</a>')) == ()) is valid


_NOT_AS_THE_STANDARD = [
    (restricted("anyURI", ""), "%zz", False),
    (restricted("anyURI", ""), "http://[", False),
    (restricted("NMTOKENS", ""), "", True),
    (restricted("date", ""), "99999-01-01", False),
    # neither before nor after: the one has a zone, the other none
    (restricted("dateTime", facet("maxInclusive", "2011-01-01T10:00:00")), "2011-01-01T09:00:00Z", True),
]


@pytest.mark.parametrize(("body", "value", "valid"), _NOT_AS_THE_STANDARD)
def test_the_differences_that_the_docs_tell_are_all_there(tmp_path: Path, body: str, value: str, valid: bool) -> None:
    assert (checker(tmp_path, body).check(part(f'<a xmlns="urn:a">{escape(value)}</a>')) == ()) is valid


def test_an_hour_24_in_an_attribute_is_left_to_libxml2(tmp_path: Path) -> None:
    """Documented; an hour 24 before a bound that excludes 00:00:00 is accepted."""
    simple = restricted("time", facet("minExclusive", "00:00:00")).partition("<xs:simpleType>")[2]
    body = (
        '<xs:element name="a"><xs:complexType><xs:attribute name="t"><xs:simpleType>'
        f"{simple.partition('</xs:element>')[0]}</xs:attribute></xs:complexType></xs:element>"
    )

    assert checker(tmp_path, body).check(part('<a xmlns="urn:a" t="24:00:00"/>')) == ()


def test_a_misread_value_hides_no_other_mistake(tmp_path: Path) -> None:
    body = (
        '<xs:element name="a"><xs:complexType><xs:sequence><xs:element name="n" type="xs:decimal" fixed="1.0"/>'
        '<xs:element name="m" type="xs:int"/></xs:sequence></xs:complexType></xs:element>'
    )
    one = checker(tmp_path, body)

    assert one.check(part('<a xmlns="urn:a"><n>1.00</n><m>1</m></a>')) == ()
    assert told(one.check(part('<a xmlns="urn:a"><n>1.00</n><m>x</m></a>'))) == [("/a/m", "x")]
    assert len(one.check(part('<a xmlns="urn:a"><n>1.00</n><m>1</m><n>1.00</n></a>'))) == 1


@pytest.mark.parametrize("value", ["99999999999-01-01T00:00:00", "99999999999-12-31T24:00:00", "9999-12-31T24:00:00"])
def test_what_the_other_validator_stumbles_over_ends_no_reader(tmp_path: Path, value: str) -> None:
    body = (
        '<xs:element name="a"><xs:complexType><xs:sequence><xs:element name="n" type="xs:decimal" fixed="1.0"/>'
        '<xs:element name="d" type="xs:dateTime"/></xs:sequence></xs:complexType></xs:element>'
    )
    judge = checker(tmp_path, body)

    for number in ("1.0", "1.00"):
        problems = judge.check(part(f'<a xmlns="urn:a"><n>{number}</n><d>{value}</d></a>'))
        assert (problems == ()) is value.startswith("9999-")


def test_xsd_1_1_refuses_what_xmlschema_stumbles_over(tmp_path: Path) -> None:
    body = (
        '<xs:element name="a"><xs:complexType><xs:sequence><xs:element name="d" type="xs:date"/></xs:sequence>'
        '<xs:assert test="d"/></xs:complexType></xs:element>'
    )
    assert len(checker(tmp_path, body).check(part('<a xmlns="urn:a"><d>99999999999-01-01</d></a>'))) == 1


def test_an_hour_24_is_told_with_its_place(tmp_path: Path) -> None:
    body = (
        '<xs:element name="a"><xs:complexType><xs:sequence><xs:element name="t" type="T" maxOccurs="9"/></xs:sequence>'
        '</xs:complexType></xs:element><xs:simpleType name="T"><xs:restriction base="xs:time">'
        '<xs:maxExclusive value="23:00:00"/><xs:minInclusive value="01:00:00"/></xs:restriction></xs:simpleType>'
    )
    (problem,) = checker(tmp_path, body).check(part('<a xmlns="urn:a"><t>02:00:00</t><t>24:00:00</t></a>'))

    assert (problem.code, problem.path, problem.found) == ("value.range", "/a/t[2]", "24:00:00")


def test_a_name_that_is_none_in_a_schema_with_ids_harms_nobody(tmp_path: Path) -> None:
    write(tmp_path, b=schema("urn:b", """<xs:element name="it's" type="xs:ID"/><xs:element name="b" type="xs:int"/>"""))
    catalog = Catalog([schemas.FOLDER, tmp_path])

    with pytest.raises(ConfigError, match="does not compile"):
        Checker(catalog).check(etree.fromstring('<b xmlns="urn:b">1</b>'))
