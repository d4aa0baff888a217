"""What operators ask about lanes: which there are, what stands in them, what was decided for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.db.open import Store
from gateway.kernel.ids import LaneName, PortName


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRow:
    """A lane with work, or in trouble.

    Shape: `head` may run next; `fence` is the lease of whoever works on it; `ruled` when an operator decided
    `on_error`; `waiting`, `held` and `failed` count its unfinished messages.
    """

    port: str
    name: str
    on_error: str
    head: int | None
    not_before: datetime | None
    fence: int | None
    blocked_by: int | None
    parked_by: int | None
    ruled: bool
    waiting: int
    held: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRuleRow:
    """What an operator decided for one lane."""

    port: str
    name: str
    on_error: str
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InLane:
    """An unfinished message in its place in a lane."""

    key: int
    message_id: UUID
    status: str
    reason: str
    file: str | None
    position: int
    error: str | None
    since: datetime


async def list_lanes(store: Store, *, port: PortName | None, stopped: bool, limit: int) -> Sequence[LaneRow]:
    """Return lanes by port and name; with *stopped* those alone that wait for an operator."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.list_lanes, port, stopped, limit)
    return [LaneRow(**row) for row in rows]


async def list_lane_rules(store: Store, *, port: PortName | None, limit: int) -> Sequence[LaneRuleRow]:
    """Return what operators decided for single lanes."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.list_lane_rules, port, limit)
    return [LaneRuleRow(**row) for row in rows]


async def list_in_lane(store: Store, port: PortName, name: LaneName, *, limit: int) -> Sequence[InLane]:
    """Return the unfinished messages of a lane, in its order."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.list_in_lane, port, name, limit)
    return [InLane(**row) for row in rows]
