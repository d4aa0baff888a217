from pathlib import Path

import pytest
from lxml import etree

import schemas
from gateway.kernel.errors import ConfigError
from gateway.kernel.namespaces import BATCH, ENTITY_KEY_LIST, MESSAGE_2011
from gateway.xml.catalog import Catalog
from gateway.xml.grammar import Grammar
from gateway.xml.limits import WorkClock

DATA = Path(__file__).parents[2] / "data"
TOOLS = "http://schemas.microsoft.com/dynamics/2008/01/documents/ToolJournal"
SALES_ORDER = "{http://schemas.microsoft.com/dynamics/2008/01/documents/SalesOrder}SalesOrder"
XS = 'xmlns:xs="http://www.w3.org/2001/XMLSchema"'


def schema(namespace: str, body: str, *, prefixes: str = "") -> str:
    return (
        f'<xs:schema {XS} xmlns="{namespace}" {prefixes} targetNamespace="{namespace}" '
        f'elementFormDefault="qualified">{body}</xs:schema>'
    )


def known(catalog: Catalog, name: str) -> Grammar:
    grammar = catalog.element(name)
    assert grammar is not None
    return grammar


def tools(fields: str) -> etree._Element:
    return etree.fromstring(
        f'<ToolJournal xmlns="{TOOLS}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f'<ToolTable class="entity">{fields}</ToolTable></ToolJournal>'
    )


def test_our_own_schemas_have_neither_problems_nor_warnings() -> None:
    catalog = Catalog([schemas.FOLDER])

    assert catalog.problems() == ()
    assert catalog.warnings() == ()


@pytest.mark.parametrize("sample", sorted(schemas.FOLDER.rglob("*.sample.xml")), ids=lambda path: path.stem)
def test_a_sample_document_follows_the_schema_beside_it(sample: Path) -> None:
    catalog = Catalog([schemas.FOLDER])
    root = etree.fromstring(sample.read_bytes())

    assert known(catalog, str(root.tag)).valid(root)


def test_every_schema_can_be_used_for_explanations_in_both_schemes() -> None:
    catalog = Catalog([schemas.FOLDER])

    for name in catalog.names():
        for form in (name, name.replace("http://", "https://")):
            assert known(catalog, form).explaining is not None, form


def test_generated_schemas_work_as_they_are() -> None:
    catalog = Catalog([schemas.FOLDER, DATA / "ax-schemas"])
    grammar = known(catalog, f"{{{TOOLS}}}ToolJournal")

    assert catalog.problems() == ()
    assert grammar.valid(tools("<BorrowedAt>23:59:59</BorrowedAt><ToolId>DRILL-6</ToolId>"))
    assert not grammar.valid(tools("<BorrowedAt>24:59:59</BorrowedAt><ToolId>DRILL-6</ToolId>"))
    assert grammar.explaining is not None


def test_an_inherited_entity_is_valid_with_its_type() -> None:
    catalog = Catalog([schemas.FOLDER, DATA / "ax-schemas"])
    owner = '<ToolId>1</ToolId><Owner {0} class="entity"><Name>N</Name><RegistrationNum>7</RegistrationNum></Owner>'
    grammar = known(catalog, f"{{{TOOLS}}}ToolJournal")

    assert grammar.valid(tools(owner.format('xsi:type="AxdEntity_Owner_Company"')))
    assert not grammar.valid(tools(owner.format("")))


def test_removed_anchors_are_told_with_file_and_line() -> None:
    (warning,) = Catalog([schemas.FOLDER, DATA / "ax-schemas"]).warnings()

    assert warning.file.endswith("service2.xsd")
    assert warning.line == 24
    assert "anchors" in warning.text


def test_anchors_are_told_once_for_each_file(tmp_path: Path) -> None:
    simple = '<xs:simpleType name="{}"><xs:restriction base="xs:string"><xs:pattern value="^a$"/></xs:restriction>'
    body = "\n".join(simple.format(name) + "</xs:simpleType>" for name in "tuv")
    (tmp_path / "a.xsd").write_text(schema("urn:a", body))

    (warning,) = Catalog([tmp_path]).warnings()
    assert (warning.line, "as 2 more have" in warning.text) == (1, True)


