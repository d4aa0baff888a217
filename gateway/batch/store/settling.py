"""What follows inside a run when something of it has changed, and what the end of a run makes of its job.

Everything happens in the transaction that made the change, under a lock on the run's row: there is no moment in which
a run could end and nobody has seen it. Source: batch reference, sections 6.4, 7, 9.7, 10.3, 12.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from asyncpg import Connection

from gateway.batch.alerts.outbox import raise_alerts
from gateway.batch.rules.alert import AlertEvent, RaisedEvent
from gateway.batch.rules.conditions import Changes, Condition, TaskState, outcome, settle
from gateway.batch.rules.job import Cause, HistoryMode, JobStatus, TaskStatus
from gateway.batch.rules.planning import Plan
from gateway.batch.rules.transitions import after_run
from gateway.batch.statements import runs_sql
from gateway.batch.statements.runs_sql import JobOfRun, LockedRun, RunTotals, TaskOfRun
from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.errors import GatewayError
from gateway.kernel.ids import JobId, RunId, RunTaskId

log = structlog.get_logger()

LARGE_RUN: Final = 4_000
KEPT_TASKS: Final = 1_000
"""So many tasks of a run with more than `LARGE_RUN` are kept in history. Source: batch reference, section 12.3."""


async def advance_runs(store: Store, connection: Connection, runs: Sequence[LockedRun], now: datetime) -> None:
    """Let everything happen that follows from how the tasks of *runs* stand now, down to the ends of the runs.

    Before: *runs* are locked rows of `lock_runs`. After: nothing more follows.
    """
    tasks: dict[RunId, list[TaskState]] = {run.id: [] for run in runs}
    for row in await runs_sql.tasks_of_runs(connection, list(tasks)):
        tasks[row.run_id].append(_state(row))
    after: dict[RunTaskId, TaskStatus] = {}
    ended: dict[RunId, JobStatus] = {}
    moved = False
    for run in runs:
        canceled = run.status == JobStatus.CANCELLING
        changes = settle(tasks[run.id], canceled=canceled)
        statuses = _statuses(changes)
        reached = outcome([_changed(task, statuses) for task in tasks[run.id]], canceled=canceled)
        if reached is not None:
            ended[run.id] = reached
        after |= statuses
        moved = moved or reached is not None or bool(changes.ready) or canceled
    if after:
        await runs_sql.change_tasks(connection, list(after), list(after.values()), now)
    if ended:
        await _end_runs(store, connection, ended, now)
    if moved:
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """A run whose tasks have all ended; `job` None: its job is gone."""

    run: RunTotals
    job: JobOfRun | None
    outcome: JobStatus
    next_start: datetime | None = None
    overran: bool = False

    @property
    def left_out(self) -> int:
        """How many of its tasks history does not keep."""
        return self.run.tasks - KEPT_TASKS if self.run.tasks > LARGE_RUN else 0

    @property
    def kept(self) -> bool:
        """Whether history keeps it."""
        history = self.run.history
        return history is HistoryMode.ALWAYS or (history is HistoryMode.ERRORS and self.outcome is not JobStatus.ENDED)


async def _end_runs(store: Store, connection: Connection, ended: Mapping[RunId, JobStatus], now: datetime) -> None:
    """Close runs whose tasks have all ended: history, next starts of their jobs, jobs that wait for them, alerts."""
    runs = await runs_sql.sum_runs(connection, list(ended))
    jobs = {
        job.id: job for job in await runs_sql.lock_jobs_of_runs(connection, [run.job_id for run in runs if run.job_id])
    }
    ends = [_end(run, jobs.get(run.job_id) if run.job_id else None, ended[run.id], now) for run in runs]
    await _end_occurrences(store, connection, [(end, end.job) for end in ends if end.job is not None], now)
    await runs_sql.end_runs(
        connection, now, [end.run.id for end in ends], [end.outcome for end in ends],
        [end.overran for end in ends], [end.run.counts for end in ends],
        [end.run.error if end.outcome is not JobStatus.ENDED else None for end in ends],
        [end.left_out for end in ends],
    )  # fmt: skip
    if unkept := [end.run.id for end in ends if not end.kept]:
        await runs_sql.delete_unkept_runs(connection, unkept)
    if entries := [end.run.id for end in ends if end.run.entry_id is not None]:
        await store.entry_runs_ended(connection, entries, now)
    for end in ends:
        if end.kept and end.left_out:
            await runs_sql.thin_tasks(connection, end.run.id, KEPT_TASKS)


def _end(run: RunTotals, job: JobOfRun | None, outcome: JobStatus, now: datetime) -> _End:
    if job is None:
        return _End(run=run, job=None, outcome=outcome)
    next_start, overran = _planned(job, run, now)
    return _End(run=run, job=job, outcome=outcome, next_start=next_start, overran=overran)


def _planned(job: JobOfRun, run: RunTotals, now: datetime) -> tuple[datetime | None, bool]:
    """Return the next planned start of a job, and whether its occurrence has run into it.

    Rule: a recurrence that can no longer be read, because a zone is gone or the row was changed, ends the job; the
    others go on.
    """
    try:
        plan = Plan.of(job)
        overran = plan.overran(planned=run.planned_at, finished=now)
        if run.cause != Cause.OPERATOR:
            return plan.after_end(planned=run.planned_at, now=now), overran
        if job.next_start > run.started_at:
            return plan.standing(planned=job.next_start, now=now), overran  # the run came in between
        return plan.after_end(planned=job.next_start, now=now), overran  # it took the place of what was due
    except GatewayError as error:
        log.error("job.stopped", job=job.name, error=error.message)
        return None, False


async def _end_occurrences(
    store: Store, connection: Connection, ends: Sequence[tuple[_End, JobOfRun]], now: datetime
) -> None:
    """Record the outcomes with the jobs and let them wait for their next starts, or end."""
    if not ends:
        return
    await runs_sql.end_occurrences(
        connection, now, *map(list, zip(*(_after(end, job) for end, job in ends), strict=True))
    )
    if parents := [(job.id, end.run.id, end.outcome) for end, job in ends if job.is_awaited]:
        await runs_sql.satisfy_dependencies(connection, *map(list, zip(*parents, strict=True)))
    if retired := [job.id for _, job in ends if job.retired]:
        await runs_sql.delete_retired_jobs(connection, retired)
    for end, job in ends:
        if job.is_heard:
            await _tell(store, connection, job, end.run, end.outcome, end.overran, now)


def _after(end: _End, job: JobOfRun) -> tuple[JobId, JobStatus, datetime | None, Cause, JobStatus]:
    """Return where a job stands after an occurrence: its number, status, next start and what starts it, the outcome."""
    next_start = end.next_start
    comes_back = next_start is not None or (job.recurrence is None and job.depends)
    cause = Cause.DEPENDENCY if job.depends else Cause.SCHEDULE
    only_this = end.run.comes_back and comes_back  # cancelled was the occurrence, not the job
    reached = JobStatus.ENDED if only_this else end.outcome
    status = after_run(reached, hold_after=job.hold_after, comes_back=comes_back)
    if not comes_back or status is JobStatus.CANCELED:
        next_start, cause = None, Cause.OPERATOR  # whoever arms it again
    return job.id, status, next_start, cause, end.outcome


async def _tell(
    store: Store, connection: Connection, job: JobOfRun, run: RunTotals, ended: JobStatus, overran: bool, now: datetime
) -> None:
    event = {
        JobStatus.ENDED: AlertEvent.ENDED, JobStatus.ERROR: AlertEvent.ERROR, JobStatus.CANCELED: AlertEvent.CANCELED
    }[ended]  # fmt: skip
    for told in (event, AlertEvent.OVERRUN) if overran else (event,):
        happening = RaisedEvent(
            event=told, name=job.name, at=now, job_id=job.id, run_id=run.id,
            planned_at=run.planned_at, started_at=run.started_at, by=run.canceled_by,
            text=(run.error or "") if ended is JobStatus.ERROR else "",
            partition=run.partition_key, company=run.company, category=job.category,
            is_critical=job.is_critical, history=run.history,
        )  # fmt: skip
        await raise_alerts(connection, happening, ax_alerts=store.ax_alerts)


def _state(row: TaskOfRun) -> TaskState:
    return TaskState(
        id=row.id,
        status=row.status,
        conditions=tuple(
            Condition(parent=parent, wanted=wanted)
            for parent, wanted in zip(row.parents or (), row.wanted or (), strict=True)
        ),
        condition_type=row.condition_type,
        ignore_failure=row.ignore_failure,
        attempts=row.attempts,
        spawned_by=row.spawned_by,
        waits_for_children=row.waits_for_children,
    )


def _statuses(changes: Changes) -> dict[RunTaskId, TaskStatus]:
    return {task: TaskStatus(name) for name in Changes.__slots__ for task in getattr(changes, name)}


def _changed(task: TaskState, after: dict[RunTaskId, TaskStatus]) -> TaskState:
    return (
        task
        if task.id not in after
        else TaskState(id=task.id, status=after[task.id], ignore_failure=task.ignore_failure, attempts=task.attempts)
    )
