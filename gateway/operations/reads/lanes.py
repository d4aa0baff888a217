"""What operators ask about lanes: which there are, what stands in them, what was decided for them."""

from collections.abc import Sequence

from gateway.db.open import Store
from gateway.kernel.ids import LaneName, PortName
from gateway.messaging.statements import lanes_sql
from gateway.messaging.statements.lanes_sql import InLane, LaneRow, LaneRuleRow


async def list_lanes(store: Store, *, port: PortName | None, stopped: bool, limit: int) -> Sequence[LaneRow]:
    """Return lanes by port and name; with *stopped* those alone that wait for an operator."""
    async with store.transaction() as connection:
        return await lanes_sql.list_lanes(connection, port, stopped, limit)


async def list_lane_rules(store: Store, *, port: PortName | None, limit: int) -> Sequence[LaneRuleRow]:
    """Return what operators decided for single lanes."""
    async with store.transaction() as connection:
        return await lanes_sql.list_lane_rules(connection, port, limit)


async def list_in_lane(store: Store, port: PortName, name: LaneName, *, limit: int) -> Sequence[InLane]:
    """Return the unfinished messages of a lane, in its order."""
    async with store.transaction() as connection:
        return await lanes_sql.list_in_lane(connection, port, name, limit)
