"""What operators ask about the gateway as a whole: nodes, ports, counts, leases, runs, files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from asyncpg import Connection

from gateway.db.open import Store

MOST_COUNTED: Final = 100_000
"""Nobody counts further what waits: more than this says nothing more, and takes time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """The latest start of a node; `silent_seconds` since its last beat by the clock of the database.

    `server` is the name under which it runs tasks of jobs, None once it has stopped.
    """

    id: int
    node: str
    host: str
    pid: int
    version: str
    started_at: datetime
    stopped_at: datetime | None
    lost_at: datetime | None
    beats: int
    beat_at: datetime
    silent_seconds: float
    leases: int
    server: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortStatusRow:
    """What a port last said of itself; `left_in_place` are the entries of its inbound folder that are not taken."""

    port: str
    state: str
    reason: str | None
    left_in_place: Sequence[Mapping[str, str]]
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCount:
    """Unfinished messages of one port, direction, status and reason; `oldest` entered it first."""

    port: str
    direction: str
    status: str
    reason: str
    messages: int
    oldest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PortCount:
    """What is unfinished at a port, messages and send requests, and what was finished in the last minute.

    Shape: the numbers are `MOST_COUNTED` at most, which then means that or more; `oldest` is when the oldest that waits
    came, among those counted, None when nothing waits.
    """

    port: str
    waiting: int
    oldest: datetime | None
    running: int
    held: int
    failed: int
    per_minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneCount:
    """Lanes of a port with work or in trouble: how many, how many of them are leased, blocked and parked, when the next
    waiting one is due.
    """

    port: str
    lanes: int
    leased: int
    blocked: int
    parked: int
    next_due: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRow:
    """A claim on part of the queue and who holds it."""

    fence: int
    stage: str
    port: str
    host: str | None
    pid: int | None
    messages: int
    taken_at: datetime
    beats: int


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
class DeliveryRow:
    """A received file and what became of it; `code` and `reason` say why it was refused."""

    claim_id: UUID
    port: str
    file: str
    size_bytes: int
    owner: str | None
    submitter: str | None
    received_at: datetime
    root: str | None
    encoding: str | None
    envelopes: int
    outcome: str
    settlement: str
    code: str | None
    reason: str | None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What a port did since a moment."""

    port: str
    files: int
    refused: int
    messages: int
    responses: int
    faults: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that happened: a file came, a response or fault went, an error or warning was noted."""

    at: datetime
    kind: str
    port: str | None
    what: str
    text: str | None


async def read_overview(store: Store, *, leases: int = 100, runs: int = 10) -> Overview:
    """Return the state of the gateway; *leases* and *runs* bound how many rows of each are read."""
    sql = store.queries
    async with store.transaction() as connection:
        return Overview(
            nodes=[NodeRow(**row) for row in await connection.fetch(sql.list_incarnations)],
            ports=await _port_status(store, connection),
            queue=[QueueCount(**row) for row in await connection.fetch(sql.count_queue)],
            lanes=[LaneCount(**row) for row in await connection.fetch(sql.count_lanes)],
            leases=[LeaseRow(**row) for row in await connection.fetch(sql.list_leases, leases)],
            runs=[
                RunRow(**{**row, "counts": json.loads(row["counts"])})
                for row in await connection.fetch(sql.list_runs, runs)
            ],
        )


async def read_presence(store: Store) -> Presence:
    """Return the latest start of each node, and what each port said last."""
    async with store.transaction() as connection:
        return Presence(
            nodes=[NodeRow(**row) for row in await connection.fetch(store.queries.list_incarnations)],
            ports=await _port_status(store, connection),
        )


async def count_ports(store: Store, ports: Sequence[str]) -> Sequence[PortCount]:
    """Return how much is unfinished at each of these ports, in their order; cheap however much that is."""
    async with store.transaction() as connection:
        return [
            PortCount(**row) for row in await connection.fetch(store.queries.count_ports, list(ports), MOST_COUNTED)
        ]


async def _port_status(store: Store, connection: Connection) -> list[PortStatusRow]:
    return [
        PortStatusRow(**{**row, "left_in_place": json.loads(row["left_in_place"])})
        for row in await connection.fetch(store.queries.list_port_status)
    ]


async def list_nodes(store: Store) -> Sequence[NodeRow]:
    """Return the latest start of each node."""
    async with store.transaction() as connection:
        return [NodeRow(**row) for row in await connection.fetch(store.queries.list_incarnations)]


async def list_deliveries(store: Store, *, port: str | None, limit: int) -> Sequence[DeliveryRow]:
    """Return received files, the newest first."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.list_deliveries, port, limit)
    return [DeliveryRow(**row) for row in rows]


async def find_delivery(store: Store, port: str, name: bytes, since: datetime) -> DeliveryRow | None:
    """Return the first file of this name that the port received at or after *since*, None when there is none yet."""
    async with store.transaction() as connection:
        row = await connection.fetchrow(store.queries.find_delivery, port, name, since)
    return None if row is None else DeliveryRow(**row)


async def read_activity(
    store: Store, since: datetime, *, latest: int
) -> tuple[Sequence[Activity], Sequence[QueueCount], Sequence[Happening]]:
    """Return counts per port since a moment, what is unfinished now, and the *latest* things that happened."""
    sql = store.queries
    async with store.transaction() as connection:
        counts = [Activity(**row) for row in await connection.fetch(sql.count_activity, since)]
        waiting = [QueueCount(**row) for row in await connection.fetch(sql.count_queue)]
        happenings = [Happening(**row) for row in await connection.fetch(sql.latest_happenings, since, latest)]
    return counts, waiting, happenings
