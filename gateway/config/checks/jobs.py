"""What must fit together around jobs, job queues and posting: names that exist, options that go with one another."""

from collections.abc import Iterator, Mapping
from typing import Final

from gateway.batch.rules.conditions import GraphError, check_graph
from gateway.batch.rules.job import JobMode, Location, Wanted
from gateway.batch.rules.recurrence import RecurrenceError, from_dict
from gateway.config.checks.whole import Whole
from gateway.config.definitions import moment, zone_of
from gateway.config.document import Finding, Path
from gateway.config.models import Settings
from gateway.config.models_jobs import GATEWAY_JOB, SERVICES, Job, Task
from gateway.config.models_queues import QueueEntry
from gateway.config.models_services import DocumentService
from gateway.config.suggest import did_you_mean

_OF_TIME: Final = (
    "start", "zone", "recurrence", "base", "missed", "tolerance_seconds", "after", "condition", "active_period",
    "overdue_seconds", "retries", "concurrency",
)  # fmt: skip
_OF_EVENTS: Final = ("max_messages", "max_seconds")
_OF_RECURRENCE: Final = ("base", "missed", "tolerance_seconds")
_OF_EVENT_TASKS: Final = {"run", "parameters", "description", "company", "group"}


def check_jobs(whole: Whole) -> Iterator[Finding]:
    """Yield everything about jobs, groups, servers and accounts that does not fit together."""
    settings = whole.settings
    for name, job in settings.jobs.items():
        at: Path = ("jobs", name)
        yield from _event_job(at, job) if job.mode is JobMode.EVENT else _timed_job(whole, at, job)
        yield from _names_of_job(whole, at, job)
        yield from _never_starts(settings, at, job)
        yield from _people(whole, at, job)
        for task_name, task in job.tasks.items():
            yield from _names_of_task(whole, at, job, task_name, task)
        yield from _circle((*at, "tasks"), "tasks", {task: job.tasks[task].after for task in job.tasks})
    yield from _circle(("jobs",), "jobs", {name: job.after for name, job in settings.jobs.items()})
    for name, server in settings.servers.items():
        for position, group in enumerate(server.groups or ()):
            yield from whole.unknown_group(("servers", name, "groups", position), group)


def _timed_job(whole: Whole, at: Path, job: Job) -> Iterator[Finding]:
    for option in _OF_EVENTS:
        if option in job.model_fields_set:
            yield Finding(path=(*at, option), text="goes with mode: event; a timed occurrence ends when all is done")
    broken = any(path[: len(at) + 1] == (*at, "tasks") for path in whole.gone)
    if not job.tasks and at != ("jobs", GATEWAY_JOB) and not broken:
        text = "has no tasks: name at least one under `tasks`, such as {run: command, with: {…}}"
        yield Finding(path=at, text=text)
    if job.recurrence is None:
        for option in _OF_RECURRENCE:
            if option in job.model_fields_set:
                yield Finding(path=(*at, option), text="goes with recurrence, and there is none: the job runs once")


def _names_of_job(whole: Whole, at: Path, job: Job) -> Iterator[Finding]:
    settings = whole.settings
    yield from whole.unknown_group((*at, "group"), job.group)
    if job.active_period is not None:
        path: Path = (*at, "active_period")
        yield from whole.unknown(path, ("active_periods",), job.active_period, settings.active_periods)
    partition = job.partition or settings.default_partition
    siblings = [
        name for name, one in settings.jobs.items()
        if one.active and (one.partition or settings.default_partition) == partition
    ]  # fmt: skip
    for parent in job.after:
        if parent == at[1]:
            yield Finding(path=(*at, "after", parent), text="the job waits for itself")
        else:
            yield from whole.unknown((*at, "after", parent), ("jobs",), parent, siblings)


def _names_of_task(whole: Whole, job_at: Path, job: Job, name: str, task: Task) -> Iterator[Finding]:
    at = (*job_at, "tasks", name)
    yield from whole.unknown_group((*at, "group"), task.group)
    if task.location is Location.OPERATOR and task.run in SERVICES:
        yield Finding(path=(*at, "location"), text=f"{task.run} runs inside a gateway: only servers can run it")
    for parent in task.after:
        if parent == name:
            yield Finding(path=(*at, "after", parent), text="the task waits for itself")
        else:
            yield from whole.unknown((*at, "after", parent), (*job_at, "tasks"), parent, job.tasks)


def _people(whole: Whole, at: Path, job: Job) -> Iterator[Finding]:
    """Names of people are checked where accounts are listed; what names no owner belongs to the gateway."""
    named: list[tuple[Path, str | None]] = [((*at, option), getattr(job, option)) for option in ("owner", "run_as")]
    named += [((*at, "alerts", name), name) for name in job.alerts]
    for path, name in named:
        if name is not None:
            yield from whole.unfit_account(path, name, partition=job.partition, company=job.company, what="job")


