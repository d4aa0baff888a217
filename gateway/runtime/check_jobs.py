"""What can be known of jobs without running them: who would run their tasks, and who would hear of them."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from gateway.batch.handlers.command import COMMAND
from gateway.batch.rules.alert import Channel
from gateway.batch.rules.job import JobMode
from gateway.batch.rules.planning import first_start
from gateway.batch.store.servers import list_groups, list_servers
from gateway.config.definitions import group_name, job_definition
from gateway.config.document import Document, value_at
from gateway.config.environment import REFERENCE
from gateway.config.models import Job, Settings
from gateway.config.models_jobs import DEFAULT_GROUP, FirstStatus
from gateway.db.open import Store
from gateway.runtime.checked import Finding, Verdict
from gateway.runtime.jobs import server_name

MOST_TASKS: Final = 1000
MOST_CONDITIONS: Final = 100


def check_jobs(settings: Settings, *, now: datetime) -> Iterator[Finding]:
    """Yield what keeps tasks from running, or people from hearing of it; each job at least once."""
    served = _served(settings)
    for name, job in settings.jobs.items():
        subject = f"job {name}"
        if not job.active:
            yield Finding(subject=subject, verdict=Verdict.OK, text="not active: it is as if it were not there")
            continue
        found = [
            Finding(subject=subject, verdict=Verdict.WARNING, text=text, path=("jobs", name, *path))
            for path, text in (
                *_start(settings, name, job, now),
                *_groups(job, served),
                *_people(settings, job),
                *_sizes(job),
                *_arguments(job),
            )
        ]
        yield from found
        if not found:
            count = len(job.tasks)
            tasks = f"{count} task{'s' if count != 1 else ''}" if count else "the four tasks that move messages"
            yield Finding(subject=subject, verdict=Verdict.OK, text=tasks)


def check_alert_command(written: Document) -> Iterator[Finding]:
    """Yield what everybody sees of the command for alerts; *written* is the file before `${…}` is filled."""
    path = ("alerts", "command")
    if seen := _seen_by_everybody(value_at(written.value, path)):
        text = f"{seen}: let it read a secret from a file of its own"
        yield Finding(subject="alerts", verdict=Verdict.WARNING, text=text, path=path)


async def check_servers(settings: Settings, store: Store) -> list[Finding]:
    """Return the jobs with tasks that no server takes which runs now; nothing when none runs at all."""
    running = [one for one in await list_servers(store) if one.incarnation is not None]
    served = {group_name(group) for one in running if one.definition.is_batch for group in one.takes}
    if not running:
        return []
    return [
        Finding(
            subject=f"job {name}", verdict=Verdict.WARNING, path=("jobs", name, *path),
            text=f"no server that runs now serves the group {group}: its tasks wait until one does",
        )
        for name, job in settings.jobs.items()
        if job.active
        for path, group in _wanted(job)
        if group not in served and group in {group_name(one.definition.name) for one in await list_groups(store)}
    ]  # fmt: skip


def _served(settings: Settings) -> set[str]:
    """Return the groups whose tasks a server of the configuration, or this process, runs."""
    served: set[str] = set()
    given: set[str] = set()
    for server in settings.servers.values():
        given |= set(server.groups or ())
        if server.batch and (not server.hours or any(row.threads for row in server.hours)):
            served |= set(server.groups or (DEFAULT_GROUP,))
    if server_name(settings) not in settings.servers:
        served.add(DEFAULT_GROUP)
    return served | (set(settings.groups) - given) if DEFAULT_GROUP in served else served


def _start(settings: Settings, name: str, job: Job, now: datetime) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what a start in the past means for a job that is seen for the first time."""
    definition = job_definition(settings, name, job)
    if definition.start is None or definition.start >= now:
        return
    if definition.mode is JobMode.EVENT or job.status is FirstStatus.WITHHOLD:
        return
    first = first_start(definition, now)
    if first is None:
        yield ("recurrence",), "its recurrence is over: a job that is new does not start any more"
    elif first < now and not definition.dependencies:
        how = "once" if definition.recurrence is None else "for every start that is past (`missed: all`)"
        yield (
            ("start",),
            f"lies in the past: where the job is new it runs {how}, as soon as the gateway reads this; give it a start "
            "that is to come, or `status: withhold`",
        )


def _groups(job: Job, served: set[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    for path, group in _wanted(job):
        if group not in served:
            yield (
                path,
                f"no server of the configuration serves the group {group}: its tasks wait until one does; name it in "
                "`servers.<name>.groups`, or let an operator give it to one",
            )


def _wanted(job: Job) -> list[tuple[tuple[str, ...], str]]:
    """Return the groups of a job's tasks, each with the option that says so."""
    wanted: list[tuple[tuple[str, ...], str]] = [
        (("tasks", name, "group"), task.group) for name, task in job.tasks.items() if task.group is not None
    ]
    if len(wanted) < len(job.tasks) or not job.tasks:
        wanted.append((("group",), job.group or DEFAULT_GROUP))
    return wanted


def _people(settings: Settings, job: Job) -> Iterator[tuple[tuple[str, ...], str]]:
    for option in ("owner", "run_as"):
        account = settings.accounts.get(getattr(job, option) or "")
        if account is not None and not account.enabled:
            yield (option,), f"the account {getattr(job, option)} is switched off: every run fails"
    for user, alerts in job.alerts.items():
        account = settings.accounts.get(user)
        if Channel.EMAIL in alerts.by and (account is None or account.email is None):
            yield ("alerts", user), f"{user} has no e-mail address: name it in `accounts.{user}.email`"


def _arguments(job: Job) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, task in job.tasks.items():
        if seen := _seen_by_everybody(task.parameters.get("command") if task.run == COMMAND else None):
            yield ("tasks", name, "with", "command"), f"{seen}: give a secret by `environment` or `input`"


def _seen_by_everybody(command: object) -> str | None:
    """Say which arguments of a command, as written, bring something in from outside; None when none does."""
    arguments = command if isinstance(command, Sequence) and not isinstance(command, str) else ()
    found = [str(argument) for argument in arguments if REFERENCE.search(str(argument))]
    return f"everybody on the machine sees its arguments in `ps`, {' and '.join(found)} too" if found else None


def _sizes(job: Job) -> Iterator[tuple[tuple[str, ...], str]]:
    if len(job.tasks) > MOST_TASKS:
        yield ("tasks",), f"has {len(job.tasks)} tasks; more than {MOST_TASKS} make a job slow to start and to look at"
    for name, task in job.tasks.items():
        if len(task.after) > MOST_CONDITIONS:
            yield ("tasks", name, "after"), f"has {len(task.after)} conditions; more than {MOST_CONDITIONS} are slow"
