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
