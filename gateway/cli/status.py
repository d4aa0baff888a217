"""Commands that tell how the gateway is."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, open_site, perform
from gateway.cli.desk import ReasonOption, open_shared_desk
from gateway.cli.render import NARROW, STYLES, age, console, job_status, print_json, print_rows, table
from gateway.messaging.queue.ports import Retried
from gateway.messaging.rules.states import PortState
from gateway.operations import ports as port_operations
from gateway.operations import status as operations
from gateway.operations.reads.gateway import MOST_COUNTED
from gateway.operations.status import GatewayStatus, PortReport

ports_app = typer.Typer(invoke_without_command=True)

_NUMBERS = ("waiting", "oldest", "running", "per minute", "held", "failed")


def status(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show the state of the gateway: processes, ports, what waits and why, what is in work, the last runs."""
    found = perform(_status(config))
    if as_json:
        print_json(found)
    else:
        _print_status(found)


@ports_app.callback()
def ports(context: typer.Context, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show every port: its state and the reason, its folders, what waits and since when, what it gets done, which
    files it does not take.
    """
    if context.invoked_subcommand is not None:
        return
    found = perform(_ports(config))
    if as_json:
        print_json({"ports": found})
        return
    columns = ("port", "state", "reason", "inbound", "outbound", "operations", *_NUMBERS)
    now = datetime.now(UTC)
    rows = [
        (one.port, _state(one), one.reason, one.inbound, one.outbound, one.operations, *_numbers(one, now))
        for one in found
    ]
    print_rows(columns, rows, nothing="The configuration has no ports.", narrow=("port", "state", "reason", "inbound"))
    left = [
        (one.port, entry.get("name"), entry.get("code"), entry.get("text"), _moment(entry.get("since")))
        for one in found
        for entry in one.left_in_place
        if isinstance(entry, dict)
    ]
    if left:
        print_rows(("port", "file", "code", "why it is not taken", "since"), left, nothing="", title="Left alone")


@ports_app.command("retry")
def retry(
    ports: Annotated[list[str], typer.Argument(metavar="PORT", help="Names of ports.")],
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Try now what waits for another try, also stopped ports. Use it when the cause is mended."""
    found = perform(_retry(config, ports, reason))
    if as_json:
        print_json({"retried": found})
        return
    rows = [(one.port, one.messages, one.lanes, one.requests) for one in found]
    print_rows(("port", "messages due now", "lanes due now", "requests to send due now"), rows, nothing="")
    console().print(Text("A running gateway tries them at once."))


def _numbers(port: PortReport, now: datetime) -> Sequence[object]:
    waiting, held, failed = (
        f"{number}+" if number >= MOST_COUNTED else number for number in (port.waiting, port.held, port.failed)
    )
    return waiting, age(port.oldest, now), port.running, port.per_minute, held, failed


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _state(port: PortReport) -> Text:
    """A port that stopped needs somebody; a process that stopped does not."""
    return Text(port.state, style="bold red" if port.state == PortState.STOPPED else STYLES.get(port.state, ""))


async def _status(config: ConfigOption) -> GatewayStatus:
    async with open_site(config) as site:
        return await operations.status(site.store, site.settings)


async def _retry(config: ConfigOption, names: list[str], reason: str | None) -> list[Retried]:
    async with open_shared_desk(config, reason) as desk:
        return await port_operations.retry(desk.store, desk.settings, desk.who, names)


async def _ports(config: ConfigOption) -> list[PortReport]:
    async with open_site(config) as site:
        return list(await operations.ports(site.store, site.settings))


def _print_status(found: GatewayStatus) -> None:
    now = datetime.now(UTC)
    out = console()
    out.print(Text.assemble("gateway: ", ("running", "green") if found.running else ("not running", "yellow")))
    out.print(Text(f"store:   {found.store}"))
    if found.nodes:
        rows: list[tuple[object, ...]] = [
            (node.server, node.alive, node.host, node.pid, node.version, node.started_at, age(node.beat_at, now))
            for node in found.nodes
        ]
        out.print(
            table(("server", "process", "host", "pid", "version", "started", "last beat"), rows, title="Processes")
        )
    rows = [(p.port, _state(p), p.reason, *_numbers(p, now)) for p in found.ports]
    out.print(table(("port", "state", "reason", *_NUMBERS), rows, title="Ports"))
    if found.queue:
        rows = [(q.port, q.direction, q.status, q.reason, q.messages, age(q.oldest, now)) for q in found.queue]
        out.print(table(("port", "direction", "status", "reason", "messages", "oldest"), rows, title="Queue"))
    else:
        out.print(Text("Nothing is unfinished.\n", style="dim"))
    if found.lanes:
        rows = [(x.port, x.lanes, x.leased, x.blocked, x.parked, x.next_due) for x in found.lanes]
        out.print(table(("port", "lanes", "in work", "blocked", "parked", "next due"), rows, title="Lanes"))
    if found.leases:
        rows = [(x.fence, x.stage, x.port, x.host, x.pid, x.messages, x.taken_at, x.beats) for x in found.leases]
        names = ("lease", "stage", "port", "host", "pid", "messages", "taken", "beats")
        out.print(table(names, rows, title="Leases"))
    if found.jobs:
        rows = [
            (job.name, job_status(job.status), job_status(job.last_outcome), age(job.last_ended_at, now), job.owner)
            for job in found.jobs
        ]
        title = "Jobs that do not start by themselves"
        out.print(table(("job", "status", "last", "ended", "owner"), rows, title=title))
    if found.runs:
        rows = [
            (run.id, run.job, run.status, age(run.started_at, now),
             f"{(run.ended_at - run.started_at).total_seconds():.1f} s", run.counts, run.error)
            for run in found.runs
        ]  # fmt: skip
        cut = ("counts", "error") if out.width < NARROW else ()
        columns = ("run", "job", "status", "started", "took", "counts", "error")
        out.print(table(columns, rows, title="Last runs", cut=cut))
