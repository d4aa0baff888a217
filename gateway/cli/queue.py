"""Commands on the gateway queue: what is not finished, and why."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway.admin import messages as admin
from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, LimitOption, PortOption, open_site, perform
from gateway.cli.message import MessageArgument, XmlOption, show_message
from gateway.cli.render import age, operation_of, print_json, print_rows
from gateway.domain.states import Direction, Status
from gateway.store.message_reports import QueueRow

app = typer.Typer(no_args_is_help=True, help="Messages that are not finished: waiting, running, held, failed.")


@app.command("list")
def list_messages(
    port: PortOption = None,
    status: Annotated[Status | None, typer.Option("--status", "-s", help="Only this status.")] = None,
    direction: Annotated[Direction | None, typer.Option("--direction", "-d", help="Requests or answers.")] = None,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List unfinished messages in order of arrival, each with the reason why it is where it is."""
    found = perform(_list(config, port, status, direction, limit))
    if as_json:
        print_json({"messages": found})
        return
    now = datetime.now(UTC)
    columns = (
        "number", "port", "message id", "direction", "status", "reason", "company", "operation", "error", "file",
        "position", "attempts", "since",
    )  # fmt: skip
    rows = [
        (m.key, m.port, m.message_id, m.direction, m.status, m.reason, m.company, operation_of(m.service, m.operation),
         m.error, m.file, m.position, m.attempts, age(m.since, now))
        for m in found
    ]  # fmt: skip
    narrow = ("number", "port", "status", "reason", "operation", "error", "file", "since")
    print_rows(columns, rows, nothing="No message waits in the queue.", narrow=narrow)


@app.command("show")
def show(
    message: MessageArgument, xml: XmlOption = False, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False
) -> None:
    """Show everything about one unfinished message: header, set, lane, versions, document, exceptions, answer."""
    show_message(message, queued=True, xml=xml, config=config, as_json=as_json)


async def _list(
    config: ConfigOption, port: str | None, status: Status | None, direction: Direction | None, limit: int
) -> list[QueueRow]:
    async with open_site(config) as site:
        found = await admin.queue(site.store, site.settings, port=port, status=status, direction=direction, limit=limit)
    return list(found)
