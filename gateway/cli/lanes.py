"""Commands on lanes: the orders in which messages run, and what an error does to those behind it."""

from enum import StrEnum
from typing import Annotated

import typer

from gateway.cli.commands import Answer, Commands
from gateway.cli.options import LimitOption, PortOption
from gateway.cli.queue import changed_answer
from gateway.cli.render import Fields, Part, Rows
from gateway.messaging.rules.states import LaneRule
from gateway.messaging.statements.lanes_sql import LaneRow
from gateway.operations import lanes as operations
from gateway.operations.principal import OperatorSession

app = Commands("Lanes: messages that run one after another, and what stops them.", shared=True)

LaneArgument = Annotated[
    str, typer.Argument(metavar="LANE", help="port/lane as listed; a port alone is the lane of a sequential port.")
]


class Rule(StrEnum):
    """What may be decided for one lane."""

    CONTINUE = "continue"
    BLOCK = "block"
    PARK = "park"
    PORT = "port"  # as the port says


@app.query("list")
async def list_lanes(
    session: OperatorSession,
    port: PortOption = None,
    stopped: Annotated[bool, typer.Option("--stopped", help="Only lanes that need attention.")] = False,
    limit: LimitOption = 50,
) -> Answer:
    """List lanes with work: how far each is, which message stops it, what an error does to it."""
    lanes, rules = await operations.lanes(session, port=port, stopped=stopped, limit=limit)
    columns = ("lane", "state", "because of", "on error", "waiting", "held", "failed", "next", "not before")
    rows = [
        (f"{one.port}/{one.name}", _state(one), one.blocked_by or one.parked_by, one.on_error, one.waiting, one.held,
         one.failed, one.head, one.not_before)
        for one in lanes
    ]  # fmt: skip
    nothing = "No lane needs attention." if stopped else "No lane has work."
    parts: list[Part] = [Rows(columns, rows, nothing, narrow=columns[:7])]
    if rules:
        decided = [(f"{rule.port}/{rule.name}", rule.on_error, rule.changed_at) for rule in rules]
        parts.append(Rows(("lane", "on error", "since"), decided, title="Decided by an operator"))
    return Answer({"lanes": lanes, "rules": rules}, *parts)


@app.query("show")
async def show(session: OperatorSession, lane: LaneArgument, limit: LimitOption = 50) -> Answer:
    """Show one lane and its unfinished messages, in order."""
    found = await operations.lane(session, lane, limit=limit)
    place = found.lane
    rule = f"{place.on_error} ({'decided by an operator' if place.ruled else 'as the port says'})"
    fields = Fields(
        [
            ("on error", rule), ("parked by", place.parked_by and place.parked_by.key),
            ("blocked by", place.blocked_by and place.blocked_by.key), ("next", place.head),
            ("not before", place.not_before), ("waiting", place.waiting), ("held", place.held),
            ("failed", place.failed),
        ],
        title=f"Lane {found.port}/{found.name}",
    )  # fmt: skip
    rows = [(m.key, m.message_id, m.status, m.reason, m.file, m.position, m.error) for m in found.messages]
    columns = ("number", "message id", "status", "reason", "file", "position", "error")
    narrow = ("number", "reason", "file", "error")
    return Answer(found, fields, Rows(columns, rows, title="\nUnfinished messages", narrow=narrow, cut=("error",)))


@app.action("release")
async def release(session: OperatorSession, lane: LaneArgument) -> Answer:
    """Let a lane go on: its held messages run, or the message that blocks it is tried again."""
    return changed_answer("released", await operations.release(session, lane))


@app.action("set")
async def decide(
    session: OperatorSession,
    lane: LaneArgument,
    on_error: Annotated[Rule, typer.Option("--on-error", help="What a failed message does to those behind it.")],
) -> Answer:
    """Set what an error does in one lane, now and later. `port`: back to the setting of its port."""
    rule = None if on_error is Rule.PORT else LaneRule(on_error.value)
    port, lane_name = await operations.decide(session, lane, rule)
    name = f"{port}/{lane_name}"
    return Answer({"lane": name, "on_error": on_error}, Rows(("lane", "on error"), [(name, on_error)]))


def _state(lane: LaneRow) -> str:
    if lane.parked_by is not None:
        return "parked"
    if lane.blocked_by is not None:
        return "blocked"
    if lane.fence is not None:
        return "running"
    return "ready" if lane.not_before is None else "waiting"
