"""Open the store: start the embedded server or reach one by URL, check it, and hand out transactions."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, cast
from uuid import UUID

import structlog
from asyncpg import Connection, Pool
from asyncpg.pool import PoolConnectionProxy
from asyncpg.transaction import Transaction

from gateway.db.connect import (
    ANSWER_SECONDS,
    CLOSE_SECONDS,
    CONNECT_SECONDS,
    check_server,
    connect,
    open_pool,
)
from gateway.db.data_folder import DataLock, Use, node_identity
from gateway.db.embedded import embedded_server, url_of
from gateway.db.errors import DRIVER_ERRORS, DataFolderInUse, database_errors, is_lost
from gateway.db.migrate import migrate, require_current
from gateway.db.postmaster import running
from gateway.db.shared import SharedNumbers, UnitPlaces
from gateway.db.sql import Queries
from gateway.db.statements.session_sql import PING
from gateway.db.waiting import back_off, uninterrupted, wait_or_stop
from gateway.kernel.errors import StoreCrowded, StoreUnavailable
from gateway.kernel.ids import Fence, RunId

log = structlog.get_logger()

EMBEDDED: Final = "embedded"
VISIT_SECONDS: Final = 10.0
"""How long a gateway waits for a short command, and a command for a gateway that is just starting."""

CALM_SECONDS: Final = 30.0
"""After this long without trouble the next one is a new one."""

_POLL_SECONDS: Final = 0.1


EntryRunsEnded = Callable[[Connection, Sequence[RunId], datetime], Awaitable[None]]
"""Move the job queue entries whose runs have just ended, in the same transaction."""


async def _nobody_follows(connection: Connection, runs: Sequence[RunId], now: datetime) -> None:
    raise AssertionError("whoever ends runs of job queue entries lets gateway.queues follow them")


class Schema(StrEnum):
    """What to do about a schema that is not current."""

    MIGRATE = "migrate"  # bring it up to date: an embedded database is nobody else's
    REQUIRE = "require"  # refuse it
    IGNORE = "ignore"  # whoever opens the store looks after it


class Store:
    """An open store: transactions, named statements, connections of one's own.

    `url` is the address of the database (it may hold a password: never log it); `search_path` is that of every
    connection: our schema, then what the role has; `node` the identity of the
    data folder, None for a visit; `held` the leases that this process works under now: whoever claims adds to
    it and removes from it; `unit_places` are the connections that units of work may hold; `numbers` is what they
    share of number sequences; `ax_alerts` is the setting of that name, which counts when an occurrence ends;
    `entry_runs_ended` is told of runs of job queue entries that end.
    """

    def __init__(
        self,
        *,
        url: str,
        search_path: str,
        node: UUID | None,
        queries: Queries,
        pool: Pool,
        long_pool: Pool,
        life_pool: Pool,
        pool_size: int,
    ) -> None:
        self.url = url
        self.search_path = search_path
        self.node = node
        self.queries = queries
        self.ax_alerts = False
        self.entry_runs_ended: EntryRunsEnded = _nobody_follows
        self.held: set[Fence] = set()
        self.unit_places = UnitPlaces(pool_size)
        self.numbers = SharedNumbers()
        self._pool = pool
        self._long_pool = long_pool
        self._life_pool = life_pool
        self._delays = back_off()
        self._available_at = time.monotonic()
        self._doubtful = False  # something went wrong with a connection: others may hang without a sign

    @asynccontextmanager
    async def transaction(
        self, *, long: bool = False, life: bool = False, lent: bool = False
    ) -> AsyncIterator[Connection]:
        """Open a transaction: committed at the end of the block, undone when it raises.

        `long` takes off the limits on the time of a statement, for copying big files in. `life` takes the one
        connection that is kept for signs of life: a pool that is used up must not look like a death. `lent` says that
        code of others gets the connection: whatever it leaves in the session is cleaned away.
        Rule: once begun, a commit is waited for even when we are cancelled.
        Raises: StoreUnavailable; with `outcome_unknown` when the commit may have taken effect.
        """
        pool = self._life_pool if life else self._long_pool if long else self._pool
        async with self._borrowed(pool, lent=lent) as connection:
            transaction = connection.transaction()
            with database_errors(connection):
                await transaction.start()
            try:
                with database_errors(connection):
                    yield connection
            except BaseException:
                await uninterrupted(_undo(connection, transaction))
                raise
            with database_errors(connection, committing=True):
                await uninterrupted(_commit(transaction))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """Give a connection for a question that changes nothing: one statement, without the way to begin and to end.

        Raises: StoreUnavailable.
        """
        async with self._borrowed(self._pool) as connection:
            with database_errors(connection):
                yield connection

    @asynccontextmanager
    async def _borrowed(self, pool: Pool, *, lent: bool = False) -> AsyncIterator[Connection]:
        with self._noticing():
            borrowed = await _borrow(pool)
            try:
                yield cast("Connection", borrowed)  # the pool's proxy offers the same operations
            finally:
                await uninterrupted(_give_back(pool, borrowed, lent=lent))

    async def connect(self) -> Connection:
        """Open a connection of one's own, outside the pool; the caller closes it.

        Raises: StoreUnavailable, StoreRefused.
        """
        with self._noticing():
            return await connect(self.url, {"application_name": "gateway", "search_path": self.search_path})

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        """Remember trouble with the database; that all connections are at work is none."""
        try:
            yield
        except StoreUnavailable as error:
            if not isinstance(error, StoreCrowded):
                self._doubtful = True
            raise

    async def is_available(self) -> bool:
        """Tell whether the database answers now."""
        try:
            async with self.transaction() as connection:
                await connection.fetchval(PING, timeout=CONNECT_SECONDS)
        except StoreUnavailable:
            return False
        return True

    async def wait_until_available(self, stopping: asyncio.Event) -> bool:
        """Return True as soon as the database answers again, False when *stopping* is set before.

        Rule: always waits a little, and longer when called again soon: a database with a full disk answers
        and still cannot do the work. Connections are opened anew only after trouble with one of them.
        """
        if self._doubtful:
            self._doubtful = False
            for pool in (self._pool, self._long_pool, self._life_pool):
                await pool.expire_connections()  # those from before the trouble may hang without a sign
        if time.monotonic() - self._available_at > CALM_SECONDS:
            self._delays = back_off()
        tries = 0
        while True:
            await wait_or_stop(stopping, next(self._delays))
            if stopping.is_set():
                return False
            if await self.is_available():
                self._available_at = time.monotonic()
                log.info("store.available", tries=tries)
                return True
            tries += 1


@asynccontextmanager
async def open_store(
    address: str, data: Path, *, pool_size: int = 10, use: Use = Use.RUN, schema: Schema | None = None
) -> AsyncIterator[Store]:
    """Open the store at *address* (`embedded` or a `postgresql://` URL) for the gateway on the folder *data*.

    `Use.RUN` holds the data folder for one gateway. `Use.VISIT` is for commands: they join the embedded
    server of a running gateway, or start it for themselves. `schema` defaults to migrating an embedded
    database and to requiring a current one elsewhere.
    Raises: StoreRefused, DataFolderInUse, SchemaMismatch, StoreUnavailable.
    """
    async with AsyncExitStack() as stack:
        queries = Queries.load()
        node: UUID | None = None
        url = address
        ours = False
        if address == EMBEDDED and use is Use.VISIT:
            joined = await _lock_or_join(stack, data)
            url, ours = joined or address, joined is None
        elif use is Use.RUN:
            await _lock(stack, data, use, VISIT_SECONDS)
            node = await asyncio.to_thread(node_identity, data)
            ours = address == EMBEDDED
        if ours:
            url = (await stack.enter_async_context(embedded_server(data))).url
        settings = await _prepare(url, schema or (Schema.MIGRATE if ours else Schema.REQUIRE))
        pool = await stack.enter_async_context(open_pool(url, settings, pool_size, long=False))
        long_pool = await stack.enter_async_context(open_pool(url, settings, max(2, pool_size // 2), long=True))
        life_pool = await stack.enter_async_context(open_pool(url, settings, 1, long=False))
        yield Store(
            url=url,
            search_path=settings["search_path"],
            node=node,
            queries=queries,
            pool=pool,
            long_pool=long_pool,
            life_pool=life_pool,
            pool_size=pool_size,
        )


async def _prepare(url: str, schema: Schema) -> dict[str, str]:
    """Check server and schema on a connection without time limits; return the settings for the pools."""
    connection = await connect(url)
    try:
        settings = await check_server(connection)
        match schema:
            case Schema.MIGRATE:
                for step in await migrate(connection):
                    log.info("store.migrated", version=step.version, name=step.name)
            case Schema.REQUIRE:
                await require_current(connection)
            case Schema.IGNORE:
                pass
        return settings
    finally:
        await uninterrupted(_close(connection))


async def _lock(stack: AsyncExitStack, data: Path, use: Use, seconds: float) -> None:
    lock = DataLock(data, use)
    stack.callback(lock.release)
    await uninterrupted(asyncio.to_thread(lock.acquire, seconds))


async def _lock_or_join(stack: AsyncExitStack, data: Path) -> str | None:
    """Hold the data folder (None), or return the address of the server that its holder runs."""
    deadline = time.monotonic() + VISIT_SECONDS
    while True:
        try:
            await _lock(stack, data, Use.VISIT, 0.0)
        except DataFolderInUse:
            server = await asyncio.to_thread(running, data / "postgres")
            if server is not None and server.socket_folder is not None:
                return url_of(server.socket_folder)
            if time.monotonic() > deadline:
                raise
        else:
            return None
        await asyncio.sleep(_POLL_SECONDS)


async def _borrow(pool: Pool) -> PoolConnectionProxy:
    """Take a connection out of a pool.

    Raises: StoreCrowded when all of them stayed at work, StoreUnavailable when none could be opened.
    """
    try:
        with database_errors():
            return await pool.acquire(timeout=CONNECT_SECONDS)
    except StoreUnavailable as error:
        if isinstance(error.__cause__, TimeoutError) and pool.get_size() - pool.get_idle_size() == pool.get_max_size():
            raise StoreCrowded(
                f"all {pool.get_max_size()} connections to the database stayed at work for {CONNECT_SECONDS:g} seconds"
            ) from error
        raise


async def _commit(transaction: Transaction) -> None:
    async with asyncio.timeout(ANSWER_SECONDS):
        await transaction.commit()


async def _undo(connection: Connection, transaction: Transaction) -> None:
    """Roll back; when that fails the connection is cut, and the server rolls back by itself."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await transaction.rollback()
    except DRIVER_ERRORS:
        if not is_lost(connection):
            connection.terminate()


async def _give_back(pool: Pool, borrowed: PoolConnectionProxy, *, lent: bool) -> None:
    """Return a connection to its pool, a lent one cleaned; the pool replaces one that cannot be."""
    try:
        if lent and not borrowed.is_closed():
            try:
                await borrowed.reset(timeout=CLOSE_SECONDS)
            except DRIVER_ERRORS:
                borrowed.terminate()
        await pool.release(borrowed, timeout=CLOSE_SECONDS)
    except DRIVER_ERRORS as error:
        log.debug("store.connection_dropped", error=type(error).__name__)


async def _close(connection: Connection) -> None:
    try:
        await connection.close(timeout=CLOSE_SECONDS)
    except DRIVER_ERRORS:
        connection.terminate()
