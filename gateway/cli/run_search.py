"""Finding runs: by job, time, server, person, outcome, file, and by what was said."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

import typer
from rich.text import Text

from gateway.batch.rules.job import JobStatus, TaskStatus
from gateway.batch.statements.runs_sql import Run
from gateway.cli.commands import Answer
from gateway.cli.options import JobOption, LimitOption, SinceOption, UntilOption
from gateway.cli.render import Part, Rows, cell, dim, job_status, record, shown_clock
from gateway.cli.timeline import shown_duration
from gateway.operations import runs as operations
from gateway.operations.principal import OperatorSession
from gateway.operations.reads.history import By, Hit, Match, Page
from gateway.operations.runs import Asked
from gateway.runtime.visible import visible

SNIPPET: Final = 160
"""Characters of a long line that are shown around what was found."""
FOUND: Final = "bold reverse"

BeforeOption = Annotated[int | None, typer.Option("--before", help="Only runs older than the one with this number.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen(Asked):
    job: JobOption = None
    statuses: Annotated[
        list[JobStatus] | None, typer.Option("--status", "-s", help="Only this status; repeatable.")
    ] = None
    since: SinceOption = None
    until: UntilOption = None
    by: Annotated[By, typer.Option("--by", help="Which time --since and --until compare.")] = By.STARTED
    server: Annotated[str | None, typer.Option("--server", help="Only runs that this server worked on.")] = None
    user: Annotated[
        str | None,
        typer.Option("--user", help="Only runs that this account owned, ran or cancelled, or whose task it ran."),
    ] = None
    task_status: Annotated[
        TaskStatus | None, typer.Option("--task-status", help="Only runs with a task in this status.")
    ] = None
    file: Annotated[str | None, typer.Option("--file", help="Only runs that made this file; * for any text.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _WithText(_Chosen):
    text: Annotated[
        list[str],
        typer.Argument(metavar="TEXT", help="Words to find; all must be in one name, error or log line."),
    ]


async def list_runs(
    session: OperatorSession, chosen: _Chosen, before: BeforeOption = None, limit: LimitOption = 50
) -> Answer:
    """List runs, newest first."""
    page = await operations.search(session, chosen, before=before, limit=limit)
    found = [hit.run for hit in page.hits]
    columns = ("run", "job", "status", "planned", "started", "took", "cause", "runs as", "counts", "error")
    rows = [
        (run.id, run.job, run_status(run), run.planned_at, run.started_at, _took(run, session), run.cause, run.run_as,
         run.counts, run.error)
        for run in found
    ]  # fmt: skip
    narrow = ("run", "job", "status", "started", "took", "error")
    nothing = "Nothing has run yet." if chosen == _Chosen() else "No such run."
    table = Rows(columns, rows, nothing, narrow=narrow, cut=("error",))
    return Answer({"runs": found, "before": page.before}, table, *_end(page))


async def search_runs(
    session: OperatorSession, chosen: _WithText, before: BeforeOption = None, limit: LimitOption = 20
) -> Answer:
    """Find runs by text: names of jobs and tasks, errors, log lines, names of files.

    Each word of the text must begin a word of the same name, error or log line. Upper and lower case are the same.
    """
    page = await operations.search(session, chosen, before=before, limit=limit)
    pieces = [piece for one in chosen.text for piece in one.split()]
    parts = [part for hit in page.hits for part in _found(hit, pieces, session)] or [dim("No run matches.")]
    data = {"runs": [record(hit.run, matches=hit.matches) for hit in page.hits], "before": page.before}
    return Answer(data, *parts, *_end(page))


def _found(hit: Hit, pieces: Sequence[str], session: OperatorSession) -> Iterator[Part]:
    run = hit.run
    head = (str(run.id), run.job, run_status(run), run.started_at, _took(run, session))
    yield Text("  ").join(cell(value) for value in head)
    for match in hit.matches:
        yield Text.assemble("    ", (f"{_place(match)}  ", "dim"), marked(match.text, pieces))


def run_status(run: Run) -> Text:
    """Return the status of a run, with a word when it took longer than planned."""
    return job_status(run.status, " (overran)" if run.overran else "")


def marked(text: str, pieces: Iterable[str]) -> Text:
    """Return *text* on one line with what was looked for set off; a long one is cut around the first of it."""
    pattern = re.compile("|".join(re.escape(piece) for piece in sorted(pieces, key=len, reverse=True)), re.IGNORECASE)
    first = pattern.search(text)
    start = max(0, (first.start() if first else 0) - SNIPPET // 3) if len(text) > SNIPPET else 0
    stop = start + SNIPPET
    shown, end = Text("…" if start else ""), start
    for match in pattern.finditer(text, start, stop):
        shown.append(visible(text[end : match.start()]))
        shown.append(visible(match[0]), style=FOUND)
        end = match.end()
    shown.append(visible(text[end:stop]))
    return shown.append("…") if stop < len(text) else shown


def _took(run: Run, session: OperatorSession) -> str:
    return shown_duration(max((run.ended_at or session.now) - run.started_at, timedelta()))


def _place(match: Match) -> str:
    parts: Sequence[str | None] = (
        match.place,
        match.task if match.place != "task" else None,
        f"#{match.attempt}" if match.attempt is not None and match.attempt > 1 else None,
        None if match.at is None else shown_clock(match.at),
    )
    return " ".join(visible(part) for part in parts if part)


def _end(page: Page) -> list[Part]:
    if page.before is None:
        return []
    return [dim(f"Looked back to {cell(page.looked_back_to)}; --before {page.before} goes on from there.")]
