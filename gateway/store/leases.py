"""Leases: the right to work on a chunk of the queue, for a while, under a fencing number."""

import socket
from os import getpid

from asyncpg import Connection

from gateway.domain.errors import LeaseLost
from gateway.domain.ids import Fence, PortName
from gateway.domain.states import Stage
from gateway.store.open import Store

LEASE_SECONDS = 30.0
"""How long a claim lasts without being extended. Source: rulings, "Nodes, time, recovery"."""
EXTEND_SECONDS = 10.0
CLAIM_BYTES = 2_000_000
"""Documents that one claim holds in memory, beyond its first: working on them takes up to thirty times as much."""


async def start_incarnation(store: Store, node: str, version: str) -> int:
    """Record the start of this process and take back what earlier starts of the same node left claimed."""
    async with store.transaction() as connection:
        incarnation = int(
            await connection.fetchval(store.queries.start_incarnation, node, socket.gethostname(), getpid(), version)
        )
        dead = [row["fence"] for row in await connection.fetch(store.queries.leases_of_the_dead, node, incarnation)]
        await _reap(store, connection, dead)
    return incarnation


async def stop_incarnation(store: Store, incarnation: int) -> None:
    """Record an orderly end."""
    async with store.transaction() as connection:
        await connection.execute(store.queries.stop_incarnation, incarnation)


async def take_lease(store: Store, connection: Connection, incarnation: int, stage: str, port: PortName) -> Fence:
    """Draw a fencing number for a claim that the same transaction is about to make."""
    return Fence(await connection.fetchval(store.queries.take_lease, incarnation, stage, port, LEASE_SECONDS))


async def drop_lease(store: Store, connection: Connection, fence: Fence) -> None:
    """Guard a completion: end the lease inside the completing transaction.

    Raises: LeaseLost when it ran out and was taken back; the transaction must be rolled back.
    """
    if await connection.fetchval(store.queries.drop_lease, fence) is None:
        raise LeaseLost(f"the lease {fence} ended before its work was recorded", fence=fence)


async def hold_lease(store: Store, connection: Connection, fence: Fence) -> None:
    """Guard a step in the middle: the lease is still ours and lasts for another full term.

    Raises: LeaseLost.
    """
    if await connection.fetchval(store.queries.hold_lease, fence, LEASE_SECONDS) is None:
        raise LeaseLost(f"the lease {fence} ended in the middle of its work", fence=fence)


async def extend_leases(store: Store, incarnation: int) -> set[Fence]:
    """Extend what this process works on (`store.held`); returns the fences that are still its own."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.extend_leases, incarnation, LEASE_SECONDS, sorted(store.held))
    return {Fence(row["fence"]) for row in rows}


async def reap_expired(store: Store) -> int:
    """Take back what lies under expired leases: Ready again, in its own place. Returns the number of leases."""
    async with store.transaction() as connection:
        expired = [row["fence"] for row in await connection.fetch(store.queries.expired_leases)]
        await _reap(store, connection, expired)
    return len(expired)


async def give_back(store: Store, fence: Fence) -> None:
    """Return a claim unworked: at shutdown, or after an outcome that could not be recorded.

    When the completion did commit, its lease is gone and nothing happens.
    """
    async with store.transaction() as connection:
        if await connection.fetchval(store.queries.drop_lease, fence) is not None:
            await _reset(store, connection, [fence])


async def wake_due(store: Store) -> tuple[set[Stage], float | None]:
    """Make waiting messages and send requests ready whose time has come.

    Returns the stages that got work and the seconds until the next one is due (None: nothing waits).
    """
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.wake_due)
        seconds = await connection.fetchval(store.queries.next_due)
    return {Stage(row["stage"]) for row in rows}, seconds


async def ports_with_work(store: Store, stage: Stage, ports: list[PortName]) -> list[PortName]:
    """Return which of the ports have something that the stage can claim now."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.ports_with_work, stage, ports)
    return [PortName(row["port"]) for row in rows]


async def free_lanes(store: Store, connection: Connection, fences: list[Fence]) -> None:
    """Let go of the lanes under these fences: each moves its head on, or goes when it is empty."""
    if await connection.fetch(store.queries.lock_lanes, fences):
        await connection.execute(store.queries.free_lanes, fences)


async def _reset(store: Store, connection: Connection, fences: list[Fence]) -> None:
    await connection.execute(store.queries.reap, fences)
    await free_lanes(store, connection, fences)


async def _reap(store: Store, connection: Connection, fences: list[Fence]) -> None:
    if fences:
        await connection.execute(store.queries.drop_leases, fences)
        await _reset(store, connection, fences)
