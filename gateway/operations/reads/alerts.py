"""Alerts as people look at them: the outbox, their inbox, who is told of what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from gateway.batch.alerts.outbox import HINT, AlertRule
from gateway.batch.rules.alert import AlertEvent, Channel
from gateway.batch.statements import alerts_sql
from gateway.batch.statements.alerts_sql import AlertWithText, ListedAlert
from gateway.db.listen import CHANNEL
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.ids import JobId, PortName


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """One alert and what became of it. `reason` says why it was not sent, or not yet.

    `body` and `facts` are there only where it is read: see `gateway.batch.rules.alert.in_words`.
    """

    id: int
    event: AlertEvent
    job: str | None
    run_id: int | None
    port: str | None
    user: str
    channel: Channel
    subject: str
    status: str
    reason: str | None
    tries: int
    not_before: datetime | None
    created_at: datetime
    sent_at: datetime | None
    read_at: datetime | None
    body: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """A rule with the job or the port it belongs to."""

    job_id: JobId | None
    job: str | None
    port: PortName | None
    rule: AlertRule


async def list_alerts(
    store: Store,
    *,
    status: str | None = None,
    user: str | None = None,
    channel: Channel | None = None,
    unread: bool = False,
    limit: int = 100,
) -> list[AlertRow]:
    """Return alerts, newest first."""
    async with store.transaction() as connection:
        rows = await alerts_sql.list_alerts(connection, status, user, channel, unread, limit)
    return [_row(row) for row in rows]


async def read_alert(store: Store, number: int) -> AlertRow | None:
    """Return one alert with its text; None when there is none of that number."""
    async with store.transaction() as connection:
        row = await alerts_sql.read_alert(connection, number)
    return None if row is None else _row(row, body=row.body, facts=row.facts)


async def mark_read(store: Store, user: str, numbers: Sequence[int] | None = None) -> list[int]:
    """Mark entries of a user's inbox as read, all of them without numbers; returns which were unread."""
    async with store.transaction() as connection:
        rows = await alerts_sql.mark_alerts_read(connection, user, numbers)
    return sorted(rows)


async def retry_alerts(store: Store, numbers: Sequence[int]) -> list[int]:
    """Give alerts that have failed another day; returns which had."""
    async with store.transaction() as connection:
        rows = await alerts_sql.retry_alerts(connection, list(numbers))
        if rows:
            await session_sql.hint(connection, CHANNEL, HINT)
    return sorted(rows)


async def list_alert_rules(store: Store, *, job_id: JobId | None = None, port: PortName | None = None) -> list[RuleRow]:
    """Return who is told of what, of one job or port or of all."""
    async with store.transaction() as connection:
        rows = await alerts_sql.alert_rules(connection, job_id, port)
    return [
        RuleRow(
            job_id=row.job_id, job=row.job, port=row.port,
            rule=AlertRule(
                user=row.user_name, events=frozenset(map(AlertEvent, row.events)),
                channels=frozenset(map(Channel, row.channels)), source=row.source,
            ),
        )
        for row in rows
    ]  # fmt: skip


def _row(
    row: ListedAlert | AlertWithText, body: str = "", facts: Mapping[str, object] = MappingProxyType({})
) -> AlertRow:
    return AlertRow(
        id=row.id, event=AlertEvent(row.event), job=row.job, run_id=row.run_id, port=row.port,
        user=row.user_name, channel=Channel(row.channel), subject=row.subject, status=row.status,
        reason=row.reason, tries=row.tries, not_before=row.not_before, created_at=row.created_at,
        sent_at=row.sent_at, read_at=row.read_at, body=body, facts=facts,
    )  # fmt: skip
