"""The command that sends documents nobody has asked for."""

from dataclasses import dataclass
from typing import Annotated

import typer

from gateway.cli.commands import Answer, query
from gateway.cli.options import PortOption, TimeoutOption
from gateway.cli.render import Notice, Part, Rows
from gateway.operations.principal import OperatorSession
from gateway.operations.send import progress, send, wait_until_sent


def _key(text: str) -> tuple[str, str]:
    field, equals, value = text.partition("=")
    if not (field.strip() and equals and value.strip()):
        raise typer.BadParameter(f"{text!a} must be written Field=Value, such as SalesId=SO-100021")
    return field.strip(), value.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    keys: Annotated[
        list[str], typer.Option("--key", "-k", metavar="FIELD=VALUE", help="The key of a document; repeatable.")
    ]
    port: PortOption = None
    company: Annotated[str | None, typer.Option("--company", help="The company of the documents.")] = None
    partition: Annotated[str | None, typer.Option("--partition", help="The partition of the documents.")] = None
    conversation: Annotated[str | None, typer.Option("--conversation", help="The ConversationId to send with.")] = None

    def __post_init__(self) -> None:
        for text in self.keys:
            _key(text)


@query("reason", shared=True)
async def send_documents(
    session: OperatorSession,
    operation: Annotated[
        str,
        typer.Argument(
            metavar="OPERATION", help="The operation that reads the documents, such as SalesOrderService.read."
        ),
    ],
    wanted: _Sent,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until the files are there.")] = False,
    timeout: TimeoutOption = 60.0,  # noqa: ASYNC109 (of the command)
) -> Answer:
    """Send documents through outbound ports: all of them in one message for each port that sends this operation.

    The running gateway reads the documents and writes the files; without one the requests wait. With --wait the
    exit code is 1 when a document could not be sent or the time was over first.
    """
    numbers = await send(
        session, port=wanted.port, service_operation=operation, keys=[[_key(text)] for text in wanted.keys],
        company=wanted.company, partition=wanted.partition, conversation=wanted.conversation,
    )  # fmt: skip
    if wait:
        found = await wait_until_sent(session, numbers, seconds=timeout)
    else:
        found = await progress(session, numbers)
    rows = [(one.key, one.port, one.outcome or one.status, one.file_name, one.error) for one in found.requests]
    parts: list[Part] = [Rows(("number", "port", "state", "file", "error"), rows)]
    if wait and not found.done:
        parts.append(Notice(f"Not sent within {timeout:g} seconds; what is not finished goes on when a gateway runs."))
    return Answer({"requests": found.requests, "done": found.done}, *parts, failed=wait and not found.good)
