"""Runs as people see them: under way and in history, with tasks, attempts and log."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection

from gateway.db.open import Store
from gateway.db.sql import Queries
from gateway.kernel.errors import NoSuchJob
from gateway.kernel.ids import EntryId, JobId, RunId, RunTaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a job. Times are aware UTC; `tasks_left_out` were not kept because there were very many.

    `rerun_of` is the run that it repeats; tasks that ended there and have no attempt here stand as they were.
    `entry_id` is the job queue entry that it is a run of.
    """

    id: RunId
    job_id: JobId | None
    job: str
    description: str
    partition_key: str
    company: str
    created_by: str
    run_as: str
    cause: str
    planned_at: datetime
    started_at: datetime
    ended_at: datetime | None
    status: str
    canceled_by: str | None
    overran: bool
    counts: Mapping[str, int]
    tasks_left_out: int
    error: str | None
    rerun_of: RunId | None
    entry_id: EntryId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One execution of a task."""

    run_task_id: RunTaskId
    number: int
    server: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    error_code: str | None
    error: str | None
    traceback: str | None
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTask:
    """A task of a run; `conditions` name the tasks it waited for, `ready_at` lies ahead while a retry waits."""

    id: RunTaskId
    run_id: RunId
    task_id: int | None
    spawned_by: int | None
    name: str
    description: str
    handler: str
    parameters: Mapping[str, object]
    company: str
    batch_group: str
    priority: str
    location: str
    is_private: bool
    owner: str
    status: str
    attempts: int
    retries: int
    ready_at: datetime | None
    server: str | None
    run_by: str | None
    started_at: datetime | None
    ended_at: datetime | None
    error_code: str | None
    error: str | None
    counts: Mapping[str, int]
    conditions: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetails:
    """A run with everything below it."""

    run: Run
    tasks: Sequence[RunTask]
    attempts: Sequence[AttemptRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """What a task said."""

    id: int
    run_task_id: RunTaskId | None
    task: str | None
    attempt: int | None
    at: datetime
    severity: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTask:
    """A task that waits for a person, since `ready_at`."""

    id: RunTaskId
    run_id: RunId
    partition_key: str
    job: str
    name: str
    description: str
    batch_group: str
    is_private: bool
    owner: str
    ready_at: datetime


async def last_runs(store: Store, job: JobId, limit: int) -> Sequence[Run]:
    """Return the last runs of a job, the newest first."""
    sql = store.queries
    async with store.transaction() as connection:
        rows = await connection.fetch(sql.last_runs, job, limit)
        return await runs_of(connection, sql, [RunId(row["id"]) for row in rows])


async def find_run(store: Store, run: RunId) -> Run | None:
    """Return a run by its number, None when it is not kept any more."""
    async with store.transaction() as connection:
        return next(iter(await runs_of(connection, store.queries, [run])), None)


async def runs_of(connection: Connection, sql: Queries, numbers: Sequence[RunId]) -> Sequence[Run]:
    """Return the runs with these numbers that there still are, the newest start first."""
    rows = await connection.fetch(sql.find_runs, numbers)
    return [Run(**{**row, "counts": json.loads(row["counts"])}) for row in rows]


async def read_run(store: Store, run: RunId) -> RunDetails:
    """Return a run with its tasks and their attempts. Raises: NoSuchJob."""
    sql = store.queries
    async with store.transaction() as connection:
        found = await runs_of(connection, sql, [run])
        if not found:
            raise NoSuchJob(
                f"there is no run with the number {run}: it may have been removed with old history", run=run
            )
        tasks = await connection.fetch(sql.find_run_tasks, run)
        attempts = await connection.fetch(sql.find_attempts, run)
    return RunDetails(
        run=found[0],
        tasks=[
            RunTask(**{**task, "counts": json.loads(task["counts"]), "parameters": json.loads(task["parameters"])})
            for task in tasks
        ],
        attempts=[AttemptRow(**{**attempt, "counts": json.loads(attempt["counts"])}) for attempt in attempts],
    )


async def read_log(store: Store, run: RunId, *, after: int = 0, limit: int = 1_000) -> Sequence[LogLine]:
    """Return what the tasks of a run said, in order, from the line behind *after* on."""
    async with store.transaction() as connection:
        return [LogLine(**row) for row in await connection.fetch(store.queries.find_log, run, after, limit)]


async def waiting_for_operator(store: Store, user: str | None = None) -> Sequence[OperatorTask]:
    """Return the tasks that wait for a person, the oldest first; with *user*, only those that he may run."""
    async with store.transaction() as connection:
        return [OperatorTask(**row) for row in await connection.fetch(store.queries.waiting_for_operator, user)]
