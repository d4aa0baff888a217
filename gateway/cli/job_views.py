"""How jobs are shown to people: what they are, and their tasks as a tree of what waits for what."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from gateway.batch.rules.definition import ConditionDefinition, TaskDefinition
from gateway.batch.rules.job import ConditionType, JobMode, Location, Wanted
from gateway.cli.render import JOB_STYLES, Fields, Part, Rows, job_status
from gateway.cli.timeline import shown_duration
from gateway.operations.jobs import JobReport, JobRow
from gateway.runtime.visible import visible

_WORDS: Final[Mapping[Wanted, str]] = {
    Wanted.ENDED: "",
    Wanted.ERROR: "error of ",
    Wanted.ENDED_OR_ERROR: "end or error of ",
}


def job_parts(found: JobReport, now: datetime) -> list[Part]:
    """Return everything about a job: what it is, its tasks as a tree, its last runs."""
    statuses = {name: task.status for name, task in found.tasks.items()}
    shown = f"  as in run {found.runs[0].id}" if statuses and found.runs else ""
    title = Text.assemble(("Tasks", "bold"), (shown, "dim"))
    tree = task_tree(title, found.definition.tasks, statuses)
    parts: list[Part] = [Fields(_fields(found), title=found.job.name), Group(Text(), tree)]
    if found.runs:
        rows = [
            (run.id, job_status(run.status), run.planned_at, run.started_at,
             shown_duration((run.ended_at or now) - run.started_at), run.cause, run.counts, run.error)
            for run in found.runs
        ]  # fmt: skip
        columns = ("run", "status", "planned", "started", "took", "cause", "counts", "error")
        narrow = ("run", "status", "started", "took", "error")
        parts.append(Rows(columns, rows, title="\nLast runs", narrow=narrow))
    return parts


def _fields(found: JobReport) -> list[tuple[str, object]]:
    job, definition = found.job, found.definition
    parents = [f"{one.parent} ({one.wanted.value.replace('_', ' ')})" for one in definition.dependencies]
    alerts = [f"{one.user}: {', '.join(one.events)} by {', '.join(one.channels)}" for one in definition.alerts]
    return [
        ("description", job.description if job.description != job.name else None),
        ("status", status_of(job)),
        ("repeats", repeats_in_words(job)),
        ("next starts", found.next_starts),
        ("after", parents or None),
        ("active period", definition.active_period),
        ("company", job.company),
        ("partition", job.partition),
        ("owner", job.owner),
        ("runs as", definition.run_as),
        ("group", job.group),
        ("priority", definition.priority),
        ("history", definition.history),
        ("category", job.category),
        ("critical", "yes" if job.critical else None),
        ("private", "yes" if job.private else None),
        ("from", job.source),
        ("alerts", alerts or None),
        ("runs", f"{job.runs}, {job.failures} failed"),
    ]


def repeats_in_words(job: JobRow) -> str:
    """Return how a job repeats."""
    return job.repeats or ("when work appears" if job.mode is JobMode.EVENT else "once")


def status_of(job: JobRow) -> Text:
    """Return the status of a job, with what will become of it after its run."""
    return job_status(job.status, ", then on hold" if job.held_after else "")


def due(job: JobRow, now: datetime) -> object:
    """Return when a job starts next; None when nothing is planned as it stands."""
    if job.next_start is None:
        return None
    return "now" if job.next_start <= now else job.next_start


def task_tree(title: Text, tasks: Sequence[TaskDefinition], statuses: Mapping[str, str]) -> Tree:
    """Return the tasks below *title*, each below the task it waits for; of several the one that stands lowest.

    *statuses* are those of a run by task, nothing for tasks that it does not have.
    """
    root = Tree(title, guide_style="dim")
    branches: dict[str, Tree] = {}
    depths: dict[str, int] = {}
    left = list(tasks)
    while left:
        free = [task for task in left if all(one.parent in branches for one in task.conditions)]
        if not free:  # a definition never has circles; a task that is gone may still be named
            free = left
        for task in free:
            parents = [one for one in task.conditions if one.parent in branches]
            lowest = max(parents, key=lambda one: depths[one.parent], default=None)
            above = root if lowest is None else branches[lowest.parent]
            branches[task.name] = above.add(_label(task, lowest, statuses.get(task.name)))
            depths[task.name] = 0 if lowest is None else depths[lowest.parent] + 1
        left = [task for task in left if task.name not in branches]
    return root


def condition_words(task: TaskDefinition) -> str:
    """Return what a task waits for, such as `a and error of b`."""
    joined = " and " if task.condition_type is ConditionType.ALL else " or "
    return joined.join(f"{_WORDS[one.wanted]}{one.parent}" for one in task.conditions)


def _label(task: TaskDefinition, above: ConditionDefinition | None, status: str | None) -> Text:
    label = Text(visible(task.name), style="bold")
    if status is not None:
        label.append(f"  {status}", style=JOB_STYLES.get(status, "not bold"))
    notes = []
    if above is not None and (len(task.conditions) > 1 or above.wanted is not Wanted.ENDED):
        notes.append(f"after {condition_words(task)}")
    if task.location is Location.OPERATOR:
        notes.append("by a person")
    if task.is_withheld:
        notes.append("held")
    if task.ignore_failure:
        notes.append("failure ignored")
    if task.max_retries:
        notes.append(f"{task.max_retries} retries" if task.max_retries != 1 else "1 retry")
    if notes:
        label.append(f"  {'; '.join(notes)}", style="not bold dim")
    return label
