"""Whatever is wrong with a document or a file, its partner reads our words: samples, broken at random."""

import os
import re
from copy import deepcopy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

import schemas
from gateway.kernel.errors import FileRefused
from gateway.kernel.problem import Problem
from gateway.xml.catalog import Catalog
from gateway.xml.limits import ReadRules
from gateway.xml.locate import Locator
from gateway.xml.reading import read_envelopes
from gateway.xml.verdict import Checker
from tests.hostile import batch, envelope, order
from tests.unit.xml.documents import envelope as in_envelope
from tests.unit.xml.reading import still
from tests.unit.xml.test_words import AX, RAW

SAMPLES = [(schemas.FOLDER / f"documents/{name}.sample.xml").read_bytes() for name in ("SalesOrder", "Customer")]
TOOLS = b"""<ToolJournal xmlns="http://schemas.microsoft.com/dynamics/2008/01/documents/ToolJournal"
 ><ToolTable class="entity"><BorrowedAt>10:00:00</BorrowedAt><DueDate>2011-05-31</DueDate><ToolId>1</ToolId>
 <Owner class="entity"><Name>Ann</Name></Owner></ToolTable></ToolJournal>"""
CATALOG = Catalog([schemas.FOLDER, AX])
CHECKER, LOCATOR = Checker(CATALOG), Locator()
VALUES = st.sampled_from(["", "x", "1,5", "12", "2011-02-30", "yes", "9" * 30, "31.05.2011", " ", "a b", "-1"])
PIECES = st.sampled_from(
    [b"<", b">", b"&", b"]]>", b"--", b"</a>", b"<a>", b'"', b"&x;", b"&#0;", b"<?xml version='1.0'?>", b"\x01",
     b"\xff", b"p:", b" a=1", b"<!-- ", b"xmlns:", b"<![CDATA[", b" class='x'"]
)  # fmt: skip
PARSER = re.compile(RAW.pattern.replace(r"|\{http|\{urn", ""))


def _message_of(content: bytes) -> bytes:
    """Return the document of a sample file."""
    root = etree.fromstring(content)
    parts = root.find(".//{*}MessageParts")
    return content if parts is None else etree.tostring(parts[0])


def _say(problems: tuple[Problem, ...]) -> list[str]:
    return [text for problem in problems for text in (problem.text, problem.expected or "") if RAW.search(text)]


@st.composite
def broken_documents(draw: st.DrawFn) -> etree._Element:
    root = etree.fromstring(_message_of(draw(st.sampled_from([*SAMPLES, TOOLS]))))
    for _ in range(draw(st.integers(1, 4))):
        elements = list(root.iter("*"))
        element = draw(st.sampled_from(elements))
        other = draw(st.sampled_from(elements))
        match draw(st.integers(0, 8)):
            case 0:
                element.text = draw(VALUES)
            case 1:
                element.tag = element.tag + draw(st.sampled_from(["t", "s"]))
            case 2:
                element.tag = element.tag.replace("S", "s").replace("I", "i")
            case 3:
                element.tag = element.tag.rpartition("}")[2]
            case 4 if element is not root:
                element.getparent().remove(element)
            case 5 if element is not root:
                element.addnext(deepcopy(element))
            case 6:
                element.append(deepcopy(other))
            case 7:
                element.set(draw(st.sampled_from(["class", "action", "colour"])), draw(VALUES))
            case 8:
                element.tail = "text"
    return root


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(root=broken_documents())
def test_broken_document_is_told_in_our_words(root: etree._Element) -> None:
    part = in_envelope(etree.tostring(root, encoding="unicode"))[1][0][0]

    assert _say(CHECKER.check(part)) == []


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(place=st.integers(0, 2_000), cut=st.integers(0, 3), piece=PIECES)
def test_broken_file_is_told_in_our_words(place: int, cut: int, piece: bytes) -> None:
    content = ("<?xml version='1.0'?>\n" + batch(envelope(order()), envelope(order()))).encode()
    place %= len(content)
    fd = os.memfd_create("broken")
    try:
        os.write(fd, content[:place] + piece + content[place + cut :])
        texts = []
        for item in read_envelopes(fd, ReadRules(), CHECKER, LOCATOR, still):
            for problem in (*getattr(item, "header_problems", ()), *getattr(item, "body_problems", ())):
                texts.append(problem.text)
    except FileRefused as refused:
        texts = [refused.message]
    finally:
        os.close(fd)

    assert [text for text in texts if PARSER.search(text)] == []


@pytest.mark.parametrize("content", [*SAMPLES, TOOLS], ids=["SalesOrder", "Customer", "ToolJournal"])
def test_samples_are_good_before_they_are_broken(content: bytes) -> None:
    part = in_envelope(etree.tostring(etree.fromstring(_message_of(content)), encoding="unicode"))[1][0][0]

    assert CHECKER.check(part) == ()
