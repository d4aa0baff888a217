"""What a schema reaches: what it names, from its own folder first, and nothing else."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

import schemas
from gateway.kernel.errors import ConfigError
from gateway.xml.catalog import Catalog
from gateway.xml.grammar import Grammar
from gateway.xml.verdict import Checker
from tests.unit.xml.documents import XSI, part, sales_order

SETS = Path(__file__).parents[2] / "data" / "schema-sets"
AX_SETS = Path(__file__).parents[2] / "data" / "ax-schemas"
XS = 'xmlns:xs="http://www.w3.org/2001/XMLSchema"'
DOCUMENTS = "http://schemas.microsoft.com/dynamics/2008/01/documents"


def schema(namespace: str, body: str, *, prefixes: str = "") -> str:
    target = f'xmlns="{namespace}" targetNamespace="{namespace}"' if namespace else ""
    return f'<xs:schema {XS} {target} {prefixes} elementFormDefault="qualified">{body}</xs:schema>'


def typed(name: str, length: int) -> str:
    limit = f'<xs:restriction base="xs:string"><xs:maxLength value="{length}"/></xs:restriction>'
    return f'<xs:simpleType name="{name}">{limit}</xs:simpleType>'


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.xsd").write_text(content)
    return folder


def known(catalog: Catalog, name: str) -> Grammar:
    grammar = catalog.element(name)
    assert grammar is not None
    return grammar


def accepts(catalog: Catalog, text: str) -> bool:
    """Tell whether a document is valid; both validators have to agree."""
    root = etree.fromstring(text)
    grammar = known(catalog, str(root.tag))
    assert grammar.explaining is not None
    assert grammar.valid(root) == grammar.explaining.is_valid(root)
    return grammar.valid(root)


def quiet(catalog: Catalog) -> bool:
    return catalog.problems() == () and catalog.warnings() == ()


def test_sets_with_the_same_file_names_keep_their_own_types() -> None:
    catalog = Catalog([schemas.FOLDER, SETS / "same-names-in-two-sets"])
    text = '<{0} xmlns="{1}/{0}"><T class="entity"><Name>{2}</Name></T></{0}>'

    assert quiet(catalog)
    assert accepts(catalog, text.format("DocA", DOCUMENTS, "abc"))
    assert not accepts(catalog, text.format("DocA", DOCUMENTS, "abcdef"))
    assert accepts(catalog, text.format("DocB", DOCUMENTS, "abcdef"))


def test_two_imports_of_one_namespace_count_both() -> None:
    catalog = Catalog([schemas.FOLDER, SETS / "one-namespace-imported-twice"])
    text = '<R xmlns="urn:b:ti" xmlns:o="urn:b:ti:o"><o:One>{}</o:One><o:Two>{}</o:Two></R>'

    assert quiet(catalog)
    assert accepts(catalog, text.format(1, 2))
    assert not accepts(catalog, text.format(1, "x"))


@pytest.mark.parametrize(
    ("name", "good", "bad"), [("shouted-ending", "7", "x"), ("written-on-windows", "abc", "abcdef")]
)
def test_schemas_from_windows_are_found(name: str, good: str, bad: str) -> None:
    catalog = Catalog([schemas.FOLDER, SETS / name])

    assert quiet(catalog)
    assert accepts(catalog, f'<R xmlns="urn:b:win">{good}</R>')
    assert not accepts(catalog, f'<R xmlns="urn:b:win">{bad}</R>')


@pytest.mark.parametrize("location", ["COMMON/types.XSD", r"C:\schemas\Types.xsd", "http://host.invalid/a/Types.xsd"])
def test_an_include_is_found_in_any_case_and_beside_when_its_address_leads_nowhere(
    tmp_path: Path, location: str
) -> None:
    folder = "Common" if "COMMON" in location else "."
    write(tmp_path / folder, Types=schema("urn:a", typed("Code", 3)))
    write(tmp_path, a=schema("urn:a", f'<xs:include schemaLocation="{location}"/><xs:element name="a" type="Code"/>'))
    catalog = Catalog([tmp_path])

    assert quiet(catalog)
    assert not accepts(catalog, '<a xmlns="urn:a">abcd</a>')


def test_a_schema_without_ending_counts_and_other_files_do_not(tmp_path: Path) -> None:
    (tmp_path / "xsd0").write_text(schema("urn:a", '<xs:element name="a" type="xs:int"/>'))
    (tmp_path / "README").write_text("<not xml")
    (tmp_path / "page").write_text("<!DOCTYPE html><html/>")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "._a.xsd").write_bytes(b"\x00\x05\x16\x07")
    write(tmp_path / ".git", a="<broken")
    catalog = Catalog([tmp_path])

    assert quiet(catalog)
    assert accepts(catalog, '<a xmlns="urn:a">1</a>')


def _link_to_nowhere(folder: Path) -> None:
    (folder / "loop.xsd").symlink_to("loop.xsd")


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe.xsd")
    os.mkfifo(folder / "pipe")


def _folder(folder: Path) -> None:
    (folder / "folder.xsd").mkdir()


def _name(folder: Path) -> None:
    with open(os.fsencode(folder) + b"/latin\xe4.xsd", "w") as file:
        file.write(schema("urn:other", '<xs:element name="x" type="Missing"/>'))


def _file(content: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "poison.xsd").write_text(content)

    return make


_COUNT = "9" * 5000
_POISONS: dict[str, Callable[[Path], None]] = {
    "relative namespace": _file(schema("RelativeName", '<xs:element name="x" type="xs:string"/>')),
    "empty namespace": _file(f'<xs:schema {XS} targetNamespace=""><xs:element name="x"/></xs:schema>'),
    "namespace of XSD": _file(f'<xs:schema {XS} targetNamespace="http://www.w3.org/2001/XMLSchema"/>'),
    "not XML": _file("<xs:schema"),
    "empty": _file(""),
    "document type": _file("<!DOCTYPE a><a/>"),
    "not a schema": _file("<a/>"),
    "missing type": _file(schema("urn:good", '<xs:element name="x" type="Missing"/>')),
    "the same name again": _file(schema("urn:good", '<xs:element name="z" type="Code"/>' + typed("Code", 1))),
    "an element twice": _file(schema("urn:good", '<xs:element name="x"/><xs:element name="x"/>')),
    "an element without name": _file(schema("urn:good", "<xs:element/>")),
    "a pattern that counts for ever": _file(
        schema(
            "urn:x",
            '<xs:simpleType name="t"><xs:restriction base="xs:string">'
            f'<xs:pattern value="(a+){{{_COUNT}}}"/></xs:restriction></xs:simpleType>',
        )
    ),
    "an include of no name": _file(schema("urn:good", '<xs:include schemaLocation="a%00b.xsd"/><xs:include/>')),
    "an include of a long name": _file(schema("urn:good", f'<xs:include schemaLocation="{"a" * 9999}.xsd"/>')),
    "an include of itself": _file(schema("urn:good", '<xs:include schemaLocation="poison.xsd"/>')),
    "an import of itself": _file(schema("urn:good", '<xs:import namespace="urn:good"/><xs:import/>')),
    "a redefinition of the good one": _file(schema("urn:good", '<xs:redefine schemaLocation="good.xsd"/>')),
    "an override of the good one": _file(schema("urn:good", '<xs:override schemaLocation="good.xsd"/>')),
    "a substitute that is none": _file(
        schema("urn:good", '<xs:element name="x" substitutionGroup="good" type="xs:date"/>')
    ),
    "a link to itself": _link_to_nowhere,
    "a pipe": _pipe,
    "a folder": _folder,
    "a name that is no text": _name,
}


@pytest.mark.parametrize("poison", _POISONS.values(), ids=_POISONS)
def test_one_bad_schema_is_trouble_for_nobody_else(tmp_path: Path, poison: Callable[[Path], None]) -> None:
    """Also of the same namespace, in the same folder."""
    write(tmp_path, good=schema("urn:good", '<xs:element name="good" type="Code"/>' + typed("Code", 3)))
    poison(tmp_path)
    catalog = Catalog([schemas.FOLDER, tmp_path])
    checker = Checker(catalog)

    assert checker.check(part(sales_order())) == ()
    assert checker.check(part('<good xmlns="urn:good">abc</good>')) == ()
    assert len(checker.check(part('<good xmlns="urn:good">abcd</good>'))) == 1
    assert all(str(tmp_path / "good.xsd") != problem.file for problem in catalog.problems())
    assert isinstance(catalog.warnings(), tuple)
    assert catalog.fingerprint


def test_a_document_that_needs_what_cannot_be_used_names_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        types="<xs:schema",
        a=schema("urn:a", '<xs:include schemaLocation="types.xsd"/><xs:element name="a" type="Code"/>'),
    )

    told = [(Path(each.file).name, each.text) for each in Catalog([tmp_path]).problems()]
    assert told[0][0] == "types.xsd"
    assert told[1] == ("a.xsd", "Includes types.xsd, which cannot be used: see what is said about it.")
    assert "Code" in told[2][1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_documents_of_a_file_that_cannot_be_read_wait_for_the_operator(tmp_path: Path, encoding: str) -> None:
    """They are not unknown: no partner can do anything about it."""
    text = schema(f"{DOCUMENTS}/Tool", "<xs:element").replace("http:", "https:")
    (tmp_path / "broken.xsd").write_bytes(text.encode(encoding))
    checker = Checker(Catalog([schemas.FOLDER, tmp_path]))

    with pytest.raises(ConfigError) as caught:
        checker.check(part(f'<Tool xmlns="{DOCUMENTS}/Tool"/>'))
    assert Path(caught.value.problems[0].file).name == "broken.xsd"
    (problem,) = checker.check(part('<Tool xmlns="urn:other"/>'))
    assert problem.code == "document.unknown"


def test_each_broken_file_is_told_with_its_own_mistake(tmp_path: Path) -> None:
    write(tmp_path, a="<a><b></a>", b="", c="<x:a/>", d="<a")

    told = {Path(each.file).stem: each.text for each in Catalog([tmp_path]).problems()}
    assert sorted(told) == ["a", "b", "c", "d"]
    assert len(set(told.values())) == 4


def test_an_error_is_told_of_the_file_it_is_in_with_its_line(tmp_path: Path) -> None:
    more = "<!-- a comment\nof two lines -->\n" + schema("urn:a", '\n<xs:element\n  name="b"\n  type="missing"/>')
    write(
        tmp_path,
        a=schema("urn:a", '<xs:include schemaLocation="more.xsd"/><xs:element name="a" type="xs:int"/>'),
        more=more,
    )

    assert [(Path(each.file).name, each.line) for each in Catalog([tmp_path]).problems()] == [("more.xsd", 6)]


def test_a_broken_file_of_the_same_namespace_breaks_only_those_who_refer_to_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        a=schema("urn:a", '<xs:element name="a" type="Good"/>'),
        b=schema("urn:a", '<xs:element name="b" type="Bad"/>'),
        bad=schema("urn:a", '<xs:complexType name="Bad"><xs:sequence><xs:element ref="gone"/></xs:sequence>'
                   "</xs:complexType>"),
        good=schema("urn:a", typed("Good", 3)),
    )  # fmt: skip
    catalog = Catalog([tmp_path])

    assert accepts(catalog, '<a xmlns="urn:a">abc</a>')
    assert [Path(each.file).name for each in catalog.problems()] == ["bad.xsd"]
    problems = Checker(catalog)
    assert problems.check(part('<a xmlns="urn:a">abc</a>')) == ()


def test_types_beside_the_document_that_extend_its_own_may_be_named_by_documents(tmp_path: Path) -> None:
    base = (
        '<xs:complexType name="Base"><xs:sequence><xs:element name="n" type="xs:int"/></xs:sequence></xs:complexType>'
    )
    derived = (
        '<xs:complexType name="Derived"><xs:complexContent><xs:extension base="Base"><xs:sequence>'
        '<xs:element name="m" type="xs:int"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>'
    )
    write(
        tmp_path,
        a=schema("urn:a", f'<xs:element name="a"><xs:complexType><xs:sequence><xs:element name="b" type="Base"/>'
                 f"</xs:sequence></xs:complexType></xs:element>{base}"),
        more=schema("urn:a", derived),
    )  # fmt: skip
    text = f'<a xmlns="urn:a" {XSI}><b xsi:type="Derived"><n>1</n>{{}}</b></a>'

    assert accepts(Catalog([tmp_path]), text.format("<m>1</m>"))
    assert not accepts(Catalog([tmp_path]), text.format("<m>x</m>"))


def test_a_file_without_namespace_takes_that_of_whoever_includes_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        types=schema("", typed("Code", 3) + '<xs:element name="c" type="Code"/>'),
        a=schema("urn:a", '<xs:include schemaLocation="types.xsd"/><xs:element name="a" type="Code"/>'),
        b=schema("urn:b", '<xs:include schemaLocation="types.xsd"/><xs:element name="b" type="Code"/>'),
    )
    catalog = Catalog([tmp_path])

    assert quiet(catalog)
    for name in "ab":
        assert accepts(catalog, f'<{name} xmlns="urn:{name}">abc</{name}>')
        assert not accepts(catalog, f'<{name} xmlns="urn:{name}">abcd</{name}>')


def test_a_redefined_type_is_the_redefined_one(tmp_path: Path) -> None:
    shorter = (
        '<xs:redefine schemaLocation="types.xsd"><xs:simpleType name="Code"><xs:restriction base="Code">'
        '<xs:maxLength value="2"/></xs:restriction></xs:simpleType></xs:redefine>'
    )
    write(
        tmp_path,
        types=schema("urn:a", typed("Code", 3)),
        a=schema("urn:a", f'{shorter}<xs:element name="a" type="Code"/>'),
    )
    catalog = Catalog([tmp_path])

    assert quiet(catalog)
    assert known(catalog, "{urn:a}a").valid(etree.fromstring('<a xmlns="urn:a">ab</a>'))
    assert not known(catalog, "{urn:a}a").valid(etree.fromstring('<a xmlns="urn:a">abc</a>'))


def test_an_import_prefers_what_is_above_to_what_is_beside(tmp_path: Path) -> None:
    types = "urn:types"
    write(tmp_path, types=schema(types, typed("Code", 3)))
    write(tmp_path / "beside", types=schema(types, typed("Code", 9)))
    write(
        tmp_path / "own",
        a=schema(
            "urn:a",
            f'<xs:import namespace="{types}"/><xs:element name="a" type="t:Code"/>',
            prefixes=f'xmlns:t="{types}"',
        ),
    )
    catalog = Catalog([schemas.FOLDER, tmp_path])

    assert quiet(catalog)
    assert not accepts(catalog, '<a xmlns="urn:a">abcd</a>')


@pytest.mark.parametrize("names", [("one/t", "two/t"), ("own/t1", "own/t2")])
def test_an_import_that_neighbours_answer_differently_is_a_warning(tmp_path: Path, names: tuple[str, str]) -> None:
    types = "urn:types"
    body = f'<xs:import namespace="{types}"/><xs:element name="a" type="t:Code"/>'
    write(tmp_path / "own", a=schema("urn:a", body, prefixes=f'xmlns:t="{types}"'))
    for name, length in zip(names, (3, 9), strict=True):
        path = tmp_path / name
        write(path.parent, **{path.name: schema(types, typed("Code", length))})
    catalog = Catalog([tmp_path])

    (warning,) = catalog.warnings()
    assert Path(warning.file).name == "a.xsd"
    assert all(f"{name}.xsd" in warning.text for name in names)
    assert not accepts(catalog, '<a xmlns="urn:a">abcd</a>')


def test_the_folder_of_another_set_counts_only_where_nothing_nearer_has_the_names(tmp_path: Path) -> None:
    types = "urn:types"
    body = f'<xs:import namespace="{types}"/><xs:element name="a" type="t:Code"/>'
    write(tmp_path / "own", a=schema("urn:a", body, prefixes=f'xmlns:t="{types}"'), t=schema(types, typed("Other", 1)))
    write(tmp_path / "common", t=schema(types, typed("Code", 3)))
    catalog = Catalog([tmp_path])

    assert quiet(catalog)
    assert accepts(catalog, '<a xmlns="urn:a">abc</a>')


def test_what_a_set_lacks_does_not_come_from_another_set(tmp_path: Path) -> None:
    types = "urn:types"
    fields = "".join(f'<xs:element name="{name}" type="t:{name}"/>' for name in ("Own", "Lost"))
    body = (
        f'<xs:import namespace="{types}"/><xs:element name="a"><xs:complexType><xs:sequence>{fields}</xs:sequence>'
        "</xs:complexType></xs:element>"
    )
    write(
        tmp_path / "own",
        a=schema("urn:a", body, prefixes=f'xmlns:t="{types}"'),
        t=schema(types, typed("Own", 3)),
    )
    write(tmp_path / "beside", t=schema(types, typed("Own", 9) + typed("Lost", 9)))

    told = Catalog([schemas.FOLDER, tmp_path]).problems()
    assert told
    assert {problem.file for problem in told} == {str(tmp_path / "own" / "a.xsd")}
    assert all("Lost" in problem.text for problem in told)


@pytest.mark.parametrize("flat", [False, True])
def test_generated_sets_that_repeat_one_another_agree(tmp_path: Path, flat: bool) -> None:
    """Every set of an ERP brings the keys, the shared types and the wrappers again, with other prefixes."""
    for number in range(3):
        folder = tmp_path if flat else tmp_path / f"set{number}"
        folder.mkdir(exist_ok=True)
        for file in AX_SETS.iterdir():
            text = file.read_text().replace("xmlns:st=", f"xmlns:s{number}=").replace('"st:', f'"s{number}:')
            (folder / f"{number}{file.name}").write_text(text)
    catalog = Catalog([schemas.FOLDER, tmp_path])

    assert catalog.problems() == ()
    assert all("anchors" in warning.text for warning in catalog.warnings())
    assert catalog.rivals(f"{{{DOCUMENTS}/ToolJournal}}ToolJournal") == ()


def test_documents_that_contradict_one_another_are_told_once_for_each_pair_of_files(tmp_path: Path) -> None:
    same = '<xs:element name="same" type="xs:int"/>'
    for name, length in (("one", 3), ("two", 9)):
        elements = "".join(f'<xs:element name="{each}" type="Code"/>' for each in "abcdefg")
        write(tmp_path / name, a=schema("urn:a", elements + same + typed("Code", length)))
    catalog = Catalog([tmp_path])

    assert catalog.problems() == ()
    (warning,) = catalog.warnings()
    assert warning.file == str(tmp_path / "two" / "a.xsd")
    assert "Declares a, b, c, d, e and 2 more differently from" in warning.text
    assert [path.parent.name for path in catalog.rivals("{urn:a}a")] == ["one", "two"]
    assert catalog.rivals("{urn:a}same") == ()
