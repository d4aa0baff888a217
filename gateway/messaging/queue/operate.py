"""What an operator does to queued messages and lanes: hold, release, retry, delete.

Rule: what is named is changed, and with a hold or a release what its set binds to it: under Halt and Rollback every
unfinished member, under Continue those that wait because too many have failed. A deletion is of the message named.
Running messages are never waited for: a change applies to what has not started. Source: AIF reference, section 22.2;
rulings, "Queue tools"; decision 0014.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from asyncpg import Connection, Record

from gateway.db.listen import CHANNEL
from gateway.db.open import Store
from gateway.db.sql import Queries
from gateway.kernel.ids import LaneName, MessageKey, PortName
from gateway.messaging.queue.lanes import Lane, enter_lanes, lock_lanes, recompute_heads
from gateway.messaging.queue.leases import wake_due
from gateway.messaging.rules.states import Reason, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What an operation did: messages changed, and those it left alone because of their status."""

    changed: tuple[MessageKey, ...]
    left: tuple[tuple[MessageKey, str], ...]


async def hold(store: Store, keys: Sequence[MessageKey]) -> Changed:
    """Park messages that have not started, with what their sets bind to them."""
    sql = store.queries
    async with store.transaction() as connection:
        found = await connection.fetch(sql.queued_with_bound, list(keys))
        lanes = await lock_lanes(connection, sql, _lanes(found))
        held = {row["message_id"] for row in await connection.fetch(sql.hold, _ids(found))}
        await recompute_heads(connection, sql, lanes)
        requests = await connection.fetch(sql.named_requests, list(keys))
    return _changed([*found, *requests], held)


async def release(store: Store, keys: Sequence[MessageKey]) -> Changed:
    """Let held and failed messages run again, each in its own place, with what their sets bind to them.

    Requests are judged anew, by the schemas and rules of their next try. A send request that failed is read anew.
    """
    sql = store.queries
    async with store.transaction() as connection:
        found, released = await _release(connection, sql, keys)
        requests = await connection.fetch(sql.release_requests, list(keys))
        found = [*found, *requests]
        released |= {row["message_id"] for row in requests if row["status"] == "error"}
        await connection.execute(sql.hint, CHANNEL, "queue")
    return _changed(found, released)


async def retry(store: Store, keys: Sequence[MessageKey]) -> Changed:
    """Try now what waits for another try, with what its set binds to it; its number of tries stays.

    Rule: nothing passes what is before it in its lane.
    """
    sql = store.queries
    async with store.transaction() as connection:
        found = await connection.fetch(sql.queued_with_bound, list(keys))
        lanes = await lock_lanes(connection, sql, _lanes(found))
        due = {row["message_id"] for row in await connection.fetch(sql.retry_queued, _ids(found))}
        await recompute_heads(connection, sql, lanes)
        requests = await connection.fetch(sql.retry_requests_now, list(keys))
        found = [*found, *requests]
        due |= {row["message_id"] for row in requests if row["waits"]}
    woken, _ = await wake_due(store)
    async with store.transaction() as connection:
        for stage in sorted(woken):
            await connection.execute(sql.hint, CHANNEL, stage)
    return _changed(found, due)


async def delete(store: Store, keys: Sequence[MessageKey]) -> Changed:
    """Remove failed, held and malformed messages from the queue; the history knows them as deleted.

    Rule: nobody is answered. What a deleted message blocked goes on; the rest of its set stays as it is until it is
    released.
    """
    sql = store.queries
    async with store.transaction() as connection:
        found = await connection.fetch(sql.queued, list(keys))
        await connection.fetch(sql.lock_sets, _sets(found))
        lanes = await lock_lanes(connection, sql, _lanes(found))
        deleted = {row["message_id"] for row in await connection.fetch(sql.delete_queued, _ids(found))}
        await recompute_heads(connection, sql, lanes)
        requests = await connection.fetch(sql.delete_requests, list(keys))
        found = [*found, *requests]
        deleted |= {row["message_id"] for row in requests if row["status"] == "error"}
        await connection.execute(sql.hint, CHANNEL, "queue")
    return _changed(found, deleted)


async def bound_to(store: Store, keys: Sequence[MessageKey]) -> list[tuple[MessageKey, Status, Reason]]:
    """Return what the sets of these messages bind to them, with status and reason; the messages are not among it."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.queued_with_bound, list(keys))
    named = set(keys)
    return [
        (MessageKey(row["message_id"]), Status(row["status"]), Reason(row["reason"]))
        for row in rows
        if row["message_id"] not in named
    ]


async def release_lane(store: Store, port: PortName, name: LaneName) -> Changed:
    """Let a lane go on: what was put aside with it runs, or the message that blocks it is tried again.

    Rule: the failed message that parked a lane stays as it is; the others pass it.
    """
    sql = store.queries
    async with store.transaction() as connection:
        await lock_lanes(connection, sql, [(port, name)])
        stop = await connection.fetchrow(sql.read_stop, port, name)
        found: Sequence[Record] = []
        released: set[int] = set()
        if stop is not None and stop["parked_by"] is not None:
            released = {row["message_id"] for row in await connection.fetch(sql.unpark_lane, port, name)}
            await recompute_heads(connection, sql, [(port, name)])
            stop = await connection.fetchrow(sql.read_stop, port, name)
            found = await connection.fetch(sql.queued, sorted(released))
        await connection.execute(sql.hint, CHANNEL, "queue")
    if stop is not None and stop["blocked_by"] is not None:
        more = await release(store, [MessageKey(stop["blocked_by"])])
        return Changed(changed=(*_changed(found, released).changed, *more.changed), left=more.left)
    return _changed(found, released)


async def _release(
    connection: Connection, sql: Queries, keys: Sequence[MessageKey]
) -> tuple[Sequence[Record], set[int]]:
    found = await connection.fetch(sql.queued_with_bound, list(keys))
    standing = [row for row in found if row["status"] in ("hold", "error")]
    await connection.fetch(sql.lock_sets, _sets(standing))
    firsts: dict[Lane, int] = {}
    for row in standing:
        if row["lane"] is not None:
            firsts.setdefault((row["port"], row["lane"]), row["message_id"])
    if firsts:
        await enter_lanes(connection, sql, firsts)
    released = {row["message_id"] for row in await connection.fetch(sql.release, _ids(standing))}
    await recompute_heads(connection, sql, sorted(firsts))
    sets = _sets([row for row in found if row["message_id"] in released])
    if sets:
        await connection.execute(sql.reopen_sets, sets)
    return found, released


def _ids(rows: Sequence[Record]) -> list[int]:
    return [row["message_id"] for row in rows]


def _lanes(rows: Sequence[Record]) -> set[Lane]:
    return {(row["port"], row["lane"]) for row in rows if row["lane"] is not None}


def _sets(rows: Sequence[Record]) -> list[int]:
    return sorted({row["set_id"] for row in rows if row["set_id"] is not None and row["direction"] == "in"})


def _changed(found: Sequence[Record], changed: set[int]) -> Changed:
    return Changed(
        changed=tuple(MessageKey(row["message_id"]) for row in found if row["message_id"] in changed),
        left=tuple(
            (MessageKey(row["message_id"]), str(row["status"])) for row in found if row["message_id"] not in changed
        ),
    )
