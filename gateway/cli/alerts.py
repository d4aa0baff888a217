"""Commands on alerts: who hears of what, and one's own inbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.text import Text

from gateway.batch.rules.alert import AlertEvent, Channel, in_words
from gateway.cli.commands import Answer, Commands
from gateway.cli.options import JobOption, LimitOption, PortOption
from gateway.cli.render import SHOWN_ZONE, Part, Rows
from gateway.operations import alerts as operations
from gateway.operations.principal import OperatorSession
from gateway.operations.reads.alerts import AlertRow, RuleRow
from gateway.runtime.visible import visible, visible_lines

app = Commands("Alerts: who is alerted about what, and your inbox.")
UserOption = Annotated[str | None, typer.Option("--user", "-u", help="An account. Default: your own.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="The name of a job; or give --port.")] = None
    port: PortOption = None

    def __post_init__(self) -> None:
        if (self.job is None) == (self.port is None):
            raise typer.BadParameter("give the name of a job, or --port")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbers:
    numbers: Annotated[list[int] | None, typer.Argument(metavar="NUMBER", help="Numbers of entries.")] = None
    everything: Annotated[bool, typer.Option("--all", "-a", help="All that are unread.")] = False

    def __post_init__(self) -> None:
        if bool(self.numbers) == self.everything:
            raise typer.BadParameter("give the numbers of entries, or --all")


@app.query("list", "partition", "mine")
async def list_rules(session: OperatorSession, job: JobOption = None, port: PortOption = None) -> Answer:
    """List who is alerted about what, and how."""
    return _rules(await operations.list_rules(session, job=job, port=port))


@app.action("set", "partition", "mine")
async def set_rule(
    session: OperatorSession,
    place: _Place,
    on: Annotated[list[AlertEvent], typer.Option("--on", help="Which event; repeatable.")] = [AlertEvent.ERROR],  # noqa: B006 (typer reads it once)
    by: Annotated[list[Channel], typer.Option("--by", help="How the alert is sent; repeatable.")] = [Channel.POPUP],  # noqa: B006
    user: UserOption = None,
) -> Answer:
    """Set alerts about a job or a port. Replaces what was set before for the same account."""
    name = user or session.actor
    await operations.set_rule(session, user=name, job=place.job, port=place.port, events=on, channels=by)
    rules = await operations.list_rules(session, job=place.job, port=place.port)
    return _rules([one for one in rules if one.rule.user == name])


@app.action("remove", "partition", "mine")
async def remove_rule(session: OperatorSession, place: _Place, user: UserOption = None) -> Answer:
    """Remove the alerts about a job or a port."""
    name = user or session.actor
    await operations.remove_rule(session, user=name, job=place.job, port=place.port)
    row = (place.job or f"port {place.port}", name, "removed")
    data = {"removed": {"user": name, "job": place.job, "port": place.port}}
    return Answer(data, Rows(("job", "user", "result"), [row]))


@app.query("inbox")
async def inbox(
    session: OperatorSession,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Also those that you have read.")] = False,
    user: UserOption = None,
    limit: LimitOption = 50,
) -> Answer:
    """List the alerts in your inbox, newest first."""
    found = await operations.inbox(session, user or session.actor, everything=everything, limit=limit)
    rows = [(one.id, one.created_at, one.event, one.subject, one.run_id, one.read_at) for one in found]
    columns = ("number", "at", "event", "what", "run", "read")
    return Answer({"alerts": found}, Rows(columns, rows, "Your inbox is empty.", narrow=("number", "at", "what")))


@app.query("sent")
async def sent(
    session: OperatorSession,
    status: Annotated[str | None, typer.Option("--status", "-s", help="Only pending, sent or failed ones.")] = None,
    limit: LimitOption = 50,
) -> Answer:
    """List alerts with their receivers, newest first: sent, or why not."""
    found = await operations.outbox(session, status=status, limit=limit)
    rows = [
        (one.id, one.created_at, one.user, one.channel, one.subject, one.status, one.reason, one.tries) for one in found
    ]
    columns = ("number", "at", "user", "by", "what", "status", "reason", "tries")
    narrow = ("number", "user", "by", "what", "status")
    return Answer({"alerts": found}, Rows(columns, rows, "No alert has been sent yet.", narrow=narrow))


@app.action("retry")
async def retry(
    session: OperatorSession,
    numbers: Annotated[list[int], typer.Argument(metavar="NUMBER", help="Numbers of alerts that have failed.")],
) -> Answer:
    """Send failed alerts again."""
    found = await operations.retry(session, numbers)
    return Answer({"pending": found}, Rows(("number",), [(number,) for number in found]))


@app.query("read")
async def read(session: OperatorSession, chosen: _Numbers) -> Answer:
    """Show entries of your inbox, and mark them as read."""
    found = await operations.read(session, session.actor, chosen.numbers or None)
    nothing = Rows((), (), "Your inbox is empty.")
    return Answer({"read": found}, *([part for one in found for part in _read(one)] or [nothing]))


def _read(one: AlertRow) -> Sequence[Part]:
    body = in_words(one.body, one.facts, zone=SHOWN_ZONE.get())
    return Text(visible(f"{one.id}  {one.subject}"), style="bold"), visible_lines(f"{body}\n")


def _rules(found: Sequence[RuleRow]) -> Answer:
    data = [
        {"job": one.job, "port": one.port, "user": one.rule.user, "on": sorted(one.rule.events),
         "by": sorted(one.rule.channels), "source": one.rule.source}
        for one in found
    ]  # fmt: skip
    rows = [
        (one.job or f"port {one.port}", one.rule.user, sorted(one.rule.events), sorted(one.rule.channels),
         one.rule.source)
        for one in found
    ]  # fmt: skip
    nothing = "No alerts are set."
    return Answer({"rules": data}, Rows(("job", "user", "hears of", "by", "from"), rows, nothing))
