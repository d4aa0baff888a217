"""Who follows what becomes of entries: called in the transaction that makes it true."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

from asyncpg import Connection

from gateway.db.open import Store
from gateway.queues.changes import EntryChange
from gateway.queues.notify import tell_people
from gateway.queues.posting.following import follow_documents

Follower = Callable[[Store, Connection, Sequence[EntryChange], datetime], Awaitable[None]]
"""Does what follows from changes of entries, in their transaction. It waits for nothing outside of it."""

FOLLOWERS: Final[tuple[Follower, ...]] = (tell_people, follow_documents)


async def tell(store: Store, connection: Connection, changes: Sequence[EntryChange], now: datetime) -> None:
    """Tell everybody who follows what became of entries."""
    if changes:
        for follower in FOLLOWERS:
            await follower(store, connection, changes, now)
