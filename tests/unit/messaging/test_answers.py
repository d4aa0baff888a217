"""What a handler answers is judged by the schema of its document before it is sent."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

import schemas
from gateway.kernel.errors import SchemaUnusable, ServiceBroken
from gateway.messaging.services.answers import Answers
from gateway.xml.catalog import Catalog

OWN = "urn:example:answers"
XSD = (
    f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="{OWN}" targetNamespace="{OWN}" '
    'elementFormDefault="qualified"><xs:element name="Total"><xs:complexType><xs:sequence>'
    '<xs:element name="Amount" type="xs:decimal"/></xs:sequence></xs:complexType></xs:element></xs:schema>'
)


def judge(folder: Path, *parts: str) -> None:
    (folder / "total.xsd").write_text(XSD)
    Answers(lambda: Catalog([schemas.FOLDER, folder])).check([etree.fromstring(part) for part in parts], "S.o")


def test_answer_that_follows_its_schema_is_sent(tmp_path: Path) -> None:
    judge(tmp_path, f'<Total xmlns="{OWN}"><Amount>1.50</Amount></Total>')


def test_answer_that_breaks_its_schema_is_refused_with_the_place_and_the_reason(tmp_path: Path) -> None:
    good, bad = (f'<Total xmlns="{OWN}"><Amount>{amount}</Amount></Total>' for amount in ("1", "much"))
    with pytest.raises(
        ServiceBroken, match=r'answer of S\.o does not follow its schema: /Total/Amount: .*"much"'
    ) as told:
        judge(tmp_path, good, bad)
    assert told.value.code == "handler.answer-invalid"


def test_document_that_no_schema_declares_is_free(tmp_path: Path) -> None:
    judge(tmp_path, '<Whatever xmlns="urn:nobody"><x/></Whatever>', "<Plain/>")


def test_what_a_tree_holds_and_its_text_does_not_say_is_judged_as_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "total.xsd").write_text(XSD)
    part = etree.fromstring(f'<Total xmlns="{OWN}"><Amount/></Total>')
    part[0].text = ""
    with pytest.raises(ServiceBroken):
        Answers(lambda: Catalog([tmp_path])).check([part], "S.o")


def test_schema_that_cannot_be_used_is_the_operators_trouble_too(tmp_path: Path) -> None:
    (tmp_path / "broken.xsd").write_text(XSD.replace("xs:decimal", "Unknown").replace("Total", "Other"))
    answers = Answers(lambda: Catalog([tmp_path]))
    with pytest.raises(SchemaUnusable, match=r"answer of S\.o cannot be judged: .*Mend the schema, then release"):
        answers.check([etree.fromstring(f'<Other xmlns="{OWN}"><Amount>1</Amount></Other>')], "S.o")


async def test_threads_take_turns(tmp_path: Path) -> None:
    (tmp_path / "total.xsd").write_text(XSD)
    answers = Answers(lambda: Catalog([tmp_path]))
    parts: Sequence[Any] = [etree.fromstring(f'<Total xmlns="{OWN}"><Amount>1</Amount></Total>')]
    await asyncio.gather(*(asyncio.to_thread(answers.check, parts, "S.o") for _ in range(20)))
