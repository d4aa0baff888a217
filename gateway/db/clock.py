"""The time of the database, by which all processes agree."""

from datetime import datetime

from gateway.db.open import Store


async def database_clock(store: Store) -> datetime:
    """Return the time by the clock that dates all rows."""
    async with store.transaction() as connection:
        now: datetime = await connection.fetchval(store.queries.database_clock)
    return now