def _event_job(at: Path, job: Job) -> Iterator[Finding]:
    """What work starts has no planned start, and its tasks stream side by side in their fixed order."""
    for option in _OF_TIME:
        if option in job.model_fields_set:
            yield Finding(
                path=(*at, option), text="goes with mode: timed; a job in mode: event starts when work appears"
            )
    runs: dict[str, str] = {}
    for name, task in job.tasks.items():
        path = (*at, "tasks", name)
        if task.run not in SERVICES:
            yield Finding(
                path=(*path, "run"),
                text=f"{task.run!a} cannot be in a job of mode: event, which runs only {', '.join(SERVICES)}"
                f"{did_you_mean(task.run, SERVICES)}",
            )
        elif runs.setdefault(task.run, name) != name:
            yield Finding(path=(*path, "run"), text=f"is run by the task {runs[task.run]} already")
        for option in sorted(task.model_fields_set - _OF_EVENT_TASKS):
            yield Finding(
                path=(*path, option),
                text="goes with mode: timed; in mode: event the tasks run side by side, again and again",
            )


def _circle(at: Path, what: str, after: Mapping[str, Mapping[str, Wanted]]) -> Iterator[Finding]:
    """Say so when some wait for one another; what waits for itself or for nothing that exists is told elsewhere."""
    conditions = [
        (name, parent, wanted)
        for name, parents in after.items()
        for parent, wanted in parents.items()
        if parent in after and parent != name
    ]
    try:
        check_graph(list(after), conditions)
    except GraphError as error:
        cycle = error.context["cycle"]
        assert isinstance(cycle, list)
        text = f"these {what} wait for one another: {' → '.join(cycle)}; none could ever start"
        yield Finding(path=(*at, cycle[0], "after"), text=text)


def _never_starts(settings: Settings, at: Path, job: Job) -> Iterator[Finding]:
    """Say so when no date fits a recurrence from its start on."""
    if job.recurrence is None or job.start is None:
        return
    zone = zone_of(settings, job)
    try:
        from_dict(job.recurrence.plain(), start=moment(job.start, zone), zone=zone)
    except RecurrenceError as error:
        yield Finding(path=(*at, "recurrence"), text=error.message.removeprefix("recurrence: ").rstrip("."))


def check_queues(whole: Whole) -> Iterator[Finding]:
    """Yield everything about job queues that does not fit together."""
    queues = whole.settings.job_queues
    for name, queue in queues.queues.items():
        at: Path = ("job_queues", "queues", name)
        yield from whole.unknown_group((*at, "group"), queue.group)
        for position, category in enumerate(queue.categories or ()):
            yield from _category(whole, (*at, "categories", position), category)
    for name, entry in queues.entries.items():
        yield from _entry(whole, ("job_queues", "entries", name), entry)


def _category(whole: Whole, path: Path, name: str | None) -> Iterator[Finding]:
    if name is not None:
        yield from whole.unknown(path, ("job_queues", "categories"), name, whole.settings.job_queues.categories)


def _too_long(whole: Whole, path: Path, seconds: float | None) -> Iterator[Finding]:
    """Yield that an entry would ask for more time than there is."""
    most = whole.settings.job_queues.limits.max_timeout_seconds
    if seconds is not None and seconds > most:
        yield Finding(path=path, text=f"must be at most {most:g}, the job_queues.limits.max_timeout_seconds")


def _entry(whole: Whole, at: Path, entry: QueueEntry) -> Iterator[Finding]:
    repeats = bool(entry.on or entry.formula)
    yield from _too_long(whole, (*at, "timeout_seconds"), entry.timeout_seconds)
    yield from _category(whole, (*at, "category"), entry.category)
    if entry.formula is not None and entry.minutes:
        yield Finding(path=(*at, "minutes"), text="goes without formula: a formula says the day of the next run")
    if entry.minutes and not entry.on:
        yield Finding(path=(*at, "minutes"), text="goes with `on`, the weekdays on which it repeats")
    if entry.inactivity_minutes and not repeats:
        yield Finding(path=(*at, "inactivity_minutes"), text="goes with `on` or `formula`: what runs once ends")
    if entry.wakes_on and not entry.inactivity_minutes:
        yield Finding(path=(*at, "wakes_on"), text="goes with inactivity_minutes: without, the entry does not sleep")
    if entry.location is Location.OPERATOR and repeats:
        yield Finding(path=(*at, "location"), text="operator goes without `on` and `formula`: a person runs it once")
    documents = [name for name, one in whole.settings.services.items() if isinstance(one, DocumentService)]
    for position, service in enumerate(entry.wakes_on):
        yield from whole.unknown((*at, "wakes_on", position), ("services",), service, documents)
    if entry.user is not None and entry.user != GATEWAY_JOB:
        path: Path = (*at, "user")
        yield from whole.unfit_account(path, entry.user, partition=entry.partition, company=entry.company, what="entry")


def check_posting(whole: Whole) -> Iterator[Finding]:
    """Yield the categories and printers that posting names and nobody has, and time that no entry may take."""
    posting = whole.settings.posting
    if posting is None:
        return
    yield from _category(whole, ("posting", "sales_category"), posting.sales_category)
    yield from _category(whole, ("posting", "purchase_category"), posting.purchase_category)
    yield from _too_long(whole, ("posting", "timeout_seconds"), posting.timeout_seconds)
    for name, handler in posting.handlers.items():
        yield from _category(whole, ("posting", "handlers", name, "category"), handler.category)
    if posting.print is not None:
        for number, selection in enumerate(posting.print.selections):
            path: Path = ("posting", "print", "selections", number, "printer")
            place: Path = ("posting", "print", "printers")
            yield from whole.unknown(path, place, selection.printer, posting.print.printers)
