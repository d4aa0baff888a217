"""A job or an entry that somebody writes by itself: the section that would stand in the configuration."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Final, TypeVar

from pydantic import ValidationError

from gateway.config import yaml
from gateway.config.consistency_jobs import check_jobs
from gateway.config.consistency_queues import check_queues
from gateway.config.environment import substitute
from gateway.config.explain import explain
from gateway.config.models import Job, QueueEntry, Settings
from gateway.config.place import Document, Finding, Path, Value, show
from gateway.config.runnables import check_entries, check_runnables
from gateway.contracts.task import Runnables
from gateway.kernel.errors import ConfigError, ConfigProblem

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
        yield from check_jobs(settings.model_copy(update={"jobs": {**settings.jobs, name: job}}))
        yield from check_runnables({name: job}, runnables, environ, base)

    read = _Read(content=content, file=file, base=base, environ=environ, at=("jobs", name))
    return read.parse(lambda written: written.jobs[name], findings)


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
        yield from check_queues(settings.model_copy(update={"job_queues": queues}))
        yield from check_entries({_UNNAMED: entry}, runnables, environ, base)

    read = _Read(content=content, file=file, base=base, environ=environ, at=("job_queues", "entries", _UNNAMED))
    return read.parse(lambda written: written.job_queues.entries[_UNNAMED], findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A section that stands at *at*, as somebody wrote it."""

    content: bytes
    file: str
    base: FilePath
    environ: Mapping[str, str]
    at: tuple[str, ...]

    def parse(self, find: Callable[[Settings], Written], check: Callable[[Written], Iterable[Finding]]) -> Written:
        """Return the section, *find* in a configuration that has nothing else. Raises: ConfigError."""
        document = substitute(self._document(), self.environ, self.base)
        findings = list(document.findings)
        section: Written | None = None
        try:
            section = find(Settings.model_validate(document.value, context={"base": self.base}))
        except ValidationError as error:
            findings += explain(error, document)
        if section is not None:
            findings += self._here(check(section))
        if section is None or findings:
            raise ConfigError(self._problems(findings, document))
        return section

    def _document(self) -> Document:
        at: Path = self.at
        try:
            raw = yaml.read(self.content)
        except yaml.Unreadable as error:
            raise ConfigError([ConfigProblem(file=self.file, line=error.line, path="", text=error.text)]) from None
        value: Value = raw.value if raw.value is not None else {}
        for name in reversed(self.at):
            value = {name: value}
        return Document(
            value=value,
            lines={(*at, *path): line for path, line in raw.lines.items()},
            findings=tuple(Finding(path=(*at, *one.path), text=one.text, line=one.line) for one in raw.findings),
            unusable=frozenset((*at, *path) for path in raw.unusable),
        )

    def _here(self, findings: Iterable[Finding]) -> list[Finding]:
        return [one for one in findings if one.path[: len(self.at)] == self.at]

    def _problems(self, findings: Iterable[Finding], document: Document) -> list[ConfigProblem]:
        problems = {
            ConfigProblem(
                file=self.file, line=one.line or document.line_of(one.path), path=show(one.path[len(self.at) :]),
                text=one.text,
            )
            for one in findings
        }  # fmt: skip
        return sorted(problems, key=lambda problem: (problem.line or 0, problem.path))
