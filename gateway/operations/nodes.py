"""Which gateway processes there are on this database, which jobs run their services, and who stopped those."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from gateway.batch.rules.job import JobStatus
from gateway.db.open import Store
from gateway.explanations.facts import JobFacts
from gateway.messaging.queue.leases import LEASE_SECONDS
from gateway.messaging.rules.states import Stage
from gateway.operations.audit import last_deed
from gateway.operations.principal import OperatorSession
from gateway.operations.reads import places
from gateway.operations.reads.gateway import list_nodes
from gateway.operations.statements.admin_sql import NodeRow
from gateway.operations.statements.places_sql import IntakeTurn, LeaseHolder


class Alive(StrEnum):
    """What is known of the process of a node."""

    RUNNING = "running"  # its process exists on this machine, or it beat lately on another one
    STOPPED = "stopped"  # it ended in good order
    ENDED = "ended"  # its process on this machine is gone without a word: a crash
    SILENT = "silent"  # on another machine, without a beat for some time; the others are about to notice
    LOST = "lost"  # it stood still for a term: the others took back what it had claimed


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One gateway process, as last started on its data folder; `leases` are the claims it holds.

    `server` is the name under which it runs tasks of jobs, None once it has stopped.
    """

    node: str
    server: str | None
    alive: Alive
    host: str
    pid: int
    version: str
    started_at: datetime
    stopped_at: datetime | None
    lost_at: datetime | None
    beats: int
    beat_at: datetime
    leases: int


async def nodes(session: OperatorSession) -> Sequence[Node]:
    """Return the latest start of every node that ever worked on this database."""
    return [as_node(row) for row in await list_nodes(session.store)]


def as_node(row: NodeRow) -> Node:
    """Say of a stored start whether its process lives; for people, nothing is decided by it."""
    return Node(
        node=row.node, server=row.server, alive=alive(row), host=row.host, pid=row.pid, version=row.version,
        started_at=row.started_at, stopped_at=row.stopped_at, lost_at=row.lost_at, beats=row.beats,
        beat_at=row.beat_at, leases=row.leases,
    )  # fmt: skip


def alive(row: NodeRow | LeaseHolder | IntakeTurn) -> Alive:
    """Say whether a process that started, or holds a lease or a turn, lives; for people, nothing is decided by it."""
    if row.stopped_at is not None:
        return Alive.STOPPED
    if row.host == socket.gethostname() and not _exists(row.pid):
        return Alive.ENDED
    if row.lost_at is not None:
        return Alive.LOST
    if row.host != socket.gethostname() and row.silent_seconds > LEASE_SECONDS:
        return Alive.SILENT
    return Alive.RUNNING


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it exists and belongs to somebody else
    return True


async def service_jobs(store: Store) -> Mapping[Stage, Sequence[JobFacts]]:
    """Return the jobs by the service that they run; empty before a gateway has ever run."""
    found = await places.service_jobs(store)
    held = {job.name for jobs in found.values() for job in jobs if job.status is JobStatus.WITHHOLD}
    deeds = {name: await last_deed(store, "job.hold", subject=name) for name in held}
    return {stage: [replace(job, held=deeds.get(job.name)) for job in jobs] for stage, jobs in found.items()}
