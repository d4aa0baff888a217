"""A definition of a job written as the section it could come from, to be edited and read again."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from zoneinfo import ZoneInfo

import yaml

from gateway.batch.rules.definition import JobDefinition, TaskDefinition
from gateway.batch.rules.job import Wanted
from gateway.config.definitions import group_name, moment
from gateway.config.models import Job, Task
from gateway.config.shape import fields


def section_text(definition: JobDefinition) -> str:
    """Return the section of a job as YAML; options that have their usual value are left out."""
    text: str = yaml.safe_dump(section_of(definition), sort_keys=False, allow_unicode=True, width=110)
    return text


def section_of(definition: JobDefinition) -> dict[str, object]:
    """Return the section of a job as YAML holds it.

    Rule: read again for the same name and partition, it makes the same definition.
    """
    recurrence = dict(definition.recurrence or {})
    zone = str(recurrence.pop("zone", "UTC"))
    return _unusual(
        Job,
        {
            "description": definition.description if definition.description != definition.name else None,
            "mode": definition.mode,
            "start": None if definition.start is None else _local(definition.start, zone),
            "zone": zone if zone != "UTC" else None,
            "recurrence": recurrence or None,
            "base": definition.base,
            "missed": definition.missed,
            "tolerance_seconds": definition.tolerance_seconds,
            "after": _after({one.parent: one.wanted for one in definition.dependencies}),
            "condition": definition.dependency_type,
            "company": definition.company,
            "owner": definition.owner,
            "run_as": definition.run_as,
            "private": definition.is_private,
            "group": _group(definition.batch_group),
            "priority": definition.priority,
            "active_period": definition.active_period,
            "concurrency": definition.concurrency,
            "retries": definition.max_retries,
            "history": definition.history,
            "alerts": {
                alert.user: {"on": list(alert.events), "by": list(alert.channels)} for alert in definition.alerts
            },
            "overdue_seconds": definition.overdue_seconds,
            "long_running_seconds": definition.long_seconds,
            "category": definition.category,
            "critical": definition.is_critical,
            "tasks": {task.name: _task(task) for task in definition.tasks},
        },
    )


def _task(task: TaskDefinition) -> dict[str, object]:
    return _unusual(
        Task,
        {
            "description": task.description if task.description != task.name else None,
            "run": task.handler,
            "with": _plain(task.parameters),
            "after": _after({one.parent: one.wanted for one in task.conditions}),
            "condition": task.condition_type,
            "ignore_failure": task.ignore_failure,
            "retries": task.max_retries,
            "retry_seconds": task.retry_seconds,
            "timeout_seconds": task.timeout_seconds,
            "company": task.company,
            "group": _group(task.batch_group),
            "location": task.location,
            "private": task.is_private,
            "wait_for_children": task.wait_for_children,
            "hold": task.is_withheld,
        },
    )


def _unusual(section: type[Job | Task], options: Mapping[str, object]) -> dict[str, object]:
    """Return the options whose value is not the default of the section."""
    defaults = {
        key: None if field.is_required() else field.get_default(call_default_factory=True)
        for key, field in fields(section).items()
    }
    kept = {key: value for key, value in options.items() if value is not None and value != defaults[key]}
    return {key: value.value if isinstance(value, Enum) else value for key, value in kept.items()}


def _after(parents: Mapping[str, Wanted]) -> dict[str, str]:
    return {parent: wanted.value for parent, wanted in parents.items()}


def _group(key: str | None) -> str | None:
    return None if key is None else group_name(key)


def _local(start: datetime, zone: str) -> str:
    """Write a moment as the clock of *zone* shows it; with its offset where that alone would be another moment."""
    local = start.astimezone(ZoneInfo(zone))
    plain = local.replace(tzinfo=None, fold=0)
    return plain.isoformat(sep=" ") if moment(plain, zone) == start else local.isoformat(sep=" ")


def _plain(value: object) -> object:
    """Return parameters as YAML knows them."""
    match value:
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case str():
            return str(value)
    return value
