"""What an operator does to queued messages: hold them, release them.

Rule: a change of one member of a set changes every unfinished member of it. Running messages are never waited for:
a change applies to what has not started. Source: AIF reference, section 22.2; rulings, "Queue tools".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asyncpg import Connection, Record

from gateway.domain.ids import MessageKey
from gateway.store.listen import CHANNEL
from gateway.store.open import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What an operation did: messages changed, and those it left alone because of their status."""

    changed: tuple[MessageKey, ...]
    left: tuple[tuple[MessageKey, str], ...]


async def hold(store: Store, keys: Sequence[MessageKey]) -> Changed:
    """Park messages that have not started, with the rest of their sets."""
    async with store.transaction() as connection:
        found = await connection.fetch(store.queries.queued_with_sets, list(keys))
        rows = await connection.fetch(store.queries.hold, [row["message_id"] for row in found])
        held = {row["message_id"] for row in rows}
        await _move_heads(store, connection, (row for row in found if row["message_id"] in held))
    return _changed(found, held)


async def release(store: Store, keys: Sequence[MessageKey]) -> Changed:
    """Let held and failed messages run again, each in its own place, with the rest of their sets.

    A send request that failed is read anew.
    """
    sql = store.queries
    async with store.transaction() as connection:
        found = await connection.fetch(sql.queued_with_sets, list(keys))
        rows = await connection.fetch(sql.release, [row["message_id"] for row in found])
        released = {row["message_id"] for row in rows}
        heads: dict[tuple[str, str], int] = {}
        for row in sorted(rows, key=lambda row: int(row["message_id"])):
            if row["lane"] is not None:
                heads.setdefault((row["port"], row["lane"]), row["message_id"])
        if heads:
            lanes = sorted(heads)
            await connection.execute(
                sql.register_lanes, [port for port, _ in lanes], [name for _, name in lanes], [heads[x] for x in lanes]
            )
        await _move_heads(store, connection, (row for row in found if row["message_id"] in released))
        sets = {row["set_id"] for row in found if row["set_id"] is not None and row["message_id"] in released}
        if sets:
            await connection.execute(sql.reopen_sets, sorted(sets))
        requests = await connection.fetch(sql.release_requests, list(keys))
        found = [*found, *requests]
        released |= {row["message_id"] for row in requests if row["status"] == "error"}
        await connection.execute(sql.hint, CHANNEL, "queue")
    return _changed(found, released)


async def _move_heads(store: Store, connection: Connection, rows: Iterable[Record]) -> None:
    """Find the heads of the touched lanes anew; a lane that somebody works on moves when the work is recorded."""
    lanes = sorted({(row["port"], row["lane"]) for row in rows if row["lane"] is not None})
    if lanes:
        ports, names = [port for port, _ in lanes], [name for _, name in lanes]
        await connection.fetch(store.queries.lock_named_lanes, ports, names)
        await connection.execute(store.queries.move_lane_heads, ports, names)


def _changed(found: Sequence[Record], changed: set[int]) -> Changed:
    return Changed(
        changed=tuple(MessageKey(row["message_id"]) for row in found if row["message_id"] in changed),
        left=tuple(
            (MessageKey(row["message_id"]), str(row["status"])) for row in found if row["message_id"] not in changed
        ),
    )
