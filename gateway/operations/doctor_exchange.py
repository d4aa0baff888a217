"""What of data exchange needs somebody: stores that cannot be used, messages set aside, sessions that failed."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from gateway.config.models import Settings
from gateway.db.open import Store
from gateway.exchange import MessageStoreRow, SessionFilter, SessionStatus, records
from gateway.explanations.facts import at, quoted
from gateway.explanations.finding import Place

_DAY: Final = timedelta(hours=24)
_MOST: Final = 100


async def find_exchange(store: Store, settings: Settings, now: datetime) -> list[Place]:
    """Return what needs attention in the message stores of the configuration, and in the sessions of all."""
    found: list[Place] = []
    stores = settings.data_exchange.stores
    known = {row.store: row for row in await records.read_stores(store)} if stores else {}
    for name in stores:
        found += _of_store(name, known.get(name), now)
    for status in (SessionStatus.CREATE_FAILED, SessionStatus.APPLY_FAILED):
        failed = await records.list_sessions(store, SessionFilter(statuses=[status]), limit=_MOST)
        found += [
            Place(
                "session-failed", None, f"session {one.id} ({one.station}/{one.number}): {quoted(one.text)}",
                str(one.id), one.status_at,
            )
            for one in failed
        ]  # fmt: skip
    return found


def _of_store(name: str, row: MessageStoreRow | None, now: datetime) -> Sequence[Place]:
    subject = f"message store {name}"
    if row is None:
        return [Place("message-store-unread", None, f"{subject}: never", name)]
    found: list[Place] = []
    if row.error is not None:
        found.append(Place("message-store-away", None, f"{subject}: {quoted(row.error)}", name, row.tried_at))
    elif row.passed_at is None or now - row.passed_at > _DAY:
        last = "never" if row.passed_at is None else f"last at {at(row.passed_at)}"
        found.append(Place("message-store-unread", None, f"{subject}: {last}", name, row.passed_at))
    if row.refused:
        found.append(Place("status-message-refused", None, f"{subject}: {_counted(row.refused)}", name))
    if row.late:
        found.append(Place("status-message-waits", None, f"{subject}: {_counted(row.late)}", name))
    return found


def _counted(number: int) -> str:
    return f"{number} message{'s' if number != 1 else ''}"
