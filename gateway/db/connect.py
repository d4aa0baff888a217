"""Connections to the database: their settings, and whether the server behind them can be trusted."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
from asyncpg import Connection, Pool

from gateway.db.errors import DRIVER_ERRORS, StoreRefused, database_errors
from gateway.db.statements import session_sql

SCHEMA: Final = "gateway"
"""Where all our tables are, apart from those of a user."""

OLDEST_VERSION: Final = 14
CONNECT_SECONDS: Final = 10.0
STATEMENT_SECONDS: Final = 60
ANSWER_SECONDS: Final = 70.0
"""After this the driver gives up by itself: a frozen server cannot say that a statement took too long."""
CLOSE_SECONDS: Final = 10.0

SETTINGS: Final[Mapping[str, str]] = {
    "application_name": "gateway",
    "timezone": "UTC",
    "synchronous_commit": "on",  # the server's own default may differ
    "default_transaction_isolation": "read committed",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",  # a paused node must not keep its locks
    "enable_seqscan": "off",  # a plan is kept: one made while little waits must not read all when much does
    "jit": "off",  # a scan that is made all the same has a price at which older servers compile the statement
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "tcp_keepalives_idle": "10",  # without effect on a unix socket
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
LONG_SETTINGS: Final[Mapping[str, str]] = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "120s",  # the rows of a big file come from the disk
}


async def connect(
    url: str, settings: Mapping[str, str] | None = None, *, answer_seconds: float | None = None
) -> Connection:
    """Open a connection; the caller closes it.

    Shape: *settings* are those of its session. Without a `search_path` among them it is that of the role. None as
    *answer_seconds* sets no limit on the time of its statements.
    Raises: StoreUnavailable when trying again may help, StoreRefused with what to change when it cannot.
    """
    try:
        with database_errors():
            return await asyncpg.connect(
                url,
                timeout=CONNECT_SECONDS,
                command_timeout=answer_seconds,
                server_settings=dict(settings or {"application_name": "gateway"}),
            )
    except asyncpg.InvalidCatalogNameError as error:
        raise StoreRefused(
            f"the database is missing ({error}): create it with the gateway's role as its owner"
        ) from error
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise StoreRefused(
            f"the database does not let the gateway in ({error}): check role and password in `store`, "
            "and pg_hba.conf of the server"
        ) from error
    except ValueError as error:  # of the driver's reading of the address: its text shows what may be a password
        raise StoreRefused(
            "the address in `store` cannot be used: percent-encode special characters in user and password, and look "
            "at its options"
        ) from error
    except DRIVER_ERRORS as error:
        raise StoreRefused(f"the address in `store` cannot be used: {error}") from error


async def check_server(connection: Connection) -> dict[str, str]:
    """Return the session settings to use with this server, after making sure that it keeps what it commits.

    Raises: StoreRefused when it is too old or may forget.
    """
    with database_errors(connection):
        number = await session_sql.server_version(connection)
        if number < OLDEST_VERSION * 10_000:
            raise StoreRefused(
                f"the database server is PostgreSQL {number // 10_000}: {OLDEST_VERSION} or later is needed"
            )
        path = await session_sql.search_path(connection)
        settings = {**SETTINGS, "search_path": f"{SCHEMA}, {path}" if path else SCHEMA}  # ours before any other
        try:
            await session_sql.can_check_clients(connection)
            settings["client_connection_check_interval"] = "5s"
        except asyncpg.InvalidParameterValueError:
            pass  # the server's system cannot notice lost clients; the other limits remain
        await session_sql.commit_synchronously(connection)
        kept = await session_sql.durability_settings(connection)
    commit, fsync = kept.synchronous_commit, kept.fsync
    if commit != "on" or fsync != "on":
        raise StoreRefused(
            f"the database may lose what it committed (synchronous_commit = {commit}, fsync = {fsync}): "
            "set both to on in its configuration",
            synchronous_commit=commit,
            fsync=fsync,
        )
    return settings


async def _leave(_: Connection) -> None:
    """Leave a session as it is: our own statements set nothing beyond their transaction."""


@asynccontextmanager
async def open_pool(url: str, settings: Mapping[str, str], size: int, *, long: bool) -> AsyncIterator[Pool]:
    """Open a pool of up to *size* connections; at the end those still borrowed are cut off after a while.

    Rule: a connection comes back as it was left. Whoever lends it to code of others cleans it first.
    """
    with database_errors():
        pool = await asyncpg.create_pool(
            url,
            min_size=0,  # no connections at rest, and none that the driver opens behind our back
            max_size=size,
            timeout=CONNECT_SECONDS,
            command_timeout=None if long else ANSWER_SECONDS,
            reset=_leave,
            server_settings={**settings, **(LONG_SETTINGS if long else {})},
        )
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await pool.close()
        except DRIVER_ERRORS:
            pool.terminate()
