"""A part of a transaction that can be undone by itself, whatever was done inside."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asyncpg import Connection, InFailedSQLTransactionError

from gateway.db.errors import database_errors
from gateway.db.open import Store
from gateway.db.sql import Queries
from gateway.kernel.errors import GatewayError


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

    Raises: Spoiled in the second case; StoreUnavailable.
    """
    sql = store.queries
    with database_errors():
        await connection.execute(sql.set_savepoint)
        try:
            yield
            await connection.execute(sql.release_savepoint)
        except InFailedSQLTransactionError as error:
            await _undo(connection, sql)
            raise TransactionAborted from error
        except BaseException:
            await _undo(connection, sql)
            raise


async def _undo(connection: Connection, sql: Queries) -> None:
    await connection.execute(sql.undo_savepoint)
    await connection.execute(sql.release_savepoint)
