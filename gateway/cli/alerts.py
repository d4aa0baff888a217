"""Commands on alerts: who hears of what, and one's own inbox."""

from typing import Annotated

import typer
from rich.text import Text

from gateway.batch.rules.alert import AlertEvent, Channel, in_words
from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, LimitOption, PortOption, perform
from gateway.cli.desk import MineOption, OperatorSession, PartitionOption, ReasonOption, open_session
from gateway.cli.render import SHOWN_ZONE, console, print_json, print_rows
from gateway.operations import alerts as operations
from gateway.operations.reads.alerts import AlertRow, RuleRow
from gateway.runtime.visible import visible, visible_lines

app = typer.Typer(no_args_is_help=True, help="Alerts: who is alerted about what, and your inbox.")
JobOption = Annotated[str | None, typer.Option("--job", "-j", help="Only this job.")]
UserOption = Annotated[str | None, typer.Option("--user", "-u", help="An account. Default: your own.")]
PlaceArgument = Annotated[str | None, typer.Argument(metavar="JOB", help="The name of a job; or give --port.")]


@app.command("list")
def list_rules(
    job: JobOption = None,
    port: PortOption = None,
    partition: PartitionOption = None,
    mine: MineOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List who is alerted about what, and how."""
    found = perform(_list(config, partition, mine, job, port))
    if as_json:
        print_json({"rules": [_plain(one) for one in found]})
        return
    rows = [
        (
            one.job or f"port {one.port}",
            one.rule.user,
            sorted(one.rule.events),
            sorted(one.rule.channels),
            one.rule.source,
        )
        for one in found
    ]
    print_rows(("job", "user", "hears of", "by", "from"), rows, nothing="Nobody has asked to hear of anything.")


@app.command("set")
def set_rule(
    job: PlaceArgument = None,
    on: Annotated[list[AlertEvent], typer.Option("--on", help="Which event; repeatable.")] = [AlertEvent.ERROR],  # noqa: B006 (typer reads it once)
    by: Annotated[list[Channel], typer.Option("--by", help="How the alert is sent; repeatable.")] = [Channel.POPUP],  # noqa: B006
    user: UserOption = None,
    port: PortOption = None,
    partition: PartitionOption = None,
    mine: MineOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Set alerts about a job or a port. Replaces what was set before for the same account."""
    _one_place(job, port)

    async def work() -> list[RuleRow]:
        async with open_session(config, partition, mine, reason) as desk:
            await operations.set_rule(
                desk.store,
                desk.settings,
                desk.who,
                user=user or desk.who.name,
                job=job,
                port=port,
                events=on,
                channels=by,
            )
            return [one for one in await _rules(desk, job, port) if one.rule.user == (user or desk.who.name)]

    found = perform(work())
    if as_json:
        print_json({"rules": [_plain(one) for one in found]})
    else:
        rows = [
            (one.job or f"port {one.port}", one.rule.user, sorted(one.rule.events), sorted(one.rule.channels))
            for one in found
        ]
        print_rows(("job", "user", "hears of", "by"), rows, nothing="")


@app.command("remove")
def remove_rule(
    job: PlaceArgument = None,
    user: UserOption = None,
    port: PortOption = None,
    partition: PartitionOption = None,
    mine: MineOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Remove the alerts about a job or a port."""
    _one_place(job, port)

    async def work() -> str:
        async with open_session(config, partition, mine, reason) as desk:
            name = user or desk.who.name
            await operations.remove_rule(desk.store, desk.settings, desk.who, user=name, job=job, port=port)
            return name

    name = perform(work())
    if as_json:
        print_json({"removed": {"user": name, "job": job, "port": port}})
    else:
        print_rows(("job", "user", "result"), [(job or f"port {port}", name, "removed")], nothing="")


@app.command("inbox")
def inbox(
    everything: Annotated[bool, typer.Option("--all", "-a", help="Also those that you have read.")] = False,
    user: UserOption = None,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List the alerts in your inbox, newest first."""

    async def work() -> list[AlertRow]:
        async with open_session(config) as desk:
            return await operations.inbox(desk.store, user or desk.who.name, everything=everything, limit=limit)

    found = perform(work())
    if as_json:
        print_json({"alerts": found})
        return
    rows = [(one.id, one.created_at, one.event, one.subject, one.run_id, one.read_at) for one in found]
    columns = ("number", "at", "event", "what", "run", "read")
    print_rows(columns, rows, nothing="There is nothing to read.", narrow=("number", "at", "what"))


@app.command("sent")
def sent(
    status: Annotated[str | None, typer.Option("--status", "-s", help="Only pending, sent or failed ones.")] = None,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List alerts with their receivers, newest first: sent, or why not."""

    async def work() -> list[AlertRow]:
        async with open_session(config) as desk:
            return await operations.outbox(desk.store, status=status, limit=limit)

    found = perform(work())
    if as_json:
        print_json({"alerts": found})
        return
    rows = [
        (one.id, one.created_at, one.user, one.channel, one.subject, one.status, one.reason, one.tries) for one in found
    ]
    columns = ("number", "at", "user", "by", "what", "status", "reason", "tries")
    print_rows(columns, rows, nothing="Nothing was to be sent yet.", narrow=("number", "user", "by", "what", "status"))


@app.command("retry")
def retry(
    numbers: Annotated[list[int], typer.Argument(metavar="NUMBER", help="Numbers of alerts that have failed.")],
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Send failed alerts again."""

    async def work() -> list[int]:
        async with open_session(config, reason=reason) as desk:
            return await operations.retry(desk.store, desk.who, numbers)

    found = perform(work())
    if as_json:
        print_json({"pending": found})
        return
    print_rows(("number",), [(number,) for number in found], nothing="")


@app.command("read")
def read(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="NUMBER", help="Numbers of entries.")] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="All that are unread.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show entries of your inbox, and mark them as read."""
    if bool(numbers) == everything:
        raise typer.BadParameter("give the numbers of entries, or --all")

    async def work() -> list[AlertRow]:
        async with open_session(config) as desk:
            return await operations.read(desk.store, desk.who.name, numbers or None)

    found = perform(work())
    if as_json:
        print_json({"read": found})
        return
    out = console()
    for one in found:
        out.print(Text(visible(f"{one.id}  {one.subject}"), style="bold"), soft_wrap=True)
        out.print(Text(visible_lines(in_words(one.body, one.facts, zone=SHOWN_ZONE.get()) + "\n")), soft_wrap=True)
    if not found:
        print_rows(("number",), [], nothing="There was nothing to read.")


def _one_place(job: str | None, port: str | None) -> None:
    if (job is None) == (port is None):
        raise typer.BadParameter("give the name of a job, or --port")


def _plain(row: RuleRow) -> dict[str, object]:
    return {
        "job": row.job, "port": row.port, "user": row.rule.user, "on": sorted(row.rule.events),
        "by": sorted(row.rule.channels), "source": row.rule.source,
    }  # fmt: skip


async def _list(
    config: ConfigOption, partition: str | None, mine: bool, job: str | None, port: str | None
) -> list[RuleRow]:
    async with open_session(config, partition, mine) as desk:
        return await _rules(desk, job, port)


async def _rules(desk: OperatorSession, job: str | None, port: str | None) -> list[RuleRow]:
    return await operations.list_rules(desk.store, desk.settings, desk.who, job=job, port=port)
