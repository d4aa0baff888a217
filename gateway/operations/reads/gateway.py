"""What operators ask about the gateway as a whole: nodes, ports, counts, leases, runs, files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from asyncpg import Connection

from gateway.db.open import Store
from gateway.kernel.ids import PortName
from gateway.operations.statements import admin_sql
from gateway.operations.statements.admin_sql import (
    Activity,
    DeliveryRow,
    LaneCount,
    LatestEvent,
    LeaseRow,
    NodeRow,
    PortCount,
    QueueCount,
)

MOST_COUNTED: Final = 100_000
"""Nobody counts further what waits: more than this says nothing more, and takes time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortStatusRow:
    """What a port last said of itself; `left_in_place` are the entries of its inbound folder that are not taken."""

    port: str
    state: str
    reason: str | None
    left_in_place: Sequence[Mapping[str, str]]
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One execution of a job."""

    id: int
    job: str
    started_at: datetime
    ended_at: datetime
    status: str
    counts: Mapping[str, int]
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Who is there: the nodes, and what the ports said last."""

    nodes: Sequence[NodeRow]
    ports: Sequence[PortStatusRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything `gateway status` shows, read in one transaction."""

    nodes: Sequence[NodeRow]
    ports: Sequence[PortStatusRow]
    queue: Sequence[QueueCount]
    lanes: Sequence[LaneCount]
    leases: Sequence[LeaseRow]
    runs: Sequence[RunRow]


async def read_overview(store: Store, *, leases: int = 100, runs: int = 10) -> Overview:
    """Return the state of the gateway; *leases* and *runs* bound how many rows of each are read."""
    async with store.transaction() as connection:
        return Overview(
            nodes=await admin_sql.list_incarnations(connection),
            ports=await _port_status(connection),
            queue=await admin_sql.count_queue(connection),
            lanes=await admin_sql.count_lanes(connection),
            leases=await admin_sql.list_leases(connection, leases),
            runs=[
                RunRow(**row._asdict() | {"counts": json.loads(row.counts)})
                for row in await admin_sql.list_runs(connection, runs)
            ],
        )


async def read_presence(store: Store) -> Presence:
    """Return the latest start of each node, and what each port said last."""
    async with store.transaction() as connection:
        return Presence(
            nodes=await admin_sql.list_incarnations(connection),
            ports=await _port_status(connection),
        )


async def count_ports(store: Store, ports: Sequence[str]) -> Sequence[PortCount]:
    """Return how much is unfinished at each of these ports, in their order; cheap however much that is."""
    async with store.transaction() as connection:
        return await admin_sql.count_ports(connection, list(ports), MOST_COUNTED)


async def _port_status(connection: Connection) -> list[PortStatusRow]:
    return [
        PortStatusRow(**row._asdict() | {"left_in_place": json.loads(row.left_in_place)})
        for row in await admin_sql.list_port_status(connection)
    ]


async def list_nodes(store: Store) -> Sequence[NodeRow]:
    """Return the latest start of each node."""
    async with store.transaction() as connection:
        return await admin_sql.list_incarnations(connection)


async def list_deliveries(store: Store, *, port: PortName | None, limit: int) -> Sequence[DeliveryRow]:
    """Return received files, the newest first."""
    async with store.transaction() as connection:
        return await admin_sql.list_deliveries(connection, port, limit)


async def find_delivery(store: Store, port: str, name: bytes, since: datetime) -> DeliveryRow | None:
    """Return the first file of this name that the port received at or after *since*, None when there is none yet."""
    async with store.transaction() as connection:
        return await admin_sql.find_delivery(connection, port, name, since)


async def read_activity(
    store: Store, since: datetime, *, latest: int
) -> tuple[Sequence[Activity], Sequence[QueueCount], Sequence[LatestEvent]]:
    """Return counts per port since a moment, what is unfinished now, and the *latest* things that happened."""
    async with store.transaction() as connection:
        counts = await admin_sql.count_activity(connection, since)
        waiting = await admin_sql.count_queue(connection)
        happenings = await admin_sql.latest_happenings(connection, since, latest)
    return counts, waiting, happenings
