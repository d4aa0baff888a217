"""Commands on runs: what ran, what runs, what it said and made."""

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Group
from rich.text import Text

from gateway.batch.rules.job import JobStatus
from gateway.batch.statements.runs_sql import LogLine
from gateway.batch.store.runs import RunDetails
from gateway.cli.commands import Answer, Commands
from gateway.cli.options import RunArgument, TargetArgument
from gateway.cli.render import (
    Fields,
    Part,
    Rows,
    cell,
    console,
    dim,
    job_status,
    plain,
    record,
    shown_clock,
)
from gateway.cli.run_search import list_runs, run_status, search_runs
from gateway.cli.timeline import LEGEND, shown_duration, timeline
from gateway.kernel.errors import GatewayError
from gateway.operations import runs as operations
from gateway.operations.principal import OperatorSession
from gateway.runtime.visible import visible, visible_lines

app = Commands("Runs of jobs, current and past.")
POLL_SECONDS: Final = 0.3
_SEVERITY: Final = {"warning": "yellow", "error": "bold red"}


app.query("list", "partition", "mine")(list_runs)
app.query("search", "partition", "mine")(search_runs)


@app.query("show", "partition")
async def show_run(session: OperatorSession, run: RunArgument) -> Answer:
    """Show one run: its tasks on a time line, with attempts and servers, and what failed."""
    found = await operations.show_run(session, run)
    return Answer(found, *_parts(found, session), *await _what_keeps_it(found, session))


@app.query("log", "partition")
async def show_log(
    session: OperatorSession,
    run: RunArgument,
    as_json: bool,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
) -> None:
    """Show the log of the tasks of a run, attempt by attempt. With --json: one JSON object per line."""
    await operations.show_run(session, run)
    if follow:
        async for lines in operations.follow_log(session, run, poll_seconds=POLL_SECONDS):
            _say(lines, as_json=as_json)
        return
    lines = await operations.log_lines(session, run)
    _say(lines, as_json=as_json)
    if not lines and not as_json:
        console().print(dim("Its tasks have said nothing."))


@app.query("files", "partition")
async def list_files(session: OperatorSession, run: RunArgument) -> Answer:
    """List the files that the tasks of a run made."""
    found = await operations.list_files(session, run)
    rows = [(one.name, one.size_bytes, one.task, one.made_at) for one in found]
    return Answer(
        {"files": [record(one, sha256=one.sha256.hex()) for one in found]},
        Rows(("file", "bytes", "task", "made"), rows, "The run has made no files."),
    )


@app.query("save", "partition")
async def save_file(
    session: OperatorSession,
    run: RunArgument,
    name: Annotated[str, typer.Argument(metavar="FILE", help="The name of a file of the run.")],
    target: TargetArgument = Path(),
) -> Answer:
    """Save a copy of a file that a task made. An existing file is never overwritten."""
    return await saved_copy(target, name, await operations.read_file(session, run, name))


@app.action("cancel", "partition")
async def cancel_run(session: OperatorSession, run: RunArgument) -> Answer:
    """Cancel one run: no more tasks start, running tasks may finish. A recurring job starts again as planned."""
    return _stands(run, await operations.cancel_run(session, run))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Again:
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="TASK", help="Only this task and all tasks that come after it."),
    ] = None
    failed: Annotated[
        bool,
        typer.Option("--failed", help="Only the tasks that failed or were cancelled, and all that come after them."),
    ] = False

    def __post_init__(self) -> None:
        if self.first is not None and self.failed:
            raise typer.BadParameter("give --from or --failed, not both")


@app.action("rerun", "partition")
async def rerun(session: OperatorSession, run: RunArgument, again: _Again) -> Answer:
    """Run an ended run again, as a new run: all tasks, or only some. The others keep their results."""
    number = await operations.rerun(session, run, first=again.first, failed=again.failed)
    return Answer({"run": number, "rerun_of": run}, Rows(("run", "repeats"), [(number, run)]))


@app.action("abort", "partition")
async def abort_run(session: OperatorSession, run: RunArgument) -> Answer:
    """End a run that is being cancelled, without waiting for code that hangs.

    The work of its tasks may be half done, and may still go on. Their results are refused.
    """
    return _stands(run, await operations.abort_run(session, run))


def _stands(run: int, status: JobStatus) -> Answer:
    table = Rows(("run", "its job is now"), [(run, job_status(status))])
    return Answer({"run": run, "job_status": status}, table)


