"""Commands on the servers that run tasks."""

import re
from datetime import time
from typing import Annotated

import typer
from rich.text import Text

from gateway.batch.rules.definition import HoursDefinition
from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, perform
from gateway.cli.desk import ReasonOption, open_session
from gateway.cli.render import console, print_json, print_rows
from gateway.kernel.errors import JobRefused
from gateway.kernel.local_time import zone_named
from gateway.operations import servers as operations

app = typer.Typer(no_args_is_help=True, help="Servers: the gateway processes that run tasks.")
ServerArgument = Annotated[str, typer.Argument(metavar="SERVER", help="The name of a server.")]
_HOURS = re.compile(
    r"(?P<threads>[0-9]{1,4}) (?P<start>[0-9]{2}:[0-9]{2})-(?P<end>[0-9]{2}:[0-9]{2})(?: (?P<zone>\S+))?"
)


@app.command("list")
def list_servers(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the servers with their groups, threads and hours."""
    _tell(perform(_list(config)), as_json=as_json)


@app.command("set")
def set_server(
    server: ServerArgument,
    groups: Annotated[
        str | None,
        typer.Option("--groups", help="The groups it serves, with commas between them, such as print,default."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, max=1000, help="How many tasks may run at the same time.")
    ] = None,
    reserved: Annotated[
        int | None,
        typer.Option(
            "--reserved", help="Percent of its threads that are kept free for priority reserved: 0, 10, 15, 25."
        ),
    ] = None,
    hours: Annotated[
        list[str] | None,
        typer.Option(
            "--hours",
            metavar="'N FROM-TO [ZONE]'",
            help="Threads by time of day, such as '20 18:00-07:30 Europe/Copenhagen'; several times; 'none' ends them.",
        ),
    ] = None,
    batch: Annotated[bool | None, typer.Option("--batch/--no-batch", help="Whether it runs tasks at all.")] = None,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Create or change a server. If the configuration names it too, its values return at the next reload."""
    if reserved not in {None, 0, 10, 15, 25}:
        raise typer.BadParameter("must be 0, 10, 15 or 25", param_hint="--reserved")
    change = operations.ServerChange(
        batch=batch,
        groups=None if groups is None else [name.strip() for name in groups.split(",") if name.strip()],
        threads=threads,
        reserved_percent=reserved,
        hours=None if not hours else [_hours(text) for text in hours if text != "none"],
    )
    found, alone = perform(_set(config, reason, server, change))
    _tell([found], as_json=as_json)
    if alone and not as_json:
        text = f"No server serves {', '.join(alone)} now: tasks of {'it' if len(alone) == 1 else 'these'} wait."
        console(error=True).print(Text(text, style="yellow"), soft_wrap=True)


@app.command("drain")
def drain(
    server: ServerArgument,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let a server take no new tasks; running tasks finish."""
    _tell([perform(_drain(config, reason, server, True))], as_json=as_json)


@app.command("resume")
def resume(
    server: ServerArgument,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let a drained server take work again."""
    _tell([perform(_drain(config, reason, server, False))], as_json=as_json)


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


def _tell(found: list[operations.ServerRow], *, as_json: bool) -> None:
    if as_json:
        print_json({"servers": found})
        return
    columns = ("server", "state", "groups", "threads", "reserved", "hours", "from")
    rows = [
        (one.name, _state(one), one.groups or "none", "by hours" if one.hours else one.threads,
         f"{one.reserved_percent} %" if one.reserved_percent else None, [_shown(row) for row in one.hours], one.source)
        for one in found
    ]  # fmt: skip
    print_rows(columns, rows, nothing="No gateway has run yet.", narrow=("server", "state", "groups", "threads"))


def _state(server: operations.ServerRow) -> str:
    if not server.batch:
        return "runs no tasks"
    state = "running" if server.running else "stopped"
    return f"{state}, draining" if server.draining else state


def _shown(row: HoursDefinition) -> str:
    return f"{row.threads} {row.start:%H:%M}-{row.end:%H:%M} {row.zone}"


async def _list(config: ConfigOption) -> list[operations.ServerRow]:
    async with open_session(config) as desk:
        return await operations.list_servers(desk.store)


async def _set(
    config: ConfigOption, reason: str | None, server: str, change: operations.ServerChange
) -> tuple[operations.ServerRow, list[str]]:
    async with open_session(config, reason=reason) as desk:
        found = await operations.set_server(desk.store, desk.who, server, change, now=desk.now)
        return found, [] if change.groups is None else await operations.groups_left_alone(desk.store)


async def _drain(config: ConfigOption, reason: str | None, server: str, draining: bool) -> operations.ServerRow:
    async with open_session(config, reason=reason) as desk:
        return await operations.set_draining(desk.store, desk.who, server, draining, now=desk.now)
