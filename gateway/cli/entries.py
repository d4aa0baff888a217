"""Commands on job queue entries, and on the job queues that take them."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from gateway.cli.commands import Answer, Commands
from gateway.cli.entry_views import entries_table, entry_parts, log_table, stacks
from gateway.cli.options import CategoryOption
from gateway.cli.render import Fields, Rows, console
from gateway.cli.section import SectionArgument, read_section
from gateway.config.definitions import entry_text
from gateway.config.models import QueueEntry
from gateway.config.section import parse_entry
from gateway.operations import entries as operations
from gateway.operations.entries import EntryRow, QueueRow
from gateway.operations.jobs import known_names
from gateway.operations.principal import OperatorSession
from gateway.operations.runs import follow_log, show_run
from gateway.queues import EntryAction, EntryStatus

app = Commands("Job queue entries: what runs once or again and again, and as whom.")
queues_app = Commands("Job queues: which entries may run, and where.")
EntryArgument = Annotated[str, typer.Argument(metavar="ENTRY", help="The number or the name of an entry.")]
QueueArgument = Annotated[str, typer.Argument(metavar="QUEUE", help="The name of a job queue.")]
POLL_SECONDS: Final = 0.2


class Outcome(StrEnum):
    """How a run of an entry came out, as its log says it."""

    SUCCESS = "success"
    ERROR = "error"
    CANCELLED = "cancelled"
    IN_PROCESS = "in-process"


_STATUSES: Final = {
    Outcome.SUCCESS: ("ended",), Outcome.ERROR: ("error",), Outcome.CANCELLED: ("canceled",),
    Outcome.IN_PROCESS: ("executing", "cancelling"),
}  # fmt: skip


@app.query("list", "partition", "mine")
async def list_entries(
    session: OperatorSession,
    status: Annotated[
        list[EntryStatus] | None, typer.Option("--status", "-s", help="Only entries with this status; repeatable.")
    ] = None,
    category: CategoryOption = None,
    queue: Annotated[str | None, typer.Option("--queue", help="Only entries that this job queue takes.")] = None,
) -> Answer:
    """List the entries by category, in the order in which they run."""
    found = await operations.list_entries(session, statuses=status, category=category, queue=queue)
    return _listed(session, found)


@app.query("mine", "partition")
async def my_entries(session: OperatorSession) -> Answer:
    """List your own entries that are not finished, with what went wrong."""
    unfinished = [status for status in EntryStatus if status is not EntryStatus.FINISHED]
    return _listed(session, await operations.list_entries(session.own(), statuses=unfinished))


@app.query("show", "partition")
async def show_entry(
    session: OperatorSession,
    entry: EntryArgument,
    as_section: Annotated[bool, typer.Option("--yaml", help="Print the section to edit, and nothing else.")] = False,
) -> Answer | None:
    """Show everything about an entry, with its last runs."""
    found = await operations.show_entry(session, entry)
    if as_section:
        sys.stdout.write(entry_text(found.definition, session.settings))
        return None
    return Answer(found, *entry_parts(found, session.now))


@app.query("log", "partition", "mine")
async def show_log(
    session: OperatorSession,
    entry: Annotated[str | None, typer.Argument(metavar="ENTRY", help="Only this entry, by number or name.")] = None,
    category: CategoryOption = None,
    outcome: Annotated[
        list[Outcome] | None, typer.Option("--status", "-s", help="Only runs that came out so; repeatable.")
    ] = None,
    with_stack: Annotated[bool, typer.Option("--stack", help="Show where each run failed, too.")] = False,
    before: Annotated[int | None, typer.Option("--before", help="Only runs before this one.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 50,
) -> Answer:
    """Show what ran, the newest first, also of entries that are gone. `gateway runs log` shows what a run said."""
    statuses = None if outcome is None else [status for one in outcome for status in _STATUSES[one]]
    found = await operations.entry_log(
        session, entry=entry, category=category, statuses=statuses, before=before, limit=limit
    )
    where = stacks(found) if with_stack else ()
    return Answer({"runs": found}, log_table(found, session.now, nothing="Nothing has run."), *where)


@app.action("add", "partition")
async def add_entry(
    session: OperatorSession,
    file: SectionArgument,
    config: Path,
    name: Annotated[str | None, typer.Option("--name", help="A name for it. Default: it has a number.")] = None,
    ready: Annotated[bool, typer.Option("--ready", help="Set it to ready at once.")] = False,
) -> Answer:
    """Add an entry from a YAML section, as below `job_queues.entries.NAME`. The new entry is on hold."""
    section = await _section(session, file, config)
    return _stands(session, await operations.add_entry(session, section, name=name, ready=ready))


@app.action("edit", "partition")
async def edit_entry(session: OperatorSession, entry: EntryArgument, file: SectionArgument, config: Path) -> Answer:
    """Replace what an entry says by a YAML section. It must be on hold."""
    section = await _section(session, file, config)
    return _stands(session, await operations.edit_entry(session, entry, section))


@app.action("ready", "partition", "mine")
async def ready_entry(session: OperatorSession, entry: EntryArgument) -> Answer:
    """Let an entry run when it is due. It then runs as you."""
    return _stands(session, await operations.change_entry(session, entry, EntryAction.READY))


@app.action("hold", "partition", "mine")
async def hold_entry(session: OperatorSession, entry: EntryArgument) -> Answer:
    """Put an entry on hold. One in process ends first."""
    return _stands(session, await operations.change_entry(session, entry, EntryAction.HOLD))


@app.action("restart", "partition", "mine")
async def restart_entry(session: OperatorSession, entry: EntryArgument) -> Answer:
    """Let an entry that failed run again at once, as you, with all its attempts."""
    return _stands(session, await operations.restart_entry(session, entry))


@app.action("delete", "partition", "mine")
async def delete_entry(session: OperatorSession, entry: EntryArgument) -> Answer:
    """Remove an entry that is not in process. Its runs stay in the log."""
    await operations.change_entry(session, entry, EntryAction.DELETE)
    return Answer({"deleted": [entry]}, Rows(("entry", "result"), [(entry, "deleted")]))


@app.action("run-once", "partition", "mine")
async def run_once(
    session: OperatorSession,
    entry: EntryArgument,
    as_json: bool,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Show what it says, until it has ended.")] = True,
) -> Answer:
    """Run an entry now, on a server, whatever its time; afterwards it stands as before. Exit code 1 if it failed."""
    number = await operations.run_once(session, entry)
    if wait:
        async for lines in follow_log(session, number, poll_seconds=POLL_SECONDS):
            for line in lines if not as_json else ():
                console(error=True).print(Text(line.text), soft_wrap=True)
    run = (await show_run(session, number)).run
    return Answer(
        {"run": number, "status": run.status, "error": run.error},
        Rows(("run", "status", "error"), [(number, run.status, run.error)]),
        failed=run.status not in {"executing", "ended"},
    )


@queues_app.query("list")
async def list_queues(session: OperatorSession) -> Answer:
    """List the job queues: started or stopped, what waits, what runs, what has failed."""
    found = await operations.list_queues(session)
    return Answer({"queues": found}, _queues(found))


@queues_app.query("show", "partition")
async def show_queue(session: OperatorSession, queue: QueueArgument) -> Answer:
    """Show a job queue with its categories and its entries."""
    found = await operations.show_queue(session, queue)
    row = found.queue
    fields = Fields(
        [
            ("description", row.description if row.description != row.name else None),
            ("status", _state(row)),
            ("changed by", row.changed_by),
            ("starts automatically", "yes" if row.starts_automatically else "no"),
            ("takes", list(row.categories) if row.categories is not None else "all entries"),
            ("group", row.group),
        ],
        title=row.name,
    )
    categories = [(one.name, one.width, list(one.held_by), one.waiting) for one in found.categories]
    columns = ("category", "width", "in process", "waiting")
    return Answer(
        found,
        fields,
        Rows(columns, categories, "It has no categories.", title="\nCategories"),
        entries_table(found.entries, session.now, title="\nEntries", nothing="There are no entries in it."),
    )


@queues_app.action("start")
async def start_queue(session: OperatorSession, queue: QueueArgument) -> Answer:
    """Start a job queue: its entries run when they are due."""
    row = await operations.start_queue(session, queue, True)
    return Answer({"queue": row}, _queues([row]))


@queues_app.action("stop")
async def stop_queue(session: OperatorSession, queue: QueueArgument) -> Answer:
    """Stop a job queue: no further entry of it starts. What runs goes on."""
    row = await operations.start_queue(session, queue, False)
    return Answer({"queue": row}, _queues([row]))


def _stands(session: OperatorSession, row: EntryRow | None) -> Answer:
    """Tell how an entry stands after something was done to it."""
    assert row is not None  # only a removed one is none any more
    return Answer({"entry": row}, entries_table([row], session.now))


def _listed(session: OperatorSession, rows: Sequence[EntryRow]) -> Answer:
    return Answer({"entries": rows}, entries_table(rows, session.now, nothing="There are no entries here."))


async def _section(session: OperatorSession, file: str, config: Path) -> QueueEntry:
    """Read and check the section of an entry. Raises: ConfigError with the lines of the file."""
    return await read_section(file, config, await known_names(session), parse_entry)


def _queues(rows: Sequence[QueueRow]) -> Rows:
    return Rows(
        ("queue", "status", "categories", "group", "in queue", "in process", "failed"),
        [
            (row.name, _state(row), "all" if row.categories is None else list(row.categories), row.group, row.in_queue,
             row.in_process, row.failed)
            for row in rows
        ],
        "There are no job queues. Write them into `job_queues.queues` of the configuration.",
    )  # fmt: skip


def _state(row: QueueRow) -> Text:
    return Text("started", style="green") if row.started else Text("stopped", style="yellow")
