"""Definitions of jobs as rows and back."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Protocol, Self, TypeVar

from asyncpg import Connection

from gateway.batch.rules.conditions import GraphError, check_graph
from gateway.batch.rules.definition import (
    AlertDefinition,
    ConditionDefinition,
    DependencyDefinition,
    JobDefinition,
    TaskDefinition,
)
from gateway.batch.rules.job import (
    JobStatus,
)
from gateway.batch.rules.planning import first_start
from gateway.batch.rules.recurrence import RecurrenceError
from gateway.batch.statements import jobs_sql
from gateway.kernel.errors import JobRefused
from gateway.kernel.ids import JobId


def _columns(definition: JobDefinition | TaskDefinition, *without: str) -> dict[str, object]:
    """Return what a definition says by the names of the columns: those of its fields, *without* some."""
    return {one.name: getattr(definition, one.name) for one in fields(definition) if one.name not in without}


def job_document(definition: JobDefinition, now: datetime) -> str:
    """Return the row of a job as a JSON document, for `insert_job` and `update_job`.

    Rule: a job whose recurrence is over has ended before it began.
    Raises: JobRefused when its recurrence cannot be read, or never starts anything.
    """
    try:
        planned = first_start(definition, now)
    except RecurrenceError as error:
        raise JobRefused(f"job {definition.name}: {error.message}", job=definition.name) from error
    row = _columns(definition, "partition", "owner", "start", "dependencies", "tasks", "alerts")
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


async def write_parts(connection: Connection, job: JobId, definition: JobDefinition, *, source: str) -> None:
    """Replace tasks, conditions, dependencies and alerts of a job; tasks that keep their name keep their number.

    Rule: whether a task is held is decided by operators; the configuration says it only of a task that is new.
    Raises: JobRefused when something that is named does not exist, or its tasks could never all end.
    """
    await _check_dependencies(connection, definition)
    tasks = definition.tasks
    check_graph(
        [task.name for task in tasks], [(task.name, c.parent, c.wanted) for task in tasks for c in task.conditions]
    )
    await jobs_sql.delete_tasks_but(connection, job, [task.name for task in tasks])
    rows = [_columns(task, "conditions") | {"position": position} for position, task in enumerate(tasks)]
    await jobs_sql.put_tasks(connection, job, json.dumps(rows, default=dict), source == "config")
    await jobs_sql.delete_conditions(connection, job)
    conditions = [(task.name, c) for task in tasks for c in task.conditions]
    if conditions:
        await jobs_sql.put_conditions(
            connection,
            job,
            [child for child, _ in conditions],
            [c.parent for _, c in conditions],
            [c.wanted for _, c in conditions],
        )
    parents = [dependency.parent for dependency in definition.dependencies]
    await jobs_sql.delete_dependencies_but(connection, job, parents)
    if parents:
        wanted = [dependency.wanted for dependency in definition.dependencies]
        await jobs_sql.put_dependencies(connection, job, parents, wanted)
    alerts = [
        {"user_name": alert.user, "events": list(alert.events), "channels": list(alert.channels)}
        for alert in definition.alerts
    ]
    await jobs_sql.delete_alert_rules(connection, job, source)
    await jobs_sql.put_alert_rules(connection, job, json.dumps(alerts), source)


async def check_circles(connection: Connection, definition: JobDefinition) -> None:
    """Refuse jobs that wait for one another, as they stand in this transaction. Raises: JobRefused naming them.

    For jobs that people save one by one: those of the configuration are judged together before any is written.
    """
    if not definition.dependencies:
        return
    rows = await jobs_sql.dependencies_of_partition(connection, definition.partition)
    names = {name for row in rows for name in (row.child, row.parent)}
    try:
        check_graph(sorted(names), [(row.child, row.parent, row.wanted) for row in rows])
    except GraphError as error:
        cycle = error.context["cycle"]
        assert isinstance(cycle, list)
        text = f"these jobs wait for one another: {' → '.join(cycle)}; none could ever start"
        raise JobRefused(text, job=definition.name) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What belongs to several jobs, each by the number of its job."""

    tasks: Mapping[int, Sequence[jobs_sql.TaskRow]]
    conditions: Mapping[int, Sequence[jobs_sql.ConditionRow]]
    dependencies: Mapping[int, Sequence[jobs_sql.DependencyRow]]
    alerts: Mapping[int, Sequence[jobs_sql.AlertOfJob]]

    @classmethod
    async def read(cls, connection: Connection, jobs: Sequence[JobId]) -> Self:
        """Read the parts of *jobs*."""
        return cls(
            tasks=_by_job(await jobs_sql.tasks_of_jobs(connection, jobs)),
            conditions=_by_job(await jobs_sql.conditions_of_jobs(connection, jobs)),
            dependencies=_by_job(await jobs_sql.dependencies_of_jobs(connection, jobs)),
            alerts=_by_job(await jobs_sql.alerts_of_jobs(connection, jobs)),
        )


