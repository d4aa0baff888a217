"""P29: an upgrade while messages are on their way; it is killed in the middle, and nothing is lost or done twice."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from asyncpg import Connection, connect

from gateway.store.migrate import load_migrations, migrate
from gateway.store.sql import Queries
from tests.conftest import Databases
from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once
from tests.crash.site import CrashSite
from tests.site import until

QUERIES = Queries.load()
WITH_BUILD = (
    "import sys; from pathlib import Path; from tests.crash.bad_builds import apply; from gateway.cli.main import main;"
    " apply(sys.argv.pop(1), Path('.')); main()"
)


@pytest.fixture
def old_url(databases: Databases) -> Iterator[str]:
    """A database with the schema of the first release."""
    name = databases.create_empty()
    yield databases.url(name)
    databases.drop(name)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection = await connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def carry_back(new_url: str, old_url: str) -> None:
    """Make the old database what it would be if the first release had done all this."""
    async with connected(new_url) as new, connected(old_url) as old:
        await migrate(old, QUERIES, load_migrations()[:1])
        await old.execute("SET session_replication_role = replica")  # in any order of tables
        tables = await old.fetch(
            """SELECT table_name AS name, array_agg(quote_ident(column_name)) AS columns FROM information_schema.columns
               WHERE table_schema = 'public' AND table_name NOT IN ('schema_version', 'run', 'port_status')
               GROUP BY table_name"""
        )
        for table in tables:
            name, columns = table["name"], ", ".join(table["columns"])
            extra = json.dumps({"until": "2100-01-01T00:00:00Z"} if name == "lease" else {})
            rows = await new.fetchval(f"SELECT jsonb_agg(to_jsonb(t) || $1::text::jsonb)::text FROM {name} t", extra)
            if rows is not None:
                await old.execute(
                    f"INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE"
                    f" SELECT {columns} FROM jsonb_populate_recordset(NULL::{name}, $1::text::jsonb)", rows,
                )  # fmt: skip
        for sequence in await old.fetch("SELECT sequencename AS name FROM pg_sequences"):
            last = await new.fetchval("SELECT last_value FROM pg_sequences WHERE sequencename = $1", sequence["name"])
            if last is not None:
                await old.execute("SELECT setval($1::text::regclass, $2)", sequence["name"], last)
        await old.execute(
            "INSERT INTO run (job, incarnation, started_at, ended_at, status)"
            " VALUES ('gateway', 1, now(), now(), 'ended')"
        )


async def contents(url: str) -> dict[str, list[tuple[object, ...]]]:
    """What must be the same before and after: the queue, its lanes, all messages, the history of runs."""
    async with connected(url) as connection:
        return {
            table: [tuple(row) for row in await connection.fetch(f"SELECT {columns} FROM {table} ORDER BY 1, 2")]
            for table, columns in (
                ("queue", "message_id, status, reason, attempts, fence"),
                ("lane", "port, name, head, fence"),
                ("message", "id, port, outcome"),
                ("lease", "fence, owner, stage"),
                ("run", "id, job, status, started_at"),
            )
        }


async def start_migrating(site: CrashSite, build: str = "") -> asyncio.subprocess.Process:
    site.write_config()
    command = ["-c", WITH_BUILD, build] if build else ["-m", "gateway"]
    return await asyncio.create_subprocess_exec(
        sys.executable, *command, "db", "migrate", "--config", str(site.config),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def killed_while_migrating(site: CrashSite, build: str = "") -> None:
    """Kill a migration in the middle of its last step, held there by a reader of a table that it wants to replace."""
    async with connected(site.store) as reader, reader.transaction():
        await reader.execute("LOCK TABLE run IN ACCESS SHARE MODE")
        process = await start_migrating(site, build)
        waiting: list[int] = []

        async def waits() -> bool:
            rows = await site.query(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            waiting[:] = [row["pid"] for row in rows]
            return bool(waiting)

        await until(waits, "the migration waits for the reader")
        process.kill()
        await process.communicate()
        await site.query("SELECT pg_terminate_backend(unnest($1::int[]))", waiting)


async def upgraded(site: CrashSite) -> bool:
    """Migrate to the end; tell whether that went well."""
    process = await start_migrating(site)
    await process.communicate()
    return process.returncode == 0


async def test_an_upgrade_in_flight_loses_nothing(crash_site: CrashSite, old_url: str) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        for point in ("inbound.before_effects", "ingest.before_commit", "send.after_promise"):
            partner.drop(8)
            await crash_site.run(faults=f"{point}:1:kill")
            assert crash_site.process is not None
            await crash_site.process.wait()
        partner.drop(4)
        await carry_back(crash_site.store, old_url)
        crash_site.store = old_url
        before = await contents(old_url)
        assert before["queue"] and before["lease"]
        await killed_while_migrating(crash_site)
        rows = await crash_site.query("SELECT max(version) AS version FROM schema_version")
        assert rows[0]["version"] == len(load_migrations()) - 1
        assert not await crash_site.query("SELECT 1 FROM pg_tables WHERE tablename = 'batch_group'")
        assert await upgraded(crash_site)
        assert await contents(old_url) == before
        await crash_site.run()
        await drained(crash_site, partner)
        assert await crash_site.stop() == 0
    await everything_happened_once(crash_site, partner)


async def test_without_a_transaction_a_killed_migration_leaves_half_a_schema(
    crash_site: CrashSite, old_url: str
) -> None:
    crash_site.store = old_url
    async with connected(old_url) as connection:
        await migrate(connection, QUERIES, load_migrations()[:1])
    await killed_while_migrating(crash_site, "bare_migrations")
    assert await crash_site.query("SELECT 1 FROM pg_tables WHERE tablename = 'batch_group'")
    assert not await upgraded(crash_site)
