"""Whatever a document service sends follows the schema of its document, for every schema and every valid document."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lxml import etree

import schemas
from gateway.kernel.namespaces import MESSAGE_2011
from gateway.messaging.services.document_kind import DocumentKind
from gateway.messaging.services.entities import Entity
from gateway.messaging.services.entity_document import Writer, count_entities, root_entities
from gateway.xml.answer import AnswerHeader, response
from gateway.xml.catalog import Catalog
from gateway.xml.parse import parse_checked
from gateway.xml.parts import standalone
from gateway.xml.verdict import Checker

Draw = Callable[[st.SearchStrategy[Any]], Any]
SITE = Path(schemas.FOLDER).parent / "gateway/cli/site"
NS = "urn:example:tools"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
KEY = "Id"
OURS = {"RecId": "xs:long", "RecVersion": "xs:int", "_DocumentHash": "xs:string", KEY: "Name"}
VALUES = {"xs:long": "7", "xs:int": "7", "xs:string": "a", "Name": "n", "xs:date": "2031-05-31", "xs:QName": "p:x"}

SHIPPED = {
    ("{http://schemas.microsoft.com/dynamics/2008/01/documents/SalesOrder}SalesOrder", "SalesTable", "SalesId"): (
        schemas.FOLDER / "documents/SalesOrder.sample.xml"
    ),
    ("{http://schemas.microsoft.com/dynamics/2008/01/documents/Customer}Customer", "CustTable", "AccountNum"): (
        schemas.FOLDER / "documents/Customer.sample.xml"
    ),
    ("{http://example.com/documents/TimeSheet}TimeSheet", "Sheet", "SheetId"): SITE / "schemas/TimeSheet.sample.xml",
}


@dataclass
class Part:
    """A part of a generated content model; a field when `kind` is "field", a child with fields when "entity"."""

    kind: str
    least: int
    most: int
    name: str = ""
    type: str = ""
    parts: "list[Part]" = field(default_factory=list)
    extension: "list[Part]" = field(default_factory=list)

    def xsd(self) -> str:
        most = "unbounded" if self.most > 1 else "1"
        bounds = f'minOccurs="{self.least}" maxOccurs="{most}"'
        if self.kind == "field":
            nil = ' nillable="true"' if self.least == 0 else ""
            return f'<xs:element name="{self.name}" type="{self.type}" {bounds}{nil}/>'
        if self.kind == "entity":
            return f'<xs:element name="{self.name}" type="T{self.name}" {bounds}/>'
        return f"<xs:{self.kind} {bounds}>{''.join(part.xsd() for part in self.parts)}</xs:{self.kind}>"

    def types(self) -> str:
        """Return the types of the entities in and below this part."""
        inner = "".join(part.types() for part in (*self.parts, *self.extension))
        if self.kind != "entity":
            return inner
        content = "".join(part.xsd() for part in self.parts)
        if [part.kind for part in self.parts] != ["all"]:
            content = f"<xs:sequence>{content}</xs:sequence>"
        own = f'{inner}<xs:complexType name="T{self.name}">{content}<xs:attribute name="class" fixed="entity"/>'
        if not self.extension:
            return f"{own}</xs:complexType>"
        more = "".join(part.xsd() for part in self.extension)
        return (
            f'{own}</xs:complexType><xs:complexType name="X{self.name}"><xs:complexContent>'
            f'<xs:extension base="T{self.name}"><xs:sequence>{more}</xs:sequence></xs:extension>'
            "</xs:complexContent></xs:complexType>"
        )

    def document(self, draw: Draw, prefix: str, inner: str) -> str:
        """Return an instance; the key and what the gateway knows is often left out."""
        times = draw(st.integers(self.least, self.most))
        return "".join(self._once(draw, prefix, inner) for _ in range(times))

    def _once(self, draw: Draw, prefix: str, inner: str) -> str:
        match self.kind:
            case "field":
                name = f"{inner}{self.name}"
                if self.least == 0 and draw(st.booleans()):
                    return f'<{name} i:nil="true"/>'
                return f"<{name}>{VALUES[self.type]}</{name}>"
            case "choice":
                return draw(st.sampled_from(self.parts)).document(draw, prefix, inner)
            case "all":
                return "".join(part.document(draw, prefix, inner) for part in draw(st.permutations(self.parts)))
            case "sequence":
                return "".join(part.document(draw, prefix, inner) for part in self.parts)
        return self.entity(draw, prefix, inner, f"{inner}{self.name}")

    def entity(self, draw: Draw, prefix: str, inner: str, name: str) -> str:
        content = "".join(part.document(draw, prefix, inner) for part in self.parts)
        attributes = ' class="entity"' if draw(st.booleans()) else ""
        if self.extension and draw(st.booleans()):
            content += "".join(part.document(draw, prefix, inner) for part in self.extension)
            attributes += f' i:type="{prefix}X{self.name}"'
        return f"<{name}{attributes}>{content}</{name}>"


@st.composite
def fields(draw: st.DrawFn, names: Sequence[str]) -> list[Part]:
    """Return fields in any order, some of them in groups."""
    found: list[Part] = []
    for name in draw(st.permutations(names)):
        kind = OURS.get(name) or draw(st.sampled_from(["xs:string", "xs:date", "Name", "xs:QName"]))
        least = 0 if name in OURS and draw(st.integers(0, 4)) else draw(st.integers(0, 1))
        found.append(Part("field", least, draw(st.sampled_from([1, 1, 1, 3])), name, kind))
    start = draw(st.integers(0, len(found)))
    group = found[start : start + draw(st.integers(1, 4))]
    if group and draw(st.booleans()):
        grouped = Part(
            draw(st.sampled_from(["sequence", "choice"])),
            draw(st.integers(0, 1)),
            draw(st.sampled_from([1, 3])),
            parts=group,
        )
        found[start : start + len(group)] = [grouped]
    return found


@st.composite
def entities(draw: st.DrawFn, name: str, depth: int) -> Part:
    ours = draw(st.lists(st.sampled_from(list(OURS)), unique=True))
    names = [*ours, *(f"{letter}{name}" for letter in draw(st.sampled_from(["", "A", "AB", "ABC"])))]
    parts = draw(fields(names))
    if depth == 0 and draw(st.integers(0, 4)) == 0:
        plain = [Part("field", each.least, 1, each.name, each.type) for each in parts if each.kind == "field"]
        return Part("entity", 0, 3, name, parts=[Part("all", 1, 1, parts=plain)] if plain else [])
    for number in range(draw(st.integers(0, 2)) if depth else 0):
        parts.insert(draw(st.integers(0, len(parts))), draw(entities(f"{name}{number}", depth - 1)))
    return Part("entity", 0, 3, name, parts=parts, extension=draw(fields([f"X{name}"])))


def written(answer: etree._Element, scheme: str = "http") -> etree._Element:
    """Return the document as the partner reads it from the response file."""
    namespace = MESSAGE_2011.replace("http", scheme)
    header = AnswerHeader(namespace, UUID(int=1), "a/read", "")
    root = etree.fromstring(response(header, [answer]))
    (part,) = root.find("{*}Body/{*}MessageParts")  # type: ignore[misc]
    return part


def answered(catalog: Catalog, kind: DocumentKind, document: etree._Element) -> etree._Element:
    """Keep the entities of a document as create does, and return what read answers."""
    kept, number = [], 5637144576
    for element in root_entities(document, kind.entity):
        content = standalone(element, document.nsmap)
        kept.append(Entity(rec_id=number, key="K-1", rec_version=1, content=content))
        number += count_entities(element)
    return Writer(kind, lambda: catalog).write(kept, "DAT")


@settings(max_examples=60)
@given(data=st.data())
def test_the_answer_follows_any_schema(data: st.DataObject) -> None:
    draw = data.draw
    entity = draw(entities("E", 2))
    head = [
        Part("field", 0, 1, name, "xs:string")
        for name in draw(st.sampled_from([(), ("SenderId",), ("DocPurpose", "SenderId")]))
    ]
    root = [*head, Part("entity", 0, 3, "E")]
    if draw(st.booleans()):
        root.reverse()
    qualified = draw(st.booleans())
    form = "qualified" if qualified else "unqualified"
    content = "".join(part.xsd() for part in root)
    xsd = (
        f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="{NS}" targetNamespace="{NS}" '
        f'elementFormDefault="{form}"><xs:simpleType name="Name"><xs:restriction base="xs:string">'
        '<xs:maxLength value="9"/></xs:restriction></xs:simpleType><xs:element name="Doc"><xs:complexType>'
        f"<xs:sequence>{content}</xs:sequence></xs:complexType></xs:element>{entity.types()}</xs:schema>"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.xsd").write_text(xsd)
        catalog = Catalog([Path(folder)])
    prefix = draw(st.sampled_from(["", "t:"])) if qualified else "t:"
    inner = prefix if qualified else ""
    declared = f'xmlns:i="{XSI}" xmlns:p="urn:p" xmlns:unused="urn:u" xmlns{":t" if prefix else ""}="{NS}"'
    count = draw(st.integers(1, 3))
    records = "".join(entity.entity(draw, prefix, inner, f"{inner}E") for _ in range(count))
    document = parse_checked(f"<{prefix}Doc {declared}>{records}</{prefix}Doc>".encode())
    checker = Checker(catalog)
    assume(checker.check(document) == ())
    kind = DocumentKind(document=f"{{{NS}}}Doc", entity="E", key=KEY, numbering=None)

    answer = written(answered(catalog, kind, document))

    assert checker.check(answer) == (), f"{xsd}\n{etree.tostring(document).decode()}\n{etree.tostring(answer).decode()}"
    assert len(list(root_entities(answer, "E"))) == count
    plain = {part.name for part in entity.parts if part.kind == "field"}
    for element in root_entities(answer, "E"):
        for name in plain & set(OURS):
            assert element.findtext(f"{{*}}{name}"), f"{name} has a place\n{xsd}\n{etree.tostring(answer).decode()}"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("service", SHIPPED, ids=lambda each: each[1])
def test_the_answer_follows_every_shipped_schema(service: tuple[str, str, str], scheme: str) -> None:
    name, entity, key = service
    catalog = Catalog([schemas.FOLDER, SITE / "schemas"])
    text = SHIPPED[service].read_text().replace("http://schemas.microsoft", f"{scheme}://schemas.microsoft")
    kind = DocumentKind(document=name, entity=entity, key=key, numbering=None)

    answer = written(answered(catalog, kind, parse_checked(text.encode())), scheme)

    assert Checker(catalog).check(answer) == ()
    assert answer.findtext(f".//{{*}}{key}")
