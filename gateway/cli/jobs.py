"""Commands on batch jobs: look at them, hold and release them, make and change them."""

import asyncio
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import typer
from rich.text import Text

from gateway.batch.rules.job import JobStatus
from gateway.cli.commands import Answer, Commands, Question
from gateway.cli.job_views import due, job_parts, repeats_in_words, status_of
from gateway.cli.options import JobArgument
from gateway.cli.render import Notice, Part, Rows, age, job_status, show
from gateway.cli.runs import waits_in_words
from gateway.cli.section import SectionArgument, read_section
from gateway.config.definitions import section_text
from gateway.config.models import Job as JobSection
from gateway.config.section import parse_job
from gateway.kernel.ids import RunId
from gateway.operations import jobs as operations
from gateway.operations.jobs import JobRow, Preview, RunOutcome
from gateway.operations.principal import OperatorSession
from gateway.operations.references import NotFound
from gateway.operations.runs import nobody_takes, show_run
from gateway.runtime.visible import visible

app = Commands("Batch jobs: what runs, when, and after what.")
_AT_REST: Final = frozenset(JobStatus) - {JobStatus.WAITING, JobStatus.EXECUTING, JobStatus.CANCELLING}
POLL_SECONDS: Final = 0.2


@app.query("list", "partition", "mine")
async def list_jobs(
    session: OperatorSession,
    status: Annotated[
        list[JobStatus] | None, typer.Option("--status", "-s", help="Only jobs with this status; repeatable.")
    ] = None,
) -> Answer:
    """List the jobs with their status, next start and last outcome."""
    found, now = await operations.list_jobs(session, statuses=status), session.now
    columns = ("job", "status", "next start", "last", "ended", "runs", "failed", "repeats", "owner", "group", "from")
    rows = [
        (one.name, status_of(one), due(one, now), job_status(one.last_outcome), age(one.last_ended_at, now), one.runs,
         one.failures, repeats_in_words(one), one.owner, one.group, one.source)
        for one in found
    ]  # fmt: skip
    narrow = ("job", "status", "next start", "last")
    return Answer({"jobs": found}, Rows(columns, rows, "There are no jobs here.", narrow=narrow))


@app.query("show", "partition", "mine")
async def show_job(
    session: OperatorSession,
    job: JobArgument,
    as_section: Annotated[bool, typer.Option("--yaml", help="Print the section to edit, and nothing else.")] = False,
) -> Answer | None:
    """Show everything about a job: its tasks with what they wait for, its next starts, its last runs."""
    found = await operations.show_job(session, job)
    if as_section:
        sys.stdout.write(section_text(found.definition))
        return None
    return Answer(found, *job_parts(found, session.now))


@app.query("next", "partition", "mine")
async def preview(
    session: OperatorSession,
    job: JobArgument,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many starts.")] = 5,
) -> Answer:
    """Show the next starts of a job, in its own time zone and in UTC, and its recurrence in words."""
    found = await operations.preview_job(session, job, count)
    zone = ZoneInfo(found.zone)
    local = [f"{start.astimezone(zone):%a %Y-%m-%d %H:%M:%S}" for start in found.starts]
    nothing = "Nothing is planned."
    if found.zone == "UTC":
        table = Rows(("UTC",), [(one,) for one in local], nothing)
    else:
        table = Rows((found.zone, "UTC"), list(zip(local, found.starts, strict=True)), nothing)
    return Answer(found, *_about_starts(found, session), table)


@app.action("create", "partition")
async def create_job(
    session: OperatorSession,
    job: JobArgument,
    file: SectionArgument,
    config: Path,
    release: Annotated[bool, typer.Option("--release", help="Release it at once: it starts when it is due.")] = False,
) -> Answer:
    """Create a job from a YAML section, as below `jobs.NAME` in the configuration. The new job is on hold."""
    section = await _section(session, job, file, config)
    return _stands(session, await operations.create_job(session, job, section, release=release))


@app.action("edit", "partition", "mine")
async def edit_job(session: OperatorSession, job: JobArgument, file: SectionArgument, config: Path) -> Answer:
    """Replace the definition of a job by a YAML section. Its status stays; a current run goes on unchanged.

    `gateway jobs show NAME --yaml` prints the present section.
    """
    section = await _section(session, job, file, config)
    return _stands(session, await operations.edit_job(session, job, section))


@app.action("run", "partition", "mine")
async def run_job(
    session: OperatorSession,
    job: JobArgument,
    wait: Annotated[
        bool,
        typer.Option("--wait", "-w", help="Wait until the run has ended; exit code 1 if it failed or was cancelled."),
    ] = False,
) -> Answer:
    """Start a run now; the planned starts do not change."""
    number = await operations.start_job(session, job)
    outcome = await _wait(session, job, number) if wait else None
    status = "executing" if outcome is None else outcome.status
    failed = outcome is not None and outcome.status != "ended"
    if failed and outcome is not None:
        more = f"`gateway runs show {number}` says what happened."
        if not outcome.kept:
            more = f"History keeps no runs of {job} (its option `history`): the log of the gateway says what happened."
        show([Notice(more, style="")])
    table = Rows(("run", "job", "status"), [(number, job, job_status(status))])
    return Answer({"run": number, "status": status}, table, failed=failed)


