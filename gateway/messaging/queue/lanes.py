"""Lanes: which message of an ordering key may run next, and what an error does to those behind it.

Whoever changes what stands in a lane locks the lane first and settles it last, in the same transaction: settling finds
the head anew. Locks are taken in one order everywhere: lease, message sets, lanes (by port and name), queue rows, the
health of the port.
"""

from collections.abc import Iterable, Mapping, Sequence

from asyncpg import Connection, Record

from gateway.db.open import Store
from gateway.db.sql import Queries
from gateway.kernel.ids import Fence, LaneName, MessageKey, PortName
from gateway.messaging.rules.states import LaneRule

Lane = tuple[str, str]
"""A lane by its port and its name."""

_LANES_AT_A_TIME = 1000


async def enter_lanes(connection: Connection, sql: Queries, firsts: Mapping[Lane, int]) -> Sequence[Record]:
    """Lock the lanes that messages are put into, and make those that are not there.

    Shape: of each lane the first such message is given; it is the head of a lane that we made. Rows with port, name,
    head and parked_by.
    """
    ordered = sorted(firsts)
    await connection.fetch(sql.share_port_rules, sorted({port for port, _ in ordered}))
    return await connection.fetch(sql.join_lanes, *_columns(ordered), [firsts[lane] for lane in ordered])


async def join_lanes(connection: Connection, sql: Queries, firsts: Mapping[Lane, int]) -> None:
    """Let new messages, which are already in the queue, take their places in their lanes.

    Rule: what comes into a parked lane is held.
    """
    if not firsts:
        return
    rows = await enter_lanes(connection, sql, firsts)
    known = [row for row in rows if row["head"] != firsts[row["port"], row["name"]]]
    parked = _lanes([row for row in known if row["parked_by"] is not None])
    if parked:
        await connection.execute(sql.hold_in_parked_lanes, *_columns(parked), [firsts[lane] for lane in parked])
    await recompute_heads(connection, sql, _lanes(known))


async def lock_lanes(
    connection: Connection, sql: Queries, lanes: Iterable[Lane] = (), *, fences: Sequence[Fence] = ()
) -> list[Lane]:
    """Lock the lanes named and those under our fences; returns those that are there."""
    named = set(lanes)
    if fences and not named:
        return _lanes(await connection.fetch(sql.lock_lanes_under, list(fences)))
    if fences:
        named.update(_lanes(await connection.fetch(sql.lanes_under, list(fences))))
    return _lanes(await connection.fetch(sql.lock_lanes, *_columns(sorted(named)))) if named else []


async def recompute_heads(
    connection: Connection, sql: Queries, lanes: Sequence[Lane], *, fences: Sequence[Fence] = ()
) -> None:
    """Find the heads of locked lanes anew and let go of those under our fences.

    Rule: the head is the first workable message. Where an error blocks there is none as long as an unfinished message
    stands before it. A lane without head goes, unless it is blocked or parked. A lane that somebody else works on is
    left alone: it is settled when the work is recorded.
    """
    if lanes:
        await connection.execute(sql.recompute_heads, *_columns(lanes), list(fences))


async def park_lanes(connection: Connection, sql: Queries, fence: Fence, failed: Sequence[MessageKey]) -> None:
    """Put aside the lanes under our fence in which one of these messages failed, where an error does that."""
    await connection.execute(sql.park_lanes, fence, failed)


async def set_port_rule(store: Store, port: PortName, rule: LaneRule) -> int:
    """Take into use what an error means for the lanes of a port, also for those that have work.

    Rule: lanes for which an operator decided keep that. A lane that is in work goes by the new rule from its next claim
    on; one that is parked stays so until it is released. Returns the number of lanes that were changed.
    """
    sql, changed = store.queries, 0
    async with store.transaction() as connection:
        await connection.execute(sql.write_port_rule, port, rule)
        if rule is LaneRule.BLOCK:
            await connection.execute(sql.block_stopped_lanes, port)
    while True:  # not all at once: nobody waits long for a lane
        async with store.transaction() as connection:
            rows = await connection.fetch(sql.lanes_to_change, port, rule, _LANES_AT_A_TIME)
            lanes = _lanes(rows)
            if not lanes:
                return changed
            await connection.execute(sql.change_lanes, *_columns(lanes), rule)
            await recompute_heads(connection, sql, lanes)
        changed += len(lanes)


async def set_lane_rule(store: Store, port: PortName, name: LaneName, rule: LaneRule | None) -> None:
    """Decide what an error means in one lane, now and later, whatever its port says; None takes the decision back."""
    sql, lane = store.queries, (port, name)
    async with store.transaction() as connection:
        await connection.execute(sql.lock_lane, port, name)
        if rule is None:
            await connection.execute(sql.forget_lane_rule, port, name)
        else:
            await connection.execute(sql.write_lane_rule, port, name, rule)
        await connection.execute(sql.apply_lane_rule, port, name)
        await recompute_heads(connection, sql, [lane])


def _lanes(rows: Sequence[Record]) -> list[Lane]:
    return [(row["port"], row["name"]) for row in rows]


def _columns(lanes: Sequence[Lane]) -> tuple[list[str], list[str]]:
    return [port for port, _ in lanes], [name for _, name in lanes]
