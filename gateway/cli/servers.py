"""Commands on the servers that run tasks, and on batch groups, which say what a server runs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time
from typing import Annotated

import typer

from gateway.batch.rules.definition import HoursDefinition
from gateway.batch.rules.job import Priority
from gateway.cli.commands import Answer, Commands
from gateway.cli.render import Notice, Part, Rows
from gateway.kernel.errors import JobRefused
from gateway.kernel.local_time import zone_named
from gateway.operations import servers as operations
from gateway.operations.principal import OperatorSession
from gateway.operations.servers import GroupRow, ServerRow

app = Commands("Servers: the gateway processes that run tasks.")
groups_app = Commands("Batch groups: which servers may run a task, and how soon.")
ServerArgument = Annotated[str, typer.Argument(metavar="SERVER", help="The name of a server.")]
GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="The name of a group; `default` always exists.")]
_HOURS = re.compile(
    r"(?P<threads>[0-9]{1,4}) (?P<start>[0-9]{2}:[0-9]{2})-(?P<end>[0-9]{2}:[0-9]{2})(?: (?P<zone>\S+))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Set:
    groups: Annotated[
        str | None,
        typer.Option("--groups", help="The groups it serves, with commas between them, such as print,default."),
    ] = None
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, max=1000, help="How many tasks may run at the same time.")
    ] = None
    reserved: Annotated[
        int | None,
        typer.Option(
            "--reserved", help="Percent of its threads that are kept free for priority reserved: 0, 10, 15, 25."
        ),
    ] = None
    hours: Annotated[
        list[str] | None,
        typer.Option(
            "--hours",
            metavar="'N FROM-TO [ZONE]'",
            help="Threads by time of day, such as '20 18:00-07:30 Europe/Copenhagen'; several times; 'none' ends them.",
        ),
    ] = None
    batch: Annotated[bool | None, typer.Option("--batch/--no-batch", help="Whether it runs tasks at all.")] = None

    def __post_init__(self) -> None:
        if self.reserved not in {None, 0, 10, 15, 25}:
            raise typer.BadParameter("must be 0, 10, 15 or 25", param_hint="--reserved")
        self.change()

    def change(self) -> operations.ServerChange:
        """Return what is to be set. Raises: typer.BadParameter."""
        return operations.ServerChange(
            batch=self.batch,
            groups=None if self.groups is None else [one.strip() for one in self.groups.split(",") if one.strip()],
            threads=self.threads,
            reserved_percent=self.reserved,
            hours=None if not self.hours else [_hours(text) for text in self.hours if text != "none"],
        )


@app.query("list")
async def list_servers(session: OperatorSession) -> Answer:
    """List the servers with their groups, threads and hours."""
    return _servers(await operations.list_servers(session))


@app.action("set")
async def set_server(session: OperatorSession, server: ServerArgument, wanted: _Set) -> Answer:
    """Create or change a server. If the configuration names it too, its values return at the next reload."""
    found = await operations.set_server(session, server, wanted.change())
    alone = [] if wanted.groups is None else await operations.groups_left_alone(session)
    wait = f"tasks of {'it' if len(alone) == 1 else 'these'} wait."
    return _servers([found], *([Notice(f"No server serves {', '.join(alone)} now: {wait}")] if alone else []))


@app.action("drain")
async def drain(session: OperatorSession, server: ServerArgument) -> Answer:
    """Let a server take no new tasks; running tasks finish."""
    return _servers([await operations.set_draining(session, server, True)])


@app.action("resume")
async def resume(session: OperatorSession, server: ServerArgument) -> Answer:
    """Let a drained server take work again."""
    return _servers([await operations.set_draining(session, server, False)])


@groups_app.query("list")
async def list_groups(session: OperatorSession) -> Answer:
    """List the batch groups with the servers that serve them."""
    return _groups(await operations.list_groups(session))


@groups_app.action("set")
async def set_group(
    session: OperatorSession,
    group: GroupArgument,
    description: Annotated[str | None, typer.Option("--description", help="What the group is for.")] = None,
    priority: Annotated[
        Priority | None, typer.Option("--priority", help="How often its tasks are picked, relative to other groups.")
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", min=-1, help="Tasks of each job at once; 0: no limit; -1: the group is paused."),
    ] = None,
) -> Answer:
    """Create or change a group. If the configuration names it too, its values return at the next reload."""
    row = await operations.set_group(
        session, group, description=description, priority=priority, concurrency=concurrency
    )
    return _groups([row])


@groups_app.action("delete")
async def delete_group(session: OperatorSession, group: GroupArgument) -> Answer:
    """Remove a group that no job, task or server names."""
    await operations.delete_group(session, group)
    return Answer({"deleted": group}, Rows(("group", "result"), [(group, "deleted")]))


def _hours(text: str) -> HoursDefinition:
    match = _HOURS.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError
        zone = match["zone"] or "UTC"
        zone_named(zone)
        start, end = (time.fromisoformat("00:00" if one == "24:00" else one) for one in (match["start"], match["end"]))
    except (ValueError, JobRefused):
        raise typer.BadParameter(
            f"{text!a} must be written like '20 18:00-07:30 Europe/Copenhagen'", param_hint="--hours"
        ) from None
    return HoursDefinition(threads=int(match["threads"]), start=start, end=end, zone=zone)


def _servers(found: Sequence[ServerRow], *more: Part) -> Answer:
    columns = ("server", "state", "groups", "threads", "reserved", "hours", "from")
    rows = [
        (one.name, _state(one), one.groups or "none", "by hours" if one.hours else one.threads,
         f"{one.reserved_percent} %" if one.reserved_percent else None, [_shown(row) for row in one.hours], one.source)
        for one in found
    ]  # fmt: skip
    narrow = ("server", "state", "groups", "threads")
    return Answer({"servers": found}, Rows(columns, rows, "No gateway has run yet.", narrow=narrow), *more)


def _state(server: ServerRow) -> str:
    if not server.batch:
        return "runs no tasks"
    state = "running" if server.running else "stopped"
    return f"{state}, draining" if server.draining else state


def _shown(row: HoursDefinition) -> str:
    return f"{row.threads} {row.start:%H:%M}-{row.end:%H:%M} {row.zone}"


def _groups(found: Sequence[GroupRow]) -> Answer:
    columns = ("group", "description", "priority", "each job", "servers", "from")
    rows = [
        (one.name, one.description, one.priority, _concurrency(one.concurrency), one.servers or "none", one.source)
        for one in found
    ]
    return Answer({"groups": found}, Rows(columns, rows, narrow=("group", "priority", "each job", "servers")))


def _concurrency(number: int) -> str:
    if number < 0:
        return "paused"
    return f"at most {number}" if number else "no limit"
