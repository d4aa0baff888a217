"""The time of the database, by which all processes agree."""

from datetime import datetime

from gateway.db.open import Store
from gateway.db.statements import session_sql


async def database_clock(store: Store) -> datetime:
    """Return the time by the clock that dates all rows."""
    async with store.transaction() as connection:
        return await session_sql.database_clock(connection)
