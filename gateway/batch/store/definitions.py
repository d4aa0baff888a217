"""Definitions of jobs as rows and back."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from asyncpg import Connection, Record

from gateway.batch.rules.conditions import GraphError, check_graph
from gateway.batch.rules.definition import (
    AlertDefinition,
    ConditionDefinition,
    DependencyDefinition,
    JobDefinition,
    TaskDefinition,
)
from gateway.batch.rules.job import (
    Base,
    ConditionType,
    HistoryMode,
    JobMode,
    JobStatus,
    Location,
    Missed,
    Priority,
    Wanted,
)
from gateway.batch.rules.planning import first_start
from gateway.batch.rules.recurrence import RecurrenceError
from gateway.db.open import Store
from gateway.kernel.errors import JobRefused
from gateway.kernel.ids import JobId

_JOB_COLUMNS = (
    "name", "description", "mode", "company", "run_as", "recurrence", "base", "missed", "tolerance_seconds", "history",
    "batch_group", "priority", "active_period", "concurrency", "max_retries", "dependency_type", "overdue_seconds",
    "long_seconds", "category", "is_critical", "is_system", "is_private",
)  # fmt: skip
_TASK_COLUMNS = (
    "name", "description", "handler", "parameters", "parameters_version", "company", "batch_group", "location",
    "is_private", "condition_type", "ignore_failure", "max_retries", "retry_seconds", "timeout_seconds",
    "wait_for_children", "is_withheld",
)  # fmt: skip


def job_document(definition: JobDefinition, now: datetime) -> str:
    """Return the row of a job as a JSON document, for `insert_job` and `update_job`.

    Rule: a job whose recurrence is over has ended before it began.
    Raises: JobRefused when its recurrence cannot be read, or never starts anything.
    """
    try:
        planned = first_start(definition, now)
    except RecurrenceError as error:
        raise JobRefused(f"job {definition.name}: {error.message}", job=definition.name) from error
    row = {column: getattr(definition, column) for column in _JOB_COLUMNS}
    start = None if definition.start is None else definition.start.isoformat()
    return json.dumps(
        {
            **row,
            "partition_key": definition.partition,
            "created_by": definition.owner,
            "original_start": start,
            "next_start": (planned or definition.start or now).isoformat(),
            "status": None if planned is not None else JobStatus.ENDED,
            "config_digest": definition.digest(),
            "recurrence": None if definition.recurrence is None else dict(definition.recurrence),
        }
    )


async def write_parts(
    store: Store, connection: Connection, job: JobId, definition: JobDefinition, *, source: str
) -> None:
    """Replace tasks, conditions, dependencies and alerts of a job; tasks that keep their name keep their number.

    Rule: whether a task is held is decided by operators; the configuration says it only of a task that is new.
    Raises: JobRefused when something that is named does not exist, or its tasks could never all end.
    """
    sql = store.queries
    await _check_dependencies(store, connection, definition)
    tasks = definition.tasks
    check_graph(
        [task.name for task in tasks], [(task.name, c.parent, c.wanted) for task in tasks for c in task.conditions]
    )
    await connection.execute(sql.delete_tasks_but, job, [task.name for task in tasks])
    rows = [
        {column: getattr(task, column) for column in _TASK_COLUMNS} | {"position": position}
        for position, task in enumerate(tasks)
    ]
    await connection.execute(sql.put_tasks, job, json.dumps(rows, default=dict), source == "config")
    await connection.execute(sql.delete_conditions, job)
    conditions = [(task.name, c.parent, c.wanted.value) for task in tasks for c in task.conditions]
    if conditions:
        await connection.execute(sql.put_conditions, job, *map(list, zip(*conditions, strict=True)))
    parents = [dependency.parent for dependency in definition.dependencies]
    await connection.execute(sql.delete_dependencies_but, job, parents)
    if parents:
        wanted = [dependency.wanted.value for dependency in definition.dependencies]
        await connection.execute(sql.put_dependencies, job, parents, wanted)
    alerts = [
        {"user_name": alert.user, "events": list(alert.events), "channels": list(alert.channels)}
        for alert in definition.alerts
    ]
    await connection.execute(sql.delete_alert_rules, job, source)
    await connection.execute(sql.put_alert_rules, job, json.dumps(alerts), source)


async def check_circles(store: Store, connection: Connection, definition: JobDefinition) -> None:
    """Refuse jobs that wait for one another, as they stand in this transaction. Raises: JobRefused naming them.

    For jobs that people save one by one: those of the configuration are judged together before any is written.
    """
    if not definition.dependencies:
        return
    rows = await connection.fetch(store.queries.dependencies_of_partition, definition.partition)
    names = {name for row in rows for name in (row["child"], row["parent"])}
    try:
        check_graph(sorted(names), [(row["child"], row["parent"], Wanted(row["wanted"])) for row in rows])
    except GraphError as error:
        cycle = error.context["cycle"]
        assert isinstance(cycle, list)
        text = f"these jobs wait for one another: {' → '.join(cycle)}; none could ever start"
        raise JobRefused(text, job=definition.name) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What belongs to several jobs, each by the number of its job."""

    tasks: Mapping[int, Sequence[Record]] = field(default_factory=dict)
    conditions: Mapping[int, Sequence[Record]] = field(default_factory=dict)
    dependencies: Mapping[int, Sequence[Record]] = field(default_factory=dict)
    alerts: Mapping[int, Sequence[Record]] = field(default_factory=dict)

    @classmethod
    async def read(cls, store: Store, connection: Connection, jobs: Sequence[int]) -> Self:
        """Read the parts of *jobs*."""
        sql = store.queries
        return cls(
            tasks=_by_job(await connection.fetch(sql.tasks_of_jobs, jobs)),
            conditions=_by_job(await connection.fetch(sql.conditions_of_jobs, jobs)),
            dependencies=_by_job(await connection.fetch(sql.dependencies_of_jobs, jobs)),
            alerts=_by_job(await connection.fetch(sql.alerts_of_jobs, jobs)),
        )


