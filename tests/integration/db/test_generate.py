"""The generator learns from the server what statements take and give, and the shipped modules are what it makes."""

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, get_type_hints

import pytest
from asyncpg import Connection

from gateway.db.connect import SCHEMA, connect
from gateway.db.generate import OTHER_SCHEMAS, generate
from gateway.db.open import Store
from gateway.db.statement_files import BadStatements
from tests.conftest import Databases


@pytest.fixture
async def connection(databases: Databases, store: Store) -> AsyncIterator[Connection]:
    connection = await connect(store.url, {"search_path": SCHEMA})
    try:
        await connection.execute(
            "CREATE TABLE parent (id bigint PRIMARY KEY, name text NOT NULL, note text);"
            "CREATE TABLE child (id bigint PRIMARY KEY, parent_id bigint NOT NULL, status text NOT NULL);"
            "CREATE VIEW family AS SELECT p.id, p.name, c.status FROM parent p LEFT JOIN child c ON c.parent_id = p.id"
        )
        yield connection
    finally:
        await connection.close()


async def test_shipped_modules_are_what_is_generated(store: Store) -> None:
    connection = await connect(store.url, {"search_path": SCHEMA})
    try:
        for script in OTHER_SCHEMAS:
            await connection.execute(script.read_text(encoding="utf-8"))
        modules = await generate(connection)
    finally:
        await connection.close()
    assert [path.name for path, text in modules.items() if path.read_text(encoding="utf-8") != text] == []


