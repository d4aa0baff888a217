"""Commands on the history: what is finished, in both directions."""

from typing import Annotated

import typer

from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, LimitOption, PortOption, open_site, perform
from gateway.cli.message import MessageArgument, XmlOption, show_message
from gateway.cli.render import operation_of, print_json, print_rows
from gateway.domain.states import Direction
from gateway.operations import messages as operations
from gateway.operations.references import known_port
from gateway.store.message_reports import HistoryRow
from gateway.store.reports import DeliveryRow, list_deliveries

app = typer.Typer(no_args_is_help=True, help="Messages that are finished, requests and answers, and received files.")


@app.command("list")
def list_messages(
    port: PortOption = None,
    direction: Annotated[Direction | None, typer.Option("--direction", "-d", help="Requests or answers.")] = None,
    before: Annotated[int | None, typer.Option("--before", help="Go on from this number, towards older ones.")] = None,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List finished messages, the newest first; `other` is the answer of a request, or the request of an answer."""
    found = perform(_list(config, port, direction, before, limit))
    if as_json:
        print_json({"messages": found})
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
    print_rows(columns, rows, nothing="No message has been finished yet.", narrow=narrow, cut=("file",))


@app.command("show")
def show(
    message: MessageArgument, xml: XmlOption = False, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False
) -> None:
    """Show everything about one finished message: header, set, document, exceptions, and its other side."""
    show_message(message, queued=False, xml=xml, config=config, as_json=as_json)


@app.command("files")
def files(
    port: PortOption = None, limit: LimitOption = 50, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False
) -> None:
    """List received files, the newest first, and what became of each."""
    found = perform(_files(config, port, limit))
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


async def _list(
    config: ConfigOption, port: str | None, direction: Direction | None, before: int | None, limit: int
) -> list[HistoryRow]:
    async with open_site(config) as site:
        found = await operations.history(
            site.store, site.settings, port=port, direction=direction, before=before, limit=limit
        )
    return list(found)


async def _files(config: ConfigOption, port: str | None, limit: int) -> list[DeliveryRow]:
    async with open_site(config) as site:
        return list(await list_deliveries(site.store, port=known_port(site.settings, port), limit=limit))