def definition_of(row: Record, parts: Parts) -> JobDefinition:
    """Return the definition that a row of `job` and its parts hold."""
    job: int = row["id"]
    original_start: datetime = row["original_start"]
    conditions: Mapping[str, list[ConditionDefinition]] = defaultdict(list)
    for found in parts.conditions.get(job, ()):
        conditions[found["child"]].append(ConditionDefinition(parent=found["parent"], wanted=Wanted(found["wanted"])))
    plain = {column: row[column] for column in _JOB_COLUMNS}
    return JobDefinition(
        **{
            **plain,
            "partition": row["partition_key"],
            "owner": row["created_by"],
            "start": original_start,
            "mode": JobMode(row["mode"]),
            "recurrence": None if row["recurrence"] is None else json.loads(row["recurrence"]),
            "base": Base(row["base"]),
            "missed": Missed(row["missed"]),
            "history": HistoryMode(row["history"]),
            "priority": None if row["priority"] is None else Priority(row["priority"]),
            "dependency_type": ConditionType(row["dependency_type"]),
        },
        dependencies=tuple(
            DependencyDefinition(parent=found["parent"], wanted=Wanted(found["wanted"]))
            for found in parts.dependencies.get(job, ())
        ),
        tasks=tuple(_task(found, conditions) for found in parts.tasks.get(job, ())),
        alerts=tuple(
            AlertDefinition(user=found["user_name"], events=tuple(found["events"]), channels=tuple(found["channels"]))
            for found in parts.alerts.get(job, ())
        ),
    )


def _task(row: Record, conditions: Mapping[str, Sequence[ConditionDefinition]]) -> TaskDefinition:
    plain = {column: row[column] for column in _TASK_COLUMNS}
    return TaskDefinition(
        **{
            **plain,
            "parameters": json.loads(row["parameters"]),
            "location": Location(row["location"]),
            "condition_type": ConditionType(row["condition_type"]),
        },
        conditions=tuple(conditions.get(row["name"], ())),
    )


def _by_job(rows: Sequence[Record]) -> Mapping[int, Sequence[Record]]:
    found: dict[int, list[Record]] = defaultdict(list)
    for row in rows:
        found[row["job_id"]].append(row)
    return found


async def check_places(store: Store, connection: Connection, definition: JobDefinition) -> None:
    """Refuse groups and periods that do not exist, in words; the schema would refuse them too. Raises: JobRefused."""
    sql = store.queries
    groups = {definition.batch_group, *(task.batch_group for task in definition.tasks)} - {None}
    for row in await connection.fetch(sql.unknown_groups, sorted(filter(None, groups))):
        raise JobRefused(f"job {definition.name}: there is no batch group named {row['name']}", job=definition.name)
    period = definition.active_period
    if period is not None and await connection.fetchval(sql.unknown_period, period):
        raise JobRefused(f"job {definition.name}: there is no active period named {period}", job=definition.name)


async def _check_dependencies(store: Store, connection: Connection, definition: JobDefinition) -> None:
    parents = [dependency.parent for dependency in definition.dependencies]
    for row in await connection.fetch(store.queries.unknown_jobs, definition.partition, parents):
        raise JobRefused(
            f"job {definition.name}: there is no job named {row['name']} in partition {definition.partition}",
            job=definition.name,
        )
