"""Commands on job queue entries: look at them, add, hold, restart and try them, read their log."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from gateway.cli.common import KNOWN_ERROR, perform
from gateway.cli.desk import OperatorSession, open_session
from gateway.cli.entry_views import print_entries, print_entry, print_log, print_stack
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, MineOption, PartitionOption, ReasonOption
from gateway.cli.render import console, print_json, print_rows
from gateway.config.definitions import entry_text
from gateway.config.models import QueueEntry
from gateway.config.section import parse_entry
from gateway.kernel.errors import ConfigError, ConfigProblem
from gateway.operations import entries as operations
from gateway.operations.entries import EntryReport, EntryRow
from gateway.operations.jobs import known_names
from gateway.operations.runs import follow_log, show_run
from gateway.queues import EntryAction, EntryRun, EntryStatus
from gateway.runtime.jobs import runnables_to_check

app = typer.Typer(no_args_is_help=True, help="Job queue entries: what runs once or again and again, and as whom.")
EntryArgument = Annotated[str, typer.Argument(metavar="ENTRY", help="The number or the name of an entry.")]
FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="A YAML file with the section of the entry; - reads standard input.")
]
STANDARD_INPUT: Final = "-"
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


@app.command("list")
def list_entries(
    status: Annotated[
        list[EntryStatus] | None, typer.Option("--status", "-s", help="Only entries with this status; repeatable.")
    ] = None,
    category: Annotated[str | None, typer.Option("--category", help="Only entries of this category.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", help="Only entries that this job queue takes.")] = None,
    partition: PartitionOption = None,
    mine: MineOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List the entries by category, in the order in which they run."""

    async def work() -> tuple[list[EntryRow], datetime]:
        async with open_session(config, partition, mine) as desk:
            found = await operations.list_entries(
                desk.store, desk.who, statuses=status, category=category, queue=queue
            )  # fmt: skip
            return found, desk.now

    _print_list(perform(work()), as_json=as_json)


@app.command("mine")
def my_entries(
    partition: PartitionOption = None, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False
) -> None:
    """List your own entries that are not finished, with what went wrong."""
    unfinished = [status for status in EntryStatus if status is not EntryStatus.FINISHED]

    async def work() -> tuple[list[EntryRow], datetime]:
        async with open_session(config, partition, mine=True) as desk:
            return await operations.list_entries(desk.store, desk.who, statuses=unfinished), desk.now

    _print_list(perform(work()), as_json=as_json)


