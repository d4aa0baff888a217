from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest
from lxml import etree

import schemas
from gateway.contracts.service import Request, ServiceContext
from gateway.kernel.errors import GatewayError, OperationRejected
from gateway.kernel.ids import MessageKey, PortName
from gateway.kernel.namespaces import Scheme
from gateway.messaging.services.document import Create
from gateway.messaging.services.document_kind import DocumentKind
from gateway.messaging.services.entities import Entity
from gateway.messaging.services.entity_document import Writer, count_entities
from gateway.xml.catalog import Catalog
from tests.documents import envelope

JOURNAL = "http://schemas.microsoft.com/dynamics/2008/01/documents/ToolJournal"
OWN = "urn:example:own"
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
RECORD_ORDER = Path(__file__).parents[2] / "data/ax-record-order"


def write(catalog: Catalog, kind: DocumentKind, *contents: str, company: str = "DAT") -> etree._Element:
    kept = [
        Entity(rec_id=5637144576 + 10 * number, key=f"K-{number}", rec_version=3, content=content.encode())
        for number, content in enumerate(contents)
    ]
    return Writer(kind, lambda: catalog).write(kept, company)


def names(element: etree._Element) -> list[str]:
    return [etree.QName(child).localname for child in element]


def journal(*contents: str, company: str = "DAT") -> etree._Element:
    kind = DocumentKind(document=f"{{{JOURNAL}}}ToolJournal", entity="ToolTable", key="JournalNum", numbering=None)
    return write(Catalog([schemas.FOLDER, RECORD_ORDER]), kind, *contents, company=company)


def own(folder: Path, fields: str, content: str) -> etree._Element:
    """Answer with a document of a schema that has nothing of the ERP."""
    (folder / "own.xsd").write_text(
        f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{OWN}" '
        'elementFormDefault="qualified"><xs:element name="Doc"><xs:complexType><xs:sequence>'
        '<xs:element name="Row" maxOccurs="unbounded"><xs:complexType><xs:sequence>'
        f"{fields}</xs:sequence></xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element></xs:schema>"
    )
    kind = DocumentKind(document=f"{{{OWN}}}Doc", entity="Row", key="Id", numbering=None)
    return write(Catalog([schemas.FOLDER, folder]), kind, content)


def test_fields_stand_where_a_generated_set_wants_them() -> None:
    answer = journal(
        f'<ToolTable xmlns="{JOURNAL}" class="entity"><Name>n</Name><ToolTrans class="entity"><Qty>1</Qty></ToolTrans>'
        "</ToolTable>"
    )
    table = answer[2]
    assert names(answer) == ["DocPurpose", "SenderId", "ToolTable"]
    assert names(table) == ["_DocumentHash", "RecId", "RecVersion", "JournalNum", "Name", "ToolTrans"]
    assert names(table[-1]) == ["RecId", "RecVersion", "Qty"]
    assert [element.text for element in answer.iter(f"{{{JOURNAL}}}RecId")] == ["5637144576", "5637144577"]


def test_a_record_number_sent_as_nil_is_filled_in_and_not_nil() -> None:
    answer = journal(
        f'<ToolTable xmlns="{JOURNAL}" {XSI} class="entity"><RecId xsi:nil="true"/><JournalNum xsi:nil="true"/>'
        "<Name>n</Name></ToolTable>"
    )
    for name, text in {"RecId": "5637144576", "JournalNum": "K-0"}.items():
        (field,) = answer.iter(f"{{{JOURNAL}}}{name}")
        assert (field.text, field.attrib) == (text, {})


def test_the_prefix_of_a_derived_type_stays_declared_also_beside_other_records() -> None:
    typed = (
        f'<t:ToolTable xmlns:t="{JOURNAL}" {XSI} class="entity"><t:Name>n</t:Name>'
        '<t:Owner class="entity" xsi:type="t:AxdEntity_Owner_Company"><t:RegistrationNum>7</t:RegistrationNum>'
        "</t:Owner></t:ToolTable>"
    )
    answer = journal(typed, f'<ToolTable xmlns="{JOURNAL}" class="entity"><Name>n</Name></ToolTable>')
    (owner,) = answer.iter(f"{{{JOURNAL}}}Owner")
    assert owner.nsmap["t"] == JOURNAL
    assert names(owner) == ["RecId", "RecVersion", "RegistrationNum"]


