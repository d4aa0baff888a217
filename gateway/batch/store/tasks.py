"""Tasks of runs: claimed by servers and by people, made at run time by other tasks.

A task in work holds a lease of the stage `task`; how it ends is `gateway.batch.store.ending`. Source: batch reference,
sections 6.3, 9, 14, 16.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from asyncpg import Connection

from gateway.batch.rules.conditions import GraphError, check_graph
from gateway.batch.rules.job import JobStatus, Priority, TaskStatus
from gateway.batch.rules.picking import Candidate, select_tasks
from gateway.batch.rules.throttle import MINUTE, Starts, Throttle
from gateway.batch.statements import jobs_sql, runs_sql, tasks_sql
from gateway.batch.statements.tasks_sql import BegunTask, CandidateTask
from gateway.contracts.task import SpawnedTask
from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.errors import TaskRefused
from gateway.kernel.ids import Fence, JobId, RunId, RunTaskId
from gateway.messaging.queue.leases import hold_lease

log = structlog.get_logger()

USUAL = Throttle()
"""How often what tasks run may be started where nothing is configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedTask:
    """A task to be carried out now, with everything it needs.

    `timeout_seconds` None: that of what it runs; `most_seconds` is the longest that it may take all the same, None: no
    such limit. `parameters_version` None: the parameters are for the version of the runnable that is there now.
    """

    fence: Fence
    id: RunTaskId
    run_id: RunId
    job_id: JobId | None
    job: str
    name: str
    handler: str
    parameters: Mapping[str, object]
    parameters_version: int | None
    partition: str
    company: str
    batch_group: str
    priority: Priority
    user: str
    owner: str
    attempt: int
    planned_at: datetime
    timeout_seconds: float | None
    most_seconds: float | None = None


async def claim_tasks(
    store: Store,
    *,
    server: str,
    incarnation: int,
    groups: Collection[str],
    free: int,
    reserved: int,
    idempotent: Collection[str],
    chance: Callable[[], float],
    now: datetime,
    throttle: Throttle = USUAL,
) -> Sequence[ClaimedTask]:
    """Claim up to *free* ready tasks of *groups* for a server; *reserved* of its threads are for that priority only.

    *idempotent* are the handlers that an interruption costs nothing; those that are started more often than *throttle*
    says are set aside. The caller adds the fences to `store.held`.
    """
    async with store.transaction() as connection:
        if not await tasks_sql.claimable_tasks(connection, list(groups), now):
            return []
        await tasks_sql.lock_task_claims(connection)
        rows = await tasks_sql.candidate_tasks(connection, list(groups), now, 2 * free)
        starts = {row.handler: Starts(since=now) for row in rows} | await _read_starts(connection)
        known = await tasks_sql.limits_and_running(connection)
        chosen = select_tasks(
            [_candidate(row) for row in rows],
            free=free,
            reserved=reserved,
            running_by_job={(row.job_id, row.batch_group): row.tasks for row in known if row.job_id},
            limits={row.batch_group: row.tasks for row in known if not row.job_id},
            chance=chance,
            rooms={handler: found.room(throttle.most(handler), now) for handler, found in starts.items()},
        )
        begun = await _begin(
            connection,
            [task.id for task in chosen],
            server=server,
            incarnation=incarnation,
            run_by=None,
            idempotent=idempotent,
            now=now,
            counted=[
                _Counted(handler=handler, starts=starts[handler].counted(now), most=most)
                for handler in sorted({task.handler for task in chosen})
                if (most := throttle.most(handler)) is not None and starts[handler].room(most, now)
            ],
        )
    aside = {row.handler: (row.class_starts, row.aside_until) for row in begun if row.aside_until is not None}
    for handler, (count, until) in aside.items():
        log.info("task.class_set_aside", handler=handler, starts=count, until=until.isoformat())
    return [_claimed(row) for row in begun]


async def claim_operator_task(
    store: Store,
    *,
    user: str,
    incarnation: int,
    now: datetime,
    server: str = "operator",
    task: RunTaskId | None = None,
    groups: Collection[str] | None = None,
    private_only: bool = False,
) -> ClaimedTask | None:
    """Claim a task that waits for a person, None when there is none for *user*.

    Rule: private tasks are their owner's alone; with *private_only* no others are taken. Source: batch reference,
    section 16.
    """
    async with store.transaction() as connection:
        wanted = None if groups is None else list(groups)
        found = await tasks_sql.lock_operator_task(connection, now, task, wanted, user, private_only)
        if found is None:
            return None
        (begun,) = await _begin(
            connection, [found], server=server, incarnation=incarnation, run_by=user, idempotent=(), now=now
        )
    return _claimed(begun)


