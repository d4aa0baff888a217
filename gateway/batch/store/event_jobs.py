"""Jobs that work which appears starts: what of them a server runs, and their runs in history.

An event run is written when it ends; one that takes longer is begun in history while it is under way. Its job stays
waiting meanwhile: every server has event runs of its own.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.batch.alerts.outbox import raise_alerts
from gateway.batch.rules.alert import AlertEvent, RaisedEvent
from gateway.batch.rules.job import HistoryMode, JobStatus
from gateway.batch.statements import runs_sql
from gateway.db.listen import CHANNEL
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.ids import JobId, RunId
from gateway.messaging.rules.states import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class EventJobRow:
    """An event-driven job: `tasks` are pairs of name and service, those that a server of certain groups runs."""

    id: JobId
    name: str
    status: JobStatus
    tasks: tuple[tuple[str, str], ...]


async def list_event_jobs(store: Store, groups: Collection[str]) -> Sequence[EventJobRow]:
    """Return the event-driven jobs with what a server that serves *groups* runs of each; nothing of paused groups."""
    async with store.transaction() as connection:
        rows = await runs_sql.event_jobs(connection, list(groups))
    return [
        EventJobRow(
            id=JobId(row.id), name=row.name, status=JobStatus(row.status),
            tasks=tuple(
                (name, handler)
                for name, handler in zip(row.names, row.handlers, strict=True)
                if handler in set(Stage)  # nothing else can be started by work that appears
            ),
        )
        for row in rows
    ]  # fmt: skip


async def begin_event_run(store: Store, job: JobId, started_at: datetime, incarnation: int) -> RunId | None:
    """Write that an event run is under way since a moment; None when its job was removed meanwhile."""
    async with store.transaction() as connection:
        return await runs_sql.begin_event_run(connection, job, started_at, incarnation)


async def end_event_run(
    store: Store,
    job: JobId,
    *,
    run: RunId | None,
    server: str,
    incarnation: int,
    started_at: datetime,
    ended_at: datetime,
    tasks: Mapping[str, Mapping[str, int]],
    errors: Mapping[str, str],
    counts: Mapping[str, int],
    canceled: bool,
) -> RunId | None:
    """Write an event run that has ended; returns its run, None when its job keeps no history of such.

    Rule: counters and the last outcome of the job are kept in any case.
    """
    outcome = JobStatus.ERROR if errors else JobStatus.CANCELED if canceled else JobStatus.ENDED
    error = "; ".join(f"{name}: {text}" for name, text in errors.items()) or None
    rows = [
        {"name": name, "counts": dict(done), "error": errors.get(name)}
        for name, done in tasks.items()
        if done or name in errors
    ]
    async with store.transaction() as connection:
        run_id = run or await runs_sql.begin_event_run(connection, job, started_at, incarnation)
        if run_id is None:
            return None  # the job was removed meanwhile
        await runs_sql.end_event_run(connection, run_id, outcome, ended_at, json.dumps(counts), error)
        known = await runs_sql.count_event_run(connection, job, run_id, outcome, ended_at)
        if known is None:
            return RunId(run_id)
        await runs_sql.insert_event_run_tasks(connection, run_id, json.dumps(rows), server)
        if outcome is not JobStatus.ENDED:
            happening = RaisedEvent(
                event=AlertEvent(outcome.value), name=known.name, at=ended_at, job_id=job, run_id=RunId(run_id),
                planned_at=started_at, started_at=started_at, text=error or "", partition=known.partition_key,
                company=known.company, category=known.category, is_critical=known.is_critical,
                history=HistoryMode(known.history),
            )  # fmt: skip
            await raise_alerts(connection, happening, ax_alerts=store.ax_alerts)
        history = HistoryMode(known.history)
        if history is HistoryMode.NEVER or (history is HistoryMode.ERRORS and outcome is JobStatus.ENDED):
            await runs_sql.delete_unkept_runs(connection, [run_id])
            return None
    return RunId(run_id)


async def close_lost_event_runs(store: Store, now: datetime) -> None:
    """Close the event runs that processes left which are no more."""
    async with store.transaction() as connection:
        await runs_sql.close_lost_event_runs(connection, now)


async def hint_others(store: Store) -> None:
    """Let every running gateway look whether there is work for the services it runs."""
    async with store.transaction() as connection:
        await session_sql.hint(connection, CHANNEL, "queue")
