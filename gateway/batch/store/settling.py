"""What follows inside a run when something of it has changed, and what the end of a run makes of its job.

Everything happens in the transaction that made the change, under a lock on the run's row: there is no moment in which
a run could end and nobody has seen it. Source: batch reference, sections 6.4, 7, 9.7, 10.3, 12.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from asyncpg import Connection, Record

from gateway.batch.alerts.outbox import raise_alerts
from gateway.batch.rules.alert import AlertEvent, Happening
from gateway.batch.rules.conditions import Changes, Condition, TaskState, outcome, settle
from gateway.batch.rules.job import Cause, ConditionType, HistoryMode, JobStatus, TaskStatus, Wanted
from gateway.batch.rules.planning import Plan
from gateway.batch.rules.transitions import after_run
from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.open import Store
from gateway.kernel.errors import GatewayError
from gateway.kernel.ids import JobId, RunId

log = structlog.get_logger()

LARGE_RUN: Final = 4_000
KEPT_TASKS: Final = 1_000
"""So many tasks of a run with more than `LARGE_RUN` are kept in history. Source: batch reference, section 12.3."""


async def advance_runs(store: Store, connection: Connection, runs: Sequence[Record], now: datetime) -> None:
    """Let everything happen that follows from how the tasks of *runs* stand now, down to the ends of the runs.

    Before: *runs* are locked rows of `lock_runs`. After: nothing more follows.
    """
    tasks: dict[int, list[TaskState]] = {run["id"]: [] for run in runs}
    for row in await connection.fetch(store.queries.tasks_of_runs, list(tasks)):
        tasks[row["run_id"]].append(_state(row))
    after: dict[int, TaskStatus] = {}
    ended: dict[int, JobStatus] = {}
    moved = False
    for run in runs:
        canceled = run["status"] == JobStatus.CANCELLING
        changes = settle(tasks[run["id"]], canceled=canceled)
        statuses = _statuses(changes)
        reached = outcome([_changed(task, statuses) for task in tasks[run["id"]]], canceled=canceled)
        if reached is not None:
            ended[run["id"]] = reached
        after |= statuses
        moved = moved or reached is not None or bool(changes.ready) or canceled
    if after:
        await connection.execute(
            store.queries.change_tasks, list(after), [status.value for status in after.values()], now
        )
    if ended:
        await _end_runs(store, connection, ended, now)
    if moved:
        await connection.execute(store.queries.hint, CHANNEL, JOBS_HINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """A run whose tasks have all ended; `job` None: its job is gone."""

    run: Record
    job: Record | None
    outcome: JobStatus
    next_start: datetime | None = None
    overran: bool = False

    @property
    def left_out(self) -> int:
        """How many of its tasks history does not keep."""
        tasks: int = self.run["tasks"]
        return tasks - KEPT_TASKS if tasks > LARGE_RUN else 0

    @property
    def kept(self) -> bool:
        """Whether history keeps it."""
        history = HistoryMode(self.run["history"])
        return history is HistoryMode.ALWAYS or (history is HistoryMode.ERRORS and self.outcome is not JobStatus.ENDED)


async def _end_runs(store: Store, connection: Connection, ended: Mapping[int, JobStatus], now: datetime) -> None:
    """Close runs whose tasks have all ended: history, next starts of their jobs, jobs that wait for them, alerts."""
    sql = store.queries
    runs = await connection.fetch(sql.sum_runs, list(ended))
    jobs = {
        job["id"]: job
        for job in await connection.fetch(sql.lock_jobs_of_runs, [run["job_id"] for run in runs if run["job_id"]])
    }
    ends = [_end(run, jobs.get(run["job_id"]), ended[run["id"]], now) for run in runs]
    await _end_occurrences(store, connection, [(end, end.job) for end in ends if end.job is not None], now)
    await connection.execute(
        sql.end_runs, now, [end.run["id"] for end in ends], [end.outcome for end in ends],
        [end.overran for end in ends], [end.run["counts"] for end in ends],
        [end.run["error"] if end.outcome is not JobStatus.ENDED else None for end in ends],
        [end.left_out for end in ends],
    )  # fmt: skip
    if unkept := [end.run["id"] for end in ends if not end.kept]:
        await connection.execute(sql.delete_unkept_runs, unkept)
    if entries := [RunId(end.run["id"]) for end in ends if end.run["entry_id"] is not None]:
        await store.entry_runs_ended(connection, entries, now)
    for end in ends:
        if end.kept and end.left_out:
            await connection.execute(sql.thin_tasks, end.run["id"], KEPT_TASKS)


def _end(run: Record, job: Record | None, outcome: JobStatus, now: datetime) -> _End:
    if job is None:
        return _End(run=run, job=None, outcome=outcome)
    next_start, overran = _planned(job, run, now)
    return _End(run=run, job=job, outcome=outcome, next_start=next_start, overran=overran)


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


async def _end_occurrences(
    store: Store, connection: Connection, ends: Sequence[tuple[_End, Record]], now: datetime
) -> None:
    """Record the outcomes with the jobs and let them wait for their next starts, or end."""
    sql = store.queries
    if not ends:
        return
    await connection.execute(
        sql.end_occurrences, now, *map(list, zip(*(_after(end, job) for end, job in ends), strict=True))
    )
    if parents := [(job["id"], end.run["id"], end.outcome) for end, job in ends if job["is_awaited"]]:
        await connection.execute(sql.satisfy_dependencies, *map(list, zip(*parents, strict=True)))
    if retired := [job["id"] for _, job in ends if job["retired"]]:
        await connection.execute(sql.delete_retired_jobs, retired)
    for end, job in ends:
        if job["is_heard"]:
            await _tell(store, connection, job, end.run, end.outcome, end.overran, now)


def _after(end: _End, job: Record) -> tuple[int, JobStatus, datetime | None, Cause, JobStatus]:
    """Return where a job stands after an occurrence: its number, status, next start and what starts it, the outcome."""
    next_start = end.next_start
    comes_back = next_start is not None or (job["recurrence"] is None and job["depends"])
    cause = Cause.DEPENDENCY if job["depends"] else Cause.SCHEDULE
    only_this = end.run["comes_back"] and comes_back  # cancelled was the occurrence, not the job
    reached = JobStatus.ENDED if only_this else end.outcome
    status = after_run(reached, hold_after=job["hold_after"], comes_back=comes_back)
    if not comes_back or status is JobStatus.CANCELED:
        next_start, cause = None, Cause.OPERATOR  # whoever arms it again
    return job["id"], status, next_start, cause, end.outcome


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
