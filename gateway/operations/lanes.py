"""Lanes, as people ask for them and decide about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.config.models import InboundPort, Settings
from gateway.config.models_ports import Mode
from gateway.kernel.ids import LaneName, PortName
from gateway.kernel.remedy import Action, do
from gateway.messaging.queue import lanes as store_lanes
from gateway.messaging.queue import operate
from gateway.messaging.rules.lane import WHOLE_PORT, may_be_lane
from gateway.messaging.rules.states import LaneRule
from gateway.messaging.statements.lanes_sql import InLane, LaneRow, LaneRuleRow
from gateway.operations.audit import recorded
from gateway.operations.principal import OperatorSession
from gateway.operations.reads.lanes import list_in_lane, list_lane_rules, list_lanes
from gateway.operations.reads.places import LanePlace, read_lane
from gateway.operations.references import NotFound, known_port, require_port

_WITH_WORK: Final = do(Action.LIST_LANES, then="It shows those with work.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneReport:
    """A lane and the first of its unfinished messages, in its order."""

    port: PortName
    name: LaneName
    lane: LanePlace
    messages: Sequence[InLane]


async def lanes(
    session: OperatorSession, *, port: str | None = None, stopped: bool = False, limit: int = 50
) -> tuple[Sequence[LaneRow], Sequence[LaneRuleRow]]:
    """Return lanes with work, or those alone that wait for an operator; and what was decided for single lanes.

    Raises: NotFound for an unknown port.
    """
    name = known_port(session.settings, port)
    rows = await list_lanes(session.store, port=name, stopped=stopped, limit=limit)
    return rows, await list_lane_rules(session.store, port=name, limit=limit)


async def lane(session: OperatorSession, text: str, *, limit: int = 50) -> LaneReport:
    """Return one lane with its first messages.

    Raises: NotFound for an unknown port, or a lane in which nothing is unfinished.
    """
    port, name = _parse(session.settings, text)
    place = await read_lane(session.store, port, name)
    messages = await list_in_lane(session.store, port, name, limit=limit)
    if not messages and place.parked_by is None:
        raise NotFound(f"nothing is unfinished in the lane {port}/{name}").remedied(_WITH_WORK)
    return LaneReport(port=port, name=name, lane=place, messages=messages)


async def release(session: OperatorSession, text: str) -> operate.Changed:
    """Let a lane go on: what was parked with it runs, or the message that blocks it is tried again.

    Raises: NotFound for an unknown port.
    """
    async with recorded(session, "lane.release", text):
        port, name = _parse(session.settings, text)
        return await operate.release_lane(session.store, port, name)


async def decide(session: OperatorSession, text: str, rule: LaneRule | None) -> tuple[PortName, LaneName]:
    """Decide what an error means in one lane, now and later; None lets it go by its port again.

    Raises: NotFound for an unknown port, or a name that none of its lanes can have.
    """
    port_text, _, lane_text = text.partition("/")
    async with recorded(session, "lane.set", rule_subject(port_text, lane_text or WHOLE_PORT, rule)):
        port, name = _parse(session.settings, text)
        if rule is not None:
            _check_name(session.settings, port, name)
        await store_lanes.set_lane_rule(session.store, port, name, rule)
        return port, name


def rule_subject(port: str, lane: str, rule: str | None) -> str:
    """Return how the decision about a lane is named where actions are written down."""
    return f"{port}/{lane}: {'as its port' if rule is None else rule}"


def _check_name(settings: Settings, port: PortName, name: LaneName) -> None:
    """Refuse to decide about a lane that will never be."""
    found = settings.ports[port]
    sequential = isinstance(found, InboundPort) and found.process.mode is Mode.SEQUENTIAL
    if may_be_lane(name, sequential=sequential):
        return
    if sequential:
        raise NotFound(f"the port {port} is sequential and has one lane: {port}/{WHOLE_PORT}, or {port} for short")
    raise NotFound(
        f"the port {port} is parallel, and its lanes are called {port}/conversation:… and {port}/set:…"
    ).remedied(_WITH_WORK)


def _parse(settings: Settings, text: str) -> tuple[PortName, LaneName]:
    """Read `port/lane`; a port alone means the one lane of a sequential port.

    Raises: NotFound naming the ports there are.
    """
    port, _, name = text.partition("/")
    return require_port(settings, port), LaneName(name) if name else WHOLE_PORT
