"""Tasks of runs: claimed by servers and by people, made at run time by other tasks.

A task in work holds a lease of the stage `task`; how it ends is `gateway.store.ending`. Source: batch reference,
sections 6.3, 9, 14, 16.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection, Record

from gateway.contracts.task import SpawnedTask
from gateway.domain.conditions import GraphError, check_graph
from gateway.domain.errors import TaskRefused
from gateway.domain.ids import Fence, JobId, RunId, RunTaskId
from gateway.domain.job import JobStatus, Priority, TaskStatus
from gateway.domain.picking import Candidate, pick
from gateway.store.jobs import JOBS_HINT
from gateway.store.leases import hold_lease
from gateway.store.listen import CHANNEL
from gateway.store.open import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedTask:
    """A task to be carried out now, with everything it needs."""

    fence: Fence
    id: RunTaskId
    run_id: RunId
    job_id: JobId | None
    job: str
    name: str
    handler: str
    parameters: Mapping[str, object]
    parameters_version: int
    partition: str
    company: str
    batch_group: str
    priority: Priority
    user: str
    owner: str
    attempt: int
    planned_at: datetime
    timeout_seconds: float | None


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
) -> Sequence[ClaimedTask]:
    """Claim up to *free* ready tasks of *groups* for a server; *reserved* of its threads are for that priority only.

    *idempotent* are the handlers that an interruption costs nothing. The caller adds the fences to `store.held`.
    """
    sql = store.queries
    async with store.transaction() as connection:
        if not await connection.fetchval(sql.claimable_tasks, list(groups), now):
            return []
        await connection.execute(sql.lock_task_claims)
        rows = await connection.fetch(sql.candidate_tasks, list(groups), now, 2 * free)
        known = await connection.fetch(sql.limits_and_running)
        chosen = pick(
            [_candidate(row) for row in rows],
            free=free,
            reserved=reserved,
            running_by_job={(row["job_id"], row["batch_group"]): row["tasks"] for row in known if row["job_id"]},
            limits={row["batch_group"]: row["tasks"] for row in known if not row["job_id"]},
            chance=chance,
        )
        return await _begin(
            store,
            connection,
            [task.id for task in chosen],
            server=server,
            incarnation=incarnation,
            run_by=None,
            idempotent=idempotent,
            now=now,
        )


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
    sql = store.queries
    async with store.transaction() as connection:
        wanted = None if groups is None else list(groups)
        found = await connection.fetchval(sql.lock_operator_task, now, task, wanted, user, private_only)
        if found is None:
            return None
        (claimed,) = await _begin(
            store, connection, [found], server=server, incarnation=incarnation, run_by=user, idempotent=(), now=now
        )
    return claimed


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
    sql = store.queries
    try:
        check_graph([t.name for t in tasks], [(t.name, *condition) for t in tasks for condition in t.after.items()])
    except GraphError as error:
        raise TaskRefused(error.message, code="task.spawn") from error
    async with store.transaction() as connection:
        await hold_lease(store, connection, task.fence)
        run = await connection.fetchrow(sql.lock_run, task.run_id)
        if run is None or run["status"] != JobStatus.EXECUTING:
            raise TaskRefused(f"the run {task.run_id} is being cancelled: no tasks can be added", code="task.spawn")
        for row in await connection.fetch(sql.unknown_groups, [t.batch_group for t in tasks if t.batch_group]):
            raise TaskRefused(f"there is no batch group named {row['name']}", code="task.spawn")
        names = [spawned.name for spawned in tasks]
        there = dict[str, int]()
        for row in await connection.fetch(sql.tasks_named, task.run_id, names):
            if row["spawned_by"] != task.id:
                raise TaskRefused(f"the run {task.run_id} has a task named {row['name']} already", code="task.spawn")
            there[row["name"]] = row["id"]
        new = [spawned for spawned in tasks if spawned.name not in there]
        rows = json.dumps(
            [_spawned(place, spawned, versions[spawned.run], task) for place, spawned in enumerate(new, start=1)]
        )
        made = await connection.fetch(sql.spawn_tasks, task.run_id, task.id, rows, task.owner, now)
        conditions = [
            (spawned.name, parent, wanted.value) for spawned in new for parent, wanted in spawned.after.items()
        ]
        if conditions:
            await connection.execute(sql.spawn_conditions, task.run_id, *map(list, zip(*conditions, strict=True)))
        await connection.execute(sql.hint, CHANNEL, JOBS_HINT)
    ids = there | {row["name"]: row["id"] for row in made}
    return [RunTaskId(ids[name]) for name in names]


async def tasks_to_cancel(store: Store, fences: Collection[Fence]) -> set[Fence]:
    """Return which of these tasks belong to a run that is being cancelled."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.fences_to_cancel, list(fences))
    return {Fence(row["fence"]) for row in rows}


async def _begin(
    store: Store, connection: Connection, ids: Sequence[int], *, server: str, incarnation: int, run_by: str | None,
    idempotent: Collection[str], now: datetime,
) -> list[ClaimedTask]:  # fmt: skip
    if not ids:
        return []
    rows = await connection.fetch(
        store.queries.begin_tasks, list(ids), server, run_by, list(idempotent), now, incarnation
    )
    return [
        ClaimedTask(
            fence=Fence(row["fence"]), id=RunTaskId(row["id"]), run_id=RunId(row["run_id"]), job_id=row["job_id"],
            job=row["job"], name=row["name"], handler=row["handler"], parameters=json.loads(row["parameters"]),
            parameters_version=row["parameters_version"], partition=row["partition_key"], company=row["company"],
            batch_group=row["batch_group"], priority=Priority(row["priority"]), user=run_by or row["run_as"],
            owner=row["owner"], attempt=row["attempts"], planned_at=row["planned_at"],
            timeout_seconds=row["timeout_seconds"],
        )
        for row in rows
    ]  # fmt: skip


def _candidate(row: Record) -> Candidate:
    return Candidate(
        id=row["id"], job_id=row["job_id"], group=row["batch_group"], priority=Priority(row["priority"]),
        planned_at=row["planned_at"], job_limit=row["concurrency"],
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
