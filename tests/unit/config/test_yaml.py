"""YAML is read without its traps, and every refusal names its line."""

import pytest

from gateway.config.yaml import MAX_BYTES, MAX_DEPTH, Unreadable, read


def refusals(text: str) -> list[tuple[int | None, str]]:
    document = read(text.encode())
    return [(finding.line, finding.text) for finding in document.findings]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("1.50", 1.5),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("True", "True"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("12:30:45", "12:30:45"),
        ("2026-01-31", "2026-01-31"),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("!!int 5", 5),
        ("!!float 5", 5),
    ],
)
def test_scalars_have_the_value_a_person_expects(written: str, value: object) -> None:
    document = read(f"key: {written}\n".encode())
    assert document.value == {"key": value}
    assert type(document.value["key"]) is type(value)
    assert document.findings == ()


def test_numeric_keys_are_numbers_and_all_others_text_as_written() -> None:
    assert read(b"{1000: a, no: b, 12:30: c, 1.50: d, true: e, ~: f}").value == {
        1000: "a",
        "no": "b",
        "12:30": "c",
        "1.50": "d",
        "true": "e",
        "~": "f",
    }


def test_lines_are_those_of_keys_and_list_entries() -> None:
    document = read(b"a:\n  b:\n    - x\n\n    - y\nc: {d: 1,\n    e: 2}\n")
    assert document.lines[("a", "b")] == 2
    assert document.lines[("a", "b", 0)] == 3
    assert document.lines[("a", "b", 1)] == 5
    assert document.lines[("c", "e")] == 7


def test_alias_bomb_is_refused_without_being_built() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 9))
    lines = refusals(f"l0: &l0 [lol]\n{levels}")
    assert lines[0] == (1, "'&l0' names a value to repeat it; this is not allowed")
    assert len(lines) == 9 + 8 * 9


def test_merge_key_is_refused() -> None:
    assert refusals("base: {a: 1}\nport:\n  <<: {b: 2}\n  c: 3\n") == [
        (3, "merges another mapping; write its keys out")
    ]
    assert refusals('"<<": plain text\n') == []


def test_repeated_key_is_refused_and_names_the_first() -> None:
    document = read(b"a: 1\nb: 2\na: {c: [3]}\nd: 4\n")
    assert [(finding.line, finding.text) for finding in document.findings] == [(3, "is given twice; first on line 1")]
    assert document.value == {"a": 1, "b": 2, "d": 4}


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!mine", "!!set", "!!binary", "!!timestamp", "!"])
def test_foreign_tags_are_refused(tag: str) -> None:
    (refusal,) = refusals(f"a: 1\nkey: {tag} '1'\n")
    assert refusal[0] == 2
    assert "tag" in refusal[1]


def test_tag_that_contradicts_its_value_is_refused() -> None:
    assert refusals("key: !!int ten\n") == [(1, "the value is no int, as its tag says")]


def test_collections_may_not_be_keys() -> None:
    assert refusals("? [a, b]\n: 1\nc: 2\n") == [(1, "a key must be a plain text")]


def test_nesting_ends_at_the_limit() -> None:
    assert read(("[" * MAX_DEPTH + "]" * MAX_DEPTH).encode()).value is not None
    with pytest.raises(Unreadable, match="nested deeper than 20"):
        read(b"[" * 100_000)


def test_size_ends_at_the_limit() -> None:
    with pytest.raises(Unreadable, match="at most 1000000"):
        read(b"#" * (MAX_BYTES + 1))


@pytest.mark.parametrize(
    ("content", "line", "text"),
    [
        (b"a: 1\nb:\n\t- c\n", 3, "indent with spaces, not tabs"),
        (b"a: 1\nb: c: d\n", 2, "quote texts that hold ': '"),
        (b"a: 'never closed\nb: 2\n", 3, "a quoted text is not closed; what is open begins on line 1"),
        (b"a: [1, 2\nb: 3\n", 2, "begins with '[' is not closed"),
        (b"a:\n  b: 1\n c: 2\n", 3, "indentation"),
        (b'a: "C:\\data"\n', 1, "use single quotes"),
        (b'a: "\\UFFFFFFFF"\n', 1, "names no character"),
        (b"a: 1\nb: \x07\n", 2, "U+0007"),
        (b"a: 1\nb: \xff\n", 2, "not UTF-8"),
        (b"\xff\xfea\x00", None, "UTF-16"),
        (b"a: 1\n---\nb: 2\n", 2, "second document"),
        (b"a: 1\njust text\n", 3, "a key has no ':' behind it"),
    ],
)
def test_syntax_errors_are_told_in_plain_words(content: bytes, line: int | None, text: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(content)
    assert caught.value.line == line
    assert text in caught.value.text


def test_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert read(b"\xef\xbb\xbfa: 1\n").value == {"a": 1}
