"""Lanes: which message of an ordering key may run next, and what an error does to those behind it.

Whoever changes what stands in a lane locks the lane first and settles it last, in the same transaction: settling finds
the head anew. Locks are taken in one order everywhere: lease, message sets, lanes (by port and name), queue rows, the
health of the port.
"""

from collections.abc import Iterable, Mapping, Sequence

from asyncpg import Connection

from gateway.db.open import Store
from gateway.kernel.ids import Fence, LaneName, MessageKey, PortName
from gateway.messaging.rules.states import LaneRule
from gateway.messaging.statements import lanes_sql
from gateway.messaging.statements.lanes_sql import EnteredLane, NamedLane

Lane = tuple[str, str]
"""A lane by its port and its name."""

_LANES_AT_A_TIME = 1000


async def enter_lanes(connection: Connection, firsts: Mapping[Lane, int]) -> Sequence[EnteredLane]:
    """Lock the lanes that messages are put into, and make those that are not there.

    Shape: of each lane the first such message is given; it is the head of a lane that we made. Rows with port, name,
    head and parked_by.
    """
    ordered = sorted(firsts)
    await lanes_sql.share_port_rules(connection, sorted({port for port, _ in ordered}))
    return await lanes_sql.join_lanes(connection, *_columns(ordered), [firsts[lane] for lane in ordered])


async def join_lanes(connection: Connection, firsts: Mapping[Lane, int]) -> None:
    """Let new messages, which are already in the queue, take their places in their lanes.

    Rule: what comes into a parked lane is held.
    """
    if not firsts:
        return
    rows = await enter_lanes(connection, firsts)
    known = [row for row in rows if row.head != firsts[row.port, row.name]]
    parked = _lanes([row for row in known if row.parked_by is not None])
    if parked:
        await lanes_sql.hold_in_parked_lanes(connection, *_columns(parked), [firsts[lane] for lane in parked])
    await recompute_heads(connection, _lanes(known))


async def lock_lanes(connection: Connection, lanes: Iterable[Lane] = (), *, fences: Sequence[Fence] = ()) -> list[Lane]:
    """Lock the lanes named and those under our fences; returns those that are there."""
    named = set(lanes)
    if fences and not named:
        return _lanes(await lanes_sql.lock_lanes_under(connection, list(fences)))
    if fences:
        named.update(_lanes(await lanes_sql.lanes_under(connection, list(fences))))
    return _lanes(await lanes_sql.lock_lanes(connection, *_columns(sorted(named)))) if named else []


async def recompute_heads(connection: Connection, lanes: Sequence[Lane], *, fences: Sequence[Fence] = ()) -> None:
    """Find the heads of locked lanes anew and let go of those under our fences.

    Rule: the head is the first workable message. Where an error blocks there is none as long as an unfinished message
    stands before it. A lane without head goes, unless it is blocked or parked. A lane that somebody else works on is
    left alone: it is settled when the work is recorded.
    """
    if lanes:
        await lanes_sql.recompute_heads(connection, *_columns(lanes), list(fences))


async def park_lanes(connection: Connection, fence: Fence, failed: Sequence[MessageKey]) -> None:
    """Put aside the lanes under our fence in which one of these messages failed, where an error does that."""
    await lanes_sql.park_lanes(connection, fence, failed)


async def set_port_rule(store: Store, port: PortName, rule: LaneRule) -> int:
    """Take into use what an error means for the lanes of a port, also for those that have work.

    Rule: lanes for which an operator decided keep that. A lane that is in work goes by the new rule from its next claim
    on; one that is parked stays so until it is released. Returns the number of lanes that were changed.
    """
    changed = 0
    async with store.transaction() as connection:
        await lanes_sql.write_port_rule(connection, port, rule)
        if rule is LaneRule.BLOCK:
            await lanes_sql.block_stopped_lanes(connection, port)
    while True:  # not all at once: nobody waits long for a lane
        async with store.transaction() as connection:
            rows = await lanes_sql.lanes_to_change(connection, port, rule, _LANES_AT_A_TIME)
            lanes = _lanes(rows)
            if not lanes:
                return changed
            await lanes_sql.change_lanes(connection, *_columns(lanes), rule)
            await recompute_heads(connection, lanes)
        changed += len(lanes)


async def set_lane_rule(store: Store, port: PortName, name: LaneName, rule: LaneRule | None) -> None:
    """Decide what an error means in one lane, now and later, whatever its port says; None takes the decision back."""
    lane = port, name
    async with store.transaction() as connection:
        await lanes_sql.lock_lane(connection, port, name)
        if rule is None:
            await lanes_sql.forget_lane_rule(connection, port, name)
        else:
            await lanes_sql.write_lane_rule(connection, port, name, rule)
        await lanes_sql.apply_lane_rule(connection, port, name)
        await recompute_heads(connection, [lane])


def _lanes(rows: Sequence[NamedLane | EnteredLane]) -> list[Lane]:
    return [(row.port, row.name) for row in rows]


def _columns(lanes: Sequence[Lane]) -> tuple[list[str], list[str]]:
    return [port for port, _ in lanes], [name for _, name in lanes]
