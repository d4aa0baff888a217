"""Runs as people see them: under way and in history, with tasks, attempts and log."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.batch.statements import runs_sql, tasks_sql
from gateway.batch.statements.runs_sql import AttemptRow, LogLine, Run, RunTask
from gateway.batch.statements.tasks_sql import OperatorTask
from gateway.db.open import Store
from gateway.kernel.errors import NoSuchJob
from gateway.kernel.ids import JobId, RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetails:
    """A run with everything below it."""

    run: Run
    tasks: Sequence[RunTask]
    attempts: Sequence[AttemptRow]


async def last_runs(store: Store, job: JobId, limit: int) -> Sequence[Run]:
    """Return the last runs of a job, the newest first."""
    async with store.transaction() as connection:
        return await runs_sql.find_runs(connection, await runs_sql.last_runs(connection, job, limit))


async def find_run(store: Store, run: RunId) -> Run | None:
    """Return a run by its number, None when it is not kept any more."""
    async with store.transaction() as connection:
        return next(iter(await runs_sql.find_runs(connection, [run])), None)


async def read_run(store: Store, run: RunId) -> RunDetails:
    """Return a run with its tasks and their attempts. Raises: NoSuchJob."""
    async with store.transaction() as connection:
        found = await runs_sql.find_runs(connection, [run])
        if not found:
            raise NoSuchJob(
                f"there is no run with the number {run}: it may have been removed with old history", run=run
            )
        tasks = await runs_sql.find_run_tasks(connection, run)
        attempts = await runs_sql.find_attempts(connection, run)
    return RunDetails(run=found[0], tasks=tasks, attempts=attempts)


async def read_log(store: Store, run: RunId, *, after: int = 0, limit: int = 1_000) -> Sequence[LogLine]:
    """Return what the tasks of a run said, in order, from the line behind *after* on."""
    async with store.transaction() as connection:
        return await runs_sql.find_log(connection, run, after, limit)


async def waiting_for_operator(store: Store, user: str | None = None) -> Sequence[OperatorTask]:
    """Return the tasks that wait for a person, the oldest first; with *user*, only those that he may run."""
    async with store.transaction() as connection:
        return await tasks_sql.waiting_for_operator(connection, user)