async def spawn_tasks(
    store: Store, task: ClaimedTask, tasks: Sequence[SpawnedTask], *, versions: Mapping[str, int], now: datetime
) -> Sequence[RunTaskId]:
    """Add tasks to the run of *task*, all visible at once; returns their numbers in the order given.

    *versions* are those of the parameters, by what is run.

    Rule: they are tried once. A name that an earlier attempt of the same task has used stands for the task that
    is there already. Source: batch reference, section 9.
    Raises: TaskRefused when the run is being cancelled, a group does not exist, a name is taken, or the tasks could
    never all end; LeaseLost.
    """
    try:
        check_graph([t.name for t in tasks], [(t.name, *condition) for t in tasks for condition in t.after.items()])
    except GraphError as error:
        raise TaskRefused(error.message, code="task.spawn") from error
    async with store.transaction() as connection:
        await hold_lease(connection, task.fence)
        run = await runs_sql.lock_run(connection, task.run_id)
        if run is None or run.status != JobStatus.EXECUTING:
            raise TaskRefused(f"the run {task.run_id} is being cancelled: no tasks can be added", code="task.spawn")
        for unknown in await jobs_sql.unknown_groups(connection, [t.batch_group for t in tasks if t.batch_group]):
            raise TaskRefused(f"there is no batch group named {unknown}", code="task.spawn")
        names = [spawned.name for spawned in tasks]
        there = dict[str, RunTaskId]()
        for row in await tasks_sql.tasks_named(connection, task.run_id, names):
            if row.spawned_by != task.id:
                raise TaskRefused(f"the run {task.run_id} has a task named {row.name} already", code="task.spawn")
            there[row.name] = row.id
        new = [spawned for spawned in tasks if spawned.name not in there]
        rows = json.dumps(
            [_spawned(place, spawned, versions[spawned.run], task) for place, spawned in enumerate(new, start=1)]
        )
        made = await tasks_sql.spawn_tasks(connection, task.run_id, task.id, rows, task.owner, now)
        conditions = [
            (spawned.name, parent, wanted.value) for spawned in new for parent, wanted in spawned.after.items()
        ]
        if conditions:
            await tasks_sql.spawn_conditions(connection, task.run_id, *map(list, zip(*conditions, strict=True)))
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)
    ids = there | {row.name: row.id for row in made}
    return [ids[name] for name in names]


async def tasks_to_cancel(store: Store, fences: Collection[Fence]) -> set[Fence]:
    """Return which of these tasks belong to a run that is being cancelled."""
    async with store.transaction() as connection:
        return set(await runs_sql.fences_to_cancel(connection, list(fences)))


async def read_set_aside(store: Store, now: datetime) -> Mapping[str, Starts]:
    """Return what is set aside now because it was started too often, by what tasks name in `run`."""
    async with store.transaction() as connection:
        starts = await _read_starts(connection)
    return {handler: found for handler, found in starts.items() if found.is_aside(now)}


async def _read_starts(connection: Connection) -> dict[str, Starts]:
    return {
        row.handler: Starts(since=row.since, count=row.starts, aside_until=row.aside_until)
        for row in await tasks_sql.class_starts(connection)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """A class whose starts are counted on from `starts`; `most` of them set it aside."""

    handler: str
    starts: Starts
    most: int


async def _begin(
    connection: Connection, ids: Sequence[RunTaskId], *, server: str, incarnation: int, run_by: str | None,
    idempotent: Collection[str], now: datetime, counted: Sequence[_Counted] = (),
) -> list[BegunTask]:  # fmt: skip
    if not ids:
        return []
    return await tasks_sql.begin_tasks(
        connection, ids, server, run_by, list(idempotent), now, incarnation, [one.handler for one in counted],
        [one.starts.since for one in counted], [one.starts.count for one in counted], [one.most for one in counted],
        now + MINUTE,
    )  # fmt: skip


def _claimed(row: BegunTask) -> ClaimedTask:
    return ClaimedTask(
        fence=row.fence, id=row.id, run_id=row.run_id, job_id=row.job_id,
        job=row.job, name=row.name, handler=row.handler, parameters=row.parameters,
        parameters_version=row.parameters_version, partition=row.partition_key, company=row.company,
        batch_group=row.batch_group, priority=row.priority, user=row.run_by or row.run_as,
        owner=row.owner, attempt=row.attempts, planned_at=row.planned_at,
        timeout_seconds=row.timeout_seconds, most_seconds=row.most_seconds,
    )  # fmt: skip


def _candidate(row: CandidateTask) -> Candidate:
    return Candidate(
        id=row.id, job_id=row.job_id, group=row.batch_group, priority=row.priority,
        planned_at=row.planned_at, job_limit=row.concurrency, handler=row.handler,
    )  # fmt: skip


def _spawned(place: int, spawned: SpawnedTask, version: int, parent: ClaimedTask) -> dict[str, object]:
    return {
        "place": place,
        "name": spawned.name,
        "description": spawned.description,
        "handler": spawned.run,
        "parameters": dict(spawned.parameters),
        "parameters_version": version,
        "company": spawned.company or parent.company,
        "batch_group": parent.batch_group if spawned.batch_group is None else spawned.batch_group,
        "priority": spawned.priority or (parent.priority if spawned.batch_group is None else None),
        "condition_type": spawned.condition_type,
        "ignore_failure": spawned.ignore_failure,
        "timeout_seconds": spawned.timeout_seconds,
        "status": TaskStatus.WAITING if spawned.after else TaskStatus.READY,
    }
