"""Numbered, forward-only migrations: `migrations/0001_what.sql`.

Each file runs in one transaction that writes its version row first, so that of two nodes one waits and then
sees that the work is done. A released file is never edited: its checksum is kept in the database.

All tables stand in the schema `gateway`, whatever else is in the database. Databases that were made before that
schema was used are moved into it before their next step.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from asyncpg import Connection

from gateway.db.connect import SCHEMA
from gateway.db.errors import SchemaMismatch, StoreRefused, database_errors
from gateway.db.listen import SETTINGS as LISTENER
from gateway.db.statements import move_sql, schema_sql
from gateway.kernel.faultpoints import reach
from gateway.kernel.remedy import Action, do

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


async def state(connection: Connection, migrations: Sequence[Migration] | None = None) -> SchemaState:
    """Compare the database with *migrations* (default: those of this program); nothing is changed.

    Raises: StoreRefused when a schema of our name is somebody else's, or our role may not look.
    """
    known = load_migrations() if migrations is None else tuple(migrations)
    with database_errors(connection), _rights():
        async with connection.transaction():
            home = await _find_home(connection)
            applied = {} if home is None else await _applied_in(connection, home)
    return _compare(applied, known)


async def require_current(connection: Connection, migrations: Sequence[Migration] | None = None) -> SchemaState:
    """Return the state of a schema that matches this program exactly.

    Raises: SchemaMismatch with what to do otherwise.
    """
    found = await state(connection, migrations)
    _refuse_foreign(found)
    if found.pending:
        steps = ", ".join(f"{step.version:04d} {step.name}" for step in found.pending)
        have = "has no tables yet" if found.current is None else f"has version {found.current}"
        raise SchemaMismatch(
            f"the database {have}, this program needs version {found.known[-1]} (steps to come: {steps})",
            current=found.current,
            needed=found.known[-1],
        ).remedied(do(Action.MIGRATE, then="It brings the database up to date."))
    return found


async def refuse_running(connection: Connection) -> None:
    """Make sure that nobody works on a database whose schema is about to change.

    Raises: StoreRefused that says where gateways run.
    """
    with database_errors(connection):
        rows = await schema_sql.running_gateways(connection, LISTENER["application_name"])
    if rows:
        many = "a gateway works" if len(rows) == 1 else f"{len(rows)} gateways work"
        places = ", ".join(sorted(set(rows)))
        raise StoreRefused(
            f"{many} on this database (connected from {places}): stop all of them, then migrate; a gateway cannot work "
            "on the tables of another version. Nothing was changed"
        )


async def migrate(
    connection: Connection,
    migrations: Sequence[Migration] | None = None,
    *,
    progress: Callable[[Migration], None] | None = None,
) -> tuple[Migration, ...]:
    """Run the pending migrations and return those that this call applied.

    `progress` is told each step after its commit. Safe to call on several nodes at once.
    Raises: SchemaMismatch, before any change, when the database is newer or was changed; StoreRefused when a schema of
    our name is somebody else's, or our role may not make it.
    """
    known = load_migrations() if migrations is None else tuple(migrations)
    found = await state(connection, known)
    _refuse_foreign(found)
    applied = []
    for step in found.pending:
        with database_errors(connection), _rights():
            if await _apply(connection, step, known):
                reach("migrate.after_commit")
                applied.append(step)
                if progress is not None:
                    progress(step)
    return tuple(applied)


async def _apply(connection: Connection, step: Migration, known: Sequence[Migration]) -> bool:
    """Run one step unless it has run; True when this call ran it."""
    async with connection.transaction():
        await schema_sql.wait_without_limit(connection)
        await schema_sql.lock_schema(connection)
        home = await _find_home(connection)
        if home != SCHEMA:
            await _move_in(connection, home)
        found = _compare(await _applied_in(connection, SCHEMA), known)
        _refuse_foreign(found)
        if step not in found.pending:
            return False
        await schema_sql.insert_schema_version(connection, step.version, step.name, step.sha256)
        reach("migrate.noted")
        await connection.execute(step.sql)
        reach("migrate.before_commit")
        return True


async def _find_home(connection: Connection) -> str | None:
    """Return the schema with our tables: `gateway`, or that of a database from before, or None when there are none.

    Raises: StoreRefused when there are things of somebody else in `gateway`, or we may not look into it.
    """
    row = await schema_sql.find_home(connection)
    home = None if row is None else row.name
    if row is not None and not row.usable:
        raise _too_few_rights(f"permission denied for schema {home}")
    if home != SCHEMA:
        own = await schema_sql.describe_own_schema(connection)
        if own is not None and own.content is not None:
            raise StoreRefused(
                f"the schema {SCHEMA} of this database belongs to somebody else: it has {own.content}, which is not "
                f"the gateway's (owner of the schema: {own.owner}). The gateway keeps its tables in a schema of "
                "that name and changes nothing in yours. Name another database in `store`, or rename that schema"
            )
    return home


async def _applied_in(connection: Connection, home: str) -> dict[int, bytes]:
    """Return the versions in the schema *home* with their checksums; the transaction works in it from then on."""
    await schema_sql.work_in(connection, home)
    return {row.version: row.sha256 for row in await schema_sql.list_schema_versions(connection)}


async def _move_in(connection: Connection, home: str | None) -> None:
    """Make our schema, with the tables that the schema *home* has from before and nothing else of it."""
    if await schema_sql.describe_own_schema(connection) is None:
        await schema_sql.create_own_schema(connection)
    if home is None:
        await schema_sql.work_in(connection, SCHEMA)
        await schema_sql.create_schema_version(connection)
        return
    moves = {1: move_sql.move_0001, 2: move_sql.move_0002, 3: move_sql.move_0003, 5: move_sql.move_0005}
    for version in await _applied_in(connection, home):
        if version in moves:
            await moves[version](connection)
    await move_sql.move_schema_version(connection)


@contextmanager
def _rights() -> Iterator[None]:
    """Tell in a sentence which right our role does not have."""
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        raise _too_few_rights(str(error)) from error


def _too_few_rights(missing: str) -> StoreRefused:
    return StoreRefused(
        f"the role of `store` has too few rights in its database ({missing}): make it the owner of the database, or "
        f"of a schema named {SCHEMA} in it and of everything there"
    )


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
