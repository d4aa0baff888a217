"""The gateway's own deliveries as sessions: of each message that goes out by a port, whether it left, and as what file.

The messages about them are ours, and are stored as those of stations are: each has an id that is made of what it says,
so that it is stored once however often it is looked for.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID, uuid5

from gateway.db.open import Store
from gateway.exchange.records import Verdict, cancel_session, changing, store_messages
from gateway.exchange.rules.message import StatusMessage
from gateway.exchange.rules.statuses import FINAL, SessionDirection, SessionStatus
from gateway.exchange.statements import sessions_sql
from gateway.kernel.ids import MessageKey
from gateway.kernel.text import clean
from gateway.messaging.rules.states import Outcome, Status

_IDS: Final = UUID("6d6f0f0e-5d0e-5c55-9e35-6c1f1f3a7f10")
_LATE: Final = timedelta(hours=1)
"""How long after its time a message may become visible: transactions are far shorter."""
_FIRST: Final = timedelta(days=1)
"""How far the first pass looks back."""


async def tell_deliveries(
    store: Store, name: str, ports: Mapping[str, Path], *, before: datetime | None, now: datetime, chunk: int
) -> int:
    """Open sessions for new deliveries by *ports*, and tell how those under way have ended; returns how many messages.

    Shape: *ports* that tell it to the message store *name*, with their outbound folders; *before* is when the last pass
    began that came to its end. Raises: StoreUnavailable.
    """
    told = 0
    since = (now - _FIRST) if before is None else before - _LATE
    at, number = since, MessageKey(0)
    while ports:
        async with store.reading() as connection:
            new = await sessions_sql.new_deliveries(connection, list(ports), since, at, number, chunk)
        if not new:
            break
        told += await _store(store, name, [_started(row) for row in new])
        at, number = new[-1].created_at, new[-1].id
    number = MessageKey(0)
    while True:
        async with store.reading() as connection:
            rows = await sessions_sql.open_deliveries(connection, name, number, chunk)
        if not rows:
            return told
        told += await _store(store, name, [one for row in rows if (one := _ended(row, ports)) is not None])
        for row in rows:
            if row.outcome == Outcome.DELETED:
                await cancel_session(store, row.session_id, "The message was deleted from the queue.", but=FINAL)
        number = rows[-1].id


async def _store(store: Store, name: str, messages: list[StatusMessage]) -> int:
    async with changing(store) as connection:
        verdicts = await store_messages(connection, name, [(one, None) for one in messages], None)
    return verdicts.count(Verdict.FRESH)


def _started(row: sessions_sql.NewDelivery) -> StatusMessage:
    return _message(row, SessionStatus.STARTED, row.created_at)


def _ended(row: sessions_sql.OpenDelivery, ports: Mapping[str, Path]) -> StatusMessage | None:
    """Return what is known by now of a delivery under way; None when it is nothing new."""
    if row.outcome == Outcome.SENT and row.finished_at is not None:
        path = None if row.file_name is None else str(ports.get(row.port, Path()) / row.file_name)
        return _message(row, SessionStatus.AVAILABLE, row.finished_at, path=path)
    if row.status == Status.ERROR and row.changed_at is not None:
        return _message(row, SessionStatus.CREATE_FAILED, row.changed_at, text=row.error)
    return None


def _message(
    row: sessions_sql.NewDelivery | sessions_sql.OpenDelivery,
    status: SessionStatus,
    at: datetime,
    *,
    path: str | None = None,
    text: str | None = None,
) -> StatusMessage:
    return StatusMessage(
        message_id=uuid5(_IDS, f"{row.id} {status} {at.isoformat()}"),
        station=row.port,
        direction=SessionDirection.DOWNLOAD,
        number=row.id,
        status=status,
        at=at,
        path=path,
        text=None if text is None else clean(text, limit=4_000),
    )
