"""From the sections of the configuration to the definitions that the store keeps, and of a job back again.

An option and a field of one name mean the same; `_FIELDS` has those that are called otherwise. What is left is worked
out one by one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final
from zoneinfo import ZoneInfo

import yaml

from gateway.batch.rules import definition as domain
from gateway.batch.rules.definition import (
    AlertDefinition,
    CategoryDefinition,
    ConditionDefinition,
    DependencyDefinition,
    EntryDefinition,
    GroupDefinition,
    HoursDefinition,
    JobDefinition,
    LimitsDefinition,
    PeriodDefinition,
    QueueDefinition,
    ServerDefinition,
    TaskDefinition,
)
from gateway.batch.rules.job import JobMode, JobStatus, Wanted
from gateway.batch.rules.throttle import Throttle
from gateway.config.models import Settings
from gateway.config.models_base import Section
from gateway.config.models_jobs import DEFAULT_GROUP, SERVICES, Job, Task, Weekday
from gateway.config.models_ports import OVERDUE_SECONDS, STATUS_MESSAGES
from gateway.config.models_queues import QueueEntry
from gateway.config.models_services import DocumentService
from gateway.kernel.local_time import to_utc

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "attempts": ("max_attempts",),
    "batch": ("is_batch",),
    "condition": ("dependency_type", "condition_type"),
    "critical": ("is_critical",),
    "group": ("batch_group",),
    "hold": ("is_withheld",),
    "long_running_seconds": ("long_seconds",),
    "private": ("is_private",),
    "retries": ("max_retries",),
    "retry_timeout": ("retries_timeout",),
    "run": ("handler",),
    "start_automatically": ("starts_automatically",),
}


def _shared(section: type[Section], definition: type) -> Iterator[tuple[str, str]]:
    """Yield the options that a definition has too, each with its field there."""
    known = {field.name for field in fields(definition)}
    for option in section.model_fields:
        for field in (option, *_FIELDS.get(option, ())):
            if field in known:
                yield option, field
                break


def _said(section: Section, definition: type, name: str | None = None, **others: object) -> dict[str, Any]:
    """Return the fields of a definition with what a section of this *name* says of them; *others* in its place."""
    said = {field: getattr(section, option) for option, field in _shared(type(section), definition)}
    if "description" in said:
        said["description"] = said["description"] or name
    if "batch_group" in said:
        said["batch_group"] = group_key(said["batch_group"])
    return said | ({} if name is None else {"name": name}) | others


def job_definitions(settings: Settings) -> list[tuple[JobDefinition, JobStatus]]:
    """Return the active jobs, each with the status it has when it is seen for the first time."""
    return [
        (job_definition(settings, name, job), JobStatus(job.status.value))
        for name, job in settings.jobs.items()
        if job.active
    ]


def job_definition(settings: Settings, name: str, job: Job) -> JobDefinition:
    """Return one job as the store keeps it."""
    zone = zone_of(settings, job)
    said = _said(
        job,
        JobDefinition,
        name,
        partition=job.partition or settings.default_partition,
        company=job.company or settings.default_company,
        start=None if job.start is None else moment(job.start, zone),
        recurrence=None if job.recurrence is None else {**job.recurrence.plain(), "zone": zone},
        dependencies=tuple(DependencyDefinition(parent=one, wanted=how) for one, how in job.after.items()),
        overdue_seconds=job.overdue_seconds or _overdue_of(job),
        tasks=tuple(_tasks(job)),
        alerts=tuple(
            AlertDefinition(user=user, events=tuple(map(str, alerts.on)), channels=tuple(map(str, alerts.by)))
            for user, alerts in job.alerts.items()
        ),
    )
    return JobDefinition(**said)


def _tasks(job: Job) -> Iterator[TaskDefinition]:
    """Yield the tasks; where a job names none they are those that move messages, each after the one before."""
    for name, task in job.tasks.items():
        conditions = tuple(ConditionDefinition(parent=one, wanted=how) for one, how in task.after.items())
        yield TaskDefinition(
            **_said(task, TaskDefinition, name, conditions=conditions, parameters_version=task.parameters_version)
        )
    for before, name in zip((None, *SERVICES), () if job.tasks else SERVICES, strict=False):
        waits = job.mode is JobMode.TIMED and before is not None
        yield TaskDefinition(
            name=name,
            handler=name,
            description=name,
            conditions=(ConditionDefinition(parent=str(before), wanted=Wanted.ENDED),) if waits else (),
        )


def _overdue_of(job: Job) -> float | None:
    """Return how late a job may be that does not say: status messages are to come at least once a day."""
    uploads = any(task.run == STATUS_MESSAGES for task in job.tasks.values())
    return OVERDUE_SECONDS if uploads and job.mode is JobMode.TIMED else None


def zone_of(settings: Settings, job: Job) -> str:
    """Return the time zone in which a job is read: its own, that of its owner, or UTC."""
    account = settings.accounts.get(job.owner) if job.owner is not None else None
    return job.zone or (account.zone if account is not None else "UTC")


def moment(value: datetime, zone: str) -> datetime:
    """Return a moment in UTC; one without an offset is meant in *zone*.

    Rule: a local time that a clock change skips is the first instant after it; a repeated one is the first.
    """
    return value.astimezone(UTC) if value.tzinfo is not None else to_utc(value, ZoneInfo(zone))


def group_key(name: str | None) -> str | None:
    """Return how the store calls a group; None stays None."""
    return domain.DEFAULT_GROUP if name == DEFAULT_GROUP else name


def group_name(key: str) -> str:
    """Return how people call a group."""
    return DEFAULT_GROUP if key == domain.DEFAULT_GROUP else key


def group_definitions(settings: Settings) -> list[GroupDefinition]:
    """Return the batch groups."""
    return [
        replace(GroupDefinition(**_said(group, GroupDefinition, name)), name=group_key(name) or "")
        for name, group in settings.groups.items()
    ]


def server_definitions(settings: Settings) -> list[ServerDefinition]:
    """Return the servers with their groups and hours."""
    return [
        ServerDefinition(
            **_said(
                server,
                ServerDefinition,
                name,
                groups=None if server.groups is None else tuple(map(group_key, server.groups)),
                hours=tuple(HoursDefinition(**_said(row, HoursDefinition)) for row in server.hours),
            )
        )
        for name, server in settings.servers.items()
    ]


def throttle(settings: Settings) -> Throttle:
    """Return how often what tasks run may be started within a minute."""
    return Throttle(per_minute=settings.throttling.per_minute, classes=settings.throttling.runnables)


def period_definitions(settings: Settings) -> list[PeriodDefinition]:
    """Return the active periods."""
    return [
        PeriodDefinition(**_said(period, PeriodDefinition, name, weekdays=_numbers(period.on or tuple(Weekday))))
        for name, period in settings.active_periods.items()
    ]


def _numbers(days: Iterable[Weekday]) -> tuple[int, ...]:
    return tuple(sorted(day.number for day in days))


def limits_definition(settings: Settings) -> LimitsDefinition:
    """Return what all entries of job queues have to keep to."""
    return LimitsDefinition(**_said(settings.job_queues.limits, LimitsDefinition))


def category_definitions(settings: Settings) -> list[CategoryDefinition]:
    """Return the categories of job queue entries."""
    categories = settings.job_queues.categories.items()
    return [CategoryDefinition(**_said(category, CategoryDefinition, name)) for name, category in categories]


def queue_definitions(settings: Settings) -> list[QueueDefinition]:
    """Return the job queues."""
    return [
        QueueDefinition(
            **_said(queue, QueueDefinition, name, batch_group=group_key(queue.group) or domain.DEFAULT_GROUP)
        )
        for name, queue in settings.job_queues.queues.items()
    ]


def entry_definition(settings: Settings, entry: QueueEntry, *, name: str | None, user: str) -> EntryDefinition:
    """Return one entry as the store keeps it; it runs as *user*, whose time zone counts where it has none."""
    account = settings.accounts.get(user)
    zone = entry.zone or (account.zone if account is not None else "UTC")
    said = _said(
        entry,
        EntryDefinition,
        name,
        description=entry.description or name or entry.run,
        parameters_version=entry.parameters_version,
        partition=entry.partition or settings.default_partition,
        company=entry.company or settings.default_company,
        earliest=None if entry.earliest is None else moment(entry.earliest, zone),
        expires=None if entry.expires is None else moment(entry.expires, zone),
        weekdays=_numbers(entry.on),
        zone=zone,
        wakes_on=tuple(_document_of(settings, service) for service in entry.wakes_on),
    )
    return EntryDefinition(**said)


def _document_of(settings: Settings, service: str) -> str:
    found = settings.services[service]
    assert isinstance(found, DocumentService)  # the checks of names have passed
    return found.document


def section_text(definition: JobDefinition) -> str:
    """Return the section of a job as YAML, to be edited and read again; options of the usual value are left out."""
    text: str = yaml.safe_dump(section_of(definition), sort_keys=False, allow_unicode=True, width=110)
    return text


def entry_text(definition: EntryDefinition, settings: Settings) -> str:
    """Return the section of a job queue entry as YAML, as `section_text` does that of a job."""
    services = {one.document: name for name, one in settings.services.items() if isinstance(one, DocumentService)}
    others: dict[str, object] = {
        "on": tuple(list(Weekday)[day] for day in definition.weekdays),
        "wakes_on": tuple(services.get(document, document) for document in definition.wakes_on),
        "partition": None,
    }
    for option, at in (("earliest", definition.earliest), ("expires", definition.expires)):
        others[option] = None if at is None else _local(at, definition.zone)
    for option, time_of_day in (("starting", definition.starting), ("ending", definition.ending)):
        others[option] = None if time_of_day is None else time_of_day.isoformat()
    if definition.description == definition.run:
        others["description"] = None
    text: str = yaml.safe_dump(
        _written(QueueEntry, definition, others), sort_keys=False, allow_unicode=True, width=110
    )  # fmt: skip
    return text


def section_of(definition: JobDefinition) -> dict[str, object]:
    """Return the section of a job as YAML holds it.

    Rule: read again for the same name and partition, it makes the same definition.
    """
    recurrence = dict(definition.recurrence or {})
    zone = str(recurrence.pop("zone", "UTC"))
    written: dict[str, object] = {
        "start": None if definition.start is None else _local(definition.start, zone),
        "zone": zone if zone != "UTC" else None,
        "recurrence": recurrence or None,
        "after": {one.parent: one.wanted.value for one in definition.dependencies},
        "alerts": {alert.user: {"on": list(alert.events), "by": list(alert.channels)} for alert in definition.alerts},
        "partition": None,
    }
    tasks = {
        task.name: _written(Task, task, {"after": {one.parent: one.wanted.value for one in task.conditions}})
        for task in definition.tasks
    }
    return {**_written(Job, definition, written), "tasks": tasks}


def _written(
    section: type[Job | Task | QueueEntry],
    definition: JobDefinition | TaskDefinition | EntryDefinition,
    others: Mapping[str, object],
) -> dict[str, object]:
    """Return the options whose value is not the usual one: what a definition says, and *others* in its place."""
    options: dict[str, object] = {
        option: getattr(definition, field) for option, field in _shared(section, type(definition))
    }
    options["description"] = definition.description if definition.description != definition.name else None
    if not isinstance(definition, EntryDefinition):
        options["group"] = None if definition.batch_group is None else group_name(definition.batch_group)
    options |= others
    written: dict[str, object] = {}
    for option, field in section.model_fields.items():
        value = options.get(option)
        usual = None if field.is_required() else field.get_default(call_default_factory=True)
        if value is not None and value != usual and option != "tasks":
            written[field.alias or option] = _plain(value)
    return written


def _local(start: datetime, zone: str) -> str:
    """Write a moment as the clock of *zone* shows it; with its offset where that alone would be another moment."""
    local = start.astimezone(ZoneInfo(zone))
    plain = local.replace(tzinfo=None, fold=0)
    return plain.isoformat(sep=" ") if moment(plain, zone) == start else local.isoformat(sep=" ")


def _plain(value: object) -> object:
    """Return what an option holds as YAML knows it."""
    match value:
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case Enum():
            return value.value
        case str():
            return str(value)
    return value
