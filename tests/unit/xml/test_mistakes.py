"""What partners read about files that are not well-formed: what is wrong, and what to do."""

import pytest

from gateway.domain.errors import FileRefused
from tests.hostile import BATCH, MESSAGE, batch, envelope, order
from tests.unit.xml.reading import read


def told(content: str | bytes) -> str:
    with pytest.raises(FileRefused) as caught:
        read(content)
    assert "xmlParse" not in caught.value.message and "PCDATA" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("document", "what", "remedy"),
    [
        ("<a>\x01</a>", "the character U+0001", "remove it"),
        ("<a>\0</a>", "the character U+0000", "remove it"),
        ("<a>&#27;</a>", "A reference names the character U+001B", "remove it"),
        ("<a>&#x110000;</a>", "beyond the last one", "Correct or remove it"),
        ("<a>Smith & Sons</a>", "An ampersand (&) stands alone", "&amp;"),
        ("<a>AT&T</a>", "not ended by a semicolon", "&amp;"),
        ("<a>&nbsp;</a>", "'nbsp' not defined", "&#160;"),
        ("<a>1 < 2</a>", "not followed by the name", "&lt;"),
        ('<a b="<"/>', "in the value of an attribute", "&lt;"),
        ("<a b=1/>", "not in quotes", 'name="value"'),
        ("<a b/>", "has no value", 'name="value"'),
        ('<a b="1" b="2"/>', "Attribute b redefined", "Leave one"),
        ("<a></b>", "a line 1 and b", "innermost first"),
        ("<a>]]></a>", "']]>' not allowed", "]]&gt;"),
        ("<!-- a -- b -->", "Double hyphen", "--"),
        ("<p:a/>", "Namespace prefix p on a is not defined", "xmlns"),
        ('<a xmlns="http://x.org/\n b"/>', "is not a valid URI", "wrapped line"),
    ],
)
def test_mistake_is_named_with_its_remedy(document: str, what: str, remedy: str) -> None:
    text = told(envelope(order() + document))
    assert what in text and remedy in text
    assert text.count(". ") <= 3 and ".." not in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (batch(envelope()) + "thanks", "behind the end of the document"),
        ("\n<?xml version='1.0'?>" + batch(envelope()), "very start of the file"),
        ("<?xml version='2.0'?>" + batch(envelope()), 'version="1.0"'),
        ("<?xml version='1.0'?>\n- " + batch(envelope()), "copied from the view of a browser"),
        (batch(envelope()).replace("<", "&lt;").replace(">", "&gt;"), "&lt; and &gt;"),
        (batch(envelope(), namespace=BATCH.replace("/2009", "/\n 2009")), f"write it in one piece: {BATCH}"),
        (envelope(namespace=MESSAGE.replace("/2011", "/\n 2011")), f"write it in one piece: {MESSAGE}"),
        (batch(envelope(namespace="")), "Envelope without namespace is none. Write the namespace"),
        (batch(f"<x/>{envelope()}"), f"x in the namespace {BATCH} is none. Remove it"),
        (envelope(order(f"<{'x' * 100_000}/>")), "A name has more than 50,000 characters"),
    ],
)
def test_whole_file_is_told_what_to_do(content: str, said: str) -> None:
    assert said in told(content)
