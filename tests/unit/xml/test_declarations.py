import pytest

from gateway.kernel.errors import FileRefused
from gateway.xml.locate import Locator
from tests.hostile import batch, declaring, envelope, order
from tests.unit.xml.reading import read


def _codes(text: str) -> list[list[str]]:
    return [[each.code for each in one.header_problems] for one in read(text).envelopes]


def test_long_declarations_around_a_document_fail_its_message_alone() -> None:
    halves = [f' xmlns:{prefix}="urn:{prefix * 9_000}"' for prefix in "ab"]
    bad = envelope(order(root=halves[1]), attributes=halves[0])
    good = envelope(order(root=halves[1]))
    assert _codes(batch(good, bad, good)) == [[], ["xml.limit"], []]


def test_many_declarations_in_scope_at_one_place_fail_the_message_alone() -> None:
    spread = envelope(order(declaring(9, 90) * 5))
    deep = envelope(order(declaring(12, 90)))
    assert _codes(batch(spread, deep, spread)) == [[], ["xml.limit"], []]


def test_the_same_declaration_on_each_element_is_fine() -> None:
    xsi = 'xmlns:i="http://www.w3.org/2001/XMLSchema-instance"'
    assert _codes(envelope(order(f'<Q {xsi} i:nil="true"/>' * 3_000))) == [[]]


@pytest.mark.parametrize("blanks", ["", " " * 100_000])
@pytest.mark.parametrize(
    ("uri", "said"), [("http://a.example/x y", "http://a.example/x y"), ("urn:é", "urn:é"), ("%", "%")]
)
def test_a_namespace_that_is_no_uri_fails_its_message_alone(blanks: str, uri: str, said: str) -> None:
    bad = envelope("\n" + order(f'<Note xmlns:n="{uri}"/>'))
    text = batch(envelope(), "\n", bad, blanks, envelope(), attributes=' BatchId="1"')
    good, failed, other = read(text, locator=Locator()).envelopes
    assert (*good.header_problems, *other.header_problems) == ()
    (problem,) = failed.header_problems
    assert (problem.code, problem.found, problem.line) == ("xml.namespace", said, 3)
    assert problem.path == "/Envelope/Body[1]/MessageParts[1]/SalesOrder[1]/SalesTable[1]/Note"
    assert f"The namespace {said} is no valid address (URI)." in problem.text


def test_a_namespace_on_the_batch_that_is_no_uri_fails_all_its_messages() -> None:
    text = batch(envelope(), envelope(), attributes=' xmlns:n="a b"')
    assert _codes(text) == [["xml.namespace"], ["xml.namespace"]]


def test_a_file_with_other_mistakes_as_well_is_refused() -> None:
    bad = envelope(order('<Note xmlns:n="a b"/>'))
    for other, code in (("<q:x/>", "xml.not-wellformed"), ("<x>", "xml.not-wellformed"), ("\0", "xml.not-wellformed")):
        with pytest.raises(FileRefused) as caught:
            read(batch(bad, envelope(order(other))))
        assert caught.value.code == code
