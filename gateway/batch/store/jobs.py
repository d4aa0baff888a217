"""Jobs as they are defined: saving, reading, parking, arming, copying, removing them.

Definition and execution are apart: what is changed here counts from the next occurrence on. Every function takes the
moment as an argument. Source: batch reference, sections 3, 4, 6.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from asyncpg import Connection

from gateway.batch.rules.definition import INITIAL_PARTITION, JobDefinition
from gateway.batch.rules.job import JobStatus
from gateway.batch.rules.transitions import JobAction, TaskAction, act_on_job, act_on_task
from gateway.batch.statements import jobs_sql
from gateway.batch.store.definitions import (
    Dependencies,
    check_circles,
    check_places,
    definition_of,
    job_document,
    write_parts,
)
from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.errors import JobRefused, NoSuchJob
from gateway.kernel.ids import JobId, RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stands: its definition and what has become of it. Times are aware UTC."""

    id: JobId
    definition: JobDefinition
    status: JobStatus
    hold_after: bool
    created_by: str
    source: str
    retired: bool
    original_start: datetime
    next_start: datetime
    occurrences: int
    run_id: RunId | None
    last_run_id: RunId | None
    last_outcome: str | None
    last_ended_at: datetime | None
    runs: int
    failures: int
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What a synchronisation with the configuration did, by the names of jobs."""

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


async def create_job(
    store: Store,
    definition: JobDefinition,
    *,
    by: str,
    now: datetime,
    status: JobStatus = JobStatus.WITHHOLD,
    source: str = "operator",
) -> JobId:
    """Save a new job; *status* is Withhold or, to arm it at once, Waiting. It belongs to *by* unless it names an owner.

    Raises: JobRefused when its name is taken, it names something that does not exist, or jobs would wait for one
    another.
    """
    async with store.transaction() as connection:
        job = await _insert(connection, definition, by=by, now=now, status=status, source=source)
        await write_parts(connection, job, definition, source=source)
        await check_circles(connection, definition)
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)
    return job


async def edit_job(store: Store, job: JobId, definition: JobDefinition, *, now: datetime) -> None:
    """Replace a job's definition; an occurrence under way goes on as it was started.

    Rule: a changed start or recurrence begins the recurrence anew.
    Raises: NoSuchJob, JobRefused.
    """
    async with store.transaction() as connection:
        before = await _read(connection, job)
        await _update(connection, before, definition, now=now, source="operator")
        await check_circles(connection, definition)
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)


async def read_job(
    store: Store, name: str, *, partition: str = INITIAL_PARTITION, viewer: str | None = None
) -> Job | None:
    """Return a job by its name, None when there is none that *viewer* may see."""
    found = await list_jobs(store, name=name, partition=partition, viewer=viewer)
    return found[0] if found else None


async def read_job_by_id(store: Store, job: JobId) -> Job:
    """Return a job by its number. Raises: NoSuchJob."""
    async with store.transaction() as connection:
        return await _read(connection, job)


async def list_jobs(
    store: Store,
    *,
    partition: str | None = None,
    name: str | None = None,
    statuses: Sequence[JobStatus] | None = None,
    created_by: str | None = None,
    viewer: str | None = None,
) -> Sequence[Job]:
    """Return jobs by partition and name. None does not narrow; private jobs of others are hidden from *viewer*."""
    async with store.transaction() as connection:
        rows = await jobs_sql.find_jobs(connection, None, partition, name, statuses, created_by, viewer
        )  # fmt: skip
        parts = await Dependencies.read(connection, [row.id for row in rows])
    return [_job(row, parts) for row in rows]


async def change_status(store: Store, job: JobId, action: JobAction, *, by: str, now: datetime) -> JobStatus:
    """Arm or withhold a job; returns the status it has now.

    Rule: Withhold of a job under way is a wish: its occurrence ends, then it is parked. Arming one that has such a
    wish takes it back. What ends an occurrence (cancel, abort, requeue by force) is in `gateway.batch.store.cancel`.
    Raises: NoSuchJob, IllegalTransition that names the present status.
    """
    async with store.transaction() as connection:
        row = await _lock(connection, job)
        step = act_on_job(action, row.status, name=row.name, is_system=row.is_system, hold_after=row.hold_after)
        if step.status is None or step.status is JobStatus.CANCELLING:
            raise ValueError(f"{action} has an operation of its own")
        await jobs_sql.set_job_status(connection, job, step.status, step.hold_after, now)
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)
    return step.status


async def copy_job(store: Store, job: JobId, name: str, *, by: str, now: datetime) -> JobId:
    """Save a copy of a job under another name; it is born in Withhold and belongs to *by*. Source: J3."""
    async with store.transaction() as connection:
        original = await _read(connection, job)
    definition = replace(original.definition, name=name, owner=by, is_system=False)
    return await create_job(store, definition, by=by, now=now)


async def delete_job(store: Store, job: JobId, *, by: str) -> None:
    """Remove a job; its history stays until retention takes it.

    Raises: NoSuchJob, IllegalTransition while an occurrence is under way or when it is the system's own.
    """
    async with store.transaction() as connection:
        row = await _lock(connection, job)
        act_on_job(
            JobAction.DELETE, row.status, name=row.name, is_system=row.is_system,
            hold_after=row.hold_after,
        )  # fmt: skip
        await jobs_sql.delete_job(connection, job)


async def change_task(store: Store, job: JobId, task: str, action: TaskAction, *, now: datetime) -> bool:
    """Leave one task out of the next occurrences, or take it in again; returns whether it is withheld. Source: T14.

    Raises: NoSuchJob, IllegalTransition while an occurrence is under way or when there is nothing to change.
    """
    async with store.transaction() as connection:
        row = await _lock(connection, job)
        withheld = await jobs_sql.task_withheld(connection, job, task)
        if withheld is None:
            raise NoSuchJob(f"the job {row.name} has no task named {task}", job=job, task=task)
        after = act_on_task(action, withheld=withheld, job=row.status, name=task)
        await jobs_sql.set_task_withheld(connection, job, task, after)
    return after


async def sync_jobs(
    connection: Connection, definitions: Sequence[tuple[JobDefinition, JobStatus]], *, by: str,
    now: datetime,
) -> Synced:  # fmt: skip
    """Make the jobs of the configuration what their sections say, each with the status it is born with.

    Rule: an unchanged section changes nothing; a changed one changes the definition, never the status; the job of a
    section that is gone is removed as soon as no occurrence of it is under way. `sync_places` comes before, in the same
    transaction: it keeps other nodes out.
    Raises: JobRefused; the transaction must end with it, so that nothing is changed.
    """
    created, changed, kept = [], [], set()
    rows = await jobs_sql.config_jobs(connection)
    known = {(row.partition_key, row.name): row for row in rows}
    written: list[tuple[JobId, JobDefinition]] = []
    for definition, status in definitions:
        kept.add((definition.partition, definition.name))
        row = known.get((definition.partition, definition.name))
        if row is None:
            job = await _insert(connection, definition, by=by, now=now, status=status, source="config")
            created.append(definition.name)
        elif row.config_digest != definition.digest() or row.retired:
            job = JobId(row.id)
            before = await _read(connection, job)
            await _update(connection, before, definition, now=now, source="config")
            changed.append(definition.name)
        else:
            continue
        written.append((job, definition))
    for job, definition in written:  # later ones may be named by earlier ones
        await write_parts(connection, job, definition, source="config")
    gone = [row for name, row in known.items() if name not in kept and not row.retired]
    if gone:
        await jobs_sql.retire_jobs(connection, [row.id for row in gone], now)
    if written or gone:
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)
    return Synced(created=tuple(created), changed=tuple(changed), removed=tuple(row.name for row in gone))


async def _insert(
    connection: Connection, definition: JobDefinition, *, by: str, now: datetime, status: JobStatus,
    source: str,
) -> JobId:  # fmt: skip
    await check_places(connection, definition)
    job = await jobs_sql.insert_job(connection, job_document(definition, now), status, by, source, now)
    if job is None:
        raise JobRefused(
            f"a job named {definition.name} exists already in partition {definition.partition}: "
            "choose another name, or change the one that is there",
            job=definition.name,
        )
    return job


async def _update(
    connection: Connection, before: Job, definition: JobDefinition, *, now: datetime, source: str
) -> None:
    await check_places(connection, definition)
    old = before.definition
    anew = old.recurrence != definition.recurrence or definition.start not in {None, before.original_start}
    await jobs_sql.update_job(connection, before.id, job_document(definition, now), anew, now)
    if source == "operator":
        await write_parts(connection, before.id, definition, source=source)


async def _read(connection: Connection, job: JobId) -> Job:
    rows = await jobs_sql.find_jobs(connection, job)
    if not rows:
        raise NoSuchJob(f"there is no job with the number {job}", job=job)
    return _job(rows[0], await Dependencies.read(connection, [job]))


async def _lock(connection: Connection, job: JobId) -> jobs_sql.LockedJob:
    row = await jobs_sql.lock_job(connection, job)
    if row is None:
        raise NoSuchJob(f"there is no job with the number {job}", job=job)
    return row


def _job(row: jobs_sql.JobRow, parts: Dependencies) -> Job:
    return Job(
        id=row.id, definition=definition_of(row, parts), status=row.status, hold_after=row.hold_after,
        created_by=row.created_by, source=row.source, retired=row.retired, original_start=row.original_start,
        next_start=row.next_start, occurrences=row.occurrences, run_id=row.run_id, last_run_id=row.last_run_id,
        last_outcome=row.last_outcome, last_ended_at=row.last_ended_at, runs=row.runs, failures=row.failures,
        created_at=row.created_at, changed_at=row.changed_at,
    )  # fmt: skip
