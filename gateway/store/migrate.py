"""Numbered, forward-only migrations: `migrations/0001_what.sql`.

Each file runs in one transaction that writes its version row first, so that of two nodes one waits and then
sees that the work is done. A released file is never edited: its checksum is kept in the database.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asyncpg import Connection

from gateway.domain.faultpoints import reach
from gateway.store.errors import SchemaMismatch, StoreRefused, database_errors
from gateway.store.listen import SETTINGS as LISTENER
from gateway.store.sql import Queries

FOLDER = Path(__file__).parent / "migrations"
FAULT_POINTS = ("migrate.noted", "migrate.before_commit", "migrate.after_commit")
"""Every name a migration reaches, once per step."""

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema; `sha256` is taken over the bytes of its file."""

    version: int
    name: str
    sql: str
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """How the schema of a database stands to this program.

    Shape: `current` is the highest version applied, None for an empty database; `known` all versions this
    program brings; `pending` those still to run; `unknown` versions applied by a newer program; `changed`
    versions whose file differs from what was applied. All in ascending order.
    """

    current: int | None
    known: tuple[int, ...]
    pending: tuple[Migration, ...]
    unknown: tuple[int, ...]
    changed: tuple[int, ...]

    @property
    def is_current(self) -> bool:
        """True when the database has exactly the schema this program was written for."""
        return not (self.pending or self.unknown or self.changed)


def load_migrations(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """Read the migration files in ascending order.

    Raises: StoreRefused when a name is not `NNNN_what.sql` or the numbers are not 1, 2, 3, …
    """
    migrations = []
    for number, path in enumerate(sorted(folder.glob("*.sql")), start=1):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None or int(match[1]) != number:
            raise StoreRefused(f"{path.name} is not the name of migration {number}: {number:04d}_what.sql is expected")
        content = path.read_bytes()
        migrations.append(
            Migration(
                version=number,
                name=match[2],
                sql=content.decode("utf-8"),
                sha256=hashlib.sha256(content).digest(),
            )
        )
    return tuple(migrations)


async def state(connection: Connection, queries: Queries, migrations: Sequence[Migration] | None = None) -> SchemaState:
    """Compare the database with *migrations* (default: those of this program); nothing is changed."""
    known = load_migrations() if migrations is None else tuple(migrations)
    with database_errors(connection):
        exists = await connection.fetchval(queries.schema_version_exists)
        rows = await connection.fetch(queries.list_schema_versions) if exists else []
    return _compare({row["version"]: row["sha256"] for row in rows}, known)


async def require_current(
    connection: Connection, queries: Queries, migrations: Sequence[Migration] | None = None
) -> SchemaState:
    """Return the state of a schema that matches this program exactly.

    Raises: SchemaMismatch with what to do otherwise.
    """
    found = await state(connection, queries, migrations)
    _refuse_foreign(found)
    if found.pending:
        steps = ", ".join(f"{step.version:04d} {step.name}" for step in found.pending)
        have = "has no tables yet" if found.current is None else f"has version {found.current}"
        raise SchemaMismatch(
            f"the database {have}, this program needs version {found.known[-1]}: run `gateway db migrate` "
            f"(steps to come: {steps})",
            current=found.current,
            needed=found.known[-1],
        )
    return found


async def refuse_running(connection: Connection, queries: Queries) -> None:
    """Make sure that nobody works on a database whose schema is about to change.

    Raises: StoreRefused that says where gateways run.
    """
    with database_errors(connection):
        rows = await connection.fetch(queries.running_gateways, LISTENER["application_name"])
    if rows:
        many = "a gateway works" if len(rows) == 1 else f"{len(rows)} gateways work"
        places = ", ".join(sorted({row["host"] for row in rows}))
        raise StoreRefused(
            f"{many} on this database (connected from {places}): stop all of them, then migrate; a gateway cannot work "
            "on the tables of another version. Nothing was changed"
        )


async def migrate(
    connection: Connection,
    queries: Queries,
    migrations: Sequence[Migration] | None = None,
    *,
    progress: Callable[[Migration], None] | None = None,
) -> tuple[Migration, ...]:
    """Run the pending migrations and return those that this call applied.

    `progress` is told each step after its commit. Safe to call on several nodes at once.
    Raises: SchemaMismatch, before any change, when the database is newer or was changed.
    """
    known = load_migrations() if migrations is None else tuple(migrations)
    found = await state(connection, queries, known)
    _refuse_foreign(found)
    applied = []
    for step in found.pending:
        with database_errors(connection):
            if await _apply(connection, queries, step, known):
                reach("migrate.after_commit")
                applied.append(step)
                if progress is not None:
                    progress(step)
    return tuple(applied)


async def _apply(connection: Connection, queries: Queries, step: Migration, known: Sequence[Migration]) -> bool:
    """Run one step unless it has run; True when this call ran it."""
    async with connection.transaction():
        await connection.execute(queries.wait_without_limit)
        await connection.execute(queries.lock_schema)
        await connection.execute(queries.create_schema_version)
        rows = await connection.fetch(queries.list_schema_versions)
        found = _compare({row["version"]: row["sha256"] for row in rows}, known)
        _refuse_foreign(found)
        if step not in found.pending:
            return False
        await connection.execute(queries.insert_schema_version, step.version, step.name, step.sha256)
        reach("migrate.noted")
        await connection.execute(step.sql)
        reach("migrate.before_commit")
        return True


def _compare(applied: Mapping[int, bytes], known: Sequence[Migration]) -> SchemaState:
    versions = tuple(step.version for step in known)
    return SchemaState(
        current=max(applied, default=None),
        known=versions,
        pending=tuple(step for step in known if step.version not in applied),
        unknown=tuple(sorted(set(applied) - set(versions))),
        changed=tuple(
            step.version for step in known if step.version in applied and applied[step.version] != step.sha256
        ),
    )


def _refuse_foreign(found: SchemaState) -> None:
    if found.unknown:
        raise SchemaMismatch(
            f"the database has version {found.current}, this program knows up to "
            f"{max(found.known, default=0)}: "
            "it was migrated by a newer gateway; start that version",
            current=found.current,
            unknown=found.unknown,
        )
    if found.changed:
        versions = ", ".join(f"{version:04d}" for version in found.changed)
        raise SchemaMismatch(
            f"migration {versions} was applied with another text than this program carries: "
            "this is a different build; start the one that migrated the database, or restore a backup",
            changed=found.changed,
        )
