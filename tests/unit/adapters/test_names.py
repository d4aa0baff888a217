"""Names: partners' bytes shown and encoded, ours plain."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.file.inbound.claimed import ClaimIds
from adapters.file.names import (
    NameOrder,
    ResponseNames,
    display,
    escape,
    is_temporary,
    matcher,
    name_file,
    parse_work_name,
    reason_name,
    sort_key,
    stem,
    unescape,
    work_name,
)
from gateway.config.models_ports import Respond
from tests.unit.adapters.support import FakeClock

IDS = ClaimIds(FakeClock())
PATTERN = Respond.model_fields["name"].default
FILE_NAMES = st.binary(min_size=1, max_size=255).filter(lambda name: b"/" not in name and b"\0" not in name)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"order.xml", "order.xml"),
        ("Bestellung März.xml".encode(), "Bestellung März.xml"),
        (b"a\nb\tc\x1b[31m.xml", r"a\nb\tc\x1b[31m.xml"),
        (b"caf\xe9.xml", r"caf\xe9.xml"),
        ("invoice\u202elmx.exe".encode(), r"invoice\u202elmx.exe"),
        ("zero\u200bwidth".encode(), r"zero\u200bwidth"),
        ("tag\U000e0041".encode(), r"tag\U000e0041"),
    ],
)
def test_names_are_shown_with_everything_invisible_escaped(name: bytes, shown: str) -> None:
    assert display(name) == shown


@given(FILE_NAMES)
def test_shown_names_are_one_printable_line(name: bytes) -> None:
    assert display(name).isprintable()


@pytest.mark.parametrize(
    "name", [b".hidden.xml", b"~$x.xml", b"x.xml.tmp", b"x.PART", b"x.xml.filepart", b"x.crdownload", b"x.xml.done"]
)
def test_temporary_names_are_not_taken(name: bytes) -> None:
    assert is_temporary(name)
    assert not matcher("*")(name)


@pytest.mark.parametrize("name", [b"a.xml", b"A.XML", b"a\nb.xml", b"\xff.xml", b"-rf.xml", b"$(id).xml"])
def test_pattern_ignores_case_and_takes_any_bytes(name: bytes) -> None:
    assert matcher("*.xml")(name)


def test_pattern_refuses_other_names() -> None:
    assert not matcher("*.xml")(b"a.xml.gz")
    assert not matcher("order?.xml")(b"order.xml")


def test_names_are_ordered_by_code_point_first_without_then_with_case() -> None:
    given_names = [b"b.xml", b"a.xml", b"B.xml", b"A.xml", "é.xml".encode(), b"10.xml", b"9.xml", b"\xff.xml"]
    expected = [b"10.xml", b"9.xml", b"A.xml", b"a.xml", b"B.xml", b"b.xml", "é.xml".encode(), b"\xff.xml"]
    assert sorted(given_names, key=sort_key(NameOrder.NAME)) == expected


def test_natural_order_compares_digits_as_numbers() -> None:
    given_names = [b"PO10.xml", b"po9.xml", b"PO2-b3.xml", b"PO2-b20.xml", b"7", b"PO010.xml"]
    expected = [b"7", b"PO2-b3.xml", b"PO2-b20.xml", b"po9.xml", b"PO010.xml", b"PO10.xml"]
    assert sorted(given_names, key=sort_key(NameOrder.NATURAL)) == expected


@given(FILE_NAMES, FILE_NAMES, st.sampled_from(NameOrder))
def test_different_names_never_share_a_key(one: bytes, other: bytes, order: NameOrder) -> None:
    key = sort_key(order)
    assert (key(one) == key(other)) == (one == other)
    assert (key(one) < key(other)) != (key(other) < key(one)) or one == other


@given(st.binary())
def test_escaping_is_reversible_and_plain(name: bytes) -> None:
    assert unescape(escape(name)) == name
    assert b"/" not in escape(name)
    assert b"~" not in escape(name)


@given(FILE_NAMES)
def test_work_names_fit_and_give_back_what_fits(name: bytes) -> None:
    claim_id = IDS.next()
    work, whole = work_name(claim_id, name)
    assert len(reason_name(work)) <= 255
    parsed = parse_work_name(work)
    assert parsed is not None
    assert parsed[0] == claim_id
    assert parsed[2] == whole
    assert parsed[1] == name if whole else name.startswith(parsed[1])


@pytest.mark.parametrize(
    "name",
    [b"", b"x", b"a~b.xml", b"0192~x.xml", name_file(IDS.next())],
    ids=["empty", "x", "no-id", "half-id", "kept-name"],
)
def test_other_names_are_no_work_names(name: bytes) -> None:
    assert parse_work_name(name) is None


def test_claim_ids_grow_also_when_the_clock_steps_back() -> None:
    clock = FakeClock()
    ids = ClaimIds(clock)
    made = [ids.next() for _ in range(5000)]
    clock.move(-3600)
    made += [ids.next() for _ in range(5000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"order.xml", "order"),
        (b"PO_0001.2031.xml", "PO_0001.2031"),
        ("Bestellung März 7.xml".encode(), "Bestellung_M_rz_7"),
        (b"..\\..\\passwd.xml", "_.._passwd"),
        (b"..%2f..%2fx.xml", "_2f.._2fx"),
        (b"-rf.xml", "rf"),
        (b"CON.xml", "_CON"),
        (b"nul", "_nul"),
        (b"\xff\xfe.xml", "_"),
        (b"...", "file"),
        (b"x" * 250 + b".xml", "x" * 60),
    ],
)
def test_stems_are_reduced_to_plain_short_safe_text(name: bytes, expected: str) -> None:
    assert stem(name) == expected


def response_name(
    pattern: str, request: str, position: int = 1, *, fault: bool = False, response_id: str = "R1"
) -> str:
    return ResponseNames(pattern, "orders").name(request, position, response_id, "{A-1}", "20310203", fault=fault)


@given(FILE_NAMES, st.integers(1, 10**9), st.booleans())
def test_response_names_are_plain_and_at_most_120_bytes(name: bytes, position: int, fault: bool) -> None:
    made = response_name(PATTERN, os.fsdecode(name), position, fault=fault, response_id="0" * 36)
    assert len(made) <= 120
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._{}-")
    assert not made.startswith((".", "-"))
    assert made.endswith(".fault.xml" if fault else f".{'0' * 36}.xml")


def test_default_response_name() -> None:
    assert response_name(PATTERN, "orders.xml", 7) == "orders.000007.R1.xml"


def test_response_pattern_may_use_every_documented_field() -> None:
    made = response_name("{port}-{date}-{request_message_id}-{response_id}.xml", "x.xml", fault=True)
    assert made == "orders-20310203-{A-1}-R1.fault.xml"


def test_what_answers_no_file_has_a_name_too() -> None:
    assert response_name("{stem}.{response_id}.xml", "") == "file.R1.xml"


@given(st.integers(1, 10**10 - 1), st.booleans())
def test_only_the_stem_gives_way_in_the_longest_name_that_is_allowed(position: int, fault: bool) -> None:
    pattern = "{stem}" + "x" * 51 + "{position}.{response_id}.xml"
    assert Respond.model_validate({"folder": "out", "name": pattern}).name == pattern
    made = response_name(pattern, "y" * 80 + ".xml", position, fault=fault, response_id="0" * 38)
    assert len(made) <= 120 and f"{position}.{'0' * 38}." in made


def test_names_of_one_file_and_then_of_another_are_their_own() -> None:
    names = ResponseNames(PATTERN, "orders")
    made = [names.name(file, 1, "R1", "", "", fault=False) for file in ("a.xml", "a.xml", "b.xml", "a.xml")]
    assert made == ["a.000001.R1.xml", "a.000001.R1.xml", "b.000001.R1.xml", "a.000001.R1.xml"]
