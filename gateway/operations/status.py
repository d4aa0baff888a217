"""How the gateway is: which nodes run, what each port says, what waits, who works on it. And a port tries again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from gateway.batch.rules.job import JobStatus
from gateway.config.models import InboundPort, Port, Settings
from gateway.db.open import Store
from gateway.messaging.queue.ports import Retried, retry_port
from gateway.operations.audit import recorded
from gateway.operations.jobs import JobRow, list_jobs
from gateway.operations.nodes import Alive, Node, as_node
from gateway.operations.principal import OperatorSession, Principal
from gateway.operations.reads.gateway import PortStatusRow, RunRow, count_ports, read_overview, read_presence
from gateway.operations.references import require_port
from gateway.operations.statements.admin_sql import LaneCount, LeaseRow, PortCount, QueueCount


@dataclass(frozen=True, slots=True, kw_only=True)
class PortReport:
    """A configured port: what it says of itself, where its folders are, how much is unfinished.

    Shape: `mode`, `on_error` and `inbound` are None for an outbound port; `state` is a `PortState`, `unknown` before
    its first word; `running`, `waiting`, `held`, `failed` count unfinished messages of both directions, up to
    `MOST_COUNTED`; `oldest` is when the oldest that waits came; `per_minute` were finished in the last minute.
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
    oldest: datetime | None
    running: int
    per_minute: int
    held: int
    failed: int
    left_in_place: Sequence[object]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStatus:
    """The gateway at a glance. `jobs` are those that do not start by themselves."""

    running: bool
    store: str
    nodes: Sequence[Node]
    ports: Sequence[PortReport]
    queue: Sequence[QueueCount]
    lanes: Sequence[LaneCount]
    leases: Sequence[LeaseRow]
    runs: Sequence[RunRow]
    jobs: Sequence[JobRow]


async def status(session: OperatorSession) -> GatewayStatus:
    """Return the state of the gateway and of every configured port."""
    overview = await read_overview(session.store)
    nodes = [as_node(row) for row in overview.nodes]
    return GatewayStatus(
        running=any(node.alive is Alive.RUNNING for node in nodes),
        store=session.settings.store_shown,
        nodes=nodes,
        ports=await _ports(session.store, session.settings, overview.ports),
        queue=overview.queue,
        lanes=overview.lanes,
        leases=overview.leases,
        runs=overview.runs,
        jobs=await _jobs_that_need_somebody(session),
    )


async def _jobs_that_need_somebody(session: OperatorSession) -> Sequence[JobRow]:
    """Return the jobs of the default partition that do not start by themselves, but for those that ended well."""
    nobody = Principal(name="", partition=session.settings.default_partition)
    idle = [JobStatus.WITHHOLD, JobStatus.ERROR, JobStatus.CANCELED]
    return await list_jobs(replace(session, principal=nobody), statuses=idle)


async def ports(session: OperatorSession) -> Sequence[PortReport]:
    """Return every configured port with what it says of itself."""
    return await _ports(session.store, session.settings, (await read_presence(session.store)).ports)


async def _ports(store: Store, settings: Settings, rows: Sequence[PortStatusRow]) -> Sequence[PortReport]:
    said = {row.port: row for row in rows}
    counts = await count_ports(store, list(settings.ports))
    return [
        _port(name, port, settings, said.get(name), count)
        for (name, port), count in zip(settings.ports.items(), counts, strict=True)
    ]


def _port(name: str, port: Port, settings: Settings, said: PortStatusRow | None, count: PortCount) -> PortReport:
    folders = settings.port_folders(name)
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
        waiting=count.waiting,
        oldest=count.oldest,
        running=count.running,
        per_minute=count.per_minute,
        held=count.held,
        failed=count.failed,
        left_in_place=said.left_in_place if said else (),
    )


async def retry_ports(session: OperatorSession, names: Sequence[str]) -> list[Retried]:
    """Try now what these ports wait for: somebody has mended the cause.

    Raises: NotFound for an unknown port; then nothing is changed.
    """
    ports = [require_port(session.settings, name) for name in names]
    async with recorded(session, "port.retry", ", ".join(ports)):
        return [await retry_port(session.store, port) for port in ports]
