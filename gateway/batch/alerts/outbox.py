"""Alerts: raised inside the transaction that makes something true, kept in an outbox until they are delivered.

Delivery is at least once: whoever sends holds the row locked, so a death between sending and recording frees it and
it is sent again, under the same name.
"""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from asyncpg import Connection

from gateway.batch.rules.alert import AlertEvent, Channel, RaisedEvent
from gateway.batch.statements import alerts_sql, tasks_sql
from gateway.db.listen import CHANNEL
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.ids import JobId, PortName
from gateway.kernel.text import clean

HINT: Final = "alerts"
"""What the listeners hear when there is something to send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """Of what one user wants to hear, and how."""

    user: str
    events: frozenset[AlertEvent]
    channels: frozenset[Channel]
    source: str = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One alert to be sent to one user through one channel. `key` names it for whoever receives it."""

    id: int
    event_key: str
    user: str
    channel: Channel
    subject: str
    body: str
    facts: Mapping[str, object]
    tries: int
    raised_at: datetime

    @property
    def key(self) -> str:
        """Name this alert of this user: the same however often it is sent."""
        return f"{self.event_key}:{self.user}:{self.channel}"


async def raise_alerts(
    connection: Connection, happening: RaisedEvent, *, ax_alerts: bool = False
) -> int:  # fmt: skip
    """Put what happened into the outbox, for everybody whose rule asks for it; returns for how many.

    Rule: call it inside the transaction that makes the happening true. Called again for the same happening it does
    nothing. *ax_alerts* is the setting of that name.
    """
    if not happening.is_told(ax_alerts=ax_alerts):
        return 0
    rows = await alerts_sql.raise_alerts(
        connection, happening.key, happening.event, happening.job_id, happening.run_id,
        happening.port, list(happening.asked_as), clean(happening.subject), clean(happening.body, limit=20_000),
        json.dumps(happening.facts), happening.at,
    )  # fmt: skip
    if rows:
        await session_sql.hint(connection, CHANNEL, HINT)
    return len(rows)


async def set_alert_rule(
    connection: Connection, rule: AlertRule, *, job_id: JobId | None = None, port: PortName | None = None
) -> None:
    """Replace the rule of one user for a job or a port; one without events or channels takes it away."""
    await alerts_sql.delete_alert_rule(connection, job_id, port, rule.user)
    if rule.events and rule.channels:
        await alerts_sql.insert_alert_rule(
            connection, job_id, port, rule.user, sorted(rule.events), sorted(rule.channels), rule.source
        )


async def sync_port_rules(connection: Connection, rules: Mapping[PortName, Sequence[AlertRule]]) -> None:
    """Make the rules that the configuration gives ports exactly these.

    Those of operators stay, but for those of the same user.
    """
    await alerts_sql.delete_port_rules(connection)
    for port, wanted in rules.items():
        for rule in wanted:
            await set_alert_rule(connection, rule, port=port)


async def sync_entry_rules(connection: Connection, rules: Sequence[AlertRule]) -> None:
    """Make the rules for job queue entries exactly these, one for each user."""
    await alerts_sql.delete_entry_rules(connection)
    for rule in rules:
        await alerts_sql.insert_entry_rule(connection, rule.user, sorted(rule.events), sorted(rule.channels))


async def clear_alert_rules(
    connection: Connection, *, job_id: JobId | None = None, port: PortName | None = None
) -> None:
    """Take away all rules of a job or a port."""
    await alerts_sql.clear_alert_rules(connection, job_id, port)


async def claim_alert(connection: Connection, channel: Channel) -> Outgoing | None:
    """Return the oldest alert of a channel that is due, its row locked for as long as the transaction lasts."""
    row = await alerts_sql.claim_alert(connection, channel)
    if row is None:
        return None
    return Outgoing(
        id=row.id, event_key=row.event_key, user=row.user_name, channel=Channel(row.channel),
        subject=row.subject, body=row.body, facts=row.facts, tries=row.tries,
        raised_at=row.created_at,
    )  # fmt: skip


async def record_sent(connection: Connection, alert: Outgoing) -> None:
    """Record in the claiming transaction that it was delivered."""
    await alerts_sql.alert_sent(connection, alert.id)


