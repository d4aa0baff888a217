"""What tasks run, and a job that is written by itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from gateway.config.load import parse
from gateway.config.models import Job, Settings
from gateway.config.section import parse_job
from gateway.contracts.task import Runnable, TaskContext, TaskHandler
from gateway.kernel.errors import ConfigError, TaskRefused


class Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str
    tries: int = Field(default=1, ge=1)


class Nothing:
    async def run(self, context: TaskContext) -> None:
        """Do nothing."""


def make(_: Parameters) -> TaskHandler:
    return Nothing()


class Known:
    """Two runnables: `http`, and `once`, which must not repeat."""

    def find(self, name: str) -> Runnable:
        for runnable in self.known():
            if runnable.name == name:
                return runnable
        raise TaskRefused(f"There is no runnable {name!a}.", code="task.unknown")

    def prepare(self, name: str, parameters: Mapping[str, object], version: int) -> TaskHandler:
        """Return a task that does nothing."""
        return Nothing()

    def known(self) -> Sequence[Runnable]:
        return [
            Runnable(name=name, description="", parameters=Parameters, make=make, allows_recurrence=name == "http")
            for name in ("http", "once")
        ]


def problems_of(text: str, environ: Mapping[str, str] | None = None) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), file="c.yaml", base=Path("/site"), environ=environ or {}, runnables=Known())
    return [(problem.line, problem.path, problem.text) for problem in caught.value.problems]


def config(task: str, more: str = "") -> str:
    return f"jobs:\n  j:\n    {more}\n    tasks:\n      a:\n        {task}\n"


@pytest.mark.parametrize(
    ("task", "path", "expected"),
    [
        ("run: htp", "run", "There is no runnable 'htp'"),
        ("{run: http, with: {url: x, triess: 3}}", "with.triess", "unknown key; did you mean 'tries'?"),
        ("{run: http, with: {url: x, tries: 0}}", "with.tries", "must be at least 1, found 0"),
        ("{run: http, with: {}}", "with.url", "is missing"),
        ("{run: http, with: {url: '${NOWHERE}'}}", "with.url", "the environment variable NOWHERE is not set"),
    ],
)
def test_parameters_are_checked_by_what_they_are_for(task: str, path: str, expected: str) -> None:
    assert problems_of(config(task)) == [(6, f"jobs.j.tasks.a.{path}", expected)]


def test_what_must_not_repeat_is_refused_in_a_job_that_does() -> None:
    ((_, path, text),) = problems_of(config("{run: once, with: {url: x}}", "recurrence: {every: day}"))
    assert (path, text) == ("jobs.j.tasks.a.run", "once must not repeat: put it into a job without recurrence")


def test_a_number_of_starts_for_what_nobody_can_run_is_refused() -> None:
    text = "throttling:\n  runnables:\n    http: 300\n    htp: 0\n"
    assert problems_of(text) == [(4, "throttling.runnables.htp", "There is no runnable 'htp'")]


def test_references_are_checked_but_kept_as_they_are_written() -> None:
    text = config("{run: http, with: {url: '${URL}', tries: '${TRIES}'}}")
    settings = parse(
        text.encode(), file="c.yaml", base=Path("/site"), environ={"URL": "http://x", "TRIES": "3"}, runnables=Known()
    )
    assert settings.jobs["j"].tasks["a"].parameters == {"url": "${URL}", "tries": "${TRIES}"}
    ((_, path, said),) = problems_of(text, {"URL": "http://x", "TRIES": "secret"})
    assert path == "jobs.j.tasks.a.with.tries"
    assert "secret" not in said


def read(text: str, settings: Settings | None = None) -> Job:
    return parse_job(
        text.encode(), name="mine", file="mine.yaml", base=Path("/site"), environ={}, settings=settings or Settings(),
        runnables=Known(),
    )  # fmt: skip


def test_a_job_is_written_by_itself_as_it_would_stand_in_the_configuration() -> None:
    job = read("recurrence: {every: day}\ntasks: {a: {run: http, with: {url: x}}}\n")
    assert list(job.tasks) == ["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "tasks:\n  a: {run: http, with: {url: x}}\ngroup: heavy\n",
            (3, "group", "there is no group 'heavy'; known are default"),
        ),
        (
            "tasks:\n  a: {run: http, with: {url: x}, after: b}\n",
            (2, "tasks.a.after.b", "there is no task 'b'; known are a"),
        ),
        (
            "tasks:\n  a: {run: http, with: {url: x}}\nretrys: 3\n",
            (3, "retrys", "unknown key; did you mean 'retries'?"),
        ),
        ("tasks:\n  a: {run: ftp}\n", (2, "tasks.a.run", "There is no runnable 'ftp'")),
        ("tasks: {a: [}\n", (1, "", "")),
        ("", (None, "", "has no tasks: name at least one under `tasks`")),
    ],
)
def test_problems_are_told_with_the_lines_of_the_text(text: str, expected: tuple[int | None, str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.path) == ("mine.yaml", *expected[:2])
    assert problem.text.startswith(expected[2])
