"""The ends of attempts: recorded under the guard of their leases, many in one transaction; taken back from the dead.

Whoever ends a task deletes its lease in the same transaction, so that a late result changes nothing. Ends that come
together are read and written as sets; what follows from them is settled there too. Source: batch reference, sections
6.3, 8, 9, 14.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from asyncpg import Connection, DataError, IntegrityConstraintViolationError

from gateway.batch.rules.job import TaskStatus
from gateway.batch.rules.transitions import Attempt, after_attempt
from gateway.batch.statements import runs_sql, tasks_sql
from gateway.batch.statements.runs_sql import LockedRun
from gateway.batch.statements.tasks_sql import TaskToEnd
from gateway.batch.store.run_log import Line, write_lines
from gateway.batch.store.settling import advance_runs
from gateway.batch.store.tasks import ClaimedTask
from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.errors import EntryRefused
from gateway.kernel.ids import Fence, RunId
from gateway.kernel.retry import Backoff
from gateway.kernel.text import clean
from gateway.messaging.queue.leases import Reap

SERVER_LOST: Final = "task.server_lost"
"""Code of a task whose server died, or stood still for too long, while it worked on it."""
LONGEST_TRACEBACK: Final = 20_000
FREE_INTERRUPTIONS: Final = 3
"""So often an interruption costs an idempotent task nothing: one that kills its server must not do so for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How an attempt ended.

    `can_help` is False when trying again cannot (unknown handler, parameters, account): no retries are used. With
    `free_after_seconds` the attempt is repeated after that time at no cost.
    """

    attempt: Attempt
    code: str | None = None
    error: str | None = None
    traceback: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    can_help: bool = True
    free_after_seconds: float | None = None


AddEntries = Callable[[Connection, datetime], Awaitable[object]]
"""Adds what a task wants to have in the job queue. Raises: EntryRefused; what the database makes of a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnd:
    """A task that has come back: how, and what of its log is not written yet.

    `add_entries` is called in the transaction that records that it has ended well; if it raises, the task has failed.
    """

    task: ClaimedTask
    result: Result
    add_entries: AddEntries | None = None
    lines: Sequence[Line] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What became of a task that came back. `led_on`: something else may start, or stop, because of it."""

    status: TaskStatus
    led_on: bool


async def end_tasks(store: Store, ends: Sequence[TaskEnd], now: datetime) -> Sequence[Ended | None]:
    """Record how attempts ended and everything that follows from it, in one transaction.

    Returns what became of the tasks in the order given. None: the claim was taken back meanwhile; nothing is changed
    for that one then, and what it still had to say is dropped with its result.
    """
    async with store.transaction() as connection:
        kept = set(await tasks_sql.drop_task_leases(connection, [end.task.fence for end in ends]))
        ours = [end for end in ends if end.task.fence in kept]
        runs = await _lock(connection, {end.task.run_id for end in ours})
        await write_lines(
            connection,
            [((end.task.run_id, end.task.id, end.task.attempt), end.lines) for end in ours if end.task.run_id in runs],
        )  # fmt: skip
        results = {end.task.fence: await _with_entries(connection, end, now) for end in ours if end.task.run_id in runs}
        ended = await _end(store, connection, runs, results, now)
    return [ended.get(end.task.fence) for end in ends]


async def _with_entries(connection: Connection, end: TaskEnd, now: datetime) -> Result:
    """Add the entries of a task that has ended well; returns how it has ended: it failed where that cannot be."""
    result = end.result
    if end.add_entries is None or result.attempt is not Attempt.ENDED:
        return result
    try:
        async with connection.transaction():  # what is refused here undoes nothing of the others
            await end.add_entries(connection, now)
    except EntryRefused as error:
        code, text = error.code, error.message
    except (DataError, IntegrityConstraintViolationError) as error:
        code, text = EntryRefused.code, f"An entry cannot be added: {error}."
    else:
        return result
    return replace(result, attempt=Attempt.ERROR, code=code, error=text)


def task_reaper(now: Callable[[], datetime]) -> Reap:
    """Return what takes tasks back from the dead, in the transaction that removes their leases. Source: T7, T8."""

    async def reap(store: Store, connection: Connection, fences: Sequence[Fence]) -> None:
        found = await tasks_sql.runs_of_fences(connection, fences)
        if not found:
            return
        runs = await _lock(connection, set(found))
        lost = Result(
            attempt=Attempt.LOST, code=SERVER_LOST, error="server lost: it died or stood still while it worked on this"
        )
        await _end(store, connection, runs, dict.fromkeys(fences, lost), now())

    return reap


async def _lock(connection: Connection, runs: set[RunId]) -> Mapping[RunId, LockedRun]:
    return {row.id: row for row in await runs_sql.lock_runs(connection, sorted(runs))}


async def _end(
    store: Store,
    connection: Connection,
    runs: Mapping[RunId, LockedRun],
    results: Mapping[Fence, Result],
    now: datetime,
) -> Mapping[Fence, Ended]:
    """End attempts under the locks of their runs; the tasks are read only now, they may have changed before."""
    rows = [row for row in await tasks_sql.tasks_to_end(connection, list(results)) if row.run_id in runs]
    if not rows:
        return {}
    steps = [_step(row, results[row.fence], now) for row in rows]
    await tasks_sql.end_attempts(connection, now, *map(list, zip(*map(_attempt, steps), strict=True)))
    await tasks_sql.end_tasks(connection, now, *map(list, zip(*map(_changed, steps), strict=True)))
    if any(step.frees for step in steps):
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)
    over = [step.row.id for step in steps if not step.again]
    followed = set(await runs_sql.runs_to_follow(connection, over)) if over else set()
    if followed:
        await advance_runs(store, connection, [runs[run] for run in sorted(followed)], now)
    return {
        step.row.fence: Ended(status=step.status, led_on=step.frees or step.row.run_id in followed) for step in steps
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What the end of an attempt makes of its task. `ready_at` is set when it is tried again."""

    row: TaskToEnd
    result: Result
    status: TaskStatus
    waits: bool
    retries: int
    ready_at: datetime | None

    @property
    def again(self) -> bool:
        """Whether it is tried again."""
        return self.ready_at is not None

    @property
    def frees(self) -> bool:
        """Whether it is ready again, or its place among those that run at once is."""
        return self.again or self.row.is_limited