def definition_of(row: jobs_sql.JobRow, parts: Dependencies) -> JobDefinition:
    """Return the definition that a row of `job` and its parts hold."""
    conditions: Mapping[str, list[ConditionDefinition]] = defaultdict(list)
    for found in parts.conditions.get(row.id, ()):
        conditions[found.child].append(ConditionDefinition(parent=found.parent, wanted=found.wanted))
    return JobDefinition(
        name=row.name, partition=row.partition_key, description=row.description, mode=row.mode, company=row.company,
        owner=row.created_by, run_as=row.run_as, start=row.original_start, recurrence=row.recurrence, base=row.base,
        missed=row.missed, tolerance_seconds=row.tolerance_seconds, history=row.history, batch_group=row.batch_group,
        priority=row.priority, active_period=row.active_period, concurrency=row.concurrency,
        max_retries=row.max_retries, dependency_type=row.dependency_type, overdue_seconds=row.overdue_seconds,
        long_seconds=row.long_seconds, category=row.category, is_critical=row.is_critical, is_system=row.is_system,
        is_private=row.is_private,
        dependencies=tuple(
            DependencyDefinition(parent=found.parent, wanted=found.wanted)
            for found in parts.dependencies.get(row.id, ())
        ),
        tasks=tuple(_task(found, conditions) for found in parts.tasks.get(row.id, ())),
        alerts=tuple(
            AlertDefinition(user=found.user_name, events=tuple(found.events), channels=tuple(found.channels))
            for found in parts.alerts.get(row.id, ())
        ),
    )  # fmt: skip


def _task(row: jobs_sql.TaskRow, conditions: Mapping[str, Sequence[ConditionDefinition]]) -> TaskDefinition:
    return TaskDefinition(
        name=row.name, description=row.description, handler=row.handler, parameters=row.parameters,
        parameters_version=row.parameters_version, company=row.company, batch_group=row.batch_group,
        location=row.location, is_private=row.is_private, condition_type=row.condition_type,
        ignore_failure=row.ignore_failure, max_retries=row.max_retries, retry_seconds=row.retry_seconds,
        timeout_seconds=row.timeout_seconds, wait_for_children=row.wait_for_children, is_withheld=row.is_withheld,
        conditions=tuple(conditions.get(row.name, ())),
    )  # fmt: skip


class _OfJob(Protocol):
    @property
    def job_id(self) -> JobId: ...


_Part = TypeVar("_Part", bound=_OfJob)


def _by_job(rows: Sequence[_Part]) -> Mapping[int, Sequence[_Part]]:
    found: dict[int, list[_Part]] = defaultdict(list)
    for row in rows:
        found[row.job_id].append(row)
    return found


async def check_places(connection: Connection, definition: JobDefinition) -> None:
    """Refuse groups and periods that do not exist, in words; the schema would refuse them too. Raises: JobRefused."""
    groups = {definition.batch_group, *(task.batch_group for task in definition.tasks)} - {None}
    for unknown in await jobs_sql.unknown_groups(connection, sorted(filter(None, groups))):
        raise JobRefused(f"job {definition.name}: there is no batch group named {unknown}", job=definition.name)
    period = definition.active_period
    if period is not None and await jobs_sql.unknown_period(connection, period):
        raise JobRefused(f"job {definition.name}: there is no active period named {period}", job=definition.name)


async def _check_dependencies(connection: Connection, definition: JobDefinition) -> None:
    parents = [dependency.parent for dependency in definition.dependencies]
    for unknown in await jobs_sql.unknown_jobs(connection, definition.partition, parents):
        raise JobRefused(
            f"job {definition.name}: there is no job named {unknown} in partition {definition.partition}",
            job=definition.name,
        )
