"""What is late: jobs that have not started, tasks that nobody takes, runs that take long. Told once each."""

from collections.abc import Set
from datetime import datetime

from asyncpg import Connection

from gateway.batch.alerts.outbox import long_runs, overdue_jobs, raise_alerts
from gateway.batch.rules.alert import AlertEvent, Happening
from gateway.batch.rules.job import HistoryMode
from gateway.db.open import Store
from gateway.kernel.ids import JobId, RunId


async def raise_overdue(store: Store, now: datetime, told: Set[str]) -> set[str]:
    """Raise the alerts of what is late now, but for those in *told*; returns the keys of all that is late.

    Rule: who tells twice, after a restart or on two servers, tells nothing new: the outbox knows each happening.
    """
    sql = store.queries
    async with store.transaction() as connection:
        late = [
            *await overdue_jobs(connection, sql, now),
            *await _overdue_tasks(store, connection, now),
            *await long_runs(connection, sql, now),
        ]
        for happening in late:
            if happening.key not in told:
                await raise_alerts(connection, sql, happening)
    return {happening.key for happening in late}


async def _overdue_tasks(store: Store, connection: Connection, now: datetime) -> list[Happening]:
    """Return the runs in which a task is ready for longer than its job may be late."""
    return [
        Happening(
            event=AlertEvent.OVERDUE, name=row["name"], at=now, job_id=JobId(row["id"]), run_id=RunId(row["run_id"]),
            planned_at=row["planned_at"], started_at=row["started_at"],
            text=f"Its task {row['task']} is ready, but no server that serves "
            f"{'the group ' + row['batch_group'] if row['batch_group'] else 'the default group'} has taken it.",
            partition=row["partition_key"], company=row["company"], category=row["category"],
            is_critical=row["is_critical"], history=HistoryMode(row["history"]),
        )
        for row in await connection.fetch(store.queries.overdue_tasks, now)
    ]  # fmt: skip
