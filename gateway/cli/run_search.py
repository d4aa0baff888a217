"""Finding runs: by job, time, server, person, outcome, file, and by what was said."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final

import typer
from rich.text import Text

from gateway.batch.rules.job import JobStatus, TaskStatus
from gateway.batch.store.runs import Run
from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, LimitOption, perform
from gateway.cli.desk import MineOption, PartitionOption, open_session
from gateway.cli.render import cell, console, job_status, plain, print_json, print_rows, shown_clock
from gateway.cli.timeline import shown_duration
from gateway.kernel.window import FORMS
from gateway.operations import runs as operations
from gateway.operations.reads.history import By, Hit, Match, Page
from gateway.operations.runs import Asked
from gateway.runtime.visible import visible

SNIPPET: Final = 160
"""Characters of a long line that are shown around what was found."""
FOUND: Final = "bold reverse"

TextArgument = Annotated[
    list[str],
    typer.Argument(metavar="TEXT", help="Words to find; all must be in one name, error or log line."),
]
JobOption = Annotated[str | None, typer.Option("--job", "-j", help="Only this job.")]
StatusOption = Annotated[list[JobStatus] | None, typer.Option("--status", "-s", help="Only this status; repeatable.")]
SinceOption = Annotated[str | None, typer.Option("--since", help=f"Not before: {FORMS}.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Not after this time; a date includes the whole day.")]
ByOption = Annotated[By, typer.Option("--by", help="Which time --since and --until compare.")]
ServerOption = Annotated[str | None, typer.Option("--server", help="Only runs that this server worked on.")]
UserOption = Annotated[
    str | None,
    typer.Option("--user", help="Only runs that this account owned, ran or cancelled, or whose task it ran."),
]
TaskStatusOption = Annotated[
    TaskStatus | None, typer.Option("--task-status", help="Only runs with a task in this status.")
]
FileOption = Annotated[str | None, typer.Option("--file", help="Only runs that made this file; * for any text.")]
BeforeOption = Annotated[int | None, typer.Option("--before", help="Only runs older than the one with this number.")]


def list_runs(
    job: JobOption = None,
    status: StatusOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    by: ByOption = By.STARTED,
    server: ServerOption = None,
    user: UserOption = None,
    task_status: TaskStatusOption = None,
    file: FileOption = None,
    before: BeforeOption = None,
    limit: LimitOption = 50,
    partition: PartitionOption = None,
    mine: MineOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    asked = Asked(
        job=job, statuses=status, since=since, until=until, by=by, server=server, user=user, task_status=task_status,
        file=file,
    )  # fmt: skip
    found, now = perform(_search(config, partition, mine, asked, before, limit))
    if as_json:
        print_json({"runs": [hit.run for hit in found.hits], "before": found.before})
        return
    columns = ("run", "job", "status", "planned", "started", "took", "cause", "runs as", "counts", "error")
    rows = [
        (run.id, run.job, run_status(run), run.planned_at, run.started_at, _took(run, now), run.cause, run.run_as,
         run.counts, run.error)
        for run in (hit.run for hit in found.hits)
    ]  # fmt: skip
    narrow = ("run", "job", "status", "started", "took", "error")
    print_rows(
        columns,
        rows,
        nothing="Nothing has run yet." if asked == Asked() else "No such run.",
        narrow=narrow,
        cut=("error",),
    )
    _print_end(found)


def search_runs(
    text: TextArgument,
    job: JobOption = None,
    status: StatusOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    by: ByOption = By.STARTED,
    server: ServerOption = None,
    user: UserOption = None,
    task_status: TaskStatusOption = None,
    file: FileOption = None,
    before: BeforeOption = None,
    limit: LimitOption = 20,
    partition: PartitionOption = None,
    mine: MineOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Find runs by text: names of jobs and tasks, errors, log lines, names of files.

    Each word of the text must begin a word of the same name, error or log line. Upper and lower case are the same.
    """
    asked = Asked(
        text=text, job=job, statuses=status, since=since, until=until, by=by, server=server, user=user,
        task_status=task_status, file=file,
    )  # fmt: skip
    found, now = perform(_search(config, partition, mine, asked, before, limit))
    if as_json:
        print_json({"runs": [_record(hit) for hit in found.hits], "before": found.before})
        return
    out = console()
    pieces = [piece for one in text for piece in one.split()]
    for hit in found.hits:
        run = hit.run
        head = (str(run.id), run.job, run_status(run), run.started_at, _took(run, now))
        out.print(Text("  ").join(cell(value) for value in head), soft_wrap=True)
        for match in hit.matches:
            out.print(Text.assemble("    ", (f"{_place(match)}  ", "dim"), marked(match.text, pieces)), soft_wrap=True)
    if not found.hits:
        out.print(Text("Nothing was found.", style="dim"))
    _print_end(found)


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


async def _search(
    config: ConfigOption, partition: str | None, mine: bool, asked: Asked, before: int | None, limit: int
) -> tuple[Page, datetime]:
    async with open_session(config, partition, mine) as desk:
        found = await operations.search(
            desk.store, desk.who, asked, zone=desk.zone, now=desk.now, before=before, limit=limit
        )
        return found, desk.now


def _record(hit: Hit) -> dict[str, object]:
    record = plain(hit.run)
    assert isinstance(record, dict)
    return {**record, "matches": hit.matches}


def _took(run: Run, now: datetime) -> str:
    return shown_duration(max((run.ended_at or now) - run.started_at, timedelta()))


def _place(match: Match) -> str:
    parts: Sequence[str | None] = (
        match.place,
        match.task if match.place != "task" else None,
        f"#{match.attempt}" if match.attempt is not None and match.attempt > 1 else None,
        None if match.at is None else shown_clock(match.at),
    )
    return " ".join(visible(part) for part in parts if part)


def _print_end(found: Page) -> None:
    if found.before is not None:
        text = f"Looked back to {cell(found.looked_back_to)}; --before {found.before} goes on from there."
        console().print(Text(text, style="dim"), soft_wrap=True)
