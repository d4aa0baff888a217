"""Removing what was finished long enough ago, a chunk per transaction; what is unfinished is never touched.

Send requests need none of this: one that became a message is gone, one that failed is unfinished.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence, Set
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from asyncpg import Connection

from gateway.batch.rules.job import JobStatus
from gateway.batch.statements import alerts_sql, housekeeping_sql
from gateway.db.connect import CLOSE_SECONDS
from gateway.db.errors import DRIVER_ERRORS, database_errors
from gateway.db.open import Store
from gateway.db.waiting import uninterrupted, wait_or_stop
from gateway.kernel.ids import ClaimId, PortName

MOST_APART_SECONDS: Final = 3600.0
"""How far the clocks of the database and of this machine may be apart while something is removed by them."""
_LOOK_SECONDS: Final = 1.0
_TRACE_HOURS: Final = (8 * 24, 12)
"""A clock is believed when something happened here so long ago at most, and so long ago at least, by that clock."""


async def look_at_clock(store: Store) -> tuple[datetime, bool]:
    """Return the time by the clock of the database, and whether what happened here in the last days speaks for it."""
    async with store.transaction() as connection:
        row = await housekeeping_sql.look_at_clock(connection, *_TRACE_HOURS)
    assert row is not None
    return row.now, row.proven


async def believed_clock(store: Store) -> tuple[datetime, str | None]:
    """Return the present time, and why nothing is to be removed by it; None when it is to be believed."""
    now, proven = await look_at_clock(store)
    ours = datetime.now(UTC)
    theirs = f"it is {now:%Y-%m-%d %H:%M} UTC by the clock of the database"
    if abs((now - ours).total_seconds()) > MOST_APART_SECONDS:
        return now, f"{theirs} and {ours:%Y-%m-%d %H:%M} by the clock of this machine. Set the wrong one right."
    if not proven:
        return now, (
            f"{theirs}, and nothing has happened here in the week before. If that clock is wrong, set it right "
            "within twelve hours; if the gateway was off for so long, nothing needs to be done."
        )
    return now, None


async def delete_history(store: Store, before: datetime, limit: int) -> int:
    """Delete up to *limit* messages that finished before *before*; returns how many went.

    Their documents go too, and the MessageIds they used up: from then on a repetition is not noticed.
    """
    async with store.transaction() as connection:
        return await housekeeping_sql.delete_history(connection, before, limit)


async def delete_contents(store: Store, before: datetime, limit: int) -> int:
    """Forget contents that were processed before *before*; returns how many went."""
    async with store.transaction() as connection:
        return await housekeeping_sql.delete_contents(connection, before, limit)


async def delete_sets(store: Store, before: datetime, limit: int) -> int:
    """Delete message sets from before *before* of which no message is left; returns how many went."""
    async with store.transaction() as connection:
        return await housekeeping_sql.delete_sets(connection, before, limit)


async def delete_deliveries(store: Store, before: datetime, limit: int, port: PortName, held: Set[ClaimId]) -> int:
    """Delete what is known of files from before *before* of which no message is left.

    Rule: *held* are the files in the work folder; their rows keep them from being taken a second time.
    """
    async with store.transaction() as connection:
        return await housekeeping_sql.delete_deliveries(connection, before, limit, port, list(held))


async def delete_exceptions(store: Store, before: datetime, limit: int) -> int:
    """Delete entries of the exception log that are from before *before* and of no unfinished message."""
    async with store.transaction() as connection:
        return await housekeeping_sql.delete_exceptions(connection, before, limit)


async def delete_actions(store: Store, before: datetime, limit: int) -> int:
    """Delete what operators did before *before*."""
    async with store.transaction() as connection:
        return await housekeeping_sql.delete_actions(connection, before, limit)


async def delete_runs(store: Store, before: datetime, limit: int) -> int:
    """Delete runs of jobs that ended before *before*."""
    async with store.transaction() as connection:
        return await housekeeping_sql.delete_runs(connection, before, limit)


async def delete_alerts(store: Store, before: datetime, limit: int) -> int:
    """Delete alerts from before *before*, read or not, but for those still to be sent."""
    async with store.transaction() as connection:
        return await alerts_sql.delete_alerts(connection, before, limit)


async def delete_jobs(
    store: Store, before: datetime, limit: int, *, statuses: Sequence[JobStatus], name: str | None, owner: str | None
) -> int:
    """Delete jobs that operators made and that will not run again and that ended, or were made, before *before*.

    Rule: only jobs in one of *statuses*, named *name* (case ignored) and owned by *owner* where these are given. Never
    one that an occurrence of is under way or that another job waits for, of the configuration, or the system's own.
    """
    async with store.transaction() as connection:
        return await housekeeping_sql.delete_old_jobs(connection, before, limit, list(statuses), name, owner)


class Swept(StrEnum):
    """Tables that are swept together after much was deleted from them."""

    MESSAGES = "messages"
    RUNS = "runs"
    EXCEPTIONS = "exceptions"


@asynccontextmanager
async def sole_housekeeper(store: Store, stopping: asyncio.Event) -> AsyncIterator[Connection | None]:
    """Wait until nobody else keeps house in this database, on any node; None when a stop was asked for before.

    Gives a connection outside any transaction; it holds the right until the end of the block.
    """
    connection = await store.connect()
    try:
        with database_errors(connection):
            while not await housekeeping_sql.try_to_keep_house(connection):
                await wait_or_stop(stopping, _LOOK_SECONDS)
                if stopping.is_set():
                    yield None
                    return
            yield connection
    finally:
        await uninterrupted(_close(connection))


async def sweep(store: Store, connection: Connection, what: Swept) -> None:
    """Give the room of what was deleted back for new rows; *connection* is in no transaction."""
    vacuum = {
        Swept.MESSAGES: housekeeping_sql.vacuum_messages,
        Swept.RUNS: housekeeping_sql.vacuum_runs,
        Swept.EXCEPTIONS: housekeeping_sql.vacuum_exceptions,
    }[what]
    with database_errors(connection):
        await vacuum(connection)


async def _close(connection: Connection) -> None:
    try:
        await connection.close(timeout=CLOSE_SECONDS)
    except DRIVER_ERRORS:
        connection.terminate()


async def unfinished_claims(store: Store, port: PortName, before: datetime) -> set[ClaimId]:
    """Return the files of a port from before *before* that still have a message in the queue."""
    async with store.transaction() as connection:
        return set(await housekeeping_sql.unfinished_claims(connection, port, before))
