"""How the gateway is: which nodes run, what each port says, what waits, who works on it."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from gateway.config.models import InboundPort, Port, Settings
from gateway.store.open import Store
from gateway.store.reports import (
    LaneCount,
    LeaseRow,
    NodeRow,
    Overview,
    PortStatusRow,
    QueueCount,
    RunRow,
    read_overview,
)


class Alive(StrEnum):
    """What is known of the process of a node."""

    RUNNING = "running"  # its process exists on this machine
    STOPPED = "stopped"  # it ended in good order
    ENDED = "ended"  # its process is gone without a word: a crash
    ELSEWHERE = "elsewhere"  # it started on another machine and did not say that it stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One gateway process, as last started on its data folder."""

    node: str
    alive: Alive
    host: str
    pid: int
    version: str
    started_at: datetime
    stopped_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortReport:
    """A configured port: what it says of itself, where its folders are, how much is unfinished.

    Shape: `mode`, `on_error` and `inbound` are None for an outbound port; `state` is open, degraded, paused or
    inactive as stored, `unknown` before its first word; `running`, `waiting`, `held`, `failed` count unfinished
    messages of both directions.
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
    """Everything `gateway status` tells."""

    running: bool
    store: str
    nodes: Sequence[Node]
    ports: Sequence[PortReport]
    queue: Sequence[QueueCount]
    lanes: Sequence[LaneCount]
    leases: Sequence[LeaseRow]
    runs: Sequence[RunRow]


async def status(store: Store, settings: Settings) -> GatewayStatus:
    """Return the state of the gateway and of every configured port."""
    overview = await read_overview(store)
    nodes = [_node(row) for row in overview.nodes]
    return GatewayStatus(
        running=any(node.alive is Alive.RUNNING for node in nodes),
        store=settings.store_shown,
        nodes=nodes,
        ports=_ports(overview, settings),
        queue=overview.queue,
        lanes=overview.lanes,
        leases=overview.leases,
        runs=overview.runs,
    )


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


def _node(row: NodeRow) -> Node:
    return Node(
        node=row.node, alive=_alive(row), host=row.host, pid=row.pid, version=row.version, started_at=row.started_at,
        stopped_at=row.stopped_at,
    )  # fmt: skip


def _alive(row: NodeRow) -> Alive:
    if row.stopped_at is not None:
        return Alive.STOPPED
    if row.host != socket.gethostname():
        return Alive.ELSEWHERE
    try:
        os.kill(row.pid, 0)
    except ProcessLookupError:
        return Alive.ENDED
    except PermissionError:
        return Alive.RUNNING  # it exists and belongs to somebody else
    return Alive.RUNNING