def test_shared_types_come_from_the_folder_of_the_document_not_from_ours() -> None:
    """Both folders declare AxdEnum_AxdEntityAction; only ours knows `replace`."""
    catalog = Catalog([schemas.FOLDER, DATA / "ax-schemas"])
    order = etree.fromstring((schemas.FOLDER / "documents/SalesOrder.sample.xml").read_bytes())
    order.find("{*}SalesTable").set("action", "replace")  # type: ignore[union-attr]
    journal = tools("<ToolId>1</ToolId>")
    journal[0].set("action", "replace")

    assert known(catalog, str(order.tag)).valid(order)
    assert not known(catalog, str(journal.tag)).valid(journal)


def test_a_document_of_a_site_hides_ours(tmp_path: Path) -> None:
    (tmp_path / "SalesOrder.xsd").write_text(
        schema(SALES_ORDER[1:].partition("}")[0], '<xs:element name="SalesOrder"/>')
    )
    part = etree.Element(SALES_ORDER)
    etree.SubElement(part, "anything")

    assert not known(Catalog([schemas.FOLDER]), SALES_ORDER).valid(part)
    assert known(Catalog([schemas.FOLDER, tmp_path]), SALES_ORDER).valid(part)


def test_a_site_cannot_redefine_what_a_key_list_is(tmp_path: Path) -> None:
    (tmp_path / "Keys.xsd").write_text(schema(ENTITY_KEY_LIST, '<xs:element name="EntityKeyList" type="xs:int"/>'))
    name = f"{{{ENTITY_KEY_LIST}}}EntityKeyList"

    assert known(Catalog([schemas.FOLDER, tmp_path]), name).valid(etree.Element(name))


def test_envelope_and_batch_are_no_documents() -> None:
    catalog = Catalog([schemas.FOLDER])

    assert catalog.element(f"{{{MESSAGE_2011}}}Envelope") is None
    assert catalog.element(f"{{{BATCH}}}Batch") is None


def test_a_document_without_namespace_is_not_served() -> None:
    assert Catalog([schemas.FOLDER, DATA / "ax-schemas"]).element("EntityKeyList") is None


