"""Commands on the database itself."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.progress import Progress

from gateway.cli.commands import Answer, tell
from gateway.cli.common import load_site, perform
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from gateway.cli.render import Fields, console
from gateway.db.data_folder import Use
from gateway.db.migrate import Migration, migrate, refuse_running, state
from gateway.db.open import Schema, open_store

app = typer.Typer(no_args_is_help=True, help="The database: its schema and how to bring it up to date.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseInfo:
    """What `gateway db info` tells; versions count from 1, `version` is None for an empty database."""

    store: str
    server: str
    version: int | None
    known: int
    pending: tuple[str, ...]
    current: bool


@app.command("migrate")
def migrate_database(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Bring the schema of the database up to date.

    Refused while a gateway runs on the database. Safe to run on several machines at once. An embedded database is
    migrated by itself when the gateway starts.
    """
    applied = [_name(step) for step in perform(_migrate(config, quiet=as_json))]
    text = f"Done: {', '.join(applied)}." if applied else "The schema is up to date."
    tell(Answer({"applied": applied}, text), as_json=as_json)


@app.command("info")
def info(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show where the database is, its PostgreSQL server, and whether its schema fits this version."""
    found = perform(_info(config))
    fields = Fields(
        [("store", found.store), ("server", f"PostgreSQL {found.server}"), ("schema version", found.version),
         ("this program has", found.known), ("steps to come", found.pending), ("up to date", found.current)]
    )  # fmt: skip
    tell(Answer(found, fields), as_json=as_json)


async def _migrate(config: Path, *, quiet: bool) -> tuple[Migration, ...]:
    settings = (await asyncio.to_thread(load_site, config)).settings
    async with open_store(settings.store, settings.data, pool_size=2, use=Use.VISIT, schema=Schema.IGNORE) as store:
        connection = await store.connect()
        try:
            pending = (await state(connection)).pending
            if pending:
                await refuse_running(connection)
            with Progress(console=console(error=True), transient=True, disable=quiet) as progress:
                bar = progress.add_task("Migrating", total=len(pending))
                return await migrate(connection, progress=lambda _: progress.advance(bar))
        finally:
            await connection.close()


async def _info(config: Path) -> DatabaseInfo:
    settings = (await asyncio.to_thread(load_site, config)).settings
    async with open_store(settings.store, settings.data, pool_size=2, use=Use.VISIT, schema=Schema.IGNORE) as store:
        connection = await store.connect()
        try:
            found = await state(connection)
            server = ".".join(map(str, connection.get_server_version()[:2]))
        finally:
            await connection.close()
    return DatabaseInfo(
        store=settings.store_shown,
        server=server,
        version=found.current,
        known=found.known[-1],
        pending=tuple(_name(step) for step in found.pending),
        current=found.is_current,
    )


def _name(step: Migration) -> str:
    return f"{step.version:04d} {step.name}"
