"""Commands on batch jobs: look at them, hold and release them, make and change them."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import typer
from rich.text import Text

from gateway.batch.rules.job import JobStatus
from gateway.cli.common import DEFAULT_CONFIG, KNOWN_ERROR, ConfigOption, JsonOption, YesOption, consent, perform
from gateway.cli.desk import JobArgument, MineOption, OperatorSession, PartitionOption, ReasonOption, open_session
from gateway.cli.job_views import due, print_job, repeats_in_words, status_of
from gateway.cli.render import age, console, job_status, print_json, print_rows
from gateway.cli.runs import waits_in_words
from gateway.config.models import Job as JobSection
from gateway.config.models import Settings
from gateway.config.section import parse_job
from gateway.config.written import section_text
from gateway.db.clock import database_clock
from gateway.kernel.errors import ConfigError, ConfigProblem
from gateway.operations import jobs as operations
from gateway.operations.jobs import JobReport, JobRow, Preview, RunOutcome
from gateway.operations.references import NotFound
from gateway.operations.runs import nobody_takes, show_run
from gateway.runtime.jobs import runnables_to_check
from gateway.runtime.visible import visible

app = typer.Typer(no_args_is_help=True, help="Batch jobs: what runs, when, and after what.")
FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="A YAML file with the section of the job; - reads standard input.")
]
_AT_REST: Final = frozenset(JobStatus) - {JobStatus.WAITING, JobStatus.EXECUTING, JobStatus.CANCELLING}
STANDARD_INPUT: Final = "-"
POLL_SECONDS: Final = 0.2


@app.command("list")
def list_jobs(
    status: Annotated[
        list[JobStatus] | None, typer.Option("--status", "-s", help="Only jobs with this status; repeatable.")
    ] = None,
    partition: PartitionOption = None,
    mine: MineOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List the jobs with their status, next start and last outcome."""

    async def work() -> tuple[list[JobRow], datetime]:
        async with open_session(config, partition, mine) as desk:
            return await operations.list_jobs(desk.store, desk.who, statuses=status, now=desk.now), desk.now

    found, now = perform(work())
    if as_json:
        print_json({"jobs": found})
        return
    columns = ("job", "status", "next start", "last", "ended", "runs", "failed", "repeats", "owner", "group", "from")
    rows = [
        (one.name, status_of(one), due(one, now), job_status(one.last_outcome), age(one.last_ended_at, now), one.runs,
         one.failures, repeats_in_words(one), one.owner, one.group, one.source)
        for one in found
    ]  # fmt: skip
    print_rows(columns, rows, nothing="There are no jobs here.", narrow=("job", "status", "next start", "last"))


