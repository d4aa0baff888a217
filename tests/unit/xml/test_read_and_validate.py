"""Reader, verdict and explanation together, as a worker uses them."""

import os
from pathlib import Path

import schemas
from gateway.messaging.rules.envelope import FileHead, ReadEnvelope
from gateway.xml.catalog import Catalog
from gateway.xml.limits import ReadRules
from gateway.xml.locate import Locator
from gateway.xml.reading import read_envelopes
from gateway.xml.verdict import Checker
from tests.unit.xml.documents import envelope_text, line, sales_order
from tests.unit.xml.reading import still

ACCOUNT = "<CustAccount>100002</CustAccount>"


def read(path: Path, content: bytes, *folders: Path) -> list[ReadEnvelope]:
    catalog = Catalog([schemas.FOLDER, *folders])
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        found = list(read_envelopes(fd, ReadRules(), Checker(catalog), Locator(), still))
    finally:
        os.close(fd)
    assert isinstance(found[0], FileHead)
    return [each for each in found if isinstance(each, ReadEnvelope)]


def test_only_the_failing_envelopes_of_a_utf_16_batch_are_told_with_their_places(tmp_path: Path) -> None:
    good = envelope_text(sales_order(ACCOUNT + line("<ItemId><![CDATA[<1>]]></ItemId>")))
    bad = envelope_text(sales_order(ACCOUNT + "\n  " + line("<ItemId>1</ItemId><SalesQty>１,5</SalesQty>")))
    worse = envelope_text(sales_order("<Deadline>31.05.2011</Deadline>")).replace("<Action>a/b</Action>", "<Aktion/>")
    text = (
        '<?xml version="1.0" encoding="UTF-16"?>\r\n<!-- a comment -->\r\n'
        '<Batch xmlns="http://schemas.microsoft.com/dynamics/2009/06/documents/Batch">\r\n'
        + "\r\n".join(["<!-- <Envelope/> -->", good, good, bad, good, worse])
        + "</Batch>"
    )
    lines = text.split("\n")

    envelopes = read(tmp_path / "f.xml", text.encode("utf-16"))

    assert [len(each.body_problems) for each in envelopes] == [0, 0, 1, 0, 2]
    (problem,) = envelopes[2].body_problems
    assert problem.found == "１,5"
    assert problem.line is not None
    assert problem.column is not None
    assert lines[problem.line - 1][problem.column - 1 :].startswith("<SalesQty>１,5")
    for each in (*envelopes[4].header_problems, *envelopes[4].body_problems):
        assert each.line is not None
        assert each.column is not None
        named = (each.path or "").rpartition("/")[2].partition("[")[0]
        assert lines[each.line - 1][each.column - 1 :].startswith(f"<{named}")


def test_a_valid_file_names_the_schemas_it_passed(tmp_path: Path) -> None:
    (envelope,) = read(tmp_path / "f.xml", envelope_text(sales_order()).encode())

    assert envelope.body_problems == ()
    assert envelope.schema == Catalog([schemas.FOLDER]).fingerprint


def test_ids_are_unique_in_a_document_never_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "ids.xsd").write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:i" elementFormDefault="qualified">'
        '<xs:element name="R"><xs:complexType><xs:sequence><xs:element name="I" maxOccurs="unbounded"><xs:complexType>'
        '<xs:attribute name="id" type="xs:ID"/><xs:attribute name="ref" type="xs:IDREF"/></xs:complexType>'
        "</xs:element></xs:sequence></xs:complexType></xs:element></xs:schema>"
    )
    inside = ['<I id="q1"/>'] * 3 + ['<I id="q1"/><I ref="q1"/>'] * 3 + ['<I ref="q1"/>']
    text = "".join(envelope_text(f'<R xmlns="urn:i">{each}</R>') for each in inside)
    batch = f'<Batch xmlns="http://schemas.microsoft.com/dynamics/2009/06/documents/Batch">{text}</Batch>'

    envelopes = read(tmp_path / "f.xml", batch.encode(), tmp_path)

    assert [len(each.body_problems) for each in envelopes] == [0, 0, 0, 0, 0, 0, 1]
    assert envelopes[6].body_problems[0].line is not None
