"""Tasks of jobs as people see them, and those that wait for a person."""

from dataclasses import dataclass

from gateway.batch.rules.definition import JobDefinition, TaskDefinition
from gateway.batch.rules.transitions import TaskAction
from gateway.batch.statements.tasks_sql import OperatorTask
from gateway.batch.store import jobs, runs
from gateway.config.definitions import group_name
from gateway.config.suggest import did_you_mean
from gateway.operations.audit import recorded
from gateway.operations.jobs import find_job, visible_jobs
from gateway.operations.principal import OperatorSession
from gateway.operations.references import NotFound
from gateway.operations.servers import require_group


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A task of a job, as it is defined; None: nothing, or what the job says."""

    job: str
    name: str
    description: str
    run: str
    after: tuple[str, ...]
    condition: str
    group: str
    company: str
    location: str
    private: bool
    held: bool
    retries: int
    retry_seconds: float
    timeout_seconds: float | None
    ignore_failure: bool
    wait_for_children: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReport:
    """One task with its parameters; secrets stand in them as the references that were written."""

    task: TaskRow
    parameters: dict[str, object]


async def list_tasks(session: OperatorSession, job: str | None = None) -> list[TaskRow]:
    """Return the tasks of one job, or of all that the person may see. Raises: NotFound."""
    found = [await find_job(session, job)] if job is not None else await visible_jobs(session)
    return [_row(one.definition, task) for one in found for task in one.definition.tasks]


async def show_task(session: OperatorSession, job: str, name: str) -> TaskReport:
    """Return one task with its parameters. Raises: NotFound."""
    definition = (await find_job(session, job)).definition
    task = _find(definition, name)
    return TaskReport(task=_row(definition, task), parameters=dict(task.parameters))


async def change_task(session: OperatorSession, job: str, name: str, action: TaskAction) -> TaskRow:
    """Leave a task out of the next runs, or take it in again.

    Raises: NotFound; IllegalTransition while a run is under way or when there is nothing to change.
    """
    async with recorded(session, f"task.{action}", f"{job}/{name}"):
        found = await find_job(session, job)
        _find(found.definition, name)
        await jobs.change_task(session.store, found.id, name, action, now=session.now)
        definition = (await find_job(session, job)).definition
        return _row(definition, _find(definition, name))


async def waiting_tasks(
    session: OperatorSession,
    *,
    job: str | None = None,
    task: str | None = None,
    group: str | None = None,
    private: bool = False,
) -> list[OperatorTask]:
    """Return the tasks that wait for a person and that this one may run, the oldest first.

    None does not narrow; with *private* only private ones are among them, which are their owner's alone.
    Raises: NotFound for an unknown group.
    """
    key = None if group is None else await require_group(session, group)
    return [
        one
        for one in await runs.waiting_for_operator(session.store, session.actor)
        if one.partition_key == session.partition
        and (job is None or one.job == job)
        and (task is None or one.name == task)
        and (key is None or one.batch_group == key)
        and (one.is_private or not private)
    ]


def _find(definition: JobDefinition, name: str) -> TaskDefinition:
    for task in definition.tasks:
        if task.name == name:
            return task
    names = [task.name for task in definition.tasks]
    raise NotFound(
        f"the job {definition.name} has no task {name!a}{did_you_mean(name, names) or '; it has ' + ', '.join(names)}"
    )


def _row(job: JobDefinition, task: TaskDefinition) -> TaskRow:
    group = task.batch_group if task.batch_group is not None else job.batch_group
    return TaskRow(
        job=job.name,
        name=task.name,
        description=task.description,
        run=task.handler,
        after=tuple(f"{one.parent}: {one.wanted.value}" for one in task.conditions),
        condition=task.condition_type.value,
        group=group_name(group or ""),
        company=task.company or job.company,
        location=task.location.value,
        private=task.is_private,
        held=task.is_withheld,
        retries=task.max_retries if job.max_retries is None else job.max_retries,
        retry_seconds=task.retry_seconds,
        timeout_seconds=task.timeout_seconds,
        ignore_failure=task.ignore_failure,
        wait_for_children=task.wait_for_children,
    )
