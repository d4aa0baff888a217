"""The transaction of one unit of work: it begins when somebody first asks the database something."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Final, Self

import asyncpg
from asyncpg import Connection, InFailedSQLTransactionError
from asyncpg.cursor import Cursor
from asyncpg.transaction import Transaction

from gateway.db.errors import database_errors, is_lost
from gateway.db.open import Store
from gateway.db.shared import Gate
from gateway.db.statements import savepoint_sql, session_sql
from gateway.db.statements.session_sql import RESET_IDLE_TIMEOUT, WAIT_FOR_LOCKS
from gateway.kernel.errors import GatewayError, OperationTimeout, StoreBusy, StoreCrowded, StoreUnavailable
from gateway.kernel.ids import PortName
from gateway.kernel.meter import METER

_SILENCE_SECONDS: Final = 10.0
"""Less than what every session allows anyway."""
HELD_SECONDS: Final = 10.0
"""So long a unit of one message may hold numbers without asking anything: a process that is frozen, and a handler that
waits for somebody else."""
_TICKS: Final = 10
_LEFT_OVER_SECONDS: Final = 0.25
"""Who waits for others says so shortly before the time-out of its operation does."""
_PATIENCE_SECONDS: Final = 50.0
"""Less than any statement may take."""


class UnitTransaction:
    """The transaction of a unit of work, committed at the end of the block.

    Rule: a unit of several messages opens it at once, and each of its attempts has a savepoint. A unit of one message
    opens it when its handler first asks the database something; until then it holds no connection and no lock. When
    its attempt fails, all of that is undone, and the outcome is recorded in a transaction of its own, which the lease
    guards as any other.
    """

    def __init__(self, store: Store, port: PortName, *, silent_seconds: float, weight: int = 1) -> None:
        self._store = store
        self._port = port
        self._weight = weight
        self._silent_seconds = silent_seconds
        self._deadline: float | None = None
        self._lost = False
        self._busy: StoreUnavailable | None = None
        self._sequence: str | None = None  # numbers were taken of it
        self._of = _Transaction(self._begin)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.numbers.used(self._port, self._sequence)
        await self._of.end(error)

    @property
    def is_open(self) -> bool:
        """Tell whether it has begun."""
        return self._of.connection is not None

    @property
    def is_lost(self) -> bool:
        """Tell whether the database is away: the last transaction could not begin, or lost its connection."""
        return self._lost or (self._of.connection is not None and is_lost(self._of.connection))

    def begin_call(self, seconds: float) -> None:
        """Say that a call begins that may take so long (0: nobody knows); a unit of several does not depend on it."""
        if not self.is_open:
            self._deadline = asyncio.get_running_loop().time() + (seconds or _PATIENCE_SECONDS)

    @property
    def patience(self) -> float | None:
        """Return how long a call may wait for others, in seconds; None in a unit of several."""
        if self._deadline is None:
            return None
        left = self._deadline - asyncio.get_running_loop().time() - _LEFT_OVER_SECONDS
        return min(max(left, _LEFT_OVER_SECONDS), _PATIENCE_SECONDS)

    async def open_at_once(self) -> None:
        """Begin, for a unit of several messages.

        Rule: it waits for its turn at a sequence of numbers before it has a connection, when the last unit of the port
        took some. Behind many ports that need the same sequence one message would wait for all their units otherwise.
        Raises: as `open`.
        """
        await self.open(self._store.numbers.expected(self._port))

    async def open(self, gate: Gate | None = None) -> Connection:
        """Return its connection; the first time wait for one that the port may have, and begin.

        *gate* is waited for before that, and held until the transaction ends. Once it has begun there is no use in it.
        Raises: StoreUnavailable; StoreCrowded says that none was to be had.
        """
        turn = None if gate is None else gate.turn(self._port, self._weight)
        try:
            with METER.get().with_us():
                connection = await self._of.open(turn, self.patience)
        except StoreUnavailable as error:
            self._busy, self._lost = error, not isinstance(error, StoreCrowded)
            raise
        self._lost = False
        return connection

    @asynccontextmanager
    async def holding_numbers(self, name: str) -> AsyncIterator[Connection]:
        """Give the connection to take numbers with; from then on everybody who needs the sequence waits for the end.

        Raises: StoreBusy when that of others did not come in time.
        """
        self._sequence = name
        connection = await self.open(self._store.numbers.gate(name))
        try:
            with database_errors(connection):
                if (patience := self.patience) is not None:
                    held = f"{int(HELD_SECONDS * 1000)}ms"
                    await session_sql.hurry(connection, f"{int(patience * 1000)}ms", held)
                yield connection
        except StoreUnavailable as error:
            self._busy = error
            raise
        if self.patience is not None:
            self._of.watch()

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[Connection]:
        """Give a connection for what comes before the work: while the unit has none, in a transaction of its own."""
        if self._of.connection is not None:
            yield self._of.connection
            return
        async with self._store.unit_places.place(self._port), self.apart() as connection:
            yield connection

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[Connection]:
        """Give a connection for what is kept whatever becomes of the unit; in a transaction of its own, and short."""
        try:
            async with self._store.transaction() as connection:
                yield connection
        except StoreUnavailable as error:
            self._lost = not isinstance(error, StoreBusy)
            raise

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """Undo what the block did when it raises, and when it leaves a transaction in which nothing works any more.

        Raises: TransactionAborted in the second case; StoreUnavailable.
        """
        if self.is_open:
            async with savepoint(self._store, await self.open()):
                yield
            return
        try:
            with database_errors():
                yield
                if self._of.connection is not None:  # fails where nothing works any more
                    await self._of.connection.execute(f"{WAIT_FOR_LOCKS}; {RESET_IDLE_TIMEOUT}")
        except BaseException as error:
            held, busy = self._of.held_for_long, self._busy
            await self._undo(error)
            if not isinstance(error, Exception):
                raise
            if self.is_lost and held:
                raise OperationTimeout(
                    f"It took numbers and then asked the database nothing for {HELD_SECONDS:g} seconds, while all who "
                    "need that sequence waited. Take numbers last.",
                    code="operation.held-numbers",
                ) from error
            if isinstance(error, StoreUnavailable):
                raise
            if self.is_lost:
                raise StoreUnavailable("the connection to the database was lost in the middle of a call") from error
            if busy is not None:  # whatever the code made of it
                raise busy from error
            if isinstance(error, InFailedSQLTransactionError):
                raise TransactionAborted from error
            raise
        finally:
            self._deadline = None

    async def _undo(self, error: BaseException) -> None:
        """Roll back; what is asked after that begins anew. Code that was left behind reaches the old one only."""
        self._lost = self.is_lost
        undone, self._of = self._of, _Transaction(self._begin)
        await undone.end(error)

    @asynccontextmanager
    async def _begin(self) -> AsyncIterator[Connection]:
        async with self._store.unit_places.place(self._port), self._store.transaction(lent=True) as connection:
            await set_idle_timeout(connection, self._silent_seconds)
            yield connection


class _Transaction:
    """A transaction that begins once at most."""

    def __init__(self, begin: Callable[[], Any]) -> None:
        self._begin = begin
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._over = False
        self._ticks: int | None = None  # while numbers are held: since it was last asked something
        self.connection: Connection | None = None

    @property
    def held_for_long(self) -> bool:
        """Tell whether numbers were held in silence. Turns of the loop count, not time: none while we are frozen."""
        return self._ticks is not None and self._ticks >= _TICKS - 1

    def watch(self) -> None:
        """Count from now on how long nothing is asked."""
        if self._ticks is None:
            self._tick(0)

    def _tick(self, ticks: int) -> None:
        if not self._over:
            self._ticks = ticks
            asyncio.get_running_loop().call_later(HELD_SECONDS / _TICKS, lambda: self._tick((self._ticks or 0) + 1))

    async def open(
        self, turn: AbstractAsyncContextManager[None] | None = None, patience: float | None = None
    ) -> Connection:
        """Return its connection. Raises: StoreCrowded when it had to wait for longer than *patience*."""
        async with self._opening:
            if self.connection is None:
                async with AsyncExitStack() as stack:
                    connection = await self._wait(stack, turn, patience)
                    if self._over:  # whoever asked was given up while it waited
                        raise asyncpg.InterfaceError("the call is over")
                    self._stack.push_async_exit(stack.pop_all())
                    self.connection = connection
            if self._ticks is not None and not self.held_for_long:
                self._ticks = 0
            return self.connection

    async def _wait(
        self, stack: AsyncExitStack, turn: AbstractAsyncContextManager[None] | None, patience: float | None
    ) -> Connection:
        try:
            async with asyncio.timeout(patience):
                if turn is not None:
                    await stack.enter_async_context(turn)
                connection: Connection = await stack.enter_async_context(self._begin())
                return connection
        except TimeoutError as error:
            raise StoreCrowded(
                f"others kept the sequence of numbers or the connections to the database for {patience:.0f} seconds"
            ) from error

    async def end(self, error: BaseException | None) -> None:
        """Commit, or roll back for the sake of an error."""
        self._over, self.connection = True, None
        await self._stack.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)


class UnitConnection:
    """The connection of a unit as its handler sees it: all that an asyncpg connection offers.

    Rule: what is awaited opens the transaction. What is not awaited tells of a connection that may not be there yet,
    and is an AttributeError until the first statement.
    """

    def __init__(self, unit: UnitTransaction) -> None:
        self._unit = unit

    def __getattr__(self, name: str) -> Any:
        if iscoroutinefunction(getattr(Connection, name)):
            return partial(self._ask, name)
        if not self._unit.is_open:
            raise AttributeError(f"'{name}' is not there before the first statement: ask the database something first")
        return getattr(self._unit._of.connection, name)

    async def _ask(self, name: str, *arguments: Any, **options: Any) -> Any:
        connection = await self._unit.open()
        return await getattr(connection, name)(*arguments, **options)

    def transaction(self, **options: Any) -> "_Part":
        """Return a part of the transaction that can be undone by itself, as of asyncpg."""
        return _Part(self._unit, options)

    def cursor(self, *arguments: Any, **options: Any) -> "_Rows":
        """Return rows to go through, or a cursor when awaited, as of asyncpg."""
        return _Rows(self._unit, arguments, options)


class _Part:
    """A transaction of asyncpg inside that of the unit; it begins when it is started."""

    def __init__(self, unit: UnitTransaction, options: dict[str, Any]) -> None:
        self._unit = unit
        self._options = options
        self._of: Transaction | None = None

    async def start(self) -> None:
        connection = await self._unit.open()
        self._of = connection.transaction(**self._options)
        await self._of.start()

    async def commit(self) -> None:
        await self._started().commit()

    async def rollback(self) -> None:
        await self._started().rollback()

    async def __aenter__(self) -> None:
        await self.start()

    async def __aexit__(self, *error: Any) -> None:
        await self._started().__aexit__(*error)

    def _started(self) -> Transaction:
        if self._of is None:
            raise asyncpg.InterfaceError("the transaction has not been started")
        return self._of


class _Rows:
    """What `cursor` returns."""

    def __init__(self, unit: UnitTransaction, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        self._unit = unit
        self._arguments = arguments
        self._options = options

    async def __aiter__(self) -> AsyncIterator[Any]:
        connection = await self._unit.open()
        async for row in connection.cursor(*self._arguments, **self._options):
            yield row

    def __await__(self) -> Generator[Any, None, Cursor]:
        return self._cursor().__await__()

    async def _cursor(self) -> Cursor:
        connection = await self._unit.open()
        cursor: Cursor = await connection.cursor(*self._arguments, **self._options)
        return cursor


async def set_idle_timeout(connection: Connection, seconds: float) -> None:
    """Let the transaction stay open although nothing is asked of the database for up to *seconds*."""
    if seconds > _SILENCE_SECONDS:
        await session_sql.set_idle_timeout(connection, f"{int(seconds + _SILENCE_SECONDS) * 1000}ms")


class TransactionAborted(GatewayError):
    """A statement failed, and the code went on as if it had not."""

    code = "operation.failed"

    def __init__(self) -> None:
        super().__init__(
            "A statement failed, and the code went on although nothing works in the transaction after that. Put "
            "what may fail into `async with context.connection.transaction():`, and catch its error outside."
        )


@asynccontextmanager
async def savepoint(store: Store, connection: Connection) -> AsyncIterator[None]:
    """Undo what the block did when it raises, and when it leaves a transaction in which nothing works any more.

    Raises: TransactionAborted in the second case; StoreUnavailable.
    """
    with database_errors():
        await savepoint_sql.set_savepoint(connection)
        try:
            yield
            await savepoint_sql.release_savepoint(connection)
        except InFailedSQLTransactionError as error:
            await _undo(connection)
            raise TransactionAborted from error
        except BaseException:
            await _undo(connection)
            raise


async def _undo(connection: Connection) -> None:
    await savepoint_sql.undo_savepoint(connection)
    await savepoint_sql.release_savepoint(connection)
