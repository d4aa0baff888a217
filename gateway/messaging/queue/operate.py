"""What an operator does to queued messages and lanes: hold, release, retry, delete.

Rule: what is named is changed, and with a hold or a release what its set binds to it: under Halt and Rollback every
unfinished member, under Continue those that wait because too many have failed. A deletion is of the message named.
Running messages are never waited for: a change applies to what has not started. Source: AIF reference, section 22.2;
rulings, "Queue tools"; decision 0014.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from asyncpg import Connection

from gateway.db.listen import CHANNEL
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.ids import LaneName, MessageKey, PortName, SetKey
from gateway.messaging.queue.lanes import Lane, enter_lanes, lock_lanes, recompute_heads
from gateway.messaging.queue.leases import wake_due
from gateway.messaging.rules.states import Reason, Status
from gateway.messaging.statements import lanes_sql, operate_sql
from gateway.messaging.statements.operate_sql import NamedRequest, QueuedMessage, WaitingRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What an operation did: messages changed, and those it left alone because of their status."""

    changed: tuple[MessageKey, ...]
    left: tuple[tuple[MessageKey, str], ...]


async def hold(store: Store, keys: Sequence[MessageKey]) -> Changed:
    """Park messages that have not started, with what their sets bind to them."""
    async with store.transaction() as connection:
        found = await operate_sql.queued_with_bound(connection, list(keys))
        lanes = await lock_lanes(connection, _lanes(found))
        held = set(await operate_sql.hold(connection, _ids(found)))
        await recompute_heads(connection, lanes)
        requests = await operate_sql.named_requests(connection, list(keys))
    return _changed([*found, *requests], held)


async def release(store: Store, keys: Sequence[MessageKey]) -> Changed:
    """Let held and failed messages run again, each in its own place, with what their sets bind to them.

    Requests are judged anew, by the schemas and rules of their next try. A send request that failed is read anew.
    """
    async with store.transaction() as connection:
        found, released = await _release(connection, keys)
        requests = await operate_sql.release_requests(connection, list(keys))
        released |= {row.message_id for row in requests if row.status == "error"}
        await session_sql.hint(connection, CHANNEL, "queue")
    return _changed([*found, *requests], released)


async def retry(store: Store, keys: Sequence[MessageKey]) -> Changed:
    """Try now what waits for another try, with what its set binds to it; its number of tries stays.

    Rule: nothing passes what is before it in its lane.
    """
    async with store.transaction() as connection:
        found = await operate_sql.queued_with_bound(connection, list(keys))
        lanes = await lock_lanes(connection, _lanes(found))
        due = set(await operate_sql.retry_queued(connection, _ids(found)))
        await recompute_heads(connection, lanes)
        requests = await operate_sql.retry_requests_now(connection, list(keys))
        due |= {row.message_id for row in requests if row.waits}
    woken, _ = await wake_due(store)
    async with store.transaction() as connection:
        for stage in sorted(woken):
            await session_sql.hint(connection, CHANNEL, stage)
    return _changed([*found, *requests], due)


async def delete(store: Store, keys: Sequence[MessageKey]) -> Changed:
    """Remove failed, held and malformed messages from the queue; the history knows them as deleted.

    Rule: nobody is answered. What a deleted message blocked goes on; the rest of its set stays as it is until it is
    released.
    """
    async with store.transaction() as connection:
        found = await operate_sql.queued(connection, list(keys))
        await operate_sql.lock_sets(connection, _sets(found))
        lanes = await lock_lanes(connection, _lanes(found))
        deleted = set(await operate_sql.delete_queued(connection, _ids(found)))
        await recompute_heads(connection, lanes)
        requests = await operate_sql.delete_requests(connection, list(keys))
        deleted |= {row.message_id for row in requests if row.status == "error"}
        await session_sql.hint(connection, CHANNEL, "queue")
    return _changed([*found, *requests], deleted)


async def bound_to(store: Store, keys: Sequence[MessageKey]) -> list[tuple[MessageKey, Status, Reason]]:
    """Return what the sets of these messages bind to them, with status and reason; the messages are not among it."""
    async with store.transaction() as connection:
        rows = await operate_sql.queued_with_bound(connection, list(keys))
    named = set(keys)
    return [(row.message_id, Status(row.status), Reason(row.reason)) for row in rows if row.message_id not in named]


async def release_lane(store: Store, port: PortName, name: LaneName) -> Changed:
    """Let a lane go on: what was put aside with it runs, or the message that blocks it is tried again.

    Rule: the failed message that parked a lane stays as it is; the others pass it.
    """
    async with store.transaction() as connection:
        await lock_lanes(connection, [(port, name)])
        stop = await lanes_sql.read_stop(connection, port, name)
        found: Sequence[QueuedMessage] = []
        released: set[MessageKey] = set()
        if stop is not None and stop.parked_by is not None:
            released = set(await lanes_sql.unpark_lane(connection, port, name))
            await recompute_heads(connection, [(port, name)])
            stop = await lanes_sql.read_stop(connection, port, name)
            found = await operate_sql.queued(connection, sorted(released))
        await session_sql.hint(connection, CHANNEL, "queue")
    if stop is not None and stop.blocked_by is not None:
        more = await release(store, [MessageKey(stop.blocked_by)])
        return Changed(changed=(*_changed(found, released).changed, *more.changed), left=more.left)
    return _changed(found, released)


async def _release(
    connection: Connection, keys: Sequence[MessageKey]
) -> tuple[Sequence[QueuedMessage], set[MessageKey]]:
    found = await operate_sql.queued_with_bound(connection, list(keys))
    standing = [row for row in found if row.status in ("hold", "error")]
    await operate_sql.lock_sets(connection, _sets(standing))
    firsts: dict[Lane, int] = {}
    for row in standing:
        if row.lane is not None:
            firsts.setdefault((row.port, row.lane), row.message_id)
    if firsts:
        await enter_lanes(connection, firsts)
    released = set(await operate_sql.release(connection, _ids(standing)))
    await recompute_heads(connection, sorted(firsts))
    sets = _sets([row for row in found if row.message_id in released])
    if sets:
        await operate_sql.reopen_sets(connection, sets)
    return found, released


def _ids(rows: Sequence[QueuedMessage]) -> list[MessageKey]:
    return [row.message_id for row in rows]


def _lanes(rows: Sequence[QueuedMessage]) -> set[Lane]:
    return {(row.port, row.lane) for row in rows if row.lane is not None}


def _sets(rows: Sequence[QueuedMessage]) -> list[SetKey]:
    return sorted({row.set_id for row in rows if row.set_id is not None and row.direction == "in"})


def _changed(found: Sequence[QueuedMessage | NamedRequest | WaitingRequest], changed: set[MessageKey]) -> Changed:
    return Changed(
        changed=tuple(row.message_id for row in found if row.message_id in changed),
        left=tuple((row.message_id, str(row.status)) for row in found if row.message_id not in changed),
    )
