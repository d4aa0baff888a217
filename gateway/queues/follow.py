"""Who follows what becomes of entries: called in the transaction that makes it true.

Whose entry it is finds a failure in the inbox; everybody else hears of it by the alert rules. Source: batch reference,
sections 19.1, 19.2 (Q15).
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

from asyncpg import Connection

from gateway.batch.alerts.outbox import HINT
from gateway.batch.rules.alert import AlertEvent, RaisedEvent
from gateway.db.listen import CHANNEL
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.text import clean
from gateway.queues.changes import Became, EntryChange
from gateway.queues.posting.scheduling import follow_documents

Follower = Callable[[Store, Connection, Sequence[EntryChange], datetime], Awaitable[None]]
"""Does what follows from changes of entries, in their transaction. It waits for nothing outside of it."""

_EVENTS: Final = {Became.FAILED: AlertEvent.ERROR, Became.SUCCEEDED: AlertEvent.ENDED}


async def tell_people(store: Store, connection: Connection, changes: Sequence[EntryChange], now: datetime) -> None:
    """Put what happened into the outbox of alerts (`Follower`)."""
    sql = store.queries
    for change in changes:
        event = _EVENTS.get(change.became)
        if event is None:
            continue
        happening = RaisedEvent(
            event=event, name=change.name, at=now, entry_id=change.entry, run_id=change.run, text=change.error or "",
            partition=change.partition, company=change.company, category=change.category,
        )  # fmt: skip
        owner = change.user if event is AlertEvent.ERROR or change.notify_on_success else None
        told = await connection.fetch(
            sql.raise_entry_alerts, happening.key, event, change.run, list(happening.asked_as),
            clean(happening.subject), clean(happening.body, limit=20_000), json.dumps(happening.facts), now, owner,
        )  # fmt: skip
        if told:
            await session_sql.hint(connection, CHANNEL, HINT)


FOLLOWERS: Final[tuple[Follower, ...]] = (tell_people, follow_documents)


async def tell(store: Store, connection: Connection, changes: Sequence[EntryChange], now: datetime) -> None:
    """Tell everybody who follows what became of entries."""
    if changes:
        for follower in FOLLOWERS:
            await follower(store, connection, changes, now)
