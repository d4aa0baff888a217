"""The status of documents follows the entries that are about them. Source: batch reference, section 20.2."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from asyncpg import Connection

from gateway.db.open import Store
from gateway.queues.changes import Became, EntryChange

_STATUS: Final = {
    Became.READIED: "scheduled",
    Became.STARTED: "posting",
    Became.RETRIED: "scheduled",
    Became.FAILED: "error",
}
"""Blank where none is named."""


async def follow_documents(store: Store, connection: Connection, changes: Sequence[EntryChange], _: datetime) -> None:
    """Let documents follow (`gateway.queues.follow.Follower`)."""
    about = [change for change in changes if change.record is not None]
    if about:
        await connection.execute(
            store.queries.follow_entries, [change.entry for change in about],
            [_STATUS.get(change.became) for change in about],
            [change.error if change.became is Became.FAILED else None for change in about],
        )  # fmt: skip