@app.action("hold", "partition", "mine")
async def hold_job(session: OperatorSession, job: JobArgument) -> Answer:
    """Put a job on hold. A current run ends first."""
    return _stands(session, await operations.hold_job(session, job))


@app.action("release", "partition", "mine")
async def release_job(session: OperatorSession, job: JobArgument) -> Answer:
    """Let a job start when it is due. It may be on hold, ended, failed or cancelled."""
    return _stands(session, await operations.release_job(session, job))


@app.action("cancel", "partition", "mine")
async def cancel_job(
    session: OperatorSession,
    job: JobArgument,
    only_this: Annotated[
        bool, typer.Option("--only-this", help="Only this run: a recurring job starts again as planned.")
    ] = False,
) -> Answer:
    """Cancel a job: no more tasks start, running tasks may finish, and it does not start again by itself."""
    return _stands(session, await operations.cancel_job(session, job, only_this=only_this))


@app.action("requeue", "partition", "mine")
async def requeue_job(session: OperatorSession, job: JobArgument) -> Answer:
    """Set an executing job back to waiting when no server works on it. Refused while one does."""
    return _stands(session, await operations.requeue_job(session, job))


@app.action("copy", "partition")
async def copy_job(
    session: OperatorSession,
    job: JobArgument,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The name of the copy.")],
) -> Answer:
    """Copy a job under another name. The copy is on hold and belongs to you."""
    return _stands(session, await operations.copy_job(session, job, new))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deleted:
    names: Annotated[list[str] | None, typer.Argument(metavar="JOB", help="Names of jobs.")] = None
    status: Annotated[
        JobStatus | None,
        typer.Option("--status", "-s", help="All jobs with this status that are not in the configuration."),
    ] = None

    def __post_init__(self) -> None:
        if bool(self.names) == (self.status is not None):
            raise typer.BadParameter("give the names of jobs, or --status")


@app.action("delete", "partition", "mine", "yes")
async def delete_jobs(session: OperatorSession, chosen: _Deleted) -> Answer | Question:
    """Remove jobs that are not running; their history stays. Stops at the first that cannot be removed."""
    names = chosen.names or await operations.removable_jobs(session, chosen.status or JobStatus.ENDED)

    async def delete(session: OperatorSession) -> Answer:
        for name in names:
            await operations.delete_job(session, name)
        rows = [(name, "deleted") for name in names]
        return Answer({"deleted": names}, Rows(("job", "result"), rows, "No job was deleted."))

    if not names:
        return await delete(session)
    return Question(text=f"Delete {visible(', '.join(names))}?", then=delete)


def _stands(session: OperatorSession, row: JobRow) -> Answer:
    """Tell how a job stands after something was done to it."""
    shown = (row.name, status_of(row), due(row, session.now))
    return Answer({"job": row}, Rows(("job", "status", "next start"), [shown]))


def _about_starts(found: Preview, session: OperatorSession) -> list[Part]:
    parts: list[Part] = [f"{found.name}: {found.repeats or 'does not repeat'}"]
    if found.starts and found.status in _AT_REST:
        text = f"It is {found.status.value} now, so it starts only once it is released."
        parts.append(Text(text, style="yellow"))
    if found.starts and found.active_period:
        parts.append(
            f"It starts only in the active period {found.active_period}; what comes due outside of it starts when "
            "that opens."
        )
    if found.starts and found.starts[0] <= session.now:
        parts.append(Text("The first start is past: it is due at once.", style="yellow"))
    return parts


async def _wait(session: OperatorSession, job: str, number: RunId) -> RunOutcome:
    """Wait until a run has ended, and say once what keeps its tasks meanwhile."""
    told: set[str] = set()
    while (outcome := await operations.run_outcome(session, job, number)) is None:
        for text in await _waits(session, number):
            if text not in told:
                told.add(text)
                show([Notice(visible(text))])
        await asyncio.sleep(POLL_SECONDS)
    return outcome


async def _waits(session: OperatorSession, run: RunId) -> list[str]:
    """Say what keeps the tasks of a run from being taken; nothing when it has just ended."""
    try:
        found = await show_run(session, run)
    except NotFound:
        return []
    return waits_in_words(await nobody_takes(await session.later(), found))


async def _section(session: OperatorSession, job: str, file: str, config: Path) -> JobSection:
    """Read and check the section of a job. Raises: ConfigError with the lines of the file."""
    settings = await operations.known_names(session)
    return await read_section(file, config, settings, partial(parse_job, name=job))
