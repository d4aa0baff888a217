"""What partners read about files that are not well-formed: what is wrong, and what to do."""

import pytest

from gateway.kernel.errors import FileRefused
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
        ("<a>&nbsp;</a>", "&nbsp; stands for nothing", "&#160;"),
        ("<a>1 < 2</a>", "not followed by the name", "&lt;"),
        ('<a b="<"/>', "in the value of an attribute", "&lt;"),
        ("<a b=1/>", "not in quotes", 'name="value"'),
        ("<a b/>", "has no value", 'name="value"'),
        ('<a b="1" b="2"/>', "The attribute b stands twice", "Leave one"),
        ("<a></b>", "<a> of line 1 is closed by </b>", "innermost first"),
        ("<a>]]></a>", "]]> stands in the text", "]]&gt;"),
        ("<!-- a -- b -->", "two hyphens", "a blank between"),
        ("<p:a/>", "The prefix p is not declared", "xmlns"),
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
        ("\n<?xml version='1.0'?>" + batch(envelope()), "very start of the file. Remove what stands before it."),
        ("<?xml version='1.0'?>" + envelope() + "<?xml version='1.0'?>" + envelope(), "Send each document in a file"),
        ("<?xml version='1.0'?>" + batch(envelope()) + "\n<?xml version='1.0'?>" + batch(envelope()), "into one Batch"),
        (envelope() + envelope(), "Is it another document? Send each document in a file of its own"),
        (envelope("<?xml version='1.0'?><x/>"), "one document inside or behind another"),
        (envelope("<a>" + "x" * 10_500_000 + "</a>"), "over its limit of 10 MB; send less."),
        (batch(envelope()).replace("Batch", "batch"), "upper and lower case count, write Batch"),
        (envelope().replace("Envelope", "envelope"), "upper and lower case count, write Envelope"),
        (
            batch(
                envelope(),
            ).replace("<Batch ", "<Batch batchId='1' "),
            "Upper and lower case count",
        ),
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


def test_nobody_is_told_to_remove_the_first_of_two_documents() -> None:
    declared = "<?xml version='1.0'?>" + envelope()
    for content in (declared * 2, declared + envelope(), envelope() + declared):
        assert "emove" not in told(content)
