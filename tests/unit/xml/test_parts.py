from lxml import etree

from gateway.kernel.namespaces import MESSAGE_2011
from gateway.xml.parts import standalone


def cut(text: str, *path: int) -> str:
    """Return the element behind a path of positions, cut out of its document."""
    element = etree.fromstring(text)
    for position in path:
        element = element[position]
    parent = element.getparent()
    return standalone(element, {} if parent is None else parent.nsmap).decode()


def test_only_the_namespaces_in_use_are_taken_along() -> None:
    text = '<t:D xmlns:t="urn:t" xmlns:u="urn:u" xmlns:v="urn:v"><t:S u:a="1"><L/></t:S>tail</t:D>'
    assert cut(text, 0) == '<t:S xmlns:t="urn:t" xmlns:u="urn:u" u:a="1"><L/></t:S>'


def test_a_prefix_that_a_value_needs_is_kept() -> None:
    xsi = 'xmlns:i="http://www.w3.org/2001/XMLSchema-instance"'
    text = f'<D {xsi} xmlns:t="urn:t" xmlns:q="urn:q" xmlns:v="urn:v"><S i:type="t:Big"><Q>\n q:x </Q></S></D>'
    element = etree.fromstring(cut(text, 0))
    assert {"t": "urn:t", "q": "urn:q"}.items() <= element.nsmap.items()
    assert "v" not in element.nsmap


def test_the_default_namespace_is_kept_for_unprefixed_values_and_captures_nothing() -> None:
    text = '<t:D xmlns:t="urn:t" xmlns="urn:d"><t:S a="Big"><L xmlns=""><M/></L></t:S></t:D>'
    element = etree.fromstring(cut(text, 0))
    assert element.nsmap[None] == "urn:d"
    assert [each.tag for each in element.iter()] == ["{urn:t}S", "L", "M"]
    bare = etree.fromstring(cut('<D xmlns="urn:d"><S xmlns="" a="q:x"><L/></S></D>', 0))
    assert [each.tag for each in bare.iter()] == ["S", "L"]


def test_the_default_namespace_of_the_envelope_is_not_taken_along() -> None:
    text = f'<D xmlns="{MESSAGE_2011}" xmlns:t="urn:t"><t:S><t:L/></t:S></D>'
    assert cut(text, 0) == '<t:S xmlns:t="urn:t"><t:L/></t:S>'


def test_an_inner_declaration_of_the_same_prefix_counts() -> None:
    text = '<D xmlns:q="urn:1"><S><Q xmlns:q="urn:2">q:x</Q></S></D>'
    assert etree.fromstring(cut(text, 0))[0].nsmap["q"] == "urn:2"


def test_a_prefix_may_begin_with_any_letter() -> None:
    text = '<D xmlns:é="urn:e"><S>é:x</S></D>'
    assert etree.fromstring(cut(text, 0)).nsmap["é"] == "urn:e"
