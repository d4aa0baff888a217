"""From the sections of the configuration to the definitions that the store keeps."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

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
    PeriodDefinition,
    QueueDefinition,
    ServerDefinition,
    TaskDefinition,
)
from gateway.batch.rules.job import JobMode, JobStatus, Wanted
from gateway.batch.rules.throttle import Throttle
from gateway.config.models import DocumentService, Job, QueueEntry, Settings, Task
from gateway.config.models_batch import DEFAULT_GROUP, Weekday
from gateway.config.models_exchange import OVERDUE_SECONDS, STATUS_MESSAGES
from gateway.config.models_jobs import SERVICES, FirstStatus
from gateway.kernel.local_time import to_utc

_FIRST: Final[Mapping[FirstStatus, JobStatus]] = {
    FirstStatus.WAITING: JobStatus.WAITING,
    FirstStatus.WITHHOLD: JobStatus.WITHHOLD,
}


def job_definitions(settings: Settings) -> list[tuple[JobDefinition, JobStatus]]:
    """Return the active jobs, each with the status it has when it is seen for the first time."""
    return [
        (job_definition(settings, name, job), _FIRST[job.status]) for name, job in settings.jobs.items() if job.active
    ]


def job_definition(settings: Settings, name: str, job: Job) -> JobDefinition:
    """Return one job as the store keeps it."""
    zone = zone_of(settings, job)
    return JobDefinition(
        name=name,
        description=job.description or name,
        partition=job.partition or settings.default_partition,
        company=job.company or settings.default_company,
        mode=job.mode,
        owner=job.owner,
        run_as=job.run_as,
        start=None if job.start is None else moment(job.start, zone),
        recurrence=None if job.recurrence is None else {**job.recurrence.plain(), "zone": zone},
        base=job.base,
        missed=job.missed,
        tolerance_seconds=job.tolerance_seconds,
        history=job.history,
        batch_group=group_key(job.group),
        priority=job.priority,
        active_period=job.active_period,
        concurrency=job.concurrency,
        max_retries=job.retries,
        dependency_type=job.condition,
        dependencies=tuple(DependencyDefinition(parent=parent, wanted=wanted) for parent, wanted in job.after.items()),
        overdue_seconds=job.overdue_seconds or _overdue_of(job),
        long_seconds=job.long_running_seconds,
        category=job.category,
        is_critical=job.critical,
        is_private=job.private,
        tasks=tuple(_tasks(job)),
        alerts=tuple(
            AlertDefinition(
                user=user,
                events=tuple(event.value for event in alerts.on),
                channels=tuple(channel.value for channel in alerts.by),
            )
            for user, alerts in job.alerts.items()
        ),
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


def _tasks(job: Job) -> Iterator[TaskDefinition]:
    """Yield the tasks; where a job names none they are those that move messages, each after the one before."""
    if job.tasks:
        for name, task in job.tasks.items():
            yield _task(name, task)
        return
    for before, name in zip((None, *SERVICES), SERVICES, strict=False):
        waits = job.mode is JobMode.TIMED and before is not None
        yield TaskDefinition(
            name=name,
            handler=name,
            description=name,
            conditions=(ConditionDefinition(parent=str(before), wanted=Wanted.ENDED),) if waits else (),
        )


def _task(name: str, task: Task) -> TaskDefinition:
    return TaskDefinition(
        name=name,
        handler=task.run,
        description=task.description or name,
        parameters=task.parameters,
        company=task.company,
        batch_group=group_key(task.group),
        location=task.location,
        is_private=task.private,
        conditions=tuple(ConditionDefinition(parent=parent, wanted=wanted) for parent, wanted in task.after.items()),
        condition_type=task.condition,
        ignore_failure=task.ignore_failure,
        max_retries=task.retries,
        retry_seconds=task.retry_seconds,
        timeout_seconds=task.timeout_seconds,
        wait_for_children=task.wait_for_children,
        is_withheld=task.hold,
    )


def group_definitions(settings: Settings) -> list[GroupDefinition]:
    """Return the batch groups."""
    return [
        GroupDefinition(
            name=group_key(name) or "",
            description=group.description or name,
            priority=group.priority,
            concurrency=group.concurrency,
        )
        for name, group in settings.groups.items()
    ]


def server_definitions(settings: Settings) -> list[ServerDefinition]:
    """Return the servers with their groups and hours."""
    return [
        ServerDefinition(
            name=name,
            is_batch=server.batch,
            threads=server.threads,
            reserved_percent=server.reserved_percent,
            groups=None if server.groups is None else tuple(group_key(group) or "" for group in server.groups),
            hours=tuple(
                HoursDefinition(threads=row.threads, start=row.start, end=row.end, zone=row.zone)
                for row in server.hours
            ),
        )
        for name, server in settings.servers.items()
    ]


def throttle(settings: Settings) -> Throttle:
    """Return how often what tasks run may be started within a minute."""
    return Throttle(per_minute=settings.throttling.per_minute, classes=settings.throttling.runnables)


def period_definitions(settings: Settings) -> list[PeriodDefinition]:
    """Return the active periods."""
    return [
        PeriodDefinition(
            name=name,
            start=period.start,
            end=period.end,
            weekdays=tuple(sorted(day.number for day in period.on or tuple(Weekday))),
            zone=period.zone,
        )
        for name, period in settings.active_periods.items()
    ]


def category_definitions(settings: Settings) -> list[CategoryDefinition]:
    """Return the categories of job queue entries."""
    return [
        CategoryDefinition(name=name, description=category.description or name, width=category.width)
        for name, category in settings.job_queues.categories.items()
    ]


def queue_definitions(settings: Settings) -> list[QueueDefinition]:
    """Return the job queues."""
    return [
        QueueDefinition(
            name=name, description=queue.description or name, categories=queue.categories,
            batch_group=group_key(queue.group) or domain.DEFAULT_GROUP, starts_automatically=queue.start_automatically,
        )
        for name, queue in settings.job_queues.queues.items()
    ]  # fmt: skip


def entry_definition(settings: Settings, entry: QueueEntry, *, name: str | None, user: str) -> EntryDefinition:
    """Return one entry as the store keeps it; it runs as *user*, whose time zone counts where it has none."""
    account = settings.accounts.get(user)
    zone = entry.zone or (account.zone if account is not None else "UTC")
    return EntryDefinition(
        run=entry.run, parameters=entry.parameters, name=name, description=entry.description or name or entry.run,
        record=entry.record, partition=entry.partition or settings.default_partition,
        company=entry.company or settings.default_company, category=entry.category, priority=entry.priority,
        earliest=None if entry.earliest is None else moment(entry.earliest, zone),
        expires=None if entry.expires is None else moment(entry.expires, zone),
        weekdays=tuple(sorted(day.number for day in entry.on)), minutes=entry.minutes, formula=entry.formula,
        starting=entry.starting, ending=entry.ending, zone=zone, max_attempts=entry.attempts,
        rerun_delay_seconds=entry.rerun_delay_seconds, inactivity_minutes=entry.inactivity_minutes,
        wakes_on=tuple(_document_of(settings, service) for service in entry.wakes_on),
        timeout_seconds=entry.timeout_seconds, retries_timeout=entry.retry_timeout, location=entry.location,
        notify_on_success=entry.notify_on_success,
    )  # fmt: skip


def _document_of(settings: Settings, service: str) -> str:
    found = settings.services[service]
    assert isinstance(found, DocumentService)  # the checks of names have passed
    return found.document
