"""Ending occurrences from outside: cancel, abort, requeue by force.

A cancel and a claim never both win: the cancel changes the tasks that have not begun under the lock of their rows, and
a claim takes only rows that are still ready. Source: batch reference, sections 6.2 (J11, J12, J16, J18), 17.
"""

from datetime import datetime

from asyncpg import Connection

from gateway.batch.rules.job import JobStatus
from gateway.batch.rules.transitions import JobAction, act_on_job
from gateway.batch.statements import jobs_sql, runs_sql
from gateway.batch.store.settling import advance_runs
from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.errors import IllegalTransition, NoSuchJob
from gateway.kernel.ids import JobId, RunId


async def cancel_job(store: Store, job: JobId, *, by: str, now: datetime, only_this: bool = False) -> JobStatus:
    """Let nothing more of a job start; what runs may finish. Returns the status it has now.

    With *only_this* a recurring job comes back at its next planned start; otherwise it stays canceled until somebody
    arms it.
    Raises: NoSuchJob; IllegalTransition that names the present status.
    """
    async with store.transaction() as connection:
        row, run = await _lock(connection, job)
        status = row.status
        if only_this and status is not JobStatus.EXECUTING:
            raise IllegalTransition(f"Job {row.name!r} is {status}: it has no occurrence to cancel.", job=job)
        step = act_on_job(JobAction.CANCEL, status, name=row.name, hold_after=row.hold_after, is_system=row.is_system)
        if run is None:
            assert step.status is not None
            await jobs_sql.set_job_status(connection, job, step.status, False, now)
        else:
            await _cancel(store, connection, row, run, by=by, now=now, comes_back=only_this)
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)
        return await _status(connection, job)


async def abort_job(store: Store, job: JobId, *, by: str, now: datetime) -> JobStatus:
    """Do not wait for what runs on after a cancel: the occurrence ends now, late results are refused.

    What the tasks were doing may be done by half. Source: batch reference, section 17.2.
    Raises: NoSuchJob; IllegalTransition unless the job is being cancelled.
    """
    async with store.transaction() as connection:
        await runs_sql.lock_leases_of_job(connection, job)
        row, run = await _lock(connection, job)
        if run is None or row.status != JobStatus.CANCELLING:
            raise IllegalTransition(
                f"Job {row.name!r} is {row.status}: only one that is cancelling can be aborted. Cancel it first.",
                job=job, by=by,
            )  # fmt: skip
        await runs_sql.cancel_attempts_of_run(connection, run.id, now)
        await advance_runs(store, connection, [run], now)
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)
        return await _status(connection, job)


async def requeue_job(store: Store, job: JobId, *, by: str, now: datetime) -> JobStatus:
    """Take back an occurrence that nobody works on, and let the job wait again. Source: J18.

    Raises: NoSuchJob; IllegalTransition while somebody alive works on it.
    """
    async with store.transaction() as connection:
        row, run = await _lock(connection, job)
        in_work = run is not None and await runs_sql.run_in_work(connection, run.id)
        step = act_on_job(
            JobAction.FORCE_REQUEUE, row.status, name=row.name, hold_after=row.hold_after,
            is_system=row.is_system, in_work=in_work,
        )  # fmt: skip
        assert run is not None and step.status is not None
        await _cancel(store, connection, row, run, by=by, now=now, comes_back=False)
        await jobs_sql.set_job_status(connection, job, step.status, False, now)
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)
    return step.status


async def _cancel(
    store: Store,
    connection: Connection,
    job: jobs_sql.LockedJob,
    run: runs_sql.LockedRun,
    *,
    by: str,
    now: datetime,
    comes_back: bool,
) -> None:
    await runs_sql.job_cancelling(connection, job.id, now)
    await _stop(store, connection, run.id, by=by, now=now, comes_back=comes_back)


async def _stop(store: Store, connection: Connection, run: RunId, *, by: str, now: datetime, comes_back: bool) -> None:
    await runs_sql.begin_cancelling(connection, run, by, comes_back)
    await runs_sql.lock_open_tasks(connection, run)
    changed = await runs_sql.lock_run(connection, run)
    assert changed is not None
    await advance_runs(store, connection, [changed], now)


async def _lock(connection: Connection, job: JobId) -> tuple[jobs_sql.LockedJob, runs_sql.LockedRun | None]:
    """Lock the occurrence of a job, then the job; again when another one began in between."""
    while True:
        run_id = await runs_sql.job_of_run(connection, job)
        run = None if run_id is None else await runs_sql.lock_run(connection, run_id)
        row = await jobs_sql.lock_job(connection, job)
        if row is None:
            raise NoSuchJob(f"there is no job with the number {job}", job=job)
        if row.run_id == (None if run is None else run.id):
            return row, run


async def _status(connection: Connection, job: JobId) -> JobStatus:
    row = await jobs_sql.lock_job(connection, job)
    return JobStatus.CANCELED if row is None else row.status  # gone: its section was removed


async def cancel_run(store: Store, run: RunId, *, by: str, now: datetime) -> None:
    """Let nothing more of the run of a job queue entry start; what runs may finish.

    Raises: IllegalTransition when it has ended, or is being cancelled.
    """
    async with store.transaction() as connection:
        row = await runs_sql.lock_run(connection, run)
        if row is None or row.status != JobStatus.EXECUTING:
            text = "is not there" if row is None else f"is {row.status}"
            raise IllegalTransition(f"The run {run} {text}: it cannot be cancelled.", run=run, by=by)
        await _stop(store, connection, run, by=by, now=now, comes_back=False)
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)
