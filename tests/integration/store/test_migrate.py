"""Migrations run once, in order, and never on a database that is not ours to change."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from asyncpg import Connection

from gateway.store.connect import connect
from gateway.store.errors import SchemaMismatch
from gateway.store.migrate import FOLDER, Migration, load_migrations, migrate, require_current, state
from gateway.store.sql import Queries
from tests.conftest import Databases

QUERIES = Queries.load()


@pytest.fixture
def empty_url(databases: Databases) -> Iterator[str]:
    """The address of a database without any table."""
    name = databases.create_empty()
    yield databases.url(name)
    databases.drop(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two small migrations."""
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE a (n int); INSERT INTO a VALUES (1);")
    (tmp_path / "0002_second.sql").write_text("UPDATE a SET n = n + 1;")
    return tmp_path


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection = await connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def test_empty_database_gets_every_migration_in_order(empty_url: str, folder: Path) -> None:
    told: list[Migration] = []
    async with connected(empty_url) as connection:
        before = await state(connection, QUERIES, load_migrations(folder))
        applied = await migrate(connection, QUERIES, load_migrations(folder), progress=told.append)
        after = await state(connection, QUERIES, load_migrations(folder))
        assert await connection.fetchval("SELECT n FROM a") == 2
    assert (before.current, [step.version for step in before.pending]) == (None, [1, 2])
    assert [step.name for step in applied] == ["first", "second"]
    assert told == list(applied)
    assert after.is_current
    assert after.current == 2


async def test_migrating_again_changes_nothing(empty_url: str, folder: Path) -> None:
    async with connected(empty_url) as connection:
        await migrate(connection, QUERIES, load_migrations(folder))
        assert await migrate(connection, QUERIES, load_migrations(folder)) == ()
        assert await connection.fetchval("SELECT n FROM a") == 2


async def test_only_what_is_missing_runs(empty_url: str, folder: Path) -> None:
    async with connected(empty_url) as connection:
        await migrate(connection, QUERIES, load_migrations(folder)[:1])
        assert [step.version for step in await migrate(connection, QUERIES, load_migrations(folder))] == [2]


async def test_nodes_that_start_together_migrate_once(empty_url: str, folder: Path) -> None:
    (folder / "0001_first.sql").write_text("SELECT pg_sleep(0.2); CREATE TABLE a (n int); INSERT INTO a VALUES (1);")
    migrations = load_migrations(folder)

    async def node() -> int:
        async with connected(empty_url) as connection:
            return len(await migrate(connection, QUERIES, migrations))

    counts = await asyncio.gather(*(node() for _ in range(4)))
    assert sum(counts) == 2
    async with connected(empty_url) as connection:
        assert await connection.fetchval("SELECT n FROM a") == 2


async def test_failing_migration_leaves_nothing_and_those_before_it_stay(empty_url: str, folder: Path) -> None:
    (folder / "0002_second.sql").write_text("CREATE TABLE b (n int); SELECT 1 / 0;")
    async with connected(empty_url) as connection:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrate(connection, QUERIES, load_migrations(folder))
        found = await state(connection, QUERIES, load_migrations(folder))
        assert found.current == 1
        assert await connection.fetchval("SELECT to_regclass('b')") is None


async def test_changed_migration_is_refused(empty_url: str, folder: Path) -> None:
    async with connected(empty_url) as connection:
        await migrate(connection, QUERIES, load_migrations(folder))
        (folder / "0001_first.sql").write_text("CREATE TABLE a (n bigint);")
        with pytest.raises(SchemaMismatch, match="0001 was applied with another text"):
            await require_current(connection, QUERIES, load_migrations(folder))
        with pytest.raises(SchemaMismatch, match="0001 was applied with another text"):
            await migrate(connection, QUERIES, load_migrations(folder))


async def test_newer_database_is_refused_and_left_alone(empty_url: str, folder: Path) -> None:
    async with connected(empty_url) as connection:
        await migrate(connection, QUERIES, load_migrations(folder))
        older = load_migrations(folder)[:1]
        with pytest.raises(SchemaMismatch, match="newer gateway"):
            await require_current(connection, QUERIES, older)
        with pytest.raises(SchemaMismatch, match="newer gateway"):
            await migrate(connection, QUERIES, older)


async def test_older_database_is_refused_with_the_command_to_run(empty_url: str, folder: Path) -> None:
    async with connected(empty_url) as connection:
        await migrate(connection, QUERIES, load_migrations(folder)[:1])
        with pytest.raises(SchemaMismatch, match=r"has version 1, .* needs version 2: run `gateway db migrate`"):
            await require_current(connection, QUERIES, load_migrations(folder))


async def test_our_own_migrations_make_a_current_schema(empty_url: str) -> None:
    async with connected(empty_url) as connection:
        await migrate(connection, QUERIES)
        assert (await require_current(connection, QUERIES)).is_current


async def test_every_named_statement_of_ours_can_be_prepared(database_url: str) -> None:
    async with connected(database_url) as connection:
        failed = []
        for name in QUERIES:
            try:
                await connection.prepare(getattr(QUERIES, name))
            except asyncpg.PostgresError as error:
                failed.append(f"{name}: {error}")
    assert failed == []


def test_migration_files_are_numbered_without_gaps(tmp_path: Path) -> None:
    names = [path.name for path in sorted(FOLDER.glob("*.sql"))]
    for name in names:
        shutil.copy(FOLDER / name, tmp_path)
    assert [step.version for step in load_migrations(tmp_path)] == list(range(1, len(names) + 1))
