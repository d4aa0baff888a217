"""A job that somebody writes by itself: the section that would stand below `jobs.<name>` in the configuration."""

from collections.abc import Mapping
from pathlib import Path as FilePath

from pydantic import ValidationError

from gateway.config import yaml
from gateway.config.consistency_jobs import check_jobs
from gateway.config.environment import substitute
from gateway.config.explain import explain
from gateway.config.models import Job, Settings
from gateway.config.place import Document, Finding, Path, show
from gateway.config.runnables import check_runnables
from gateway.contracts.task import Runnables
from gateway.domain.errors import ConfigError, ConfigProblem


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
    at: Path = ("jobs", name)
    try:
        raw = yaml.read(content)
    except yaml.Unreadable as error:
        raise ConfigError([ConfigProblem(file=file, line=error.line, path="", text=error.text)]) from None
    section = raw.value if raw.value is not None else {}
    document = substitute(
        Document(
            value={"jobs": {name: section}},
            lines={(*at, *path): line for path, line in raw.lines.items()},
            findings=tuple(Finding(path=(*at, *one.path), text=one.text, line=one.line) for one in raw.findings),
            unusable=frozenset((*at, *path) for path in raw.unusable),
        ),
        environ,
        base,
    )
    findings = list(document.findings)
    job: Job | None = None
    try:
        job = Settings.model_validate(document.value, context={"base": base}).jobs[name]
    except ValidationError as error:
        findings += explain(error, document)
    if job is not None:
        together = settings.model_copy(update={"jobs": {**settings.jobs, name: job}})
        findings += [one for one in check_jobs(together) if one.path[: len(at)] == at]
        findings += check_runnables({name: job}, runnables, environ, base)
    if job is None or findings:
        problems = {
            ConfigProblem(
                file=file, line=one.line or document.line_of(one.path), path=show(one.path[len(at) :]), text=one.text
            )
            for one in findings
        }
        raise ConfigError(sorted(problems, key=lambda problem: (problem.line or 0, problem.path)))
    return job