def test_what_was_kept_in_the_https_form_is_answered_in_the_canonical_one() -> None:
    form = JOURNAL.replace("http:", "https:")
    answer = journal(
        f'<t:ToolTable xmlns:t="{form}" {XSI} class="entity"><t:Name>n</t:Name>'
        '<t:Owner class="entity" xsi:type="t:AxdEntity_Owner_Company"/></t:ToolTable>'
    )
    assert {etree.QName(element).namespace for element in answer.iter()} == {JOURNAL}


def test_a_company_that_does_not_fit_is_left_out_alone() -> None:
    answer = journal(f'<ToolTable xmlns="{JOURNAL}" class="entity"><Name>n</Name></ToolTable>', company="LONG-NAME")
    assert names(answer) == ["DocPurpose", "ToolTable"]
    assert names(answer[1])[0] == "_DocumentHash"


def test_a_schema_of_ones_own_gets_nothing_that_it_does_not_have(tmp_path: Path) -> None:
    fields = '<xs:element name="A" type="xs:string"/><xs:element name="Id" type="xs:string" minOccurs="0"/>'
    answer = own(tmp_path, fields, f'<Row xmlns="{OWN}"><A>a</A></Row>')
    assert names(answer) == ["Row"] and names(answer[0]) == ["A", "Id"]


def test_a_schema_that_uses_a_name_of_ours_otherwise_keeps_what_was_sent(tmp_path: Path) -> None:
    fields = '<xs:element name="RecId" type="xs:boolean"/><xs:element name="Id" type="xs:string" minOccurs="0"/>'
    answer = own(tmp_path, fields, f'<Row xmlns="{OWN}"><RecId>true</RecId></Row>')
    assert [element.text for element in answer[0]] == ["true", "K-0"]


def test_what_does_not_follow_the_schema_is_not_sent(tmp_path: Path) -> None:
    fields = '<xs:element name="A" type="xs:int"/><xs:element name="Id" type="xs:string" minOccurs="0"/>'
    with pytest.raises(OperationRejected, match=r'Doc cannot be sent, because what is kept .* A has the value "x"'):
        own(tmp_path, fields, f'<Row xmlns="{OWN}"><A>x</A></Row>')


def test_without_a_schema_nothing_is_sent_and_the_operator_is_told() -> None:
    kind = DocumentKind(document="{urn:gone}Doc", entity="Row", key="Id", numbering=None)
    with pytest.raises(GatewayError, match=r"No schema declares \{urn:gone\}Doc") as caught:
        write(Catalog([schemas.FOLDER]), kind, '<Row xmlns="urn:gone"/>')
    assert not isinstance(caught.value, OperationRejected)


def test_every_record_has_a_number_of_its_own() -> None:
    row = etree.fromstring('<Row><Line class="entity"/><Line class="entity"/></Row>')
    assert count_entities(row) == 3
    row.set("class", "entity")
    assert count_entities(row) == 3


async def create(text: str) -> None:
    """Call create; what it refuses it refuses before it asks the database anything."""
    kind = DocumentKind(document="{urn:a}Doc", entity="Row", key="Id", numbering=None)
    request = Request(
        key=MessageKey(1), port=PortName("p"), message_id=UUID(int=1), service="S", operation="create",
        parts=[], scheme=Scheme.HTTP, company="DAT", partition="initial", user="u", received_at=datetime.now(UTC),
        content=envelope(text).encode(),
    )  # fmt: skip
    await Create(kind, lambda: None).call(request, cast("ServiceContext", None))


async def test_long_namespaces_written_for_each_of_many_records_are_refused_before_they_fill_the_memory() -> None:
    used = " ".join(f"p{number}:x" for number in range(90))
    declared = " ".join(f'xmlns:p{number}="urn:{"x" * 1100}{number}"' for number in range(90))
    rows = f"<Row><Id>1</Id><A>{used}</A></Row>" * 1500
    with pytest.raises(OperationRejected, match="The namespaces of Doc are too long"):
        await create(f'<Doc xmlns="urn:a" {declared}>{rows}</Doc>')
