"""Migrations run once, in order, and never on a database that is not ours to change."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from asyncpg import Connection

from gateway.db.connect import connect
from gateway.db.errors import SchemaMismatch, StoreRefused
from gateway.db.migrate import FOLDER, Migration, load_migrations, migrate, require_current, state
from gateway.db.sql import Queries
from tests.conftest import Databases
from tests.crash.released import migrate_as_released


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
        before = await state(connection, load_migrations(folder))
        applied = await migrate(connection, load_migrations(folder), progress=told.append)
        after = await state(connection, load_migrations(folder))
        assert await connection.fetchval("SELECT n FROM a") == 2
    assert (before.current, [step.version for step in before.pending]) == (None, [1, 2])
    assert [step.name for step in applied] == ["first", "second"]
    assert told == list(applied)
    assert after.is_current
    assert after.current == 2


async def test_migrating_again_changes_nothing(empty_url: str, folder: Path) -> None:
    async with connected(empty_url) as connection:
        await migrate(connection, load_migrations(folder))
        assert await migrate(connection, load_migrations(folder)) == ()
        assert await connection.fetchval("SELECT n FROM a") == 2


async def test_only_what_is_missing_runs(empty_url: str, folder: Path) -> None:
    async with connected(empty_url) as connection:
        await migrate(connection, load_migrations(folder)[:1])
        assert [step.version for step in await migrate(connection, load_migrations(folder))] == [2]


async def test_nodes_that_start_together_migrate_once(empty_url: str, folder: Path) -> None:
    (folder / "0001_first.sql").write_text("SELECT pg_sleep(0.2); CREATE TABLE a (n int); INSERT INTO a VALUES (1);")
    migrations = load_migrations(folder)

    async def node() -> int:
        async with connected(empty_url) as connection:
            return len(await migrate(connection, migrations))

    counts = await asyncio.gather(*(node() for _ in range(4)))
    assert sum(counts) == 2
    async with connected(empty_url) as connection:
        assert await connection.fetchval("SELECT n FROM a") == 2


async def test_failing_migration_leaves_nothing_and_those_before_it_stay(empty_url: str, folder: Path) -> None:
    (folder / "0002_second.sql").write_text("CREATE TABLE b (n int); SELECT 1 / 0;")
    async with connected(empty_url) as connection:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrate(connection, load_migrations(folder))
        found = await state(connection, load_migrations(folder))
        assert found.current == 1
        assert await connection.fetchval("SELECT to_regclass('b')") is None


async def test_changed_migration_is_refused(empty_url: str, folder: Path) -> None:
    async with connected(empty_url) as connection:
        await migrate(connection, load_migrations(folder))
        (folder / "0001_first.sql").write_text("CREATE TABLE a (n bigint);")
        with pytest.raises(SchemaMismatch, match="0001 was applied with another text"):
            await require_current(connection, load_migrations(folder))
        with pytest.raises(SchemaMismatch, match="0001 was applied with another text"):
            await migrate(connection, load_migrations(folder))


async def test_newer_database_is_refused_and_left_alone(empty_url: str, folder: Path) -> None:
    async with connected(empty_url) as connection:
        await migrate(connection, load_migrations(folder))
        older = load_migrations(folder)[:1]
        with pytest.raises(SchemaMismatch, match="newer gateway"):
            await require_current(connection, older)
        with pytest.raises(SchemaMismatch, match="newer gateway"):
            await migrate(connection, older)


async def test_older_database_is_refused_with_the_command_to_run(empty_url: str, folder: Path) -> None:
    async with connected(empty_url) as connection:
        await migrate(connection, load_migrations(folder)[:1])
        with pytest.raises(SchemaMismatch, match=r"has version 1, .* needs version 2 \(steps to come"):
            await require_current(connection, load_migrations(folder))


async def test_our_own_migrations_make_a_current_schema(empty_url: str) -> None:
    async with connected(empty_url) as connection:
        await migrate(connection)
        assert (await require_current(connection)).is_current


async def test_every_named_statement_of_ours_can_be_prepared(database_url: str) -> None:
    async with connected(database_url) as connection:
        failed = []
        for name in Queries.load():
            try:
                await connection.prepare(getattr(Queries.load(), name))
            except asyncpg.PostgresError as error:
                failed.append(f"{name}: {error}")
    assert failed == []


def test_migration_files_are_numbered_without_gaps(tmp_path: Path) -> None:
    names = [path.name for path in sorted(FOLDER.glob("*.sql"))]
    for name in names:
        shutil.copy(FOLDER / name, tmp_path)
    assert [step.version for step in load_migrations(tmp_path)] == list(range(1, len(names) + 1))


USERS = 'CREATE TABLE public.document (mine int); CREATE TABLE public.task (mine int); CREATE TABLE public."Queue" ();'
TABLES_OF = """
SELECT array_agg(relname::text ORDER BY relname) FROM pg_class
WHERE relnamespace = to_regnamespace($1) AND relkind IN ('r', 'S')
"""
ELSEWHERE = """
SELECT array_agg(oid::regclass::text) FROM pg_class
WHERE relnamespace NOT IN ('gateway'::regnamespace, 'pg_catalog'::regnamespace, 'information_schema'::regnamespace,
                           'pg_toast'::regnamespace)
