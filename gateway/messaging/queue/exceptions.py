"""The exception log: what failed, where, and with which ids."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from asyncpg import Connection

from gateway.batch.alerts.outbox import raise_alerts
from gateway.batch.rules.alert import AlertEvent, RaisedEvent
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.ids import ClaimId, MessageKey, PortName, SetKey
from gateway.kernel.problem import Problem
from gateway.kernel.text import clean
from gateway.messaging.statements import ingest_sql


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the exception log; texts are cleaned of characters that neither XML nor the store can carry."""

    code: str
    text: str
    severity: str = "error"
    port: PortName | None = None
    claim_id: ClaimId | None = None
    set_key: SetKey | None = None
    message_key: MessageKey | None = None
    message_id: UUID | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None
    path: str | None = None
    details: tuple[Problem, ...] = ()
    traceback: str | None = None


async def insert_exceptions(connection: Connection, entries: Sequence[Entry]) -> None:
    """Append entries inside the caller's transaction, so that a failure and its record commit together."""
    if not entries:
        return
    rows = [
        (
            entry.severity, clean(entry.code, limit=200), clean(entry.text), entry.port, entry.claim_id, entry.set_key,
            entry.message_key, entry.message_id, entry.file, entry.line, entry.column, entry.path and clean(entry.path),
            json.dumps([_plain(problem) for problem in entry.details]) if entry.details else None,
            entry.traceback and clean(entry.traceback, limit=20_000),
        )
        for entry in entries
    ]  # fmt: skip
    await ingest_sql.insert_exceptions(connection, *[list(column) for column in zip(*rows, strict=True)])


def _plain(problem: Problem) -> dict[str, object]:
    return {name: clean(value) if isinstance(value, str) else value for name, value in asdict(problem).items()}


_MOST = 10


async def record_config_refused(store: Store, file: str, problems: Sequence[str]) -> None:
    """Record it once, for everybody who hears of errors of a port or of a job that moves messages.

    Raises: StoreUnavailable.
    """
    more = [f"and {len(problems) - _MOST} more"] if len(problems) > _MOST else []
    text = (
        "The changed configuration was refused, and the gateway goes on with the one before: "
        f"{'; '.join([*problems[:_MOST], *more])}. Mend the file: it is then taken into use by itself."
    )
    async with store.transaction() as connection:
        at = await session_sql.database_clock(connection)
        happening = RaisedEvent(event=AlertEvent.ERROR, name=file, at=at, text=text)
        await insert_exceptions(connection, [Entry(code="config.refused", text=text, file=file)])
        await raise_alerts(connection, happening)