def _step(row: TaskToEnd, result: Result, now: datetime) -> _Step:
    waits = result.attempt is Attempt.ENDED and row.wait_for_children and row.has_children
    free = result.free_after_seconds is not None or (
        result.attempt is Attempt.LOST and row.is_idempotent and row.attempts - row.retries <= FREE_INTERRUPTIONS
    )
    status = after_attempt(
        result.attempt,
        row.status,
        retries=-1 if free else row.retries,
        max_retries=row.max_retries,
        can_help=result.can_help,
        has_open_children=waits,
    )
    if status is not TaskStatus.READY:
        return _Step(row=row, result=result, status=status, waits=waits, retries=row.retries, ready_at=None)
    if result.free_after_seconds is not None:
        pause = result.free_after_seconds
    else:
        pause = 0.0 if free else Backoff(first_seconds=row.retry_seconds).delay(row.retries + 1)
    return _Step(
        row=row, result=result, status=status, waits=waits, retries=row.retries + (0 if free else 1),
        ready_at=now + timedelta(seconds=pause),
    )  # fmt: skip


def _error(result: Result) -> str | None:
    return None if result.error is None else clean(result.error)


def _attempt(step: _Step) -> tuple[object, ...]:
    """Return the columns of `end_attempts`."""
    result = step.result
    trace = None if result.traceback is None else clean(result.traceback, limit=LONGEST_TRACEBACK)
    return (
        step.row.id, step.row.attempts, result.attempt, result.code, _error(result), trace,
        json.dumps(result.counts),
    )  # fmt: skip


def _changed(step: _Step) -> tuple[object, ...]:
    """Return the columns of `end_tasks`."""
    result = step.result
    failed = step.status is not TaskStatus.ENDED and not step.waits
    return (
        step.row.id, step.status, step.retries, step.waits, step.ready_at, result.code if failed else None,
        _error(result) if failed else None, json.dumps(result.counts), failed and not result.can_help,
    )  # fmt: skip