class Made:
    """A module that was generated from a file of statements."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder / "statements"
        self._folder.mkdir()

    async def module(self, text: str) -> ModuleType:
        (self._folder / "some.sql").write_text(text, encoding="utf-8")
        ((path, code),) = (await generate(self._connection, self._folder.parent)).items()
        path.write_text(code, encoding="utf-8")
        spec = importlib.util.spec_from_file_location("some_sql", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    async def row(self, sql: str, parameters: str = "") -> dict[str, str]:
        """Return the fields of the row of a statement as they are annotated."""
        module = await self.module(f"-- name: it({parameters}) -> many It\n{sql}\n")
        return {name: _written(hint) for name, hint in get_type_hints(module.It).items()}


@pytest.fixture
def made(connection: Connection, tmp_path: Path) -> Made:
    return Made(connection, tmp_path)


def _written(hint: object) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


@pytest.mark.parametrize(
    ("sql", "fields"),
    [
        ("SELECT id, name, note FROM parent", {"id": "int", "name": "str", "note": "str | None"}),
        (
            "SELECT p.name, c.status FROM parent p LEFT JOIN child c ON c.parent_id = p.id",
            {"name": "str", "status": "str | None"},
        ),
        (
            "SELECT p.name, c.status FROM parent p FULL JOIN child c ON c.parent_id = p.id",
            {"name": "str | None", "status": "str | None"},
        ),
        ("SELECT name, status FROM family", {"name": "str", "status": "str | None"}),
        (
            "WITH new AS (INSERT INTO parent VALUES (1, 'x') RETURNING id, note) SELECT id, note FROM new",
            {"id": "int", "note": "str | None"},
        ),
        ("INSERT INTO parent VALUES (1, 'x') RETURNING id, note", {"id": "int", "note": "str | None"}),
        (
            "SELECT count(*) AS total, sum(id)::bigint AS added, max(name) AS last FROM parent",
            {"total": "int", "added": "int | None", "last": "str | None"},
        ),
        (
            "SELECT name, count(*) FILTER (WHERE note IS NULL) AS bare FROM parent GROUP BY name",
            {"name": "str", "bare": "int"},
        ),
        (
            "SELECT (SELECT count(*) FROM child c WHERE c.parent_id = p.id) AS children, "
            "(SELECT status FROM child LIMIT 1) AS first, EXISTS (SELECT 1 FROM child) AS some FROM parent p",
            {"children": "int", "first": "str | None", "some": "bool"},
        ),
        (
            "SELECT coalesce(note, '') AS note, coalesce(note, $1) AS given, CASE WHEN id > 1 THEN name END AS named, "
            "CASE WHEN id > 1 THEN name ELSE '' END AS full_name, id + 1 AS next, note = name AS same FROM parent",
            {
                "note": "str", "given": "str | None", "named": "str | None", "full_name": "str", "next": "int",
                "same": "bool | None",
            },
        ),
        (
            "SELECT id, name FROM parent UNION ALL SELECT id, note FROM parent",
            {"id": "int", "name": "str | None"},
        ),
        ('SELECT max(id) AS "last!: MessageKey", note AS "note!" FROM parent GROUP BY note', {"note": "str"}),
        ("SELECT array_agg(name) AS names, '{}'::text[] AS none FROM parent", {"none": "list[str]"}),
        (
            "WITH RECURSIVE up AS (SELECT id, name FROM parent UNION ALL "
            "SELECT up.id, up.name FROM up JOIN child USING (id)) SELECT id, name FROM up",
            {"id": "int", "name": "str"},
        ),
    ],
)  # fmt: skip
async def test_what_may_be_null(made: Made, sql: str, fields: dict[str, str]) -> None:
    row = await made.row(sql, "given: str | None" if "$1" in sql else "")
    assert {name: row[name] for name in fields} == fields


class Asked(NamedTuple):
    """A statement that is not what its signature says."""

    signature: str
    sql: str
    complaint: str


@pytest.mark.parametrize(
    "asked",
    [
        Asked("it(port: PortName) -> one", "SELECT 1", "has 1 parameters, its SQL 0"),
        Asked("it(id: str) -> maybe", "SELECT name FROM parent WHERE id = $1", r"id is str, but \$1 is bigint"),
        Asked(
            "it(ids: int) -> many", "SELECT name FROM parent WHERE id = ANY($1)", r"ids is int, but \$1 is bigint\[\]"
        ),
        Asked("it(id: Port) -> maybe", "SELECT name FROM parent WHERE id = $1", "Port is no type of a parameter"),
        Asked("it() -> many", "SELECT id, name FROM parent", "a row of several columns needs a name"),
        Asked("it() -> many It", "SELECT id, id + 1 FROM parent", "a column needs a name"),
        Asked("it() -> many It", "SELECT id, name AS count FROM parent", "a column needs a name"),
        Asked("it() -> many It", 'SELECT id, name AS "name: MessageKey" FROM parent', "which is no MessageKey"),
        Asked("it() -> many It", "SELECT id, nme FROM parent", r"some\.sql:1: it: column \"nme\" does not exist"),
    ],
)
async def test_a_statement_that_is_not_what_it_says_is_refused(made: Made, asked: Asked) -> None:
    with pytest.raises(BadStatements, match=asked.complaint):
        await made.module(f"-- name: {asked.signature}\n{asked.sql}\n")


async def test_rows_of_one_name_are_one_row(made: Made) -> None:
    with pytest.raises(BadStatements, match=r"It is another row above: name: str and note: str \| None"):
        await made.module(
            "-- name: a() -> many It\nSELECT id, name FROM parent\n"
            "-- name: b() -> many It\nSELECT id, note FROM parent\n"
        )


async def test_functions_ask_and_answer(made: Made, connection: Connection) -> None:
    module = await made.module(
        "-- About it.\n\n"
        "-- name: put(ids: Sequence[int], names: Sequence[str]) -> none\n"
        "INSERT INTO parent SELECT * FROM unnest($1::bigint[], $2::text[])\n"
        "-- name: all_of(most: int = 10) -> many Parent\nSELECT id, name FROM parent ORDER BY id LIMIT $1\n"
        "-- name: find(*, id: int) -> maybe Parent\n-- Look for one.\nSELECT id, name FROM parent WHERE id = $1\n"
        "-- name: names() -> many\nSELECT name FROM parent ORDER BY id\n"
        "-- name: total() -> one\nSELECT count(*) FROM parent\n"
        "-- name: find_note(id: int) -> maybe\nSELECT note FROM parent WHERE id = $1\n"
    )
    await module.put(connection, [1, 2], ("a", "b"))
    assert await module.all_of(connection) == [(1, "a"), (2, "b")]
    assert await module.all_of(connection, 1) == [module.Parent(id=1, name="a")]
    assert await module.find(connection, id=2) == module.Parent(2, "b")
    assert await module.find(connection, id=3) is None
    assert await module.names(connection) == ["a", "b"]
    assert await module.total(connection) == 2
    assert await module.find_note(connection, 1) is None
    assert (module.__doc__, module.find.__doc__) == ("About it.", "Look for one.")
