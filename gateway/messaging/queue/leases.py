"""Leases: the right to work on a chunk of the queue, for as long as its owner beats, under a fencing number.

A beat counts up what a process works on, and the process itself. Everybody observes everybody
(`gateway.runtime.heartbeat`); what stands still for a term is taken back. No clock is compared with another one.
"""

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import getpid

from asyncpg import Connection

from gateway.db.listen import CHANNEL
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.errors import LeaseLost
from gateway.kernel.ids import Fence, PortName
from gateway.kernel.retry import LONGEST_SECONDS
from gateway.messaging.queue.lanes import lock_lanes, recompute_heads
from gateway.messaging.rules.states import Stage
from gateway.messaging.statements import inbound_sql, lease_sql, staging_sql
from gateway.messaging.statements.lease_sql import LostNode

LEASE_SECONDS = 30.0
"""How long a claim lasts without a beat. Source: rulings, "Nodes, time, recovery"."""
EXTEND_SECONDS = 10.0
"""Between two beats of a process, and between two looks at the beats of others."""
IDLE_TIMEOUT = "3s"
"""Who is frozen in the middle of a claim or of a record keeps its locks for so long; others wait longer for them."""
TURN_TIMEOUT = "500ms"
"""So long a claim waits for those that others make of the same port."""
WAKE_ROWS = 10_000
"""How many waiting rows are made ready in one transaction."""
CLAIM_BYTES = 2_000_000
"""Documents that one claim holds in memory, beyond its first: working on them takes up to thirty times as much."""


