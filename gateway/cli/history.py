"""Commands on the history: what is finished, in both directions."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, LimitOption, PortOption, open_site, perform
from gateway.cli.desk import open_shared_desk
from gateway.cli.filters import (
    BeforeOption,
    DirectionOption,
    FileOption,
    SinceOption,
    UntilOption,
    UserOption,
    tell_older,
)
from gateway.cli.message import MessageArgument, XmlOption, show_message
from gateway.cli.render import console, operation_of, print_json, print_rows
from gateway.operations import messages as operations
from gateway.operations.messages import Asked, Page, meant
from gateway.operations.reads.gateway import DeliveryRow, list_deliveries
from gateway.operations.reads.messages import Ended, HistoryRow, OutcomeRow
from gateway.operations.references import known_port

app = typer.Typer(no_args_is_help=True, help="Messages that are finished, requests and answers, and received files.")


@app.command("list")
def list_messages(
    port: PortOption = None,
    outcome: Annotated[
        list[Ended] | None, typer.Option("--status", "-s", help="Only messages with this outcome; repeatable.")
    ] = None,
    direction: DirectionOption = None,
    code: Annotated[
        str | None,
        typer.Option("--code", help="Only messages that failed with this code before they finished; * for any text."),
    ] = None,
    file: FileOption = None,
    user: UserOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    by_cause: Annotated[bool, typer.Option("--by-cause", help="Group by cause and count.")] = False,
    before: BeforeOption = None,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List finished messages, newest first. Column `other`: the answer of a request, or the request of an answer."""
    asked = Asked(port=port, direction=direction, code=code, file=file, user=user, since=since, until=until)
    if by_cause:
        _tell_outcomes(perform(_outcomes(config, asked, outcome)), as_json=as_json)
        return
    page = perform(_list(config, asked, outcome, before, limit))
    found = page.rows
    if as_json:
        print_json({"messages": found, "before": page.before})
        return
    columns = (
        "number", "port", "message id", "direction", "company", "operation", "outcome", "file", "position", "created",
        "finished", "other", "other id",
    )  # fmt: skip
    rows = [
        (m.key, m.port, m.message_id, m.direction, m.company, operation_of(m.service, m.operation),
         "fault" if m.is_fault else m.outcome, m.file, m.position, m.created_at, m.finished_at, m.other_key,
         m.other_message_id)
        for m in found
    ]  # fmt: skip
    narrow = ("number", "port", "outcome", "file", "finished")
    nothing = "No message has been finished yet." if asked == Asked() and not outcome else "No such message."
    print_rows(columns, rows, nothing=nothing, narrow=narrow, cut=("file",))
    tell_older(len(rows), page.before)


@app.command("show")
def show(
    message: MessageArgument, xml: XmlOption = False, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False
) -> None:
    """Show everything about one finished message: header, set, document, exceptions, and its answer or request."""
    show_message(message, queued=False, xml=xml, config=config, as_json=as_json)


@app.command("files")
def files(
    port: PortOption = None, limit: LimitOption = 50, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False
) -> None:
    """List received files, newest first, and what happened to each."""
    found = perform(_files(config, port, limit + 1))
    more, found = len(found) > limit, found[:limit]
    if as_json:
        print_json({"files": found})
        return
    columns = (
        "port",
        "file",
        "received",
        "bytes",
        "owner",
        "submitter",
        "messages",
        "outcome",
        "then",
        "code",
        "reason",
    )
    rows = [
        (d.port, d.file, d.received_at, d.size_bytes, d.owner, d.submitter, d.envelopes, d.outcome, d.settlement,
         d.code, d.reason)
        for d in found
    ]  # fmt: skip
    narrow = ("port", "file", "received", "messages", "reason")
    print_rows(columns, rows, nothing="No file has been received yet.", narrow=narrow, cut=("reason",))
    if more:
        console().print(Text(f"The newest {limit} are shown; --limit shows more.", style="dim"))


def _tell_outcomes(found: Sequence[OutcomeRow], *, as_json: bool) -> None:
    if as_json:
        print_json({"outcomes": found})
        return
    columns = ("messages", "files", "port", "direction", "operation", "outcome", "oldest", "newest", "last")
    rows = [
        (one.messages, one.files, one.port, one.direction, operation_of(one.service, one.operation), one.outcome,
         one.oldest, one.newest, one.last)
        for one in found
    ]  # fmt: skip
    narrow = ("messages", "port", "operation", "outcome", "newest")
    print_rows(columns, rows, nothing="No such message.", narrow=narrow)


async def _list(
    config: ConfigOption, asked: Asked, outcomes: list[Ended] | None, before: int | None, limit: int
) -> Page[HistoryRow]:
    async with open_shared_desk(config) as desk:
        wanted = meant(desk.settings, asked, zone=desk.zone, now=desk.now)
        return await operations.history(desk.store, wanted, outcomes=outcomes, before=before, limit=limit)


async def _outcomes(config: ConfigOption, asked: Asked, outcomes: list[Ended] | None) -> Sequence[OutcomeRow]:
    async with open_shared_desk(config) as desk:
        wanted = meant(desk.settings, asked, zone=desk.zone, now=desk.now)
        return await operations.history_by_outcome(desk.store, wanted, outcomes=outcomes)


async def _files(config: ConfigOption, port: str | None, limit: int) -> list[DeliveryRow]:
    async with open_site(config) as site:
        return list(await list_deliveries(site.store, port=known_port(site.settings, port), limit=limit))
