"""Commands on runs: what ran, what runs, what it said and made."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Group
from rich.text import Text

from gateway.batch.rules.job import JobStatus
from gateway.batch.rules.throttle import Starts
from gateway.batch.store.run_files import RunFile
from gateway.batch.store.runs import LogLine, RunDetails
from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, perform
from gateway.cli.desk import PartitionOption, ReasonOption, RunArgument, open_session
from gateway.cli.render import cell, console, job_status, plain, print_fields, print_json, print_rows, shown_clock
from gateway.cli.run_search import list_runs, run_status, search_runs
from gateway.cli.timeline import LEGEND, shown_duration, timeline
from gateway.kernel.errors import GatewayError
from gateway.kernel.ids import RunId
from gateway.operations import runs as operations
from gateway.runtime.visible import visible, visible_lines

app = typer.Typer(no_args_is_help=True, help="Runs of jobs, current and past.")
POLL_SECONDS: Final = 0.3
_SEVERITY: Final = {"warning": "yellow", "error": "bold red"}


app.command("list")(list_runs)
app.command("search")(search_runs)


@app.command("show")
def show_run(
    run: RunArgument,
    partition: PartitionOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show one run: its tasks on a time line, with attempts and servers, and what failed."""
    shown = perform(_show(config, partition, run))
    if as_json:
        print_json(shown.found)
    else:
        _print(shown)


@app.command("log")
def show_log(
    run: RunArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    partition: PartitionOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show the log of the tasks of a run, attempt by attempt. With --json: one JSON object per line."""
    perform(_log(config, partition, run, follow=follow, as_json=as_json))


@app.command("files")
def list_files(
    run: RunArgument,
    partition: PartitionOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List the files that the tasks of a run made."""

    async def work() -> list[RunFile]:
        async with open_session(config, partition) as desk:
            return await operations.list_files(desk.store, desk.who, run)

    found = perform(work())
    if as_json:
        print_json({"files": [{**_record(one), "sha256": one.sha256.hex()} for one in found]})
        return
    rows = [(one.name, one.size_bytes, one.task, one.made_at) for one in found]
    print_rows(("file", "bytes", "task", "made"), rows, nothing="The run has made no files.")


@app.command("save")
def save_file(
    run: RunArgument,
    name: Annotated[str, typer.Argument(metavar="FILE", help="The name of a file of the run.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A folder, or the name of a new file.")] = Path(),
    partition: PartitionOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Save a copy of a file that a task made. An existing file is never overwritten."""

    async def work() -> Path:
        async with open_session(config, partition) as desk:
            content = await operations.read_file(desk.store, desk.who, run, name)
        return await asyncio.to_thread(save_copy, target / name if target.is_dir() else target, content)

    saved = perform(work())
    console().print(Text(f"saved as {visible(str(saved))}"), soft_wrap=True)


@app.command("cancel")
def cancel_run(
    run: RunArgument,
    partition: PartitionOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Cancel one run: no more tasks start, running tasks may finish. A recurring job starts again as planned."""

    async def work() -> JobStatus:
        async with open_session(config, partition, reason=reason) as desk:
            return await operations.cancel_run(desk.store, desk.who, run, now=desk.now)

    _tell(run, perform(work()), as_json=as_json)


@app.command("rerun")
def rerun(
    run: RunArgument,
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="TASK", help="Only this task and all tasks that come after it."),
    ] = None,
    failed: Annotated[
        bool,
        typer.Option("--failed", help="Only the tasks that failed or were cancelled, and all that come after them."),
    ] = False,
    partition: PartitionOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Run an ended run again, as a new run: all tasks, or only some. The others keep their results."""
    if first is not None and failed:
        raise typer.BadParameter("give --from or --failed, not both")

    async def work() -> RunId:
        async with open_session(config, partition, reason=reason) as desk:
            return await operations.rerun(desk.store, desk.who, run, first=first, failed=failed, now=desk.now)

    number = perform(work())
    if as_json:
        print_json({"run": number, "rerun_of": run})
    else:
        print_rows(("run", "repeats"), [(number, run)], nothing="")


@app.command("abort")
def abort_run(
    run: RunArgument,
    partition: PartitionOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """End a run that is being cancelled, without waiting for code that hangs.

    The work of its tasks may be half done, and may still go on. Their results are refused.
    """

    async def work() -> JobStatus:
        async with open_session(config, partition, reason=reason) as desk:
            return await operations.abort_run(desk.store, desk.who, run, now=desk.now)

    _tell(run, perform(work()), as_json=as_json)


def _tell(run: int, status: JobStatus, *, as_json: bool) -> None:
    if as_json:
        print_json({"run": run, "job_status": status})
    else:
        print_rows(("run", "its job is now"), [(run, job_status(status))], nothing="")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A run with what keeps its tasks: no server takes their group, or what they run is set aside."""

    found: RunDetails
    not_taken: dict[str, operations.Unserved]
    set_aside: dict[str, Starts]
    now: datetime


async def _show(config: ConfigOption, partition: str | None, run: int) -> _Shown:
    async with open_session(config, partition) as desk:
        found = await operations.show_run(desk.store, desk.who, run)
        return _Shown(
            found=found,
            not_taken=await operations.nobody_takes(desk.store, found, now=desk.now),
            set_aside=await operations.set_aside(desk.store, found, now=desk.now),
            now=desk.now,
        )


async def _log(config: ConfigOption, partition: str | None, run: int, *, follow: bool, as_json: bool) -> None:
    async with open_session(config, partition) as desk:
        await operations.show_run(desk.store, desk.who, run)
        if follow:
            async for lines in operations.follow_log(desk.store, run, poll_seconds=POLL_SECONDS):
                _say(lines, as_json=as_json)
            return
        lines = await operations.log_lines(desk.store, run)
    _say(lines, as_json=as_json)
    if not lines and not as_json:
        console().print(Text("Its tasks have said nothing.", style="dim"))


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


def _print(shown: _Shown) -> None:
    found, now = shown.found, shown.now
    run = found.run
    late = run.started_at - run.planned_at
    print_fields(
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
    out = console()
    out.print(Group(Text(), timeline(found, now, out.width), Text(LEGEND, style="dim")))
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
        print_rows(columns, failed, nothing="", title="\nWhat failed", narrow=("task", "attempt", "code", "error"))
    kept = [task.name for task in found.tasks if task.status == "ended" and not task.attempts]
    if run.rerun_of is not None and kept:
        text = f"Not done again, as in run {run.rerun_of}: {', '.join(kept)}."
        out.print(Text(visible(text), style="dim"), soft_wrap=True)
    for text in waits_in_words(shown.not_taken):
        out.print(Text(visible(text), style="yellow"), soft_wrap=True)
    for handler, starts in shown.set_aside.items():
        text = (
            f"{handler} was started {starts.count} times within a minute and is deferred until "
            f"{cell(starts.aside_until)}: until then it runs only when no other task waits."
        )
        out.print(Text(visible(text), style="yellow"), soft_wrap=True)
    waiting = [task.name for task in found.tasks if task.location == "operator" and task.status == "ready"]
    if waiting:
        text = f"Waiting for a person: {', '.join(waiting)}; `gateway tasks run` runs them."
        out.print(Text(text, style="yellow"), soft_wrap=True)


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


def _record(file: RunFile) -> dict[str, object]:
    record = plain(file)
    assert isinstance(record, dict)
    return record


def save_copy(target: Path, content: bytes) -> Path:
    try:
        with target.open("xb") as file:
            file.write(content)
    except OSError as error:
        raise GatewayError(f"{target} cannot be written: {error.strerror}") from None
    return target