@app.command("show")
def show_entry(
    entry: EntryArgument,
    as_section: Annotated[bool, typer.Option("--yaml", help="Print the section to edit, and nothing else.")] = False,
    partition: PartitionOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show everything about an entry, with its last runs."""

    async def work() -> tuple[EntryReport, str, datetime]:
        async with open_session(config, partition) as desk:
            found = await operations.show_entry(desk.store, desk.who, entry)
            return found, entry_text(found.definition, desk.settings), desk.now

    found, section, now = perform(work())
    if as_section:
        sys.stdout.write(section)
    elif as_json:
        print_json(found)
    else:
        print_entry(found, now)


@app.command("log")
def show_log(
    entry: Annotated[str | None, typer.Argument(metavar="ENTRY", help="Only this entry, by number or name.")] = None,
    category: Annotated[str | None, typer.Option("--category", help="Only entries of this category.")] = None,
    outcome: Annotated[
        list[Outcome] | None, typer.Option("--status", "-s", help="Only runs that came out so; repeatable.")
    ] = None,
    stack: Annotated[bool, typer.Option("--stack", help="Show where each run failed, too.")] = False,
    before: Annotated[int | None, typer.Option("--before", help="Only runs before this one.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 50,
    partition: PartitionOption = None,
    mine: MineOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show what ran, the newest first, also of entries that are gone. `gateway runs log` shows what a run said."""
    statuses = None if outcome is None else [status for one in outcome for status in _STATUSES[one]]

    async def work() -> tuple[list[EntryRun], datetime]:
        async with open_session(config, partition, mine) as desk:
            found = await operations.entry_log(
                desk.store, desk.who, entry=entry, category=category, statuses=statuses, before=before, limit=limit
            )
            return found, desk.now

    found, now = perform(work())
    if as_json:
        print_json({"runs": found})
        return
    print_log(found, now, nothing="Nothing has run.")
    for run in found if stack else ():
        print_stack(run)


@app.command("add")
def add_entry(
    file: FileArgument,
    name: Annotated[str | None, typer.Option("--name", help="A name for it. Default: it has a number.")] = None,
    ready: Annotated[bool, typer.Option("--ready", help="Set it to ready at once.")] = False,
    partition: PartitionOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Add an entry from a YAML section, as below `job_queues.entries.NAME`. The new entry is on hold."""

    async def work(desk: OperatorSession) -> EntryRow:
        section = await _section(config, file, desk)
        return await operations.add_entry(
            desk.store, desk.settings, desk.who, section, name=name, ready=ready, now=desk.now
        )

    _do(config, partition, work, reason=reason, as_json=as_json)


@app.command("edit")
def edit_entry(
    entry: EntryArgument,
    file: FileArgument,
    partition: PartitionOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Replace what an entry says by a YAML section. It must be on hold."""

    async def work(desk: OperatorSession) -> EntryRow:
        section = await _section(config, file, desk)
        return await operations.edit_entry(desk.store, desk.settings, desk.who, entry, section, now=desk.now)

    _do(config, partition, work, reason=reason, as_json=as_json)


@app.command("ready")
def ready_entry(
    entry: EntryArgument,
    partition: PartitionOption = None,
    mine: MineOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let an entry run when it is due. It then runs as you."""
    _change(entry, EntryAction.READY, config, partition, mine=mine, reason=reason, as_json=as_json)


@app.command("hold")
def hold_entry(
    entry: EntryArgument,
    partition: PartitionOption = None,
    mine: MineOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Put an entry on hold. One in process ends first."""
    _change(entry, EntryAction.HOLD, config, partition, mine=mine, reason=reason, as_json=as_json)


@app.command("restart")
def restart_entry(
    entry: EntryArgument,
    partition: PartitionOption = None,
    mine: MineOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let an entry that failed run again at once, as you, with all its attempts."""

    async def work(desk: OperatorSession) -> EntryRow:
        return await operations.restart_entry(desk.store, desk.who, entry, now=desk.now)

    _do(config, partition, work, mine=mine, reason=reason, as_json=as_json)


@app.command("delete")
def delete_entry(
    entry: EntryArgument,
    partition: PartitionOption = None,
    mine: MineOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Remove an entry that is not in process. Its runs stay in the log."""

    async def work() -> None:
        async with open_session(config, partition, mine, reason) as desk:
            await operations.change_entry(desk.store, desk.who, entry, EntryAction.DELETE, now=desk.now)

    perform(work())
    if as_json:
        print_json({"deleted": [entry]})
    else:
        print_rows(("entry", "result"), [(entry, "deleted")], nothing="")


@app.command("run-once")
def run_once(
    entry: EntryArgument,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Show what it says, until it has ended.")] = True,
    partition: PartitionOption = None,
    mine: MineOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Run an entry now, on a server, whatever its time; afterwards it stands as before. Exit code 1 if it failed."""
    run, status, error = perform(_run_once(entry, config, partition, mine, reason, wait=wait, quiet=as_json))
    if as_json:
        print_json({"run": run, "status": status, "error": error})
    else:
        print_rows(("run", "status", "error"), [(run, status, error)], nothing="")
    if status not in {"executing", "ended"}:
        raise typer.Exit(KNOWN_ERROR)


async def _run_once(
    entry: str, config: Path, partition: str | None, mine: bool, reason: str | None, *, wait: bool, quiet: bool
) -> tuple[int, str, str | None]:
    async with open_session(config, partition, mine, reason) as desk:
        number = await operations.run_once(desk.store, desk.who, entry, now=desk.now)
        if wait:
            async for lines in follow_log(desk.session, number, poll_seconds=POLL_SECONDS):
                for line in lines if not quiet else ():
                    console(error=True).print(Text(line.text), soft_wrap=True)
        run = (await show_run(desk.session, number)).run
        return number, run.status, run.error


def _change(
    entry: str, action: EntryAction, config: Path, partition: str | None, *, mine: bool, reason: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    async def work(desk: OperatorSession) -> EntryRow:
        row = await operations.change_entry(desk.store, desk.who, entry, action, now=desk.now)
        assert row is not None
        return row

    _do(config, partition, work, mine=mine, reason=reason, as_json=as_json)


def _do(
    config: Path,
    partition: str | None,
    work: Callable[[OperatorSession], Awaitable[EntryRow]],
    *,
    mine: bool = False,
    reason: str | None,
    as_json: bool,
) -> None:
    """Do something to an entry and tell how it stands then."""

    async def do() -> tuple[EntryRow, datetime]:
        async with open_session(config, partition, mine, reason) as desk:
            return await work(desk), desk.now

    row, now = perform(do())
    if as_json:
        print_json({"entry": row})
    else:
        print_entries([row], now, nothing="")


def _print_list(found: tuple[list[EntryRow], datetime], *, as_json: bool) -> None:
    rows, now = found
    if as_json:
        print_json({"entries": rows})
    else:
        print_entries(rows, now, nothing="There are no entries here.")


async def _section(config: Path, file: str, desk: OperatorSession) -> QueueEntry:
    """Read and check the section of an entry. Raises: ConfigError with the lines of the file."""
    name = "standard input" if file == STANDARD_INPUT else file
    try:
        content = await asyncio.to_thread(_read, file)
    except OSError as error:
        problem = ConfigProblem(file=name, line=None, path="", text=f"cannot be read: {error.strerror}")
        raise ConfigError([problem]) from None
    settings = await known_names(desk.session)
    return parse_entry(
        content, file=name, base=config.absolute().parent, environ=os.environ, settings=settings,
        runnables=runnables_to_check(config),
    )  # fmt: skip


def _read(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()
