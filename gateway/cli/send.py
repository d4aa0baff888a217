"""The command that sends documents nobody has asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.common import DEFAULT_CONFIG, KNOWN_ERROR, ConfigOption, JsonOption, PortOption, perform
from gateway.cli.desk import ReasonOption, open_shared_desk
from gateway.cli.render import console, print_json, print_rows
from gateway.kernel.ids import MessageKey
from gateway.messaging.queue.requests import RequestProgress, progress_of_requests
from gateway.operations.send import Progress, send, wait_until_sent

Key = tuple[str, str]


def _key(text: str) -> Key:
    field, equals, value = text.partition("=")
    if not (field.strip() and equals and value.strip()):
        raise typer.BadParameter(f"{text!a} must be written Field=Value, such as SalesId=SO-100021")
    return field.strip(), value.strip()


def send_documents(
    operation: Annotated[
        str,
        typer.Argument(
            metavar="OPERATION", help="The operation that reads the documents, such as SalesOrderService.read."
        ),
    ],
    keys: Annotated[
        list[str],
        typer.Option("--key", "-k", metavar="FIELD=VALUE", help="The key of a document; repeatable."),
    ],
    port: PortOption = None,
    company: Annotated[str | None, typer.Option("--company", help="The company of the documents.")] = None,
    partition: Annotated[str | None, typer.Option("--partition", help="The partition of the documents.")] = None,
    conversation: Annotated[str | None, typer.Option("--conversation", help="The ConversationId to send with.")] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until the files are there.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="How many seconds to wait.")] = 60.0,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Send documents through outbound ports: all of them in one message for each port that sends this operation.

    The running gateway reads the documents and writes the files; without one the requests wait. With --wait the
    exit code is 1 when a document could not be sent or the time was over first.
    """
    wanted = [_key(text) for text in keys]
    progress = perform(
        _send(config, operation, wanted, port, company, partition, conversation, timeout if wait else None, reason)
    )
    if as_json:
        print_json({"requests": progress.requests, "done": progress.done})
    else:
        _print(progress, waited=wait, timeout=timeout)
    if wait and not progress.good:
        raise typer.Exit(KNOWN_ERROR)


async def _send(
    config: Path,
    operation: str,
    keys: Sequence[Key],
    port: str | None,
    company: str | None,
    partition: str | None,
    conversation: str | None,
    seconds: float | None,
    reason: str | None,
) -> Progress:
    async with open_shared_desk(config, reason) as desk:
        numbers: list[MessageKey] = await send(
            desk.store,
            desk.settings,
            desk.who,
            port=port,
            service_operation=operation,
            keys=[[key] for key in keys],
            company=company,
            partition=partition,
            conversation=conversation,
        )
        if seconds is None:
            return Progress(requests=await progress_of_requests(desk.store, numbers), done=False)
        return await wait_until_sent(desk.store, numbers, seconds=seconds)


def _print(progress: Progress, *, waited: bool, timeout: float) -> None:
    rows = [
        (request.key, request.port, _state(request), request.file_name, request.error) for request in progress.requests
    ]
    print_rows(("number", "port", "state", "file", "error"), rows, nothing="")
    if waited and not progress.done:
        text = f"Not sent within {timeout:g} seconds; what is not finished goes on when a gateway runs."
        console(error=True).print(Text(text, style="yellow"))


def _state(request: RequestProgress) -> str | None:
    return request.outcome or request.status
