"""Named statements are read as written, without their comments."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.db.sql import BadStatements, Queries

PACKAGE = Path(__file__).parents[3] / "gateway"


def load(folder: Path, text: str, name: str = "some.sql") -> Queries:
    (folder / name).write_text(text, encoding="utf-8")
    return Queries.load(folder)


def test_statement_is_found_by_its_name(tmp_path: Path) -> None:
    queries = load(tmp_path, "-- a file\n\n-- name: first\nSELECT 1;\n\n-- name: second\nSELECT\n  2\n")
    assert queries.first == "SELECT 1"
    assert queries.second == "SELECT\n  2"
    assert list(queries) == ["first", "second"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("-- why\nSELECT 1 -- one\n, 2", "SELECT 1\n, 2"),
        ("SELECT /* two\nlines */ 1", "SELECT  1"),
        ("SELECT '-- no comment', 'it''s --'", "SELECT '-- no comment', 'it''s --'"),
        ('SELECT 1 AS "--x"', 'SELECT 1 AS "--x"'),
        ("DO $x$ BEGIN -- kept\nEND $x$", "DO $x$ BEGIN -- kept\nEND $x$"),
        ("SELECT $1::text, $2", "SELECT $1::text, $2"),
    ],
)
def test_comments_stay_behind_and_quoted_text_does_not(tmp_path: Path, written: str, read: str) -> None:
    assert load(tmp_path, f"-- name: it\n{written}\n").it == read


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT 1", "before the first"),
        ("-- name: Some-Name\nSELECT 1", "cannot be the name"),
        ("-- name:\nSELECT 1", "cannot be the name"),
        ("-- name: it\n-- only words\n", "it is empty"),
        ("-- name: it\nSELECT 1\n-- name: it\nSELECT 2", "already in some.sql"),
    ],
)
def test_disorder_in_a_file_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BadStatements, match=complaint):
        load(tmp_path, text)


def test_name_used_in_two_files_is_refused(tmp_path: Path) -> None:
    load(tmp_path, "-- name: it\nSELECT 1", "a.sql")
    with pytest.raises(BadStatements, match=r"b\.sql: the statement it is already in a\.sql"):
        load(tmp_path, "-- name: it\nSELECT 1", "b.sql")


def test_name_used_in_two_folders_is_refused(tmp_path: Path) -> None:
    store, room = tmp_path / "queries", tmp_path / "statements"
    for folder, name in ((store, "a.sql"), (room, "b.sql")):
        folder.mkdir()
        (folder / name).write_text("-- name: it\nSELECT 1", encoding="utf-8")
    assert Queries.load(room).it == "SELECT 1"
    with pytest.raises(BadStatements, match=r"b\.sql: the statement it is already in a\.sql"):
        Queries.load(store, room)


def test_unknown_name_is_an_error_with_the_nearest_one(tmp_path: Path) -> None:
    queries = load(tmp_path, "-- name: claim_messages\nSELECT 1")
    with pytest.raises(AttributeError, match="did you mean claim_messages"):
        _ = queries.claim_message


def test_statements_cannot_be_changed(tmp_path: Path) -> None:
    queries = load(tmp_path, "-- name: it\nSELECT 1")
    with pytest.raises(AttributeError, match="read-only"):
        queries.it = "SELECT 2"


def test_every_statement_is_used_and_every_used_one_exists() -> None:
    used = {name for path in PACKAGE.rglob("*.py") for name in _statements_used(path)}
    assert sorted(set(Queries.load()) - used) == []
    assert sorted(used - set(Queries.load())) == []


def _statements_used(path: Path) -> Iterator[str]:
    """Yield `x` for every `queries.x` and `sql.x` in the code of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(
                value=ast.Name(id="queries" | "sql") | ast.Attribute(attr="queries" | "_queries" | "sql" | "_sql")
            ):
                yield node.attr
            case _:
                pass
