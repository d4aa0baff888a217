"""Commands on the exception log."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from gateway.cli.commands import Answer, Commands, older
from gateway.cli.message import wrong_in_document
from gateway.cli.options import (
    BeforeOption,
    ByCauseOption,
    FileOption,
    LimitOption,
    PortOption,
    SinceOption,
    UntilOption,
)
from gateway.cli.render import Fields, Part, Rows, dim
from gateway.operations import messages as operations
from gateway.operations.messages import Asked
from gateway.operations.principal import OperatorSession
from gateway.operations.statements.admin_sql import ExceptionCauseRow
from gateway.runtime.visible import visible_lines

app = Commands("The exception log: errors and warnings, with code, place and message.", shared=True)


class Severity(StrEnum):
    """How bad an exception is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen(Asked):
    port: PortOption = None
    severity: Annotated[Severity | None, typer.Option("--severity", help="Only errors, or warnings.")] = None
    code: Annotated[str | None, typer.Option("--code", help="Only this code; * for any text.")] = None
    file: FileOption = None
    message: Annotated[str | None, typer.Option("--message", "-m", help="Only of this message: number or id.")] = None
    since: SinceOption = None
    until: UntilOption = None
    by_cause: ByCauseOption = False
    before: BeforeOption = None

    def __post_init__(self) -> None:
        if self.by_cause and (self.message is not None or self.before is not None):
            raise typer.BadParameter("--by-cause counts all that are alike: without --message and --before")


@app.query("list")
async def list_exceptions(session: OperatorSession, chosen: _Chosen, limit: LimitOption = 50) -> Answer:
    """List errors and warnings, newest first."""
    if chosen.by_cause:
        causes = await operations.exceptions_by_cause(session, chosen, severity=chosen.severity, limit=limit)
        return Answer({"causes": causes}, *_causes(causes, limit))
    page = await operations.exceptions(
        session, chosen, message=chosen.message, severity=chosen.severity, before=chosen.before, limit=limit
    )
    columns = ("number", "at", "severity", "code", "text", "port", "file", "line", "message", "message id", "set")
    rows = [
        (e.id, e.at, e.severity, e.code, e.text, e.port, e.file, e.line, e.message_key, e.message_id, e.set_key)
        for e in page.rows
    ]
    nothing = "The exception log is empty." if chosen == _Chosen() else "No such exception."
    table = Rows(columns, rows, nothing, narrow=("number", "at", "code", "text"), cut=("text",))
    return Answer({"exceptions": page.rows, "before": page.before}, table, *older(page))


@app.query("show")
async def show(
    session: OperatorSession,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The number of the exception.")],
) -> Answer:
    """Show one exception with its details. If Python code failed: with its traceback."""
    found = await operations.exception(session, number)
    fields = Fields(
        [
            ("at", found.at), ("severity", found.severity), ("code", found.code), ("text", found.text),
            ("port", found.port), ("file", found.file), ("line", found.line), ("column", found.col),
            ("path", found.path), ("message", found.message_key), ("message id", found.message_id),
            ("set", found.set_key),
        ],
        title=f"Exception {found.id}",
    )  # fmt: skip
    stack = [f"\n{visible_lines(found.traceback)}"] if found.traceback else []
    return Answer(found, fields, *wrong_in_document(found.details), *stack)


def _causes(found: Sequence[ExceptionCauseRow], limit: int) -> list[Part]:
    columns = ("times", "files", "severity", "code", "port", "oldest", "newest", "last", "text")
    rows = [(e.exceptions, e.files, e.severity, e.code, e.port, e.oldest, e.newest, e.last, e.text) for e in found]
    narrow = ("times", "code", "port", "newest", "text")
    more = [dim(f"Only {limit} kinds are shown; --limit shows more.")] if len(rows) == limit else []
    return [Rows(columns, rows, "No such exception.", narrow=narrow, cut=("text",)), *more]
