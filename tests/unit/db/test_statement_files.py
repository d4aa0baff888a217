"""Statements are read as written: their signature, what is said about them, and their text without comments."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.db import statement_files
from gateway.db.statement_files import PACKAGE, BadStatements, Cardinality, Statement, read_file


def read(folder: Path, text: str) -> tuple[Statement, ...]:
    path = folder / "some.sql"
    path.write_text(text, encoding="utf-8")
    return read_file(path).statements


def test_statements_of_a_file(tmp_path: Path) -> None:
    first, second = read(
        tmp_path,
        "-- About the file.\n\n-- name: first() -> one\n-- Why.\n-- And how.\nSELECT 1; -- said aside\n\n"
        "-- name: second(port: PortName, *, most: int = 5,\n--     at: datetime | None) -> many LaneRow\nSELECT\n  2\n",
    )
    assert read_file(tmp_path / "some.sql").about == "About the file."
    assert (first.name, first.cardinality, first.row, first.why) == ("first", Cardinality.ONE, None, "Why.\nAnd how.")
    assert first.text == "SELECT 1"
    assert (second.cardinality, second.row, second.text) == (Cardinality.MANY, "LaneRow", "SELECT\n  2")
    assert [parameter.arg for parameter in second.parameters] == ["port", "most", "at"]


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("-- why\nSELECT 1 -- one\n, 2", "SELECT 1\n, 2"),
        ("SELECT /* two\nlines */ 1", "SELECT  1"),
        ("SELECT '-- no comment', 'it''s --'", "SELECT '-- no comment', 'it''s --'"),
        ('SELECT 1 AS "--x"', 'SELECT 1 AS "--x"'),
        ("DO $x$ BEGIN -- kept\nEND $x$", "DO $x$ BEGIN -- kept\nEND $x$"),
        ("SELECT $1::text, $2", "SELECT $1::text, $2"),
    ],
)
def test_comments_stay_behind_and_quoted_text_does_not(tmp_path: Path, written: str, read_as: str) -> None:
    (statement,) = read(tmp_path, f"-- name: it() -> none\n{written}\n")
    assert statement.text == read_as


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT 1", "before the first"),
        ("-- name: Some-Name() -> one\nSELECT 1", r"some\.sql:1: 'Some-Name\(\) -> one' is not the signature"),
        ("-- name: it\nSELECT 1", "is not the signature"),
        ("-- name: it() -> few\nSELECT 1", "is not the signature"),
        ("-- name: it(a b) -> one\nSELECT 1", "the signature cannot be read"),
        ("-- name: it(port) -> one\nSELECT 1", "parameter port has no type"),
        ("-- name: it(*ports: str) -> one\nSELECT 1", "plain parameters"),
        ("-- name: it() -> one\n-- only words\n", "it is empty"),
        ("-- name: it() -> one\nSELECT 1\n-- name: it() -> one\nSELECT 2", r"some\.sql:3: the statement it stands"),
    ],
)
def test_disorder_in_a_file_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BadStatements, match=complaint):
        read(tmp_path, text)


def test_every_generated_module_is_current() -> None:
    assert list(statement_files.stale_modules()) == []


def test_what_has_changed_makes_modules_stale(tmp_path: Path) -> None:
    folder = tmp_path / "statements"
    folder.mkdir()
    source = folder / "jobs.sql"
    source.write_text("-- name: it() -> one\nSELECT 1", encoding="utf-8")
    assert list(statement_files.stale_modules(tmp_path)) == ["jobs_sql.py was not generated from jobs.sql as it is now"]
    module = folder / "jobs_sql.py"
    module.write_text(f"# Generated\n{statement_files.source_line(source)}\n", encoding="utf-8")
    assert list(statement_files.stale_modules(tmp_path)) == []
    source.write_text("-- name: it() -> one\nSELECT 2", encoding="utf-8")
    assert list(statement_files.stale_modules(tmp_path)) == ["jobs_sql.py was not generated from jobs.sql as it is now"]
    source.unlink()
    assert list(statement_files.stale_modules(tmp_path)) == ["jobs_sql.py is left over from a file that is gone"]


def test_migrations_that_have_changed_make_modules_stale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "0001_first.sql").write_text("SELECT 1", encoding="utf-8")
    monkeypatch.setattr(statement_files, "MIGRATIONS", tmp_path)
    assert list(statement_files.stale_modules()) == ["the migrations have changed since the statements were generated"]


def test_every_statement_is_used() -> None:
    used = {name for path in PACKAGE.rglob("*.py") if not path.stem.endswith("_sql") for name in _names_used(path)}
    known = {one.name for path in statement_files.statement_files() for one in read_file(path).statements}
    assert sorted(name for name in known if not {name, name.upper()} & used) == []


def _names_used(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(attr=name) | ast.alias(name=name):
                yield name
            case _:
                pass