def test_nothing_outside_the_folders_is_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.xsd").write_text(schema("urn:b", '<xs:element name="b" type="xs:int"/>'))
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "a.xsd").write_text(
        schema(
            "urn:a",
            '<xs:import namespace="urn:b" schemaLocation="../outside/b.xsd"/><xs:element name="a"><xs:complexType>'
            '<xs:sequence><xs:element ref="b:b"/></xs:sequence></xs:complexType></xs:element>',
            prefixes='xmlns:b="urn:b"',
        )
    )
    (folder / "linked.xsd").symlink_to(outside / "b.xsd")

    catalog = Catalog([folder])

    assert catalog.names() == ("{urn:a}a",)
    assert [(Path(each.file).name, each.line) for each in catalog.problems()] == [("a.xsd", 1)]
    assert any("urn:b" in warning.text for warning in catalog.warnings())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x/>', "DOCTYPE"),
        ("<xs:schema", "not well-formed"),
        ("<note/>", "not an XML schema"),
        (schema("urn:a", '<xs:element\n name="a" type="missing"/>'), "does not compile"),
        (schema("urn:a", '<xs:include schemaLocation="gone.xsd"/>'), "gone.xsd"),
    ],
)
def test_an_unusable_schema_is_told_with_its_file(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.xsd").write_text(content)

    problems = Catalog([tmp_path]).problems()

    assert any(said in problem.text for problem in problems)
    assert {problem.file for problem in problems} == {str(tmp_path / "a.xsd")}


def test_a_schema_that_does_not_compile_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.xsd").write_text(schema("urn:a", '<xs:element name="a" type="missing"/>'))
    grammar = Catalog([tmp_path]).element("{urn:a}a")
    assert grammar is not None
    tried: list[None] = []
    documents = grammar._documents

    def counted() -> dict[str, str]:
        tried.append(None)
        return documents()

    monkeypatch.setattr(grammar, "_documents", counted)
    for _ in range(3):
        with pytest.raises(ConfigError, match="does not compile"):
            grammar.compile()
    assert len(tried) == 1


def test_the_making_of_a_schema_does_not_count_as_reading(tmp_path: Path) -> None:
    (tmp_path / "a.xsd").write_text(schema("urn:a", '<xs:element name="a" type="xs:string"/>'))
    catalog = Catalog([tmp_path])
    grammar = catalog.element("{urn:a}a")
    assert grammar is not None
    looks: list[float] = []

    def now() -> float:
        looks.append(10.0 * len(looks))
        return looks[-1]

    grammar._clock = clock = WorkClock(now)
    began = clock()
    assert grammar.explaining is not None
    assert clock() - began == 10 * 3  # from look to look, but for the two times that the clock was stopped


def test_a_schema_error_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.xsd").write_text(schema("urn:a", '\n\n<xs:element name="a"\n    type="missing"/>'))

    assert [problem.line for problem in Catalog([tmp_path]).problems()] == [4]


def test_a_missing_folder_is_a_problem(tmp_path: Path) -> None:
    (problem,) = Catalog([tmp_path / "gone"]).problems()

    assert problem.file == str(tmp_path / "gone")


def test_two_files_of_one_namespace_in_one_folder_count_together(tmp_path: Path) -> None:
    (tmp_path / "a.xsd").write_text(schema("urn:a", '<xs:element name="a" type="T"/>'))
    (tmp_path / "types.xsd").write_text(
        schema("urn:a", '<xs:simpleType name="T"><xs:restriction base="xs:int"/></xs:simpleType>')
    )
    catalog = Catalog([tmp_path])
    root = etree.fromstring('<a xmlns="urn:a">x</a>')

    assert catalog.problems() == ()
    assert not known(catalog, "{urn:a}a").valid(root)
    assert known(catalog, "{urn:a}a").explaining is not None


def test_a_costly_pattern_is_a_warning_and_left_out_of_explanations(tmp_path: Path) -> None:
    simple = (
        '<xs:simpleType><xs:restriction base="xs:string"><xs:pattern value="(a+)+b"/></xs:restriction></xs:simpleType>'
    )
    (tmp_path / "a.xsd").write_text(schema("urn:a", f'<xs:element name="a">{simple}</xs:element>'))
    catalog = Catalog([tmp_path])
    grammar = known(catalog, "{urn:a}a")
    hostile = etree.fromstring(f'<a xmlns="urn:a">{"a" * 60}</a>')

    assert ["repeats a repetition" in warning.text for warning in catalog.warnings()] == [True]
    assert not grammar.valid(hostile)
    assert grammar.explaining is not None
    assert list(grammar.explaining.iter_errors(hostile)) == []


def test_xsd_1_1_is_carried_by_the_other_validator() -> None:
    catalog = Catalog([DATA / "xsd11"])
    loan = '<Loan xmlns="urn:example:loan"><From>2031-02-03</From><To>{}</To></Loan>'
    grammar = known(catalog, "{urn:example:loan}Loan")

    assert catalog.problems() == ()
    assert ["XSD 1.1" in warning.text for warning in catalog.warnings()] == [True]
    assert grammar.valid(etree.fromstring(loan.format("2031-02-04")))
    assert not grammar.valid(etree.fromstring(loan.format("2031-02-02")))


def test_the_fingerprint_follows_the_content_not_the_place(tmp_path: Path) -> None:
    for name, kind in (("one", "xs:int"), ("two", "xs:int"), ("three", "xs:long")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.xsd").write_text(schema("urn:a", f'<xs:element name="a" type="{kind}"/>'))
    one, two, three = (Catalog([tmp_path / name]).fingerprint for name in ("one", "two", "three"))

    assert one == two
    assert one != three


def test_a_schema_written_with_https_serves_both_forms(tmp_path: Path) -> None:
    namespace = "https://schemas.microsoft.com/dynamics/2008/01/documents/Tool"
    (tmp_path / "a.xsd").write_text(schema(namespace, '<xs:element name="Tool" type="xs:int"/>'))
    catalog = Catalog([tmp_path])

    for form in (namespace, namespace.replace("https:", "http:")):
        assert known(catalog, f"{{{form}}}Tool").valid(etree.fromstring(f'<Tool xmlns="{form}">1</Tool>'))