Reap = Callable[[Store, Connection, Sequence[Fence]], Awaitable[None]]
"""Makes ready again what lies under leases that ended, in the transaction that removes them; others' fences are none
of its business."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beats:
    """All that is counted now: of the other processes that should live, and of every lease."""

    processes: Mapping[int, int]
    leases: Mapping[Fence, int]


async def start_incarnation(store: Store, node: str, version: str, reapers: Sequence[Reap] = ()) -> int:
    """Record the start of this process and take back what earlier starts of the same node left claimed.

    Shape: *reapers* make ready again what is not of the queue, here and in `declare_nodes_lost` and `take_back`.
    """
    async with store.transaction() as connection:
        incarnation = int(await lease_sql.start_incarnation(connection, node, socket.gethostname(), getpid(), version))
        dead = await lease_sql.leases_of_the_dead(connection, node, incarnation)
        await _reap(store, connection, dead, reapers)
        await lease_sql.mark_incarnations_lost(connection, node, incarnation)
    return incarnation


async def start_worker(store: Store, parent: int, pid: int) -> int:
    """Record the start of a process that works for another one, and return the number that its claims are under.

    Nobody watches it but its parent; others see only that what it works on stands still.
    """
    async with store.transaction() as connection:
        return int(await lease_sql.start_worker(connection, parent, pid))


async def end_worker(store: Store, worker: int) -> int:
    """Record that a worker has ended, and take back at once what it had claimed; returns how many claims that were."""
    async with store.transaction(life=True) as connection:
        rows = await lease_sql.leases_of_worker(connection, worker)
        await _reap(store, connection, rows, ())
        await lease_sql.stop_incarnation(connection, worker)
    return len(rows)


async def stop_incarnation(store: Store, incarnation: int) -> None:
    """Record an orderly end."""
    async with store.transaction() as connection:
        await lease_sql.stop_incarnation(connection, incarnation)


async def draw_fence(connection: Connection) -> Fence:
    """Draw a fencing number for a claim that the same transaction is about to make."""
    return (await lease_sql.draw_fence(connection, IDLE_TIMEOUT)).fence


async def claim_in_turn(connection: Connection, port: PortName) -> None:
    """Wait for the claims of a port that others are in the middle of; they wait for ours.

    Raises: asyncpg.LockNotAvailableError, here and in the rest of the transaction, when that takes long.
    """
    await inbound_sql.claim_in_turn(connection, port, TURN_TIMEOUT, IDLE_TIMEOUT)


async def take_lease(
    connection: Connection, fence: Fence, incarnation: int, stage: Stage, port: PortName, messages: int
) -> None:
    """Take the lease of a claim that found something; one that found nothing leaves no trace."""
    await lease_sql.take_lease(connection, fence, incarnation, stage, port, messages)


async def drop_lease(store: Store, connection: Connection, fence: Fence) -> int | None:
    """Guard a completion: end the lease inside the completing transaction.

    Returns how often in a row services of the port have failed; None: nothing is known of them.
    Rule: a node that waits for room in the port hears of it with the commit.
    Raises: LeaseLost when it was taken back; the transaction must be rolled back.
    """
    row = await lease_sql.drop_lease(connection, fence, IDLE_TIMEOUT)
    if row is None:
        raise LeaseLost(f"the lease {fence} ended before its work was recorded", fence=fence)
    if row.awaited:
        await _tell_of_room(connection)
    return row.failures


async def hold_lease(connection: Connection, fence: Fence) -> None:
    """Guard a step in the middle: the lease is still ours, and nobody takes it back before the step is committed.

    Raises: LeaseLost.
    """
    if await lease_sql.hold_lease(connection, fence) is None:
        raise LeaseLost(f"the lease {fence} ended in the middle of its work", fence=fence)


async def beat(store: Store, incarnation: int) -> bool:
    """Count up this process and what it works on (`store.held`).

    Returns whether it had been taken for dead: its claims are lost then, late results are refused, and what only it
    can publish is ready again.
    """
    async with store.transaction(life=True) as connection:
        was_lost = await lease_sql.beat(connection, incarnation, sorted(store.held))
        if was_lost:
            await staging_sql.reclaim_promised(connection, incarnation)
    return was_lost


async def read_beats(store: Store, incarnation: int) -> Beats:
    """Return what an observer compares with what it saw before."""
    async with store.transaction(life=True) as connection:
        processes = await lease_sql.beats_of_others(connection, incarnation)
        leases = await lease_sql.beats_of_leases(connection)
    return Beats(
        processes={row.id: row.beats for row in processes},
        leases={row.fence: row.beats for row in leases},
    )


async def declare_nodes_lost(
    store: Store, still: Mapping[int, int], reapers: Sequence[Reap] = ()
) -> Sequence[LostNode]:
    """Give up processes whose beats still have the observed value, with all that they had claimed."""
    if not still:
        return []
    async with store.transaction(life=True) as connection:
        lost = await lease_sql.declare_nodes_lost(connection, list(still), list(still.values()))
        leases = await lease_sql.leases_of(connection, [row.incarnation for row in lost])
        await _reap(store, connection, leases, reapers)
    return lost


async def take_back(store: Store, still: Mapping[Fence, int], reapers: Sequence[Reap] = ()) -> int:
    """Take back what lies under leases whose beats still have the observed value: Ready again, in its own place.

    Returns the number of leases.
    """
    if not still:
        return 0
    async with store.transaction(life=True) as connection:
        ended = await lease_sql.still_leases(connection, list(still), list(still.values()))
        await _reap(store, connection, ended, reapers)
    return len(ended)


async def give_back(store: Store, fence: Fence) -> None:
    """Return a claim unworked: at shutdown, or after an outcome that could not be recorded.

    When the completion did commit, its lease is gone and nothing happens.
    """
    async with store.transaction() as connection:
        with suppress(LeaseLost):
            await drop_lease(store, connection, fence)
            await _reset(connection, [fence])


async def wake_due(store: Store) -> tuple[set[Stage], float | None]:
    """Make waiting messages, lanes and send requests ready whose time has come, some thousands of each at a time.

    Rule: a time further ahead than anything ever waits is the trace of a clock that was set back, and has come.
    Returns the stages that got work and the seconds until the next one is due (None: nothing waits).
    """
    async with store.transaction() as connection:
        await lease_sql.reclaim_postponed(connection, LONGEST_SECONDS)
        rows = await lease_sql.wake_due(connection, WAKE_ROWS)
        seconds = await lease_sql.next_due(connection)
    return {Stage(found) for found in rows}, seconds


async def ports_with_work(store: Store, stage: Stage, ports: list[PortName]) -> list[PortName]:
    """Return which of the ports have something that the stage can claim now."""
    if not ports:  # of most sites the stage that sends of its own accord
        return []
    async with store.reading() as connection:
        return await lease_sql.ports_with_work(connection, stage, ports)


async def _reset(connection: Connection, fences: list[Fence]) -> None:
    rows = await lease_sql.reap(connection, fences)
    named = [(row.port, row.lane) for row in rows if row.lane is not None]
    lanes = await lock_lanes(connection, named)  # from here on no message leads to them any more
    await recompute_heads(connection, lanes, fences=fences)


async def _tell_of_room(connection: Connection) -> None:
    await session_sql.hint(connection, CHANNEL, Stage.INBOUND)


async def _reap(store: Store, connection: Connection, fences: list[Fence], reapers: Sequence[Reap]) -> None:
    if fences:
        if await lease_sql.drop_leases(connection, fences):
            await _tell_of_room(connection)
        await _reset(connection, fences)
        for reap in reapers:
            await reap(store, connection, fences)
