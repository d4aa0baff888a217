"""What tasks run exists, and their parameters are as it wants them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath

from pydantic import ValidationError

from gateway.config.document import Document, Finding, Path
from gateway.config.environment import substitute
from gateway.config.models_base import RunsSomething
from gateway.config.models_jobs import Job
from gateway.config.models_queues import QueueEntry
from gateway.config.refusals import explain
from gateway.contracts.task import Runnables
from gateway.kernel.errors import TaskRefused


def check_names(names: Iterable[str], at: Path, runnables: Runnables) -> Iterator[Finding]:
    """Yield the names of nothing that a task could run; each stands below the path *at*."""
    for name in names:
        try:
            runnables.find(name)
        except TaskRefused as error:
            yield Finding(path=(*at, name), text=error.message.rstrip("."))


def check_runnables(
    jobs: Mapping[str, Job], runnables: Runnables, environ: Mapping[str, str], base: FilePath
) -> Iterator[Finding]:
    """Yield what is wrong with the runnables and the parameters of *jobs*, by the path of each.

    Rule: `${…}` in parameters is filled as it would be now; what it stands for may be another when the task runs.
    """
    for name, job in jobs.items():
        if not job.active:
            continue
        for task_name, task in job.tasks.items():
            at: Path = ("jobs", name, "tasks", task_name)
            repeats = job.recurrence is not None
            yield from _check(
                at, task, runnables, environ, base, refused="a job without recurrence" if repeats else None
            )


def check_entries(
    entries: Mapping[str, QueueEntry], runnables: Runnables, environ: Mapping[str, str], base: FilePath
) -> Iterator[Finding]:
    """Yield the same of job queue entries."""
    for name, entry in entries.items():
        repeats = bool(entry.on or entry.formula)
        refused = "an entry without weekdays and formula" if repeats else None
        yield from _check(("job_queues", "entries", name), entry, runnables, environ, base, refused=refused)


def _check(
    at: Path, task: RunsSomething, runnables: Runnables, environ: Mapping[str, str], base: FilePath, *,
    refused: str | None,
) -> Iterator[Finding]:  # fmt: skip
    """Yield what is wrong with one thing to run at *at*; *refused* is where it belongs if it must not repeat."""
    try:
        runnable = runnables.find(task.run)
    except TaskRefused as error:
        yield Finding(path=(*at, "run"), text=error.message.rstrip("."))
        return
    if refused is not None and not runnable.allows_recurrence:
        yield Finding(path=(*at, "run"), text=f"{task.run} must not repeat: put it into {refused}")
    document = substitute(Document(value=dict(task.parameters), lines={}), environ, base)
    found = list(document.findings)
    try:
        runnable.parameters.model_validate(document.value, context={"base": base})
    except ValidationError as error:
        found += explain(error, document, section=runnable.parameters)
    for one in found:
        yield Finding(path=(*at, "with", *one.path), text=one.text)