def _say(lines: Sequence[LogLine], *, as_json: bool) -> None:
    out = console()
    for line in lines:
        if as_json:
            sys.stdout.write(json.dumps(plain(line)) + "\n")
        else:
            out.print(_line(line), soft_wrap=True)
    sys.stdout.flush()


def _line(line: LogLine) -> Text:
    attempt = f" #{line.attempt}" if line.attempt is not None and line.attempt > 1 else ""
    return Text.assemble(
        (f"{shown_clock(line.at)} ", "dim"), (f"{line.task or ''}{attempt} ", "bold"),
        Text(visible_lines(line.text), style=_SEVERITY.get(line.severity, "")),
    )  # fmt: skip


def _parts(found: RunDetails, session: OperatorSession) -> Iterator[Part]:
    run, now = found.run, session.now
    late = run.started_at - run.planned_at
    yield Fields(
        [
            ("job", run.job), ("repeats", None if run.rerun_of is None else f"run {run.rerun_of}"),
            ("description", run.description if run.description != run.job else None),
            ("status", run_status(run)), ("cause", run.cause), ("planned", run.planned_at), ("started", run.started_at),
            ("late by", shown_duration(late) if late.total_seconds() >= 1 else None), ("ended", run.ended_at),
            ("took", shown_duration((run.ended_at or now) - run.started_at)), ("runs as", run.run_as),
            ("company", run.company), ("partition", run.partition_key), ("cancelled by", run.canceled_by),
            ("counts", run.counts or None), ("error", run.error),
            ("left out", f"{run.tasks_left_out} tasks were not kept" if run.tasks_left_out else None),
        ],
        title=f"Run {run.id}",
    )  # fmt: skip
    yield Group(Text(), timeline(found, now, console().width), Text(LEGEND, style="dim"))
    failed: list[tuple[object, ...]] = [
        (task.name, attempt.number, attempt.started_at, attempt.server, attempt.error_code, attempt.error)
        for task in found.tasks
        for attempt in found.attempts
        if attempt.run_task_id == task.id and attempt.error
    ]
    failed += [
        (task.name, None, task.ended_at, None, task.error_code, task.error)
        for task in found.tasks
        if task.error and not any(one.run_task_id == task.id and one.error for one in found.attempts)
    ]
    if failed:
        columns = ("task", "attempt", "at", "server", "code", "error")
        yield Rows(columns, failed, title="\nWhat failed", narrow=("task", "attempt", "code", "error"))
    kept = [task.name for task in found.tasks if task.status == "ended" and not task.attempts]
    if run.rerun_of is not None and kept:
        yield dim(visible(f"Not done again, as in run {run.rerun_of}: {', '.join(kept)}."))


async def _what_keeps_it(found: RunDetails, session: OperatorSession) -> list[Part]:
    """Say what keeps tasks: no server takes their group, what they run is set aside, they wait for a person."""
    said = waits_in_words(await operations.nobody_takes(session, found))
    said += [
        f"{handler} was started {starts.count} times within a minute and is deferred until {cell(starts.aside_until)}: "
        "until then it runs only when no other task waits."
        for handler, starts in (await operations.set_aside(session, found)).items()
    ]
    waiting = [task.name for task in found.tasks if task.location == "operator" and task.status == "ready"]
    if waiting:
        said.append(f"Waiting for a person: {', '.join(waiting)}; `gateway tasks run` runs them.")
    return [Text(visible(text), style="yellow") for text in said]


def waits_in_words(tasks: Mapping[str, operations.Unserved]) -> list[str]:
    """Return a sentence for each task that no server takes."""
    return [
        f"{name} waits for a server of the group {waits.group}: "
        + (
            "none runs that takes new tasks."
            if waits.opens_at is None
            else f"none takes new tasks before {cell(waits.opens_at)}, by its hours."
        )
        for name, waits in tasks.items()
    ]


async def saved_copy(target: Path, name: str, content: bytes) -> Answer:
    """Save a file under its *name* in the folder *target*, or as *target*. Raises: GatewayError when it is there."""
    saved = await asyncio.to_thread(save_copy, target / name if target.is_dir() else target, content)
    return Answer({"saved": saved}, f"saved as {visible(str(saved))}")


def save_copy(target: Path, content: bytes) -> Path:
    """Write a file that is not there yet; returns *target*. Raises: GatewayError."""
    try:
        with target.open("xb") as file:
            file.write(content)
    except OSError as error:
        raise GatewayError(f"{target} cannot be written: {error.strerror}") from None
    return target
