"""A job or an entry that somebody writes by itself: the section that would stand in the configuration."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Final, TypeVar

from pydantic import ValidationError

from gateway.config.checks.jobs import check_jobs, check_queues
from gateway.config.checks.runnables import check_entries, check_runnables
from gateway.config.checks.whole import Whole
from gateway.config.document import Document, Finding, Path, Value
from gateway.config.environment import substitute
from gateway.config.load import read_document, refused
from gateway.config.models import Settings
from gateway.config.models_jobs import Job
from gateway.config.models_queues import QueueEntry
from gateway.config.refusals import explain
from gateway.contracts.task import Runnables

Written = TypeVar("Written", Job, QueueEntry)
_UNNAMED: Final = "entry"
"""How an entry is called while it is checked: it need not have a name."""


def parse_job(
    content: bytes,
    *,
    name: str,
    file: str,
    base: FilePath,
    environ: Mapping[str, str],
    settings: Settings,
    runnables: Runnables,
) -> Job:
    """Return the job that a YAML text describes; *settings* has what it may name.

    Raises: ConfigError with every problem, in the order of lines of *file*.
    """

    def findings(job: Job) -> Iterator[Finding]:
        yield from check_jobs(Whole(settings.model_copy(update={"jobs": {**settings.jobs, name: job}})))
        yield from check_runnables({name: job}, runnables, environ, base)

    at: Path = ("jobs", name)
    job = _parse(content, file, base, environ, at=at, find=lambda written: written.jobs[name], check=findings)
    tasks = {named: task.written_for(runnables.find(task.run).version) for named, task in job.tasks.items()}
    return job.model_copy(update={"tasks": tasks})


def parse_entry(
    content: bytes,
    *,
    file: str,
    base: FilePath,
    environ: Mapping[str, str],
    settings: Settings,
    runnables: Runnables,
) -> QueueEntry:
    """Return the job queue entry that a YAML text describes; *settings* has what it may name. Raises: ConfigError."""

    def findings(entry: QueueEntry) -> Iterator[Finding]:
        queues = settings.job_queues.model_copy(update={"entries": {_UNNAMED: entry}})
        yield from check_queues(Whole(settings.model_copy(update={"job_queues": queues})))
        yield from check_entries({_UNNAMED: entry}, runnables, environ, base)

    at: Path = ("job_queues", "entries", _UNNAMED)
    entry = _parse(
        content, file, base, environ,
        at=at, find=lambda written: written.job_queues.entries[_UNNAMED], check=findings,
    )  # fmt: skip
    return entry.written_for(runnables.find(entry.run).version)


def _parse(
    content: bytes, file: str, base: FilePath, environ: Mapping[str, str], *,
    at: Path, find: Callable[[Settings], Written], check: Callable[[Written], Iterable[Finding]],
) -> Written:  # fmt: skip
    """Return the section that stands at *at*; *find* finds it in a configuration. Raises: ConfigError."""
    document = substitute(_nested(read_document(content, file), at), environ, base)
    findings = list(document.findings)
    section: Written | None = None
    try:
        section = find(Settings.model_validate(document.value, context={"base": base}))
        findings += [one for one in check(section) if one.path[: len(at)] == at]
    except ValidationError as error:
        findings += explain(error, document)
    if section is None or findings:
        raise refused(findings, document, file, below=at)
    return section


def _nested(raw: Document, at: Path) -> Document:
    """Return a document that has at *at* what *raw* has at its top."""
    value: Value = raw.value if raw.value is not None else {}
    for name in reversed(at):
        value = {name: value}
    return replace(
        raw,
        value=value,
        lines={(*at, *path): line for path, line in raw.lines.items()},
        findings=tuple(replace(one, path=(*at, *one.path)) for one in raw.findings),
        unusable=frozenset((*at, *path) for path in raw.unusable),
    )
