"""Commands that tell how the gateway is: at a glance, port by port, process by process."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.commands import Answer, query
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from gateway.cli.render import STYLES, Part, Rows, age, dim, job_status
from gateway.messaging.rules.states import PortState
from gateway.operations import nodes as node_operations
from gateway.operations import status as operations
from gateway.operations.principal import OperatorSession
from gateway.operations.reads.gateway import MOST_COUNTED
from gateway.operations.status import GatewayStatus, PortReport

ports_app = typer.Typer(invoke_without_command=True)

_NUMBERS = ("waiting", "oldest", "running", "per minute", "held", "failed")


@query(shared=True)
async def status(session: OperatorSession) -> Answer:
    """Show the state of the gateway: processes, ports, what waits and why, what is in work, the last runs."""
    found = await operations.status(session)
    return Answer(found, *_overview(found, session.now))


@query(shared=True)
async def nodes(session: OperatorSession) -> Answer:
    """Show the nodes (gateway processes) of this database: data folder, whether each runs, what it works on."""
    found = await node_operations.nodes(session)
    columns = ("node", "server", "process", "host", "pid", "version", "started", "last beat", "beats", "leases",
               "stopped", "lost")  # fmt: skip
    rows = [
        (one.node, one.server, one.alive, one.host, one.pid, one.version, one.started_at, one.beat_at, one.beats,
         one.leases, one.stopped_at, one.lost_at)
        for one in found
    ]  # fmt: skip
    narrow = ("server", "process", "host", "pid", "last beat")
    return Answer({"nodes": found}, Rows(columns, rows, "No gateway has run on this database.", narrow=narrow))


@ports_app.callback()
def ports(context: typer.Context, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show every port: its state and the reason, its folders, what waits and since when, what it gets done, which
    files it does not take.
    """
    if context.invoked_subcommand is None:
        _show_ports(config=config, as_json=as_json)


@query(shared=True)
async def _show_ports(session: OperatorSession) -> Answer:
    found = await operations.ports(session)
    columns = ("port", "state", "reason", "inbound", "outbound", "operations", *_NUMBERS)
    rows = [
        (one.port, _state(one), one.reason, one.inbound, one.outbound, one.operations, *_numbers(one, session.now))
        for one in found
    ]
    parts: list[Part] = [
        Rows(columns, rows, "The configuration has no ports.", narrow=("port", "state", "reason", "inbound"))
    ]
    left = [
        (one.port, entry.get("name"), entry.get("code"), entry.get("text"), _moment(entry.get("since")))
        for one in found
        for entry in one.left_in_place
        if isinstance(entry, dict)
    ]
    if left:
        parts.append(Rows(("port", "file", "code", "why it is not taken", "since"), left, title="Left alone"))
    return Answer({"ports": found}, *parts)


@ports_app.command("retry")
@query("reason", shared=True)
async def retry(
    session: OperatorSession, ports: Annotated[list[str], typer.Argument(metavar="PORT", help="Names of ports.")]
) -> Answer:
    """Try now what waits for another try, also stopped ports. Use it when the cause is mended."""
    found = await operations.retry_ports(session, ports)
    rows = [(one.port, one.messages, one.lanes, one.requests) for one in found]
    columns = ("port", "messages due now", "lanes due now", "requests to send due now")
    return Answer({"retried": found}, Rows(columns, rows), "A running gateway tries them at once.")


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


def _overview(found: GatewayStatus, now: datetime) -> list[Part]:
    parts: list[Part] = [
        Text.assemble("gateway: ", ("running", "green") if found.running else ("not running", "yellow")),
        f"store:   {found.store}",
    ]

    def section(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], cut: Sequence[str] = ()) -> None:
        if rows:
            parts.append(Rows(columns, rows, title=title, cut=cut))

    section(
        "Processes", ("server", "process", "host", "pid", "version", "started", "last beat"),
        [
            (node.server, node.alive, node.host, node.pid, node.version, node.started_at, age(node.beat_at, now))
            for node in found.nodes
        ],
    )  # fmt: skip
    section(
        "Ports", ("port", "state", "reason", *_NUMBERS),
        [(port.port, _state(port), port.reason, *_numbers(port, now)) for port in found.ports],
    )  # fmt: skip
    section(
        "Queue", ("port", "direction", "status", "reason", "messages", "oldest"),
        [(q.port, q.direction, q.status, q.reason, q.messages, age(q.oldest, now)) for q in found.queue],
    )  # fmt: skip
    if not found.queue:
        parts.append(dim("Nothing is unfinished.\n"))
    section(
        "Lanes", ("port", "lanes", "in work", "blocked", "parked", "next due"),
        [(lane.port, lane.lanes, lane.leased, lane.blocked, lane.parked, lane.next_due) for lane in found.lanes],
    )  # fmt: skip
    section(
        "Leases", ("lease", "stage", "port", "host", "pid", "messages", "taken", "beats"),
        [(x.fence, x.stage, x.port, x.host, x.pid, x.messages, x.taken_at, x.beats) for x in found.leases],
    )  # fmt: skip
    section(
        "Jobs that do not start by themselves", ("job", "status", "last", "ended", "owner"),
        [
            (job.name, job_status(job.status), job_status(job.last_outcome), age(job.last_ended_at, now), job.owner)
            for job in found.jobs
        ],
    )  # fmt: skip
    section(
        "Last runs", ("run", "job", "status", "started", "took", "counts", "error"),
        [
            (run.id, run.job, run.status, age(run.started_at, now),
             f"{(run.ended_at - run.started_at).total_seconds():.1f} s", run.counts, run.error)
            for run in found.runs
        ], ("counts", "error"),
    )  # fmt: skip
    return parts
