"""What must fit together around the jobs: names that exist, options that go with one another."""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Final

from gateway.batch.rules.conditions import GraphError, check_graph
from gateway.batch.rules.job import JobMode, Location, Wanted
from gateway.batch.rules.recurrence import RecurrenceError, from_dict
from gateway.config.definitions import moment, zone_of
from gateway.config.models import Account, Job, Settings, Task
from gateway.config.models_batch import DEFAULT_GROUP
from gateway.config.models_jobs import GATEWAY_JOB, SERVICES
from gateway.config.place import Finding, Path
from gateway.config.suggest import did_you_mean

_OF_TIME: Final = (
    "start", "zone", "recurrence", "base", "missed", "tolerance_seconds", "after", "condition", "active_period",
    "overdue_seconds", "retries", "concurrency",
)  # fmt: skip
_OF_EVENTS: Final = ("max_messages", "max_seconds")
_OF_RECURRENCE: Final = ("base", "missed", "tolerance_seconds")
_OF_EVENT_TASKS: Final = {"run", "parameters", "description", "company", "group"}


def check_jobs(settings: Settings, *, gone: Set[Path] = frozenset()) -> Iterator[Finding]:
    """Yield everything about jobs, groups, servers and accounts that does not fit together.

    `gone` are the paths of what stands in the file but is wrong in itself: nothing is said about names there.
    """
    yield from _Jobs(settings, gone).check()


def group_names(settings: Settings) -> list[str]:
    """Return the groups that may be named: those configured, and the default one."""
    return list(dict.fromkeys([DEFAULT_GROUP, *settings.groups]))


def is_known(path: Path, place: Path, name: str, known: Iterable[str], gone: Set[Path]) -> Iterator[Finding]:
    """Say so when nothing at *place*, a mapping of the file, has this name."""
    names = sorted(known)
    if name in names or {place, (*place, name)} & gone or any(place[:n] in gone for n in range(len(place))):
        return
    what = str(place[-1])
    what = (f"{what.removesuffix('ies')}y" if what.endswith("ies") else what.removesuffix("s")).replace("_", " ")
    rest = f"; known are {', '.join(names)}" if names else f"; there are no {place[-1]}".replace("_", " ")
    yield Finding(path=path, text=f"there is no {what} {name!a}{did_you_mean(name, names) or rest}")


def closed_account(account: Account, partition: str, company: str, *, what: str) -> str | None:
    """Say why an account could not run *what*, None when it could."""
    if account.partitions is not None and partition not in account.partitions:
        return f"has no access to the partition {partition} of this {what}"
    if account.companies is not None and company not in account.companies:
        return f"has no access to the company {company} of this {what}"
    return None


@dataclass(frozen=True, slots=True)
class _Jobs:
    settings: Settings
    gone: Set[Path]

    def check(self) -> Iterator[Finding]:
        for name, job in self.settings.jobs.items():
            at: Path = ("jobs", name)
            yield from _event_job(at, job) if job.mode is JobMode.EVENT else self._timed_job(at, name, job)
            yield from self._names_of_job(at, job)
            yield from _never_starts(self.settings, at, job)
            yield from self._people(at, job)
            for task_name, task in job.tasks.items():
                yield from self._names_of_task(at, job, task_name, task)
            yield from _circle((*at, "tasks"), "tasks", {task: job.tasks[task].after for task in job.tasks})
        yield from _circle(("jobs",), "jobs", {name: job.after for name, job in self.settings.jobs.items()})
        for name, server in self.settings.servers.items():
            for position, group in enumerate(server.groups or ()):
                yield from self._group(("servers", name, "groups", position), group)

    def _timed_job(self, at: Path, name: str, job: Job) -> Iterator[Finding]:
        for option in _OF_EVENTS:
            if option in job.model_fields_set:
                yield Finding(
                    path=(*at, option), text="goes with mode: event; a timed occurrence ends when all is done"
                )
        broken = any(path[: len(at) + 1] == (*at, "tasks") for path in self.gone)
        if not job.tasks and name != GATEWAY_JOB and not broken:
            yield Finding(
                path=at, text="has no tasks: name at least one under `tasks`, such as {run: command, with: {…}}"
            )
        if job.recurrence is None:
            for option in _OF_RECURRENCE:
                if option in job.model_fields_set:
                    yield Finding(path=(*at, option), text="goes with recurrence, and there is none: the job runs once")

    def _names_of_job(self, at: Path, job: Job) -> Iterator[Finding]:
        if job.group is not None:
            yield from self._group((*at, "group"), job.group)
        if job.active_period is not None:
            periods = self.settings.active_periods
            yield from self._known((*at, "active_period"), ("active_periods",), job.active_period, periods)
        partition = self._partition(job)
        siblings = [name for name, x in self.settings.jobs.items() if x.active and self._partition(x) == partition]
        for parent in job.after:
            if parent == at[1]:
                yield Finding(path=(*at, "after", parent), text="the job waits for itself")
            else:
                yield from self._known((*at, "after", parent), ("jobs",), parent, siblings)

    def _names_of_task(self, job_at: Path, job: Job, name: str, task: Task) -> Iterator[Finding]:
        at = (*job_at, "tasks", name)
        if task.group is not None:
            yield from self._group((*at, "group"), task.group)
        if task.location is Location.OPERATOR and task.run in SERVICES:
            yield Finding(path=(*at, "location"), text=f"{task.run} runs inside a gateway: only servers can run it")
        for parent in task.after:
            if parent == name:
                yield Finding(path=(*at, "after", parent), text="the task waits for itself")
            else:
                yield from self._known((*at, "after", parent), (*job_at, "tasks"), parent, job.tasks)

    def _people(self, at: Path, job: Job) -> Iterator[Finding]:
        """Names of people are checked where accounts are listed; what names no owner belongs to the gateway."""
        if not self.settings.accounts:
            return
        for option in ("owner", "run_as"):
            name = getattr(job, option)
            if name is not None:
                yield from self._person((*at, option), job, name)
        for name in job.alerts:
            yield from self._person((*at, "alerts", name), job, name)

    def _person(self, path: Path, job: Job, name: str) -> Iterator[Finding]:
        account = self.settings.accounts.get(name)
        if account is None:
            yield from self._known(path, ("accounts",), name, self.settings.accounts)
            return
        company = job.company or self.settings.default_company
        text = closed_account(account, self._partition(job), company, what="job")
        if text is not None:
            yield Finding(path=path, text=f"the account {name} {text}")

    def _group(self, path: Path, name: str) -> Iterator[Finding]:
        yield from self._known(path, ("groups",), name, group_names(self.settings))

    def _known(self, path: Path, place: Path, name: str, known: Iterable[str]) -> Iterator[Finding]:
        yield from is_known(path, place, name, known, self.gone)

    def _partition(self, job: Job) -> str:
        return job.partition or self.settings.default_partition


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
