"""A message store in a PostgreSQL of its own: stations insert rows, and read what became of their sessions."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from asyncpg import Connection

from gateway.config.addresses import EMBEDDED
from gateway.db.connect import ANSWER_SECONDS, CLOSE_SECONDS, SETTINGS, connect
from gateway.db.errors import DRIVER_ERRORS, StoreRefused, database_errors
from gateway.db.open import Store
from gateway.db.waiting import uninterrupted
from gateway.exchange.rules.message import StatusMessageRefused, Written, judge
from gateway.exchange.sources import Given, Kept, MessageStoreAway, MessageStoreUnusable, SessionName, Told
from gateway.exchange.statements import message_store_sql, sessions_sql
from gateway.kernel.errors import StoreUnavailable

TABLES: Final = Path(__file__).parent / "statements" / "message_store" / "tables.sql"
"""Makes the tables of a message store."""
_SETTINGS: Final = {**SETTINGS, "application_name": "gateway exchange"}
_NEEDS: Final = (
    "The role of the gateway needs all rights on the schema `exchange` of that database, or the right to make it "
    "(GRANT CREATE ON DATABASE …)."
)


class DatabaseSource:
    """One pass over the table of a message store (`gateway.exchange.sources.MessageSource`)."""

    def __init__(self, name: str, connection: Connection) -> None:
        self._name = name
        self._connection = connection
        self._last = 0

    @property
    def place(self) -> None:
        """Return None: a row stays where it is."""
        return

    async def prepare(self) -> None:
        """Make the tables where they are missing. Raises: MessageStoreUnusable without the right to."""
        with self._errors():
            if await message_store_sql.is_message_store(self._connection):
                return
            async with self._connection.transaction():
                await message_store_sql.lock_message_store(self._connection)
                await self._connection.execute(TABLES.read_text(encoding="utf-8"))

    async def take(self, limit: int) -> Sequence[Given]:
        """Return the next rows by number. Raises: MessageStoreAway."""
        with self._errors():
            rows = await message_store_sql.waiting(self._connection, self._last, limit)
        if rows:
            self._last = rows[-1].id
        return [_given(row) for row in rows]

    async def acknowledge(self, copies: Sequence[bytes]) -> None:
        """Mark rows as uploaded. Raises: MessageStoreAway."""
        with self._errors():
            await message_store_sql.acknowledge(self._connection, [int(copy) for copy in copies])

    async def drop(self, copies: Sequence[bytes]) -> None:
        """Remove rows that repeat others. Raises: MessageStoreAway."""
        with self._errors():
            await message_store_sql.drop(self._connection, [int(copy) for copy in copies])

    async def refuse(self, refusals: Sequence[tuple[bytes, str]]) -> None:
        """Mark rows as refused. Raises: MessageStoreAway."""
        with self._errors():
            await message_store_sql.refuse(
                self._connection, [int(copy) for copy, _ in refusals], [text for _, text in refusals]
            )

    async def purge(self, kept: Sequence[Kept]) -> None:
        """Remove uploaded rows. Raises: MessageStoreAway."""
        with self._errors():
            await message_store_sql.purge(
                self._connection, [int(one.copy) for one in kept], [one.message_id for one in kept]
            )

    def left(self) -> Sequence[str]:
        """Return nothing: all rows are taken."""
        return ()

    async def publish(self, sessions: Sequence[Told]) -> None:
        """Write the sessions into the table that stations read. Raises: MessageStoreAway."""
        with self._errors():
            await message_store_sql.publish(
                self._connection,
                [one.name.station for one in sessions],
                [one.name.direction for one in sessions],
                [one.name.number for one in sessions],
                [one.status for one in sessions],
                [one.status_at for one in sessions],
                [one.job for one in sessions],
                [one.data_group for one in sessions],
                [one.rows for one in sessions],
                [one.path for one in sessions],
                [one.text for one in sessions],
                [one.changed_at for one in sessions],
            )

    async def withdraw(self, sessions: Sequence[SessionName]) -> None:
        """Remove sessions from that table. Raises: MessageStoreAway."""
        with self._errors():
            await message_store_sql.withdraw(
                self._connection,
                [one.station for one in sessions],
                [one.direction for one in sessions],
                [one.number for one in sessions],
            )

    def _errors(self) -> AbstractContextManager[None]:
        return _errors(self._name, self._connection)


@asynccontextmanager
async def open_database(name: str, database: str, store: Store) -> AsyncIterator[DatabaseSource]:
    """Open a message store for a pass; its tables are made where they are missing.

    *database* is a URL, or `embedded` for a database beside that of the gateway, on the server of *store*.
    Raises: MessageStoreAway, MessageStoreUnusable.
    """
    with _errors(name):
        url = database if database != EMBEDDED else await _beside(store, f"exchange_{name}")
        connection = await connect(url, _SETTINGS, answer_seconds=ANSWER_SECONDS)
    try:
        source = DatabaseSource(name, connection)
        await source.prepare()
        yield source
    finally:
        await uninterrupted(_close(connection))


async def _beside(store: Store, database: str) -> str:
    """Return the address of a database on the gateway's own server; it is made where it is missing."""
    connection = await store.connect()
    try:
        with database_errors(connection):
            if statement := await sessions_sql.making_database(connection, database):
                await connection.execute(statement)
    except asyncpg.DuplicateDatabaseError:
        pass  # another pass made it meanwhile
    finally:
        await uninterrupted(_close(connection))
    return urlunsplit(urlsplit(store.url)._replace(path=f"/{database}"))


def _given(row: message_store_sql.Waiting) -> Given:
    copy, name = str(row.id).encode(), f"row {row.id}"
    if row.at is None:
        return Given(copy=copy, name=name, refusal="The time must be of a year from 1970 to 2999.")
    written = Written(
        message_id=row.message_id,
        station=row.station,
        direction=row.direction,
        number=row.number,
        status=row.status,
        at=row.at,
        job=row.job,
        data_group=row.data_group,
        rows=row.rows,
        path=row.path,
        text=row.text,
    )
    try:
        return Given(copy=copy, name=name, message=judge(written))
    except StatusMessageRefused as refused:
        return Given(copy=copy, name=name, refusal=refused.message)


@contextmanager
def _errors(name: str, connection: Connection | None = None) -> Iterator[None]:
    """Tell trouble with this database apart from trouble with that of the gateway."""
    setting = f"`data_exchange.stores.{name}.database`"
    try:
        with database_errors(connection):
            yield
    except StoreUnavailable as error:
        raise MessageStoreAway(f"The message store {name} cannot be used now: {error.message}.") from error
    except StoreRefused as error:
        text = error.message.replace("`store`", setting)
        raise MessageStoreUnusable(f"The message store {name} cannot be used: {text}.") from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise MessageStoreUnusable(f"The message store {name} cannot be used: {error}. {_NEEDS}") from error
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        text = f"its tables were changed ({error}); put them back as docs/status-messages.md shows them"
        raise MessageStoreUnusable(f"The message store {name} cannot be used: {text}.") from error


async def _close(connection: Connection) -> None:
    try:
        await connection.close(timeout=CLOSE_SECONDS)
    except DRIVER_ERRORS:
        connection.terminate()
