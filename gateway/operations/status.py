"""How the gateway is: which nodes run, what each port says, what waits, who works on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gateway.config.models import InboundPort, Port, Settings
from gateway.domain.job import JobStatus
from gateway.operations.jobs import JobRow, list_jobs
from gateway.operations.nodes import Alive, Node, as_node
from gateway.operations.person import Person
from gateway.store.open import Store
from gateway.store.reports import (
    LaneCount,
    LeaseRow,
    Overview,
    PortStatusRow,
    QueueCount,
    RunRow,
    database_clock,
    read_overview,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortReport:
    """A configured port: what it says of itself, where its folders are, how much is unfinished.

    Shape: `mode`, `on_error` and `inbound` are None for an outbound port; `state` is a `PortState`, `unknown` before
    its first word; `running`, `waiting`, `held`, `failed` count unfinished messages of both directions.
    """

    port: str
    direction: str
    state: str
    reason: str | None
    since: datetime | None
    mode: str | None
    on_error: str | None
    operations: Sequence[str]
    inbound: Path | None
    outbound: Path | None
    waiting: int
    running: int
    held: int
    failed: int
    left_in_place: Sequence[object]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStatus:
    """Everything `gateway status` tells. `jobs` are those that do not start by themselves."""

    running: bool
    store: str
    nodes: Sequence[Node]
    ports: Sequence[PortReport]
    queue: Sequence[QueueCount]
    lanes: Sequence[LaneCount]
    leases: Sequence[LeaseRow]
    runs: Sequence[RunRow]
    jobs: Sequence[JobRow]


async def status(store: Store, settings: Settings) -> GatewayStatus:
    """Return the state of the gateway and of every configured port."""
    overview = await read_overview(store)
    nodes = [as_node(row) for row in overview.nodes]
    return GatewayStatus(
        running=any(node.alive is Alive.RUNNING for node in nodes),
        store=settings.store_shown,
        nodes=nodes,
        ports=_ports(overview, settings),
        queue=overview.queue,
        lanes=overview.lanes,
        leases=overview.leases,
        runs=overview.runs,
        jobs=await _jobs_that_need_somebody(store, settings),
    )


async def _jobs_that_need_somebody(store: Store, settings: Settings) -> Sequence[JobRow]:
    """Return the jobs of the default partition that do not start by themselves, but for those that ended well."""
    nobody = Person(name="", partition=settings.default_partition)
    idle = [JobStatus.WITHHOLD, JobStatus.ERROR, JobStatus.CANCELED]
    return await list_jobs(store, nobody, statuses=idle, now=await database_clock(store))


async def ports(store: Store, settings: Settings) -> Sequence[PortReport]:
    """Return every configured port with what it says of itself."""
    return _ports(await read_overview(store, leases=0, runs=0), settings)


def _ports(overview: Overview, settings: Settings) -> Sequence[PortReport]:
    said = {row.port: row for row in overview.ports}
    return [_port(name, port, settings, said.get(name), overview.queue) for name, port in settings.ports.items()]


def _port(
    name: str, port: Port, settings: Settings, said: PortStatusRow | None, counts: Sequence[QueueCount]
) -> PortReport:
    folders = settings.port_folders(name)

    def number(*statuses: str) -> int:
        return sum(count.messages for count in counts if count.port == name and count.status in statuses)

    return PortReport(
        port=name,
        direction=port.direction,
        state="inactive" if not port.active else said.state if said else "unknown",
        reason=said.reason if said else None,
        since=said.changed_at if said else None,
        mode=port.process.mode if isinstance(port, InboundPort) else None,
        on_error=port.process.on_error if isinstance(port, InboundPort) else None,
        operations=port.operations,
        inbound=folders.receive.inbound if folders.receive else None,
        outbound=folders.send.outbound if folders.send else None,
        waiting=number("ready"),
        running=number("in_process", "in_transport"),
        held=number("hold"),
        failed=number("error", "malformed"),
        left_in_place=said.left_in_place if said else (),
    )
