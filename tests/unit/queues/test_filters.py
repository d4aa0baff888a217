"""Filters of batch posting: values, patterns, ranges."""

from datetime import date

import pytest

from gateway.queues.rules.filters import BadFilter, passes, read_filter

TODAY = date(2031, 2, 10)


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("1001", ["1001", " 1001 "], ["1002", "11001", ""]),
        ("1000..1999|3000", ["1000", "1500", "1999", "3000"], ["999", "2000", "3001", ""]),
        ("10*", ["10", "1001", "10x"], ["11", "210"]),
        ("SO-00000?", ["SO-000001", "so-000002"], ["SO-0000011", "PO-000001"]),
        ("SO-9..SO-11", ["SO-10", "SO-000009", "so-11"], ["SO-8", "SO-100", "PO-10"]),
        ("..today", ["2031-02-10", "2030-12-31"], ["2031-02-11"]),
        ("today..", ["2031-02-10", "2032-01-01"], ["2031-02-09", ""]),
        ("2031-02-01..2031-02-28", ["2031-02-01", "2031-02-28"], ["2031-03-01", "2031-01-31"]),
        ("Released", ["Released", "released"], ["Open"]),
        ("[a]*", ["[a]b"], ["ab", "a"]),
    ],
)
def test_what_passes(text: str, yes: list[str], no: list[str]) -> None:
    one = read_filter(text, today=TODAY)
    assert {value: one.holds(value) for value in (*yes, *no)} == {
        **dict.fromkeys(yes, True),
        **dict.fromkeys(no, False),
    }


@pytest.mark.parametrize("text", ["", "|", "1|", "..", "1..2..3", " .. "])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(BadFilter):
        read_filter(text, today=TODAY)


def test_all_filters_hold() -> None:
    filters = {"No": read_filter("1*", today=TODAY), "Status": read_filter("Released", today=TODAY)}
    assert passes(filters, {"No": "10", "Status": "Released"})
    assert not passes(filters, {"No": "10", "Status": "Open"})
