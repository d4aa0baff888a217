"""Commands on lanes: the orders in which messages run, and what an error does to those behind it."""

from enum import StrEnum
from typing import Annotated

import typer

from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, LimitOption, PortOption, open_site, perform
from gateway.cli.desk import ReasonOption, open_shared_desk
from gateway.cli.queue import tell_changed
from gateway.cli.render import print_fields, print_json, print_rows
from gateway.messaging.queue.operate import Changed
from gateway.messaging.rules.states import LaneRule
from gateway.operations import lanes as operations
from gateway.operations.lanes import LaneReport
from gateway.operations.reads.lanes import LaneRow, LaneRuleRow

app = typer.Typer(no_args_is_help=True, help="Lanes: messages that run one after another, and what stops them.")

LaneArgument = Annotated[
    str, typer.Argument(metavar="LANE", help="port/lane as listed; a port alone is the lane of a sequential port.")
]


class Rule(StrEnum):
    """What may be decided for one lane."""

    CONTINUE = "continue"
    BLOCK = "block"
    PARK = "park"
    PORT = "port"  # as the port says


@app.command("list")
def list_lanes(
    port: PortOption = None,
    stopped: Annotated[bool, typer.Option("--stopped", help="Only lanes that need an operator.")] = False,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List lanes with work: how far each is, which message stops it, what an error does to it."""
    lanes, rules = perform(_list(config, port, stopped, limit))
    if as_json:
        print_json({"lanes": lanes, "rules": rules})
        return
    columns = ("lane", "state", "because of", "on error", "waiting", "held", "failed", "next", "not before")
    rows = [
        (f"{one.port}/{one.name}", _state(one), one.blocked_by or one.parked_by, one.on_error, one.waiting, one.held,
         one.failed, one.head, one.not_before)
        for one in lanes
    ]  # fmt: skip
    nothing = "No lane waits for an operator." if stopped else "No lane has work."
    print_rows(columns, rows, nothing=nothing, narrow=columns[:7])
    if rules:
        decided = [(f"{rule.port}/{rule.name}", rule.on_error, rule.changed_at) for rule in rules]
        print_rows(("lane", "on error", "since"), decided, nothing="", title="Decided by an operator")


@app.command("show")
def show(
    lane: LaneArgument, limit: LimitOption = 50, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False
) -> None:
    """Show one lane and its unfinished messages, in order."""
    found = perform(_show(config, lane, limit))
    if as_json:
        print_json(found)
    else:
        _print(found)


@app.command("release")
def release(
    lane: LaneArgument, reason: ReasonOption = None, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False
) -> None:
    """Let a lane go on: its held messages run, or the message that blocks it is tried again."""
    tell_changed("released", perform(_release(config, reason, lane)), as_json=as_json)


@app.command("set")
def decide(
    lane: LaneArgument,
    on_error: Annotated[Rule, typer.Option("--on-error", help="What a failed message does to those behind it.")],
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Set what an error does in one lane, now and later. `port`: back to the setting of its port."""
    name = perform(_decide(config, reason, lane, None if on_error is Rule.PORT else LaneRule(on_error.value)))
    if as_json:
        print_json({"lane": name, "on_error": on_error})
    else:
        print_rows(("lane", "on error"), [(name, on_error)], nothing="")


async def _list(
    config: ConfigOption, port: str | None, stopped: bool, limit: int
) -> tuple[list[LaneRow], list[LaneRuleRow]]:
    async with open_site(config) as site:
        lanes, rules = await operations.lanes(site.store, site.settings, port=port, stopped=stopped, limit=limit)
    return list(lanes), list(rules)


async def _show(config: ConfigOption, lane: str, limit: int) -> LaneReport:
    async with open_site(config) as site:
        return await operations.lane(site.store, site.settings, lane, limit=limit)


async def _release(config: ConfigOption, reason: str | None, lane: str) -> Changed:
    async with open_shared_desk(config, reason=reason) as desk:
        return await operations.release(desk.store, desk.settings, desk.who, lane)


async def _decide(config: ConfigOption, reason: str | None, lane: str, rule: LaneRule | None) -> str:
    async with open_shared_desk(config, reason=reason) as desk:
        port, name = await operations.decide(desk.store, desk.settings, desk.who, lane, rule)
    return f"{port}/{name}"


def _state(lane: LaneRow) -> str:
    if lane.parked_by is not None:
        return "parked"
    if lane.blocked_by is not None:
        return "blocked"
    if lane.fence is not None:
        return "running"
    return "ready" if lane.not_before is None else "waiting"


def _print(found: LaneReport) -> None:
    place = found.lane
    rule = f"{place.on_error} ({'decided by an operator' if place.ruled else 'as the port says'})"
    print_fields(
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
    print_rows(columns, rows, nothing="", title="\nUnfinished messages", narrow=narrow, cut=("error",))
