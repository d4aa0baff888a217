"""Commands on the exception log."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, LimitOption, PortOption, open_site, perform
from gateway.cli.desk import open_shared_desk
from gateway.cli.filters import BeforeOption, ByCauseOption, FileOption, SinceOption, UntilOption, tell_older
from gateway.cli.message import DETAILS
from gateway.cli.render import console, print_fields, print_json, print_rows, table
from gateway.operations import messages as operations
from gateway.operations.messages import Asked, Page, meant
from gateway.operations.reads.messages import ExceptionCauseRow, ExceptionRow
from gateway.runtime.visible import visible_lines

app = typer.Typer(no_args_is_help=True, help="The exception log: errors and warnings, with code, place and message.")


class Severity(StrEnum):
    """How bad an exception is."""

    ERROR = "error"
    WARNING = "warning"


@app.command("list")
def list_exceptions(
    port: PortOption = None,
    severity: Annotated[Severity | None, typer.Option("--severity", help="Only errors, or warnings.")] = None,
    code: Annotated[str | None, typer.Option("--code", help="Only this code; * for any text.")] = None,
    file: FileOption = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Only of this message: number or id.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    by_cause: ByCauseOption = False,
    before: BeforeOption = None,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List errors and warnings, newest first."""
    asked = Asked(port=port, code=code, file=file, since=since, until=until)
    if by_cause:
        if message is not None or before is not None:
            raise typer.BadParameter("--by-cause counts all that are alike: without --message and --before")
        _tell_causes(perform(_causes(config, asked, severity, limit)), limit, as_json=as_json)
        return
    page = perform(_list(config, asked, message, severity, before, limit))
    found = page.rows
    if as_json:
        print_json({"exceptions": found, "before": page.before})
        return
    columns = ("number", "at", "severity", "code", "text", "port", "file", "line", "message", "message id", "set")
    rows = [
        (e.id, e.at, e.severity, e.code, e.text, e.port, e.file, e.line, e.message_key, e.message_id, e.set_key)
        for e in found
    ]
    narrow = ("number", "at", "code", "text")
    nothing = "The exception log is empty." if asked == Asked() and not message and not severity else "None is so."
    print_rows(columns, rows, nothing=nothing, narrow=narrow, cut=("text",))
    tell_older(len(rows), page.before)


@app.command("show")
def show(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The number of the exception.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show one exception with its details. If Python code failed: with its traceback."""
    found = perform(_read(config, number))
    if as_json:
        print_json(found)
        return
    print_fields(
        [
            ("at", found.at), ("severity", found.severity), ("code", found.code), ("text", found.text),
            ("port", found.port), ("file", found.file), ("line", found.line), ("column", found.col),
            ("path", found.path), ("message", found.message_key), ("message id", found.message_id),
            ("set", found.set_key),
        ],
        title=f"Exception {found.id}",
    )  # fmt: skip
    if found.details:
        rows = [[detail.get(name) for name in DETAILS] for detail in found.details]
        console().print(table(DETAILS, rows, title="\nWhat is wrong in the document"))
    if found.traceback:
        console().print(Text(f"\n{visible_lines(found.traceback)}"))


def _tell_causes(found: Sequence[ExceptionCauseRow], limit: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"causes": found})
        return
    columns = ("times", "files", "severity", "code", "port", "oldest", "newest", "last", "text")
    rows = [(e.exceptions, e.files, e.severity, e.code, e.port, e.oldest, e.newest, e.last, e.text) for e in found]
    narrow = ("times", "code", "port", "newest", "text")
    print_rows(columns, rows, nothing="There are none.", narrow=narrow, cut=("text",))
    if len(rows) == limit:
        console().print(Text(f"Only {limit} kinds are shown; --limit shows more.", style="dim"))


async def _list(
    config: ConfigOption, asked: Asked, message: str | None, severity: str | None, before: int | None, limit: int
) -> Page[ExceptionRow]:
    async with open_shared_desk(config) as desk:
        wanted = meant(desk.settings, asked, zone=desk.zone, now=desk.now)
        return await operations.exceptions(
            desk.store, wanted, message=message, severity=severity, before=before, limit=limit
        )


async def _causes(config: ConfigOption, asked: Asked, severity: str | None, limit: int) -> Sequence[ExceptionCauseRow]:
    async with open_shared_desk(config) as desk:
        wanted = meant(desk.settings, asked, zone=desk.zone, now=desk.now)
        return await operations.exceptions_by_cause(desk.store, wanted, severity=severity, limit=limit)


async def _read(config: ConfigOption, number: int) -> ExceptionRow:
    async with open_site(config) as site:
        return await operations.exception(site.store, number)
