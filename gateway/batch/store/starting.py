"""Starting occurrences: many jobs per transaction, each planned start once.

A start copies job, tasks and conditions into a run and its parts, so that whoever carries it out reads no definition.
Source: batch reference, sections 6.2 (J6), 10; G24.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from asyncpg import Connection

from gateway.batch.rules.capacity import is_open, next_opening
from gateway.batch.rules.conditions import Condition, TaskState, to_repeat
from gateway.batch.rules.definition import PeriodDefinition
from gateway.batch.rules.job import Cause, JobMode, JobStatus, TaskStatus, Wanted
from gateway.batch.rules.planning import Plan
from gateway.batch.statements import runs_sql
from gateway.batch.store.servers import read_periods
from gateway.batch.store.settling import advance_runs
from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.errors import GatewayError, IllegalTransition, JobRefused, NoSuchJob
from gateway.kernel.ids import JobId, RunId

log = structlog.get_logger()

START_LIMIT: Final = 500
"""Jobs started in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A run that has begun."""

    run_id: RunId
    job_id: JobId
    job: str
    planned_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a look for due jobs did. `more`: the transaction was full, look again at once."""

    started: Sequence[Started]
    more: bool


async def start_due(store: Store, now: datetime, *, limit: int = START_LIMIT) -> Due:
    """Start the jobs that are due: planned start reached, active period open, other jobs as far as they must be.

    Rule: a start that its job drops as too late, or that was made already before the clock was set back, is planned
    anew instead.
    """
    async with store.transaction() as connection:
        open_periods = [period.name for period in await read_periods(connection) if is_open(period, now)]
        rows = await runs_sql.lock_due_jobs(connection, now, open_periods, limit)
        starts = {row.id: _standing(row, now) for row in rows}
        moved = {row.id: starts[row.id] for row in rows if starts[row.id] != row.next_start}
        if moved:
            await runs_sql.set_next_start(connection, list(moved), list(moved.values()))
        causes = {row.id: _cause(row, now) for row in rows if row.id not in moved}
        started = await _start(store, connection, causes, now) if causes else []
    return Due(started=started, more=len(rows) == limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A run to do again: from the task *first* on, or with *failed* what failed and all that comes after; else whole.

    Rule: the task *first* starts whatever came of those before it.
    """

    run: RunId
    first: str | None = None
    failed: bool = False


async def start_now(store: Store, job: JobId, *, by: str, now: datetime, repeat: Repeat | None = None) -> RunId:
    """Start an occurrence at once, whatever its planned start is; that stays where it is. Returns the run.

    With *repeat* the tasks of that run which are not to be done again stand as they were there. The job counts as it is
    defined now.
    Raises: NoSuchJob; IllegalTransition when an occurrence is under way or work that appears starts the job;
    JobRefused when there is nothing to repeat.
    """
    async with store.transaction() as connection:
        row = await runs_sql.lock_waiting_job(connection, job)
        if row is None:
            raise NoSuchJob(f"there is no job with the number {job}", job=job)
        if row.mode == JobMode.EVENT:
            raise IllegalTransition(f"the job {row.name} is started by work that appears, not by hand", job=job)
        if row.status in {JobStatus.EXECUTING, JobStatus.CANCELLING}:
            raise IllegalTransition(f"the job {row.name} is {row.status}: wait until its occurrence has ended", job=job)
        hold_after = row.status == JobStatus.WITHHOLD
        (started,) = await _start(store, connection, {job: (Cause.OPERATOR, now)}, now, repeat=repeat)
        if hold_after:  # it was parked, and is again
            await runs_sql.hold_after_if_under_way(connection, job)
    return started.run_id


async def next_moment(store: Store, now: datetime) -> datetime | None:
    """Return when something is due next, None when nothing is planned.

    Planned starts (in their active periods), retries that wait, and the moments at which somebody wants to hear that
    something is late.
    """
    async with store.transaction() as connection:
        rows = await runs_sql.next_moments(connection, now)
        in_period = any(row.active_period is not None for row in rows)
        periods = {period.name: period for period in await read_periods(connection)} if in_period else {}
    moments = list[datetime | None]()
    for row in rows:
        period = periods.get(row.active_period or "")
        moments.append(row.moment if period is None or row.moment is None else _opens(period, max(row.moment, now)))
    known = [moment for moment in moments if moment is not None]
    return min(known) if known else None


async def replan(store: Store, now: datetime) -> int:
    """Plan anew what a clock that was set back has put out of sight; returns how many jobs that were.

    Rule: a planned start that was carried out already is not made again.
    """
    nearer: dict[JobId, datetime] = {}
    async with store.transaction() as connection:
        for row in await runs_sql.recurring_jobs(connection, now):
            with suppress(GatewayError):  # one that cannot be read is told when it would start
                found = await _nearest(connection, row, now)
                if found is not None:
                    nearer[row.id] = found
        if nearer:
            await runs_sql.set_next_start(connection, list(nearer), list(nearer.values()))
            await session_sql.hint(connection, CHANNEL, JOBS_HINT)
    return len(nearer)


async def _nearest(connection: Connection, row: runs_sql.RecurringJob, now: datetime) -> datetime | None:
    """Return the start nearer than the planned one that has not been made yet, None when the planned one is right."""
    plan, planned = Plan.of(row), row.next_start
    found = plan.standing(planned=planned, now=now)
    while found is not None and found < planned:
        if not await runs_sql.planned_start_used(connection, row.id, found):
            return found
        found = plan.following(found)
    return None


async def _start(
    store: Store, connection: Connection, causes: Mapping[JobId, tuple[Cause, datetime]], now: datetime,
    *, repeat: Repeat | None = None,
) -> list[Started]:  # fmt: skip
    rows = await runs_sql.insert_runs(
        connection, list(causes), [cause for cause, _ in causes.values()], [at for _, at in causes.values()], now
    )
    runs = [row.id for row in rows]
    await runs_sql.insert_run_tasks(connection, runs, now)
    await runs_sql.insert_run_conditions(connection, runs)
    await runs_sql.jobs_started(connection, [row.job_id for row in rows], runs, now)
    await runs_sql.use_dependencies(connection, list(causes))
    if repeat is not None:
        await _keep_tasks(connection, runs[0], repeat, now)
    to_settle = await runs_sql.runs_to_settle(connection, runs)
    if repeat is not None:
        to_settle = runs
    if to_settle:
        await advance_runs(store, connection, await runs_sql.lock_runs(connection, to_settle), now)
    await session_sql.hint(connection, CHANNEL, JOBS_HINT)
    return [Started(run_id=row.id, job_id=row.job_id, job=row.job, planned_at=row.planned_at) for row in rows]


async def _keep_tasks(connection: Connection, run: RunId, repeat: Repeat, now: datetime) -> None:
    """Let the tasks of a new run that are not to be repeated stand as they were. Raises: JobRefused."""
    await runs_sql.set_rerun_of(connection, run, repeat.run)
    if repeat.first is None and not repeat.failed:
        return
    rows = await runs_sql.tasks_to_repeat(connection, run, repeat.run)
    tasks = [
        TaskState(
            id=row.id,
            status=TaskStatus(row.status),
            conditions=tuple(Condition(parent=parent, wanted=Wanted.ENDED) for parent in row.parents),
        )
        for row in rows
    ]
    first = next((row.id for row in rows if row.name == repeat.first), None)
    if repeat.first is not None and first is None:
        names = ", ".join(row.name for row in rows)
        raise JobRefused(f"the job has no task {repeat.first!a}; it has: {names}", run=repeat.run)
    again = to_repeat(tasks, first)
    if not again:
        raise JobRefused(f"no task of the run {repeat.run} has failed: there is nothing to do again", run=repeat.run)
    if first is not None:
        await runs_sql.forget_conditions(connection, first)
    await runs_sql.keep_tasks(connection, run, repeat.run, [task.id for task in tasks if task.id not in again], now)


def _standing(row: runs_sql.DueJob, now: datetime) -> datetime | None:
    """Return the planned start of a job that is due, or the one that takes its place; None: there is none."""
    planned: datetime = row.next_start
    if row.next_cause != Cause.SCHEDULE:
        return planned
    try:
        plan = Plan.of(row)
        return plan.after_end(planned=planned, now=now) if row.used else plan.standing(planned=planned, now=now)
    except GatewayError as error:  # one that can no longer be read ends, the others go on
        log.error("job.stopped", job=row.name, error=error.message)
        return None


def _cause(row: runs_sql.DueJob, now: datetime) -> tuple[Cause, datetime]:
    """Return what starts a job that is due, and for when that was planned.

    A job that only waits for others was planned for the moment at which they had come so far.
    """
    if row.depends:
        return Cause.DEPENDENCY, now if row.recurrence is None else row.next_start
    return Cause(row.next_cause), row.next_start


def _opens(period: PeriodDefinition, now: datetime) -> datetime | None:
    return now if is_open(period, now) else next_opening(period, now)
