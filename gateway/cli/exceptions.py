"""Commands on the exception log."""

from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, LimitOption, PortOption, open_site, perform
from gateway.cli.message import DETAILS
from gateway.cli.render import console, print_fields, print_json, print_rows, table
from gateway.operations import messages as operations
from gateway.runtime.visible import visible_lines
from gateway.store.message_reports import ExceptionRow

app = typer.Typer(no_args_is_help=True, help="What failed or is worth knowing: code, place, message.")


@app.command("list")
def list_exceptions(
    port: PortOption = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Only of this message: number or id.")] = None,
    before: Annotated[int | None, typer.Option("--before", help="Go on from this number, towards older ones.")] = None,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List errors and warnings, the newest first."""
    found = perform(_list(config, port, message, before, limit))
    if as_json:
        print_json({"exceptions": found})
        return
    columns = ("number", "at", "severity", "code", "text", "port", "file", "line", "message", "message id", "set")
    rows = [
        (e.id, e.at, e.severity, e.code, e.text, e.port, e.file, e.line, e.message_key, e.message_id, e.set_key)
        for e in found
    ]
    narrow = ("number", "at", "code", "text")
    print_rows(columns, rows, nothing="The exception log is empty.", narrow=narrow, cut=("text",))


@app.command("show")
def show(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The number of the exception.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show one exception with its details and, for a failure of code, the traceback."""
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


async def _list(
    config: ConfigOption, port: str | None, message: str | None, before: int | None, limit: int
) -> list[ExceptionRow]:
    async with open_site(config) as site:
        found = await operations.exceptions(
            site.store, site.settings, port=port, message=message, before=before, limit=limit
        )
    return list(found)


async def _read(config: ConfigOption, number: int) -> ExceptionRow:
    async with open_site(config) as site:
        return await operations.exception(site.store, number)
