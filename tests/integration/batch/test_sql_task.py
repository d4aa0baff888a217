"""SQL tasks on a real database: all or nothing, values bound by the type the database wants."""

from pathlib import Path
from typing import Any

import pytest

from gateway.batch.handlers.sql import SqlParameters, SqlTask
from gateway.db.open import Store
from gateway.kernel.errors import StoreUnavailable, TaskFailed, TaskRefused
from tests.task_contexts import Occasion

TABLE = (
    "CREATE TABLE shelf (item text PRIMARY KEY, number int, price numeric, since date, seen timestamptz, more json);"
)


async def run(store: Store, statements: str | None = None, occasion: Occasion | None = None, **more: Any) -> Occasion:
    occasion = occasion or Occasion()
    parameters = SqlParameters.model_validate({"statements": statements, **more})
    await SqlTask(parameters, lambda: store).run(occasion.context)
    return occasion


async def rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    async with store.transaction() as connection:
        return [tuple(row.values()) for row in await connection.fetch(sql)]


async def test_the_log_has_the_rows_of_each_statement(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "nightly.sql"
    file.write_text(f"{TABLE}\nINSERT INTO shelf (item, number) VALUES ('a', 1), ('b', 2);\n\nSELECT * FROM shelf;\n")
    occasion = await run(store, file=str(file))
    assert occasion.log.texts == [
        "Line 1: CREATE TABLE", "Line 2: INSERT 0 2", "Line 4: 2 rows", "3 statements committed.",
    ]  # fmt: skip
    assert occasion.tally.counts == {"statements": 3}


async def test_a_failing_statement_undoes_the_others_and_is_named(store: Store) -> None:
    with pytest.raises(TaskFailed, match=r"Line 2: .*no_such_table") as failed:
        await run(store, f"{TABLE}\nDELETE FROM no_such_table;")
    assert failed.value.code == "sql.statement"
    assert await rows(store, "SELECT to_regclass('shelf')::text") == [(None,)]


async def test_own_tables_stand_apart_from_those_of_the_gateway(store: Store) -> None:
    await run(store, "CREATE TABLE task (mine int); INSERT INTO task VALUES (1)")
    await run(store, "INSERT INTO task VALUES (2); INSERT INTO number_sequence (name, next) VALUES ('ours', 1)")
    assert await rows(store, "SELECT count(*) FROM public.task") == [(2,)]
    assert await rows(store, "SELECT count(*) FROM gateway.number_sequence WHERE name = 'ours'") == [(1,)]


async def test_a_constraint_that_is_checked_at_the_end_undoes_everything(store: Store) -> None:
    await run(store, "CREATE TABLE one (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(TaskFailed, match="cannot be committed"):
        await run(store, "INSERT INTO one VALUES (1); INSERT INTO one VALUES (1)")
    assert await rows(store, "SELECT * FROM one") == []


async def test_values_are_bound_by_the_type_the_database_wants(store: Store) -> None:
    values = {
        "item": 7, "number": "12", "price": 1.5, "since": "2031-02-03", "seen": "2031-02-03T04:05:06+00:00",
        "more": True,
    }  # fmt: skip
    await run(store, f"{TABLE} INSERT INTO shelf VALUES (:item, :number, :price, :since, :seen, :more)", values=values)
    found = await rows(store, "SELECT item, number, price::text, since::text, seen::text, more::text FROM shelf")
    assert found == [("7", 12, "1.5", "2031-02-03", "2031-02-03 04:05:06+00", "true")]


async def test_a_value_is_never_read_as_sql(store: Store) -> None:
    await run(store, TABLE)
    await run(store, "INSERT INTO shelf (item) VALUES (:item)", values={"item": "'); DROP TABLE shelf; --"})
    assert await rows(store, "SELECT item FROM shelf") == [("'); DROP TABLE shelf; --",)]


@pytest.mark.parametrize(
    ("statements", "values", "said"),
    [
        ("SELECT :day", {}, "needs the value :day"),
        ("SELECT :day::date", {"day": "tomorrow"}, "wanted as date, and is none"),
        ("SELECT :span::interval", {"span": "1 day"}, "write :span::text::interval"),
        ("SELECT 1; COMMIT", {}, "begins or ends a transaction"),
        ("-- nothing", {}, "There are no statements"),
    ],
)
async def test_statements_and_values_that_are_not_in_order_are_refused(
    store: Store, statements: str, values: dict[str, object], said: str
) -> None:
    with pytest.raises(TaskRefused, match=said):
        await run(store, statements, values=values)


async def test_a_file_that_is_not_there_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(TaskRefused, match="cannot be read"):
        await run(store, file=str(tmp_path / "none.sql"))


async def test_a_database_that_is_away_is_worth_another_try(store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        await run(store, "SELECT 1", url="postgresql://ann:secret@127.0.0.1:1/x")


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ("SELECT count(*) FROM number_sequence; SELECT 1", []),
        ("SELECT 1;\nSELEC 2", ['line 2: syntax error at or near "SELEC"']),
        ("SELECT * FROM nowhere", ['line 1: relation "nowhere" does not exist']),
        ("CREATE TABLE nowhere (a int); SELECT a FROM nowhere", []),  # made by the one before
        ("CREATE TABLE nowhere (a int); SELEC", ['line 1: syntax error at or near "SELEC"']),
        ("SELECT :day", ["Line 1 needs the value :day; add it to `values`."]),
        ("BEGIN", ["Line 1 begins or ends a transaction; all statements run in one already. Take it out."]),
    ],
)
async def test_a_look_tells_what_the_database_does_not_understand_and_executes_nothing(
    store: Store, statements: str, expected: list[str]
) -> None:
    task = SqlTask(SqlParameters.model_validate({"statements": statements}), lambda: store)
    assert await task.examine() == expected
    assert await rows(store, "SELECT to_regclass('public.nowhere')::text") == [(None,)]
