"""Statements are found as the database would find them; names become numbers, and nothing else is touched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.batch.handlers.sql import Statement, split_statements


def texts(sql: str) -> list[str]:
    return [statement.text for statement in split_statements(sql)]


def test_statements_end_at_semicolons() -> None:
    assert texts("SELECT 1; SELECT 2;\n;  \n-- nothing\n;SELECT 3") == ["SELECT 1", "SELECT 2", "SELECT 3"]


@pytest.mark.parametrize(
    "whole",
    [
        "SELECT 'a;b', 'it''s :no; '",
        'SELECT 1 AS "a;b:c"',
        "SELECT E'a\\';b'",
        "DO $$ BEGIN PERFORM 1; END; $$",
        "DO $body$ BEGIN PERFORM '$$;'; END $body$",
        "SELECT 1 -- and; not :this\n, 2",
        "SELECT '2031-01-01'::date",
    ],
)
def test_what_stands_in_quotes_or_comments_is_left_alone(whole: str) -> None:
    assert split_statements(whole) == [Statement(text=whole, names=(), line=1)]


def test_comments_in_comments_are_passed() -> None:
    assert texts("SELECT /* a; /* b; */ c; */ 1; SELECT 2") == ["SELECT   1", "SELECT 2"]


def test_names_become_numbers_in_the_order_of_each_statement() -> None:
    first, second = split_statements("SELECT :b, :a, :b::int, x[1:2]; SELECT :a")
    assert (first.text, first.names) == ("SELECT $1, $2, $1::int, x[1:2]", ("b", "a"))
    assert (second.text, second.names) == ("SELECT $1", ("a",))


def test_lines_are_those_of_the_file() -> None:
    found = split_statements("-- head\n\nSELECT 1;\n\n/* two\nlines */\nSELECT\n2;SELECT 3")
    assert [statement.line for statement in found] == [3, 7, 8]


@pytest.mark.parametrize("word", ["BEGIN", "commit", "Rollback to x", "start\ntransaction", "SAVEPOINT a", "end"])
def test_control_of_the_transaction_is_seen(word: str) -> None:
    (statement,) = split_statements(f"/* x */ {word};")
    assert statement.controls_transaction


def test_words_that_only_begin_like_it_are_none() -> None:
    assert not any(s.controls_transaction for s in split_statements("SELECT 1; WITH begins AS (SELECT 1) SELECT 2"))


quoted = st.text("bc;:'", max_size=8).map(lambda text: "'" + text.replace("'", "''") + "'")
plain = st.sampled_from(["SELECT", "1", ",", "::int", ":a", "(", ")", "x"])


@given(st.lists(st.lists(quoted | plain, min_size=1, max_size=6).map(" ".join), min_size=1, max_size=5))
def test_joined_statements_come_apart_again(statements: list[str]) -> None:
    assert texts(";".join(statements)) == [statement.replace(":a", "$1").strip() for statement in statements]
