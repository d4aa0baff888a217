"""What follows inside a run when something of it has changed, and what the end of a run makes of its job.

Everything happens in the transaction that made the change, under a lock on the run's row: there is no moment in which
a run could end and nobody has seen it. Source: batch reference, sections 6.4, 7, 9.7, 10.3, 12.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog
from asyncpg import Connection, Record

from gateway.domain.alert import AlertEvent, Happening
from gateway.domain.conditions import Changes, Condition, TaskState, outcome, settle
from gateway.domain.errors import GatewayError
from gateway.domain.ids import JobId, RunId
from gateway.domain.job import Cause, ConditionType, HistoryMode, JobStatus, TaskStatus, Wanted
from gateway.domain.planning import Plan
from gateway.domain.transitions import after_run
from gateway.store.alerts import raise_alerts
from gateway.store.jobs import JOBS_HINT
from gateway.store.listen import CHANNEL
from gateway.store.open import Store

log = structlog.get_logger()

LARGE_RUN: Final = 4_000
KEPT_TASKS: Final = 1_000
"""So many tasks of a run with more than `LARGE_RUN` are kept in history. Source: batch reference, section 12.3."""


async def settle_run(store: Store, connection: Connection, run: Record, now: datetime) -> None:
    """Let everything happen that follows from how the tasks of *run* stand now, down to the end of the run.

    Before: *run* is the locked row of `lock_run`. After: nothing more follows.
    """
    canceled = run["status"] == JobStatus.CANCELLING
    tasks = [_state(row) for row in await connection.fetch(store.queries.tasks_of_run, run["id"])]
    changes = settle(tasks, canceled=canceled)
    if changes:
        after = _statuses(changes)
        await connection.execute(
            store.queries.change_tasks, list(after), [status.value for status in after.values()], now
        )
        tasks = [_changed(task, after) for task in tasks]
    ended = outcome(tasks, canceled=canceled)
    if ended is not None:
        await _end_run(store, connection, RunId(run["id"]), ended, now)
    if ended is not None or changes.ready or canceled:
        await connection.execute(store.queries.hint, CHANNEL, JOBS_HINT)


async def _end_run(store: Store, connection: Connection, run_id: RunId, ended: JobStatus, now: datetime) -> None:
    """Close a run whose tasks have all ended: history, its job's next start, jobs that wait for it, alerts."""
    sql = store.queries
    run = await connection.fetchrow(sql.sum_run, run_id)
    assert run is not None
    left_out = max(0, run["tasks"] - KEPT_TASKS) if run["tasks"] > LARGE_RUN else 0
    job = None if run["job_id"] is None else await connection.fetchrow(sql.lock_job_of_run, run["job_id"])
    overran = False
    if job is not None:
        next_start, overran = _planned(job, run, now)
        await _end_occurrence(store, connection, job, run, ended, next_start, now)
        await _tell(store, connection, job, run, ended, overran, now)
    await connection.execute(
        sql.end_run, run_id, ended, now, overran, run["counts"],
        run["error"] if ended is not JobStatus.ENDED else None, left_out,
    )  # fmt: skip
    history = HistoryMode(run["history"])
    if history is HistoryMode.NEVER or (history is HistoryMode.ERRORS and ended is JobStatus.ENDED):
        await connection.execute(sql.delete_run, run_id)
    elif left_out:
        await connection.execute(sql.thin_tasks, run_id, KEPT_TASKS)


def _planned(job: Record, run: Record, now: datetime) -> tuple[datetime | None, bool]:
    """Return the next planned start of a job, and whether its occurrence has run into it.

    Rule: a recurrence that can no longer be read, because a zone is gone or the row was changed, ends the job; the
    others go on.
    """
    try:
        plan = Plan.of(dict(job))
        overran = plan.overran(planned=run["planned_at"], finished=now)
        if run["cause"] != Cause.OPERATOR:
            return plan.after_end(planned=run["planned_at"], now=now), overran
        if job["next_start"] > run["started_at"]:
            return plan.standing(planned=job["next_start"], now=now), overran  # the run came in between
        return plan.after_end(planned=job["next_start"], now=now), overran  # it took the place of what was due
    except GatewayError as error:
        log.error("job.stopped", job=job["name"], error=error.message)
        return None, False


async def _end_occurrence(
    store: Store, connection: Connection, job: Record, run: Record, ended: JobStatus, next_start: datetime | None,
    now: datetime,
) -> None:  # fmt: skip
    """Record the outcome with the job and let it wait for its next start, or end."""
    sql = store.queries
    comes_back = next_start is not None or (job["recurrence"] is None and job["depends"])
    cause = Cause.DEPENDENCY if job["depends"] else Cause.SCHEDULE
    only_this = run["comes_back"] and comes_back  # cancelled was the occurrence, not the job
    status = after_run(JobStatus.ENDED if only_this else ended, hold_after=job["hold_after"], comes_back=comes_back)
    if not comes_back or status is JobStatus.CANCELED:
        next_start, cause = None, Cause.OPERATOR  # whoever arms it again
    await connection.execute(sql.end_occurrence, job["id"], status, next_start, cause, ended, now)
    await connection.execute(sql.satisfy_dependencies, job["id"], run["id"], ended)
    if job["retired"]:
        await connection.execute(sql.delete_job, job["id"])


async def _tell(
    store: Store, connection: Connection, job: Record, run: Record, ended: JobStatus, overran: bool, now: datetime
) -> None:
    event = {
        JobStatus.ENDED: AlertEvent.ENDED, JobStatus.ERROR: AlertEvent.ERROR, JobStatus.CANCELED: AlertEvent.CANCELED
    }[ended]  # fmt: skip
    for told in (event, AlertEvent.OVERRUN) if overran else (event,):
        happening = Happening(
            event=told, name=job["name"], at=now, job_id=JobId(job["id"]), run_id=RunId(run["id"]),
            planned_at=run["planned_at"], started_at=run["started_at"], by=run["canceled_by"],
            text=(run["error"] or "") if ended is JobStatus.ERROR else "",
            partition=run["partition_key"], company=run["company"], category=job["category"],
            is_critical=job["is_critical"], history=HistoryMode(run["history"]),
        )  # fmt: skip
        await raise_alerts(connection, store.queries, happening, ax_alerts=store.ax_alerts)


def _state(row: Record) -> TaskState:
    parents: Sequence[int] = row["parents"] or ()
    wanted: Sequence[str] = row["wanted"] or ()
    return TaskState(
        id=row["id"],
        status=TaskStatus(row["status"]),
        conditions=tuple(
            Condition(parent=parent, wanted=Wanted(word)) for parent, word in zip(parents, wanted, strict=True)
        ),
        condition_type=ConditionType(row["condition_type"]),
        ignore_failure=row["ignore_failure"],
        attempts=row["attempts"],
        spawned_by=row["spawned_by"],
        waits_for_children=row["waits_for_children"],
    )


def _statuses(changes: Changes) -> dict[int, TaskStatus]:
    return {task: TaskStatus(name) for name in Changes.__slots__ for task in getattr(changes, name)}


def _changed(task: TaskState, after: dict[int, TaskStatus]) -> TaskState:
    return (
        task
        if task.id not in after
        else TaskState(id=task.id, status=after[task.id], ignore_failure=task.ignore_failure, attempts=task.attempts)
    )
