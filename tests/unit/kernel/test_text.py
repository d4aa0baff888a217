import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from gateway.kernel.text import clean


@given(st.text(), st.integers(1, 50))
def test_cleaned_text_fits_xml_and_the_limit(text: str, limit: int) -> None:
    cleaned = clean(text, limit)

    etree.Element("x").text = cleaned
    assert len(cleaned) <= limit


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn"))))
def test_text_that_xml_allows_is_left_alone(text: str) -> None:
    assert clean(text) == text[:4096]


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x0b", "\ud800", "\udfff", "\ufffe", "\uffff"])
def test_each_forbidden_character_is_replaced(character: str) -> None:
    assert clean(f"a{character}b") == "a\ufffdb"


@pytest.mark.parametrize("text", ["", "a\tb\r\nc", "\u4e2d\U0001f600\u0085", "\ufffd"])
def test_allowed_characters_stay(text: str) -> None:
    assert clean(text) == text


def test_a_cut_text_says_so() -> None:
    assert clean("a" * 5000, 10) == "a" * 9 + "…"
