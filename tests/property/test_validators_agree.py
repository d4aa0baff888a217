"""The fast verdict and the explaining validator accept the same documents; every refusal can be told."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

import schemas
from gateway.xml.catalog import Catalog
from gateway.xml.grammar import Grammar
from gateway.xml.libxml2_errors import CONTENT
from gateway.xml.names import find
from gateway.xml.verdict import Checker

CATALOG = Catalog([schemas.FOLDER])
CHECKER = Checker(CATALOG)
REMEMBERING = Checker(CATALOG)
SAMPLES = {
    "SalesOrder": (schemas.FOLDER / "documents/SalesOrder.sample.xml").read_bytes(),
    "Customer": (schemas.FOLDER / "documents/Customer.sample.xml").read_bytes(),
}
VALUES = st.sampled_from(
    [
        *("", "1", "12.50", "1,5", "NaN", "1e5", "-0", "+7", " 5 ", "\u0661\u0662", "0x1F"),
        *("9" * 24, "9" * 25, "0.000000000001", "0.0000000000001", "9223372036854775807", "9223372036854775808"),
        *("2031-05-31", "2011-02-30", "31.05.2011", "99999-01-01", "2031-05-31T00:00:00Z", "2031-05-31Z"),
        *("Yes", "No", "yes", "Original", "true", "x" * 300),
    ]
)


def grammar_of(name: str) -> Grammar:
    grammar = CATALOG.element(f"{{http://schemas.microsoft.com/dynamics/2008/01/documents/{name}}}{name}")
    assert grammar is not None
    return grammar


def mutated(content: bytes, seed: int, changes: int, values: list[str]) -> etree._Element:
    """Return a sample with a few elements dropped, doubled, moved, renamed, marked or given other values."""
    envelope = etree.Element("Envelope")
    body = etree.SubElement(envelope, "Body")
    parts = etree.SubElement(body, "MessageParts")
    root = etree.fromstring(content, etree.XMLParser(remove_blank_text=True))
    parts.append(root)
    chance = random.Random(seed)
    for value in values[:changes]:
        elements = list(root.iterdescendants())
        if not elements:
            break
        element = chance.choice(elements)
        parent = element.getparent()
        assert parent is not None
        match chance.randrange(8):
            case 0:
                parent.remove(element)
            case 1:
                parent.insert(0, element)
            case 2:
                parent.append(etree.fromstring(etree.tostring(element)))
            case 3:
                element.tag = str(element.tag) + "X"
            case 4:
                element.set("action", chance.choice(["create", "kill"]))
            case 5:
                element.attrib.pop("class", "")
            case 6:
                element.set("{http://www.w3.org/2001/XMLSchema-instance}nil", "true")
            case _:
                if not len(element):
                    element.text = value
    return root


@pytest.mark.parametrize("name", sorted(SAMPLES))
@given(seed=st.integers(0, 2**32), values=st.lists(VALUES, min_size=3, max_size=3), changes=st.integers(0, 3))
def test_both_validators_accept_the_same_documents(name: str, seed: int, values: list[str], changes: int) -> None:
    root = mutated(SAMPLES[name], seed, changes, values)
    grammar = grammar_of(name)
    schema = grammar.explaining
    assert schema is not None

    assert grammar.valid(root) == (not list(schema.iter_errors(root))), etree.tostring(root, pretty_print=True).decode()


@pytest.mark.parametrize("name", sorted(SAMPLES))
@given(seed=st.integers(0, 2**32), values=st.lists(VALUES, min_size=3, max_size=3), changes=st.integers(1, 3))
def test_every_refusal_names_an_element_that_is_there(name: str, seed: int, values: list[str], changes: int) -> None:
    root = mutated(SAMPLES[name], seed, changes, values)
    envelope = root.getroottree().getroot()

    problems = CHECKER.check(root)

    assert (problems == ()) == grammar_of(name).valid(root)
    for problem in problems:
        found = find(envelope, problem.path or "")
        assert str(found.tag).rpartition("}")[2] == (problem.path or "").rpartition("/")[2].partition("[")[0]


@pytest.mark.parametrize("name", sorted(SAMPLES))
@given(seed=st.integers(0, 2**32), values=st.lists(VALUES, min_size=3, max_size=3), changes=st.integers(1, 3))
def test_what_is_remembered_of_a_mistake_is_what_would_be_said_anew(
    name: str, seed: int, values: list[str], changes: int
) -> None:
    root = mutated(SAMPLES[name], seed, changes, values)
    if any(entry.type == CONTENT for entry in grammar_of(name).errors(root)):
        return  # what stands behind is told of the first messages alone

    assert REMEMBERING.check(root) == Checker(CATALOG).check(root)
