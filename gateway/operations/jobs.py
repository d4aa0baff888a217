"""Batch jobs as people see and change them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gateway.batch.rules.capacity import is_open, next_opening
from gateway.batch.rules.definition import JobDefinition, PeriodDefinition
from gateway.batch.rules.job import JobMode, JobStatus
from gateway.batch.rules.recurrence import Recurrence, describe, from_dict, preview
from gateway.batch.rules.transitions import JobAction
from gateway.batch.statements.runs_sql import Run, RunTask
from gateway.batch.store import cancel, jobs, runs, servers, starting
from gateway.batch.store.jobs import Job
from gateway.config.definitions import group_name, job_definition
from gateway.config.models import Job as JobSection
from gateway.config.models import Settings
from gateway.config.models_jobs import ActivePeriod, Group
from gateway.config.suggest import did_you_mean
from gateway.db.open import Store
from gateway.kernel.errors import JobRefused
from gateway.kernel.ids import JobId, RunId
from gateway.operations.audit import recorded
from gateway.operations.principal import NotAllowed, OperatorSession, known_account
from gateway.operations.references import NotFound

LAST_RUNS = 5
NEXT_STARTS = 3
_RECORDED: Final = {JobAction.WITHHOLD: "job.hold", JobAction.ARM: "job.release"}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job in a list.

    `repeats` is its recurrence in words, None: it runs once, or work that appears starts it. `next_start` is None when
    nothing is planned as it stands; it lies in the job's active period. Of `source` config it stands in the
    configuration.
    """

    id: JobId
    name: str
    description: str
    status: JobStatus
    held_after: bool
    mode: JobMode
    partition: str
    company: str
    owner: str
    group: str
    repeats: str | None
    next_start: datetime | None
    last_outcome: str | None
    last_ended_at: datetime | None
    runs: int
    failures: int
    critical: bool
    private: bool
    system: bool
    category: str | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """Everything about one job: `tasks` are those of the run under way, else of the last one, by name."""

    job: JobRow
    definition: JobDefinition
    next_starts: tuple[datetime, ...]
    tasks: dict[str, RunTask]
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """When a job is going to start: `starts` in UTC, in `zone` for people; `repeats` says it in words.

    The starts lie in the active period, where the job names one. Those that are past are due at once.
    """

    name: str
    status: JobStatus
    repeats: str | None
    zone: str
    active_period: str | None
    starts: tuple[datetime, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How a run ended; `kept`: it is in history, with its tasks."""

    status: str
    kept: bool


async def list_jobs(session: OperatorSession, *, statuses: Sequence[JobStatus] | None = None) -> list[JobRow]:
    """Return the jobs of the partition by name; private ones of others are not among them."""
    found = await visible_jobs(session, statuses)
    periods = await _periods(session.store, found)
    return [_row(one, periods, session.now) for one in found]


async def visible_jobs(session: OperatorSession, statuses: Sequence[JobStatus] | None = None) -> Sequence[Job]:
    """Return the jobs of the partition by name as they are stored; private ones of others are not among them."""
    owner = session.actor if session.principal.mine else None
    return await jobs.list_jobs(
        session.store, partition=session.partition, statuses=statuses, created_by=owner, viewer=session.actor
    )


async def find_job(session: OperatorSession, name: str) -> Job:
    """Return a job that the person may see. Raises: NotFound naming what there is."""
    found = await jobs.read_job(session.store, name, partition=session.partition, viewer=session.actor)
    if found is not None and not (session.principal.mine and found.created_by != session.actor):
        return found
    names = [one.definition.name for one in await visible_jobs(session)]
    hint = did_you_mean(name, names) or (f"; there are {', '.join(names)}" if names else "; there are none")
    whose = f" of {session.actor}" if session.principal.mine else ""
    raise NotFound(f"there is no job {name!a}{whose} in the partition {session.partition}{hint}")


async def show_job(session: OperatorSession, name: str) -> JobReport:
    """Return everything about one job. Raises: NotFound."""
    job = await find_job(session, name)
    last = await runs.last_runs(session.store, job.id, LAST_RUNS)
    newest = job.run_id or (last[0].id if last else None)
    tasks = (await runs.read_run(session.store, newest)).tasks if newest is not None else ()
    periods = await _periods(session.store, [job])
    return JobReport(
        job=_row(job, periods, session.now),
        definition=job.definition,
        next_starts=_starts(job, periods, NEXT_STARTS, session.now),
        tasks={task.name: task for task in tasks},
        runs=tuple(last),
    )


async def preview_job(session: OperatorSession, name: str, count: int) -> Preview:
    """Return the next planned starts of a job, those of a withheld one as if it were armed. Raises: NotFound."""
    job = await find_job(session, name)
    rule = _rule(job)
    return Preview(
        name=name,
        status=job.status,
        repeats=None if rule is None else describe(rule),
        zone="UTC" if rule is None else rule.zone,
        active_period=job.definition.active_period,
        starts=_starts(job, await _periods(session.store, [job]), count, session.now, armed=True),
    )


async def known_names(session: OperatorSession) -> Settings:
    """Return settings that also hold what the store knows by name, for checking a job that somebody writes."""
    groups = {group_name(one.definition.name): Group() for one in await servers.list_groups(session.store)}
    periods = {one.name: ActivePeriod.model_construct() for one in await servers.list_periods(session.store)}
    named = await jobs.list_jobs(session.store, partition=session.partition)
    stubs = {one.definition.name: JobSection.model_construct(partition=session.partition) for one in named}
    update = {
        "groups": {**groups, **session.settings.groups},
        "active_periods": {**periods, **session.settings.active_periods},
        "jobs": {**stubs, **session.settings.jobs},
        "default_partition": session.partition,
    }
    return session.settings.model_copy(update=update)


async def create_job(session: OperatorSession, name: str, section: JobSection, *, release: bool) -> JobRow:
    """Save a new job of the person; it is withheld unless it is to be released.

    Raises: JobRefused when the name is taken or something it names does not exist; NotFound, NotAllowed for its owner.
    """
    async with recorded(session, "job.create", name):
        definition = _defined(session, name, section, owner=section.owner or session.actor)
        known_account(session.settings, definition.owner or "", partition=session.partition, company=definition.company)
        status = JobStatus.WAITING if release else JobStatus.WITHHOLD
        await jobs.create_job(session.store, definition, by=session.actor, now=session.now, status=status)
        return await _stands(session, name)


async def edit_job(session: OperatorSession, name: str, section: JobSection) -> JobRow:
    """Replace the definition of a job; its status stays, and a run under way goes on as it was started.

    Raises: NotFound; NotAllowed for a job of the configuration; JobRefused.
    """
    async with recorded(session, "job.edit", name):
        job = await find_job(session, name)
        _of_operators(job, "edit its section there")
        await jobs.edit_job(
            session.store,
            job.id,
            _defined(session, name, section, owner=section.owner or job.created_by),
            now=session.now,
        )
        return await _stands(session, name)


async def hold_job(session: OperatorSession, name: str) -> JobRow:
    """Park a job; a run under way ends first. Raises: NotFound, IllegalTransition."""
    return await _change(session, name, JobAction.WITHHOLD)


async def release_job(session: OperatorSession, name: str) -> JobRow:
    """Let a job start when it is due, also again after its end. Raises: NotFound, IllegalTransition."""
    return await _change(session, name, JobAction.ARM)


async def start_job(session: OperatorSession, name: str) -> RunId:
    """Start an occurrence now; the planned starts stay. Returns the run. Raises: NotFound, IllegalTransition."""
    async with recorded(session, "job.start", name):
        job = await find_job(session, name)
        return await starting.start_now(session.store, job.id, by=session.actor, now=session.now)


async def run_outcome(session: OperatorSession, name: str, run: int) -> RunOutcome | None:
    """Return how a run of a job ended, None while it is under way; also of a run that history does not keep.

    Raises: NotFound; JobRefused when it is gone and another one has started, so that nobody knows any more.
    """
    found = await runs.find_run(session.store, RunId(run))
    if found is not None:
        return None if found.ended_at is None else RunOutcome(status=found.status, kept=True)
    job = await find_job(session, name)
    if job.last_run_id != run:
        raise JobRefused(
            f"the run {run} of {name} has ended, and how is not known: the history of the job does not keep it, and "
            f"the run {job.last_run_id} has started since; `history: always` keeps them",
            job=name,
        )
    return RunOutcome(status=job.last_outcome or "", kept=False)


async def cancel_job(session: OperatorSession, name: str, *, only_this: bool = False) -> JobRow:
    """Let nothing more of a job start; with *only_this* it comes back at its next planned start.

    Raises: NotFound, IllegalTransition.
    """
    async with recorded(session, "job.cancel", name):
        job = await find_job(session, name)
        await cancel.cancel_job(session.store, job.id, by=session.actor, now=session.now, only_this=only_this)
        return await _stands(session, name)


async def requeue_job(session: OperatorSession, name: str) -> JobRow:
    """Take back an occurrence that nobody works on any more, and let the job wait again.

    Raises: NotFound; IllegalTransition while somebody alive works on it.
    """
    async with recorded(session, "job.requeue", name):
        job = await find_job(session, name)
        await cancel.requeue_job(session.store, job.id, by=session.actor, now=session.now)
        return await _stands(session, name)


async def copy_job(session: OperatorSession, name: str, new: str) -> JobRow:
    """Save a copy under another name, withheld and owned by the person. Raises: NotFound, JobRefused."""
    async with recorded(session, "job.copy", f"{name} as {new}"):
        job = await find_job(session, name)
        await jobs.copy_job(session.store, job.id, new, by=session.actor, now=session.now)
        return await _stands(session, new)


async def removable_jobs(session: OperatorSession, status: JobStatus) -> list[str]:
    """Return the jobs with this status that an operator made and may remove, by name."""
    found = [one for one in await visible_jobs(session, [status]) if one.source != "config"]
    return [one.definition.name for one in found if not one.definition.is_system]


async def delete_job(session: OperatorSession, name: str) -> None:
    """Remove a job; its history stays.

    Raises: NotFound; NotAllowed for a job of the configuration; IllegalTransition while a run is under way.
    """
    async with recorded(session, "job.delete", name):
        job = await find_job(session, name)
        _of_operators(job, "take its section away there, or write `active: false` into it")
        await jobs.delete_job(session.store, job.id, by=session.actor)


async def _change(session: OperatorSession, name: str, action: JobAction) -> JobRow:
    async with recorded(session, _RECORDED[action], name):
        job = await find_job(session, name)
        await jobs.change_status(session.store, job.id, action, by=session.actor, now=session.now)
        return await _stands(session, name)


def _of_operators(job: Job, instead: str) -> None:
    """Refuse to change what the configuration says: the file would say it again. Raises: NotAllowed."""
    if job.source == "config":
        raise NotAllowed(f"the job {job.definition.name} stands in the configuration: {instead}")


def _defined(session: OperatorSession, name: str, section: JobSection, *, owner: str) -> JobDefinition:
    if section.partition not in {None, session.partition}:
        raise NotAllowed(
            f"the job names the partition {section.partition}, and you work in {session.partition}: "
            "choose its partition"
        )
    return replace(job_definition(session.settings, name, section), partition=session.partition, owner=owner)


def _rule(job: Job) -> Recurrence | None:
    plain = job.definition.recurrence
    return None if plain is None else from_dict(plain, start=job.original_start)


async def _periods(store: Store, found: Iterable[Job]) -> Mapping[str, PeriodDefinition]:
    """Return the active periods that these jobs name, by name."""
    if not any(one.definition.active_period for one in found):
        return {}
    return {period.name: period for period in await servers.list_periods(store)}


def _starts(
    job: Job, periods: Mapping[str, PeriodDefinition], count: int, now: datetime, *, armed: bool = False
) -> tuple[datetime, ...]:
    """Return the next starts; the first is the stored one, also when it is past and so due at once.

    Rule: what comes due while its active period is closed starts once, when that opens; then the plan goes on.
    """
    if job.definition.mode is JobMode.EVENT:
        return ()
    rule, occurrences = _rule(job), job.occurrences
    if job.status is JobStatus.WAITING or (armed and job.status is JobStatus.WITHHOLD):
        planned: datetime | None = job.next_start
    elif rule is not None and (armed or job.status is JobStatus.EXECUTING):
        planned = _following(rule, max(job.next_start, now), occurrences)
    else:
        planned = None
    starts = list[datetime]()
    while planned is not None and len(starts) < count:
        start = _opening(job, periods, planned, now)
        if start is None:
            break
        starts.append(start)
        occurrences += 1
        planned = None if rule is None else _following(rule, max(start, now), occurrences)
    return tuple(starts)


def _following(rule: Recurrence, after: datetime, occurrences: int) -> datetime | None:
    return next(iter(preview(rule, after, 1, occurrences=occurrences)), None)


def _opening(job: Job, periods: Mapping[str, PeriodDefinition], planned: datetime, now: datetime) -> datetime | None:
    """Return when a job planned for this moment can start; None: its active period never opens."""
    period = periods.get(job.definition.active_period or "")
    if period is None or is_open(period, max(planned, now)):
        return planned
    return next_opening(period, max(planned, now))


async def _stands(session: OperatorSession, name: str) -> JobRow:
    job = await find_job(session, name)
    return _row(job, await _periods(session.store, [job]), session.now)


def _row(job: Job, periods: Mapping[str, PeriodDefinition], now: datetime) -> JobRow:
    definition = job.definition
    rule = _rule(job)
    planned = job.status is JobStatus.WAITING and definition.mode is JobMode.TIMED
    return JobRow(
        id=job.id,
        name=definition.name,
        description=definition.description,
        status=job.status,
        held_after=job.hold_after,
        mode=definition.mode,
        partition=definition.partition,
        company=definition.company,
        owner=job.created_by,
        group=group_name(definition.batch_group or ""),
        repeats=None if rule is None else describe(rule),
        next_start=_opening(job, periods, job.next_start, now) if planned else None,
        last_outcome=job.last_outcome,
        last_ended_at=job.last_ended_at,
        runs=job.runs,
        failures=job.failures,
        critical=definition.is_critical,
        private=definition.is_private,
        system=definition.is_system,
        category=definition.category,
        source=job.source,
    )
