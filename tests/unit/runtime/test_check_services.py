from pathlib import Path
from typing import Any

import pytest

import schemas
from gateway.config.models import Settings
from gateway.runtime.check_services import check_services
from gateway.runtime.checked import Verdict
from gateway.xml.catalog import Catalog

OWN = "urn:example:loan"
LOAN = (
    f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="{OWN}" targetNamespace="{OWN}">'
    '<xs:element name="Loan"><xs:complexType><xs:sequence>'
    '<xs:element name="Branch" type="xs:string" minOccurs="{branch}"/>'
    '<xs:element name="Row" maxOccurs="unbounded"><xs:complexType><xs:sequence>'
    '<xs:element name="Id" type="Id" minOccurs="{id}"/>'
    '<xs:element name="Place"><xs:complexType><xs:sequence><xs:element name="Shelf" type="xs:string"/></xs:sequence>'
    "</xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element></xs:sequence></xs:complexType>"
    '</xs:element><xs:simpleType name="Id"><xs:restriction base="Short"/></xs:simpleType>'
    '<xs:simpleType name="Short"><xs:restriction base="xs:string"><xs:maxLength value="6"/></xs:restriction>'
    "</xs:simpleType></xs:schema>"
)
SALES_ORDER = {"document": "SalesOrder", "entity": "SalesTable", "key": "SalesId"}
SEQUENCE = {"name": "SalesId", "format": "SO-{number:06}"}


def told(service: dict[str, Any], *folders: Path) -> list[tuple[str, Verdict, str]]:
    settings = Settings.model_validate({"services": {"S": {"kind": "document", **service}}})
    found = list(check_services(settings, Catalog([schemas.FOLDER, *folders])))
    return [(".".join(map(str, one.path[2:])), one.verdict, one.text) for one in found]


def loan(folder: Path, *, branch: int = 0, key: int = 0, **service: Any) -> list[tuple[str, Verdict, str]]:
    (folder / "loan.xsd").write_text(LOAN.format(branch=branch, id=key))
    return told({"document": f"{{{OWN}}}Loan", "entity": "Row", "key": "Id", **service}, folder)


def test_a_service_that_fits_its_schema_is_fine(tmp_path: Path) -> None:
    assert told({**SALES_ORDER, "number_sequence": SEQUENCE}) == []
    assert loan(tmp_path, number_sequence={"name": "L", "format": "L{number:05}"}) == []


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("entity", "SalesTabel", "SalesOrder has no element SalesTabel; did you mean 'SalesTable'?"),
        ("entity", "Nothing", "SalesOrder has no element Nothing; it has ClearNilFieldsOnUpdate, DocPurpose, SenderId"),
        ("key", "SalesID", "SalesTable has no element SalesID; did you mean 'SalesId'?"),
        ("document", "Unheard", "no schema declares {http://schemas.microsoft.com/dynamics/2008/01/documents/Unheard}"),
    ],
)
def test_names_that_the_schema_does_not_have_are_told(option: str, value: str, text: str) -> None:
    ((path, verdict, said),) = told({**SALES_ORDER, option: value})
    assert (path, verdict) == (option, Verdict.ERROR)
    assert said.startswith(text)


def test_a_key_with_elements_of_its_own_is_no_key(tmp_path: Path) -> None:
    loan(tmp_path)
    ((path, verdict, said),) = told({"document": f"{{{OWN}}}Loan", "entity": "Row", "key": "Place"}, tmp_path)
    assert (path, verdict) == ("key", Verdict.ERROR)
    assert "holds elements of its own" in said


def test_a_number_longer_than_its_field_is_told_with_both_lengths(tmp_path: Path) -> None:
    ((path, verdict, said),) = loan(tmp_path, number_sequence={"name": "L", "format": "LOAN-{number:05}"})
    assert (path, verdict) == ("number_sequence.format", Verdict.ERROR)
    assert said == "it makes LOAN-00001, 10 characters; Id takes 6 at most"


def test_a_sequence_that_soon_outgrows_its_field_is_told_with_its_last_number(tmp_path: Path) -> None:
    ((path, verdict, said),) = loan(tmp_path, number_sequence={"name": "L", "format": "LO-{number}", "first": 10})
    assert (path, verdict) == ("number_sequence.format", Verdict.WARNING)
    assert said.startswith("it ends with LO-999, after 990 numbers: a longer one does not fit into Id, which takes 6")


def test_a_key_that_partners_must_and_must_not_send_is_told(tmp_path: Path) -> None:
    ((path, verdict, said),) = loan(tmp_path, key=1, number_sequence={"name": "L"})
    assert (path, verdict) == ("number_sequence", Verdict.WARNING)
    assert "the schema wants it in every Row" in said
    assert loan(tmp_path, key=1) == []


def test_what_a_document_must_hold_beside_its_records_is_told_where_it_is_read(tmp_path: Path) -> None:
    ((path, verdict, said),) = loan(tmp_path, branch=1)
    assert (path, verdict) == ("operations", Verdict.WARNING)
    assert said.startswith("Loan must hold Branch beside Row, which is not kept")
    assert loan(tmp_path, branch=1, operations=["create"]) == []


def test_a_schema_that_does_not_compile_is_told_where_schemas_are_checked(tmp_path: Path) -> None:
    (tmp_path / "circle.xsd").write_text(
        f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="{OWN}" targetNamespace="{OWN}">'
        '<xs:element name="Loan" type="A"/>'
        '<xs:complexType name="A"><xs:complexContent><xs:extension base="B"/></xs:complexContent></xs:complexType>'
        '<xs:complexType name="B"><xs:complexContent><xs:extension base="A"/></xs:complexContent></xs:complexType>'
        "</xs:schema>"
    )
    assert Catalog([tmp_path]).problems() != ()
    assert told({"document": f"{{{OWN}}}Loan", "entity": "Row", "key": "Id"}, tmp_path) == []
