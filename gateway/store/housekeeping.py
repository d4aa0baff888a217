"""Removing what was finished long enough ago, a chunk per transaction; what is unfinished is never touched.

Send requests need none of this: one that became a message is gone, one that failed is unfinished.
"""

from collections.abc import Set

from gateway.domain.ids import ClaimId, PortName
from gateway.store.open import Store


async def delete_history(store: Store, days: int, limit: int) -> int:
    """Delete up to *limit* messages that finished more than *days* days ago; returns how many went.

    Their documents go too, and the MessageIds they used up: from then on a repetition is not noticed.
    """
    async with store.transaction() as connection:
        return int(await connection.fetchval(store.queries.delete_history, days, limit))


async def delete_sets(store: Store, days: int, limit: int) -> int:
    """Delete message sets from more than *days* days ago of which no message is left; returns how many went."""
    async with store.transaction() as connection:
        return int(await connection.fetchval(store.queries.delete_sets, days, limit))


async def delete_deliveries(store: Store, days: int, limit: int, port: PortName, held: Set[ClaimId]) -> int:
    """Delete what is known of files from more than *days* days ago of which no message is left.

    Rule: *held* are the files in the work folder; their rows keep them from being taken a second time.
    """
    async with store.transaction() as connection:
        return int(await connection.fetchval(store.queries.delete_deliveries, days, limit, port, list(held)))


async def delete_exceptions(store: Store, days: int, limit: int) -> int:
    """Delete entries of the exception log that are older than *days* days and of no unfinished message."""
    async with store.transaction() as connection:
        return int(await connection.fetchval(store.queries.delete_exceptions, days, limit))


async def delete_runs(store: Store, days: int, limit: int) -> int:
    """Delete runs of jobs that ended more than *days* days ago."""
    async with store.transaction() as connection:
        return int(await connection.fetchval(store.queries.delete_runs, days, limit))


async def delete_alerts(store: Store, days: int, limit: int) -> int:
    """Delete alerts from more than *days* days ago, read or not, but for those still to be sent."""
    async with store.transaction() as connection:
        return int(await connection.fetchval(store.queries.delete_alerts, days, limit))


async def unfinished_claims(store: Store, port: PortName, days: int) -> set[ClaimId]:
    """Return the files of a port from more than *days* days ago that still have a message in the queue."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.unfinished_claims, port, days)
    return {ClaimId(row["claim_id"]) for row in rows}
