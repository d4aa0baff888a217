"""Message sets whose operations may leave something outside the database."""

from gateway.db.open import Store
from gateway.kernel.ids import SetKey


async def begin_set(store: Store, key: SetKey) -> bool:
    """Note, committed before anything of it runs, that a set may leave something outside the database.

    Returns whether that had been noted before: then an earlier run of it was not brought to its end.
    """
    async with store.transaction() as connection:
        return bool(await connection.fetchval(store.queries.begin_set, key))
