"""Commands on one's own report inbox."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.common import perform
from gateway.cli.desk import open_session
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, LimitOption, PartitionOption, ReasonOption
from gateway.cli.render import console, print_json, print_rows
from gateway.cli.runs import save_copy
from gateway.operations import inbox as operations
from gateway.operations.inbox import Report
from gateway.runtime.visible import visible

app = typer.Typer(no_args_is_help=True, help="Your report inbox: what was printed for you to read.")
NumberArgument = Annotated[int, typer.Argument(metavar="REPORT", min=1, help="The number of a report.")]


@app.command("list")
def list_reports(
    partition: PartitionOption = None,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List your reports, newest first."""

    async def work() -> list[Report]:
        async with open_session(config, partition) as desk:
            return list(await operations.reports(desk.store, desk.who, limit=limit))

    found = perform(work())
    if as_json:
        print_json(found)
        return
    rows = [(one.id, one.name, one.size_bytes, one.run_id, one.made_at, one.opened_at) for one in found]
    columns = ("report", "name", "bytes", "run", "made", "opened")
    print_rows(columns, rows, nothing="There is no report for you.", narrow=("report", "name", "made"))


@app.command("open")
def open_(number: NumberArgument, partition: PartitionOption = None, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Show a report with the program that this machine has for such files."""
    name, content = perform(_open(config, partition, number))
    path = save_copy(Path(tempfile.mkdtemp(prefix="gateway-report-")) / name, content)
    if typer.launch(str(path)) == 0:
        console().print(Text(f"opened {visible(str(path))}"), soft_wrap=True)
    else:
        text = f"This machine has no program to show it: it is saved as {visible(str(path))}."
        console().print(Text(text), soft_wrap=True)


@app.command("save")
def save(
    number: NumberArgument,
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A folder, or the name of a new file.")] = Path(),
    partition: PartitionOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Save a copy of a report. An existing file is never overwritten."""

    async def work() -> Path:
        name, content = await _open(config, partition, number)
        return await asyncio.to_thread(save_copy, target / name if target.is_dir() else target, content)

    saved = perform(work())
    console().print(Text(f"saved as {visible(str(saved))}"), soft_wrap=True)


@app.command("delete")
def delete(
    number: NumberArgument,
    partition: PartitionOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Remove a report from your inbox; the document can be printed again."""

    async def work() -> str:
        async with open_session(config, partition, reason=reason) as desk:
            return await operations.delete_report(desk.store, desk.who, number)

    name = perform(work())
    if as_json:
        print_json({"report": number, "name": name})
    else:
        console().print(Text(f"{visible(name)} is removed from your inbox."))


async def _open(config: Path, partition: str | None, number: int) -> tuple[str, bytes]:
    async with open_session(config, partition) as desk:
        return await operations.open_report(desk.store, desk.who, number)