async def record_failed(connection: Connection, alert: Outgoing, reason: str) -> None:
    """Record in the claiming transaction that it cannot be delivered, and why."""
    await alerts_sql.alert_failed(connection, alert.id, clean(reason, limit=1000))


async def record_postponed(
    connection: Connection, alert: Outgoing, reason: str, *, seconds: float, give_up_seconds: float
) -> bool:
    """Record in the claiming transaction that it is tried again; False when it is too old for that and has failed."""
    said = clean(reason, limit=1000)
    if await alerts_sql.alert_postponed(connection, alert.id, said, seconds, give_up_seconds) is not None:
        return True
    await record_failed(connection, alert, f"Given up after {give_up_seconds / 3600:g} hours: {said}")
    return False


async def seconds_to_next_alert(connection: Connection, channel: Channel) -> float | None:
    """Return when the next alert of a channel is due; None when none waits."""
    seconds: float | None = await alerts_sql.next_alert(connection, channel)
    return seconds


async def overdue_jobs(connection: Connection, now: datetime) -> list[RaisedEvent]:
    """Return the jobs that have not started although it was time, and of which somebody wants to hear."""
    return [
        RaisedEvent(
            event=AlertEvent.OVERDUE, at=now, since=row.next_start, planned_at=row.next_start,
            text="It is on hold." if row.status == "withhold" else "It is waiting, but has not started.",
            **_of_job(row),
        )
        for row in await alerts_sql.overdue_jobs(connection, now)
    ]  # fmt: skip


async def long_runs(connection: Connection, now: datetime) -> list[RaisedEvent]:
    """Return the occurrences that take longer than they should, and of which somebody wants to hear."""
    return [
        RaisedEvent(
            event=AlertEvent.LONG_RUNNING, at=now, run_id=row.run_id, planned_at=row.planned_at,
            started_at=row.started_at, text=f"It takes longer than {row.long_seconds:g} seconds.", **_of_job(row),
        )
        for row in await alerts_sql.long_runs(connection, now)
    ]  # fmt: skip


async def silent_port(connection: Connection, port: PortName, now: datetime, hours: float) -> RaisedEvent | None:
    """Return that nothing has come in at a port for so many hours; None when something has."""
    if await alerts_sql.has_received(connection, port, now - timedelta(hours=hours)):
        return None
    since: datetime | None = await alerts_sql.last_received(connection, port)
    if since is None or now - since < timedelta(hours=hours):
        return None
    text = f"Nothing has come in for {hours:g} hours, since {since:%Y-%m-%d %H:%M} UTC."
    return RaisedEvent(event=AlertEvent.OVERDUE, name=port, port=port, at=now, since=since, text=text)


def _of_job(row: alerts_sql.OverdueJob | alerts_sql.LongRun | tasks_sql.OverdueTask) -> dict[str, Any]:
    return {
        "job_id": row.id, "name": row.name, "partition": row.partition_key, "company": row.company,
        "category": row.category, "is_critical": row.is_critical, "history": row.history,
    }  # fmt: skip


async def raise_overdue(store: Store, now: datetime, told: Set[str]) -> set[str]:
    """Raise the alerts of what is late now, but for those in *told*; returns the keys of all that is late.

    Rule: who tells twice, after a restart or on two servers, tells nothing new: the outbox knows each happening.
    """
    async with store.transaction() as connection:
        late = [
            *await overdue_jobs(connection, now),
            *await _overdue_tasks(connection, now),
            *await long_runs(connection, now),
        ]
        for happening in late:
            if happening.key not in told:
                await raise_alerts(connection, happening)
    return {happening.key for happening in late}


async def _overdue_tasks(connection: Connection, now: datetime) -> list[RaisedEvent]:
    """Return the runs in which a task is ready for longer than its job may be late."""
    return [
        RaisedEvent(
            event=AlertEvent.OVERDUE, at=now, run_id=row.run_id, planned_at=row.planned_at, started_at=row.started_at,
            text=f"Its task {row.task} is ready, but no server that serves "
            f"{'the group ' + row.batch_group if row.batch_group else 'the default group'} has taken it.",
            **_of_job(row),
        )
        for row in await tasks_sql.overdue_tasks(connection, now)
    ]  # fmt: skip
