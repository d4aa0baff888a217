"""Commands on the gateway queue: what is not finished, and why."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.common import (
    DEFAULT_CONFIG,
    KNOWN_ERROR,
    ConfigOption,
    JsonOption,
    LimitOption,
    PortOption,
    account_of,
    open_site,
    perform,
)
from gateway.cli.message import MessageArgument, XmlOption, show_message
from gateway.cli.render import age, console, operation_of, print_json, print_rows
from gateway.domain.ids import MessageKey
from gateway.domain.states import Direction, Status
from gateway.operations import messages as operations
from gateway.operations import operate
from gateway.operations.restage import Lost, lost_with
from gateway.operations.restage import restage as admin_restage
from gateway.store.message_reports import QueueRow
from gateway.store.open import Store
from gateway.store.operate import Changed

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
        "number", "port", "message id", "direction", "status", "reason", "set", "company", "operation", "error", "file",
        "position", "attempts", "since",
    )  # fmt: skip
    rows = [
        (m.key, m.port, m.message_id, m.direction, m.status, m.reason, m.set_status, m.company,
         operation_of(m.service, m.operation), m.error, m.file, m.position, m.attempts, age(m.since, now))
        for m in found
    ]  # fmt: skip
    narrow = ("number", "port", "reason", "error", "file", "since")
    print_rows(columns, rows, nothing="No message waits in the queue.", narrow=narrow, cut=("error",))


@app.command("show")
def show(
    message: MessageArgument, xml: XmlOption = False, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False
) -> None:
    """Show everything about one unfinished message: header, set, lane, versions, document, exceptions, answer."""
    show_message(message, queued=True, xml=xml, config=config, as_json=as_json)


MessagesArgument = Annotated[list[str], typer.Argument(help="Numbers or MessageIds of queued messages.")]


@app.command("hold")
def hold(messages: MessagesArgument, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Park messages that have not started; a member of a set takes its whole set along."""
    tell_changed("held", perform(_change(config, operate.hold, messages)), as_json=as_json)


@app.command("release")
def release(messages: MessagesArgument, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Let held or failed messages run again; a member of a set takes its whole set along."""
    tell_changed("released", perform(_change(config, operate.release, messages)), as_json=as_json)


@app.command("delete")
def delete(messages: MessagesArgument, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Remove failed, held and malformed messages for good, without an answer; the rest of a set stays as it is."""
    tell_changed("deleted", perform(_change(config, operate.delete, messages)), as_json=as_json)


@app.command("restage")
def restage(
    messages: MessagesArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Prepare answers anew whose staging folder is lost for good, with all others that were prepared in that folder.

    Until then they wait for the folder. The partner may get those a second time that had been published already.
    """
    lost = perform(_lost(config, messages))
    if not as_json:
        rows = [
            (one.prepared.key, one.prepared.port, one.prepared.file,
             "lies in the outbound folder: counts as sent" if one.published else "is prepared anew")
            for one in lost
        ]  # fmt: skip
        for where in dict.fromkeys(one.prepared.where for one in lost):
            console().print(Text(f"Prepared {where}, a folder that no gateway that runs uses:"))
        print_rows(("number", "port", "file", "what becomes of it"), rows, nothing="")
    if not yes:
        console(error=True).print(Text(_TWICE), soft_wrap=True)
        if not (sys.stdin.isatty() and typer.confirm("Prepare them anew?")):
            console(error=True).print(Text("Nothing was changed; --yes confirms it.", style="bold"), soft_wrap=True)
            raise typer.Exit(KNOWN_ERROR)
    changed = perform(_restage(config, lost))
    if as_json:
        print_json({
            "restaged": [one.prepared.key for one in lost if one.prepared.key in changed and not one.published],
            "sent": [one.prepared.key for one in lost if one.prepared.key in changed and one.published],
        })  # fmt: skip
    else:
        console().print(Text(f"{len(changed)} of {len(lost)} promises were given up."))


_TWICE = (
    "Nobody can tell which of these answers were published before the folder was lost. Those that were, and that the "
    "partner took, the partner gets a second time, with the same name, MessageId and content. Do this only when the "
    "folder is lost for good: a gateway that finds it again publishes what lies in it, or knows that it was published."
)


async def _lost(config: ConfigOption, messages: list[str]) -> list[Lost]:
    async with open_site(config) as site:
        return await lost_with(site.store, site.settings, messages)


async def _restage(config: ConfigOption, lost: Sequence[Lost]) -> list[MessageKey]:
    async with open_site(config) as site:
        by = await asyncio.to_thread(account_of, site.settings)
        return await admin_restage(site.store, site.settings, lost, by=by)


async def _change(
    config: ConfigOption, action: Callable[[Store, Sequence[str]], Awaitable[Changed]], messages: list[str]
) -> Changed:
    async with open_site(config) as site:
        return await action(site.store, messages)


def tell_changed(what: str, outcome: Changed, *, as_json: bool) -> None:
    """Print which messages an operation changed, and which it left alone."""
    if as_json:
        print_json({what: list(outcome.changed), "left": [{"number": k, "status": s} for k, s in outcome.left]})
        return
    rows = [(key, what) for key in outcome.changed]
    rows += [(key, f"left as it is: {status}") for key, status in outcome.left]
    print_rows(("number", "result"), rows, nothing="Nothing was changed.")


async def _list(
    config: ConfigOption, port: str | None, status: Status | None, direction: Direction | None, limit: int
) -> list[QueueRow]:
    async with open_site(config) as site:
        found = await operations.queue(
            site.store, site.settings, port=port, status=status, direction=direction, limit=limit
        )
    return list(found)