@app.command("show")
def show_job(
    job: JobArgument,
    as_section: Annotated[bool, typer.Option("--yaml", help="Print the section to edit, and nothing else.")] = False,
    partition: PartitionOption = None,
    mine: MineOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show everything about a job: its tasks with what they wait for, its next starts, its last runs."""

    async def work() -> tuple[JobReport, datetime]:
        async with open_session(config, partition, mine) as desk:
            return await operations.show_job(desk.store, desk.who, job, now=desk.now), desk.now

    found, now = perform(work())
    if as_section:
        sys.stdout.write(section_text(found.definition))
    elif as_json:
        print_json(found)
    else:
        print_job(found, now)


@app.command("next")
def preview(
    job: JobArgument,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many starts.")] = 5,
    partition: PartitionOption = None,
    mine: MineOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show the next starts of a job, in its own time zone and in UTC, and its recurrence in words."""

    async def work() -> tuple[Preview, datetime]:
        async with open_session(config, partition, mine) as desk:
            return await operations.preview_job(desk.store, desk.who, job, count, now=desk.now), desk.now

    found, now = perform(work())
    if as_json:
        print_json(found)
        return
    out = console()
    out.print(Text(f"{found.name}: {found.repeats or 'does not repeat'}"))
    if found.starts and found.status in _AT_REST:
        out.print(Text(f"It is {found.status.value} now, so it starts only once it is released.", style="yellow"))
    if found.starts and found.active_period:
        out.print(
            Text(
                f"It starts only in the active period {found.active_period}; what comes due outside of it starts when "
                "that opens."
            ),
            soft_wrap=True,
        )
    if found.starts and found.starts[0] <= now:
        out.print(Text("The first start is past: it is due at once.", style="yellow"))
    zone = ZoneInfo(found.zone)
    rows = [(f"{start.astimezone(zone):%a %Y-%m-%d %H:%M:%S}", start) for start in found.starts]
    nothing = "Nothing is planned."
    if found.zone == "UTC":
        print_rows(("UTC",), [(local,) for local, _ in rows], nothing=nothing)
    else:
        print_rows((found.zone, "UTC"), rows, nothing=nothing)


@app.command("create")
def create_job(
    job: JobArgument,
    file: FileArgument,
    release: Annotated[bool, typer.Option("--release", help="Release it at once: it starts when it is due.")] = False,
    partition: PartitionOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Create a job from a YAML section, as below `jobs.NAME` in the configuration. The new job is on hold."""

    async def work(desk: OperatorSession) -> JobRow:
        settings = await operations.known_names(desk.store, desk.settings, desk.who)
        section = await _section(config, job, file, desk, settings)
        return await operations.create_job(desk.store, settings, desk.who, job, section, release=release, now=desk.now)

    _do(config, partition, work, reason=reason, as_json=as_json)


@app.command("edit")
def edit_job(
    job: JobArgument,
    file: FileArgument,
    partition: PartitionOption = None,
    mine: MineOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Replace the definition of a job by a YAML section. Its status stays; a current run goes on unchanged.

    `gateway jobs show NAME --yaml` prints the present section.
    """

    async def work(desk: OperatorSession) -> JobRow:
        settings = await operations.known_names(desk.store, desk.settings, desk.who)
        section = await _section(config, job, file, desk, settings)
        return await operations.edit_job(desk.store, settings, desk.who, job, section, now=desk.now)

    _do(config, partition, work, mine=mine, reason=reason, as_json=as_json)


@app.command("run")
def run_job(
    job: JobArgument,
    wait: Annotated[
        bool,
        typer.Option("--wait", "-w", help="Wait until the run has ended; exit code 1 if it failed or was cancelled."),
    ] = False,
    partition: PartitionOption = None,
    mine: MineOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Start a run now; the planned starts do not change."""
    number, outcome = perform(_run(config, partition, mine, reason, job, wait=wait))
    status = "executing" if outcome is None else outcome.status
    if as_json:
        print_json({"run": number, "status": status})
    else:
        print_rows(("run", "job", "status"), [(number, job, job_status(status))], nothing="")
    if outcome is not None and outcome.status != "ended":
        more = f"`gateway runs show {number}` says what happened."
        if not outcome.kept:
            more = f"History keeps no runs of {job} (its option `history`): the log of the gateway says what happened."
        console(error=True).print(Text(more), soft_wrap=True)
        raise typer.Exit(KNOWN_ERROR)


@app.command("hold")
def hold_job(
    job: JobArgument,
    partition: PartitionOption = None,
    mine: MineOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Put a job on hold. A current run ends first."""
    _do(
        config, partition, lambda desk: operations.hold_job(desk.store, desk.who, job, now=desk.now), mine=mine,
        reason=reason, as_json=as_json,
    )  # fmt: skip


@app.command("release")
def release_job(
    job: JobArgument,
    partition: PartitionOption = None,
    mine: MineOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let a job start when it is due. It may be on hold, ended, failed or cancelled."""
    _do(
        config, partition, lambda desk: operations.release_job(desk.store, desk.who, job, now=desk.now), mine=mine,
        reason=reason, as_json=as_json,
    )  # fmt: skip


@app.command("cancel")
def cancel_job(
    job: JobArgument,
    only_this: Annotated[
        bool, typer.Option("--only-this", help="Only this run: a recurring job starts again as planned.")
    ] = False,
    partition: PartitionOption = None,
    mine: MineOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Cancel a job: no more tasks start, running tasks may finish, and it does not start again by itself."""
    _do(
        config, partition,
        lambda desk: operations.cancel_job(desk.store, desk.who, job, only_this=only_this, now=desk.now), mine=mine,
        reason=reason, as_json=as_json,
    )  # fmt: skip


@app.command("requeue")
def requeue_job(
    job: JobArgument,
    partition: PartitionOption = None,
    mine: MineOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Set an executing job back to waiting when no server works on it. Refused while one does."""
    _do(
        config, partition, lambda desk: operations.requeue_job(desk.store, desk.who, job, now=desk.now), mine=mine,
        reason=reason, as_json=as_json,
    )  # fmt: skip


@app.command("copy")
def copy_job(
    job: JobArgument,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The name of the copy.")],
    partition: PartitionOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Copy a job under another name. The copy is on hold and belongs to you."""
    _do(
        config,
        partition,
        lambda desk: operations.copy_job(desk.store, desk.who, job, new, now=desk.now),
        reason=reason,
        as_json=as_json,
    )


@app.command("delete")
def delete_jobs(
    names: Annotated[list[str] | None, typer.Argument(metavar="JOB", help="Names of jobs.")] = None,
    status: Annotated[
        JobStatus | None,
        typer.Option("--status", "-s", help="All jobs with this status that are not in the configuration."),
    ] = None,
    partition: PartitionOption = None,
    mine: MineOption = False,
    yes: YesOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Remove jobs that are not running; their history stays. Stops at the first that cannot be removed."""
    if bool(names) == (status is not None):
        raise typer.BadParameter("give the names of jobs, or --status")

    async def choose() -> list[str]:
        async with open_session(config, partition, mine) as desk:
            return await operations.removable_jobs(desk.store, desk.who, status or JobStatus.ENDED)

    async def delete(chosen: list[str]) -> None:
        async with open_session(config, partition, mine, reason) as desk:
            for name in chosen:
                await operations.delete_job(desk.store, desk.who, name)

    deleted = names or perform(choose())
    if deleted and not yes:
        consent(f"Delete {visible(', '.join(deleted))}?")
    perform(delete(deleted))
    if as_json:
        print_json({"deleted": deleted})
    else:
        print_rows(("job", "result"), [(name, "deleted") for name in deleted], nothing="There is none to delete.")


def _do(
    config: Path,
    partition: str | None,
    work: Callable[[OperatorSession], Awaitable[JobRow]],
    *,
    mine: bool = False,
    reason: str | None,
    as_json: bool,
) -> None:
    """Do something to a job and tell how it stands then."""

    async def do() -> tuple[JobRow, datetime]:
        async with open_session(config, partition, mine, reason) as desk:
            return await work(desk), desk.now

    row, now = perform(do())
    if as_json:
        print_json({"job": row})
    else:
        print_rows(("job", "status", "next start"), [(row.name, status_of(row), due(row, now))], nothing="")


async def _run(
    config: Path, partition: str | None, mine: bool, reason: str | None, job: str, *, wait: bool
) -> tuple[int, RunOutcome | None]:
    async with open_session(config, partition, mine, reason) as desk:
        number = await operations.start_job(desk.store, desk.who, job, now=desk.now)
        if not wait:
            return number, None
        told: list[str] = []
        while (outcome := await operations.run_outcome(desk.store, desk.who, job, number)) is None:
            for text in await _waits(desk, number):
                if text not in told:
                    told.append(text)
                    console(error=True).print(Text(visible(text), style="yellow"), soft_wrap=True)
            await asyncio.sleep(POLL_SECONDS)
        return number, outcome


async def _waits(desk: OperatorSession, run: int) -> list[str]:
    """Say what keeps the tasks of a run from being taken; nothing when it has just ended."""
    try:
        found = await show_run(desk.store, desk.who, run)
    except NotFound:
        return []
    now = await database_clock(desk.store)
    return waits_in_words(await nobody_takes(desk.store, found, now=now))


async def _section(config: Path, job: str, file: str, desk: OperatorSession, settings: Settings) -> JobSection:
    """Read and check the section of a job. Raises: ConfigError with the lines of the file."""
    name = "standard input" if file == STANDARD_INPUT else file
    try:
        content = await asyncio.to_thread(_read, file)
    except OSError as error:
        problem = ConfigProblem(file=name, line=None, path="", text=f"cannot be read: {error.strerror}")
        raise ConfigError([problem]) from None
    return parse_job(
        content, name=job, file=name, base=config.absolute().parent, environ=os.environ, settings=settings,
        runnables=runnables_to_check(config),
    )  # fmt: skip


def _read(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()