"""


@pytest.fixture
def stranger(databases: Databases) -> Iterator[str]:
    """The address of an empty database, for a role that is not named as our schema and owns the database."""
    name = databases.create_empty()
    yield databases.url_of_stranger(name)
    databases.drop(name)


async def test_users_tables_of_our_names_are_left_alone(stranger: str) -> None:
    async with connected(stranger) as connection:
        await connection.execute(USERS)
        await migrate(connection)
        assert (await require_current(connection)).is_current
        assert await connection.fetchval(TABLES_OF, "public") == ["Queue", "document", "task"]
        assert await connection.fetchval("SELECT count(*) FROM gateway.task") == 0


@pytest.mark.parametrize("version", range(1, 6))
async def test_tables_from_before_move_into_our_schema_and_nothing_else_does(stranger: str, version: int) -> None:
    async with connected(stranger) as connection:
        await migrate_as_released(connection, version)
        await connection.execute("INSERT INTO number_sequence (name, next) VALUES ('kept', 7)")
        if version < 5:
            await connection.execute("CREATE TABLE task (mine int)")  # a name that a later step uses
        await connection.execute("CREATE TABLE mine (n int)")
        steps = await migrate(connection)
        assert [step.version for step in steps] == list(range(version + 1, len(load_migrations()) + 1))
        assert await connection.fetchval(TABLES_OF, "public") == (["mine", "task"] if version < 5 else ["mine"])
        assert await connection.fetchval("SELECT next FROM gateway.number_sequence WHERE name = 'kept'") == 7
        moved = await connection.fetchval(TABLES_OF, "gateway")
    assert moved == await tables_of_a_new_database(stranger)


async def tables_of_a_new_database(url: str) -> list[str]:
    async with connected(url) as connection:
        await connection.execute("DROP SCHEMA gateway CASCADE; DROP SCHEMA public CASCADE")
        await migrate(connection)
        assert await connection.fetchval(ELSEWHERE) is None
        return list(await connection.fetchval(TABLES_OF, "gateway"))


@pytest.mark.parametrize("theirs", ["TABLE gateway.orders ()", "TABLE gateway.schema_version (version text)",
                                    "TYPE gateway.colour AS ENUM ('red')"])  # fmt: skip
async def test_schema_of_our_name_with_things_of_somebody_else_is_refused(stranger: str, theirs: str) -> None:
    async with connected(stranger) as connection:
        await connection.execute(f"CREATE SCHEMA gateway; CREATE {theirs}")
        before = await connection.fetchval(TABLES_OF, "gateway")
        for attempt in (state(connection), require_current(connection), migrate(connection)):
            with pytest.raises(StoreRefused, match="the schema gateway of this database belongs to somebody else"):
                await attempt
        assert await connection.fetchval(TABLES_OF, "gateway") == before


async def test_schema_that_an_administrator_made_for_us_is_used(databases: Databases, stranger: str) -> None:
    name = stranger.partition("@/")[2].partition("?")[0]
    async with connected(databases.url(name)) as owner:
        await owner.execute(f"ALTER DATABASE {name} OWNER TO gateway")
        async with connected(stranger) as connection:
            with pytest.raises(StoreRefused, match=r"too few rights in its database \(permission denied for database"):
                await migrate(connection)
            await owner.execute("CREATE SCHEMA gateway; GRANT USAGE, CREATE ON SCHEMA gateway TO owner_of_one")
            await migrate(connection)
            assert (await require_current(connection)).is_current


async def test_role_that_may_not_look_into_our_schema_is_told_so(databases: Databases, stranger: str) -> None:
    name = stranger.partition("@/")[2].partition("?")[0]
    async with connected(databases.url(name)) as owner:
        await migrate(owner)
    async with connected(stranger) as connection:
        with pytest.raises(StoreRefused, match=r"too few rights in its database \(permission denied for schema"):
            await require_current(connection)
