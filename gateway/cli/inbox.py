"""Commands on one's own report inbox."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.commands import Answer, Commands
from gateway.cli.options import LimitOption, TargetArgument
from gateway.cli.render import Rows
from gateway.cli.runs import save_copy, saved_copy
from gateway.operations import inbox as operations
from gateway.operations.principal import OperatorSession
from gateway.runtime.visible import visible

app = Commands("Your report inbox: what was printed for you to read.")
ReportArgument = Annotated[int, typer.Argument(metavar="REPORT", min=1, help="The number of a report.")]


@app.query("list", "partition")
async def list_reports(session: OperatorSession, limit: LimitOption = 50) -> Answer:
    """List your reports, newest first."""
    found = await operations.reports(session, limit=limit)
    rows = [(one.id, one.name, one.size_bytes, one.run_id, one.made_at, one.opened_at) for one in found]
    columns = ("report", "name", "bytes", "run", "made", "opened")
    return Answer(found, Rows(columns, rows, "There is no report for you.", narrow=("report", "name", "made")))


@app.query("open", "partition")
async def open_(session: OperatorSession, number: ReportArgument) -> Answer:
    """Show a report with the program that this machine has for such files."""
    name, content = await operations.open_report(session, number)
    path = await asyncio.to_thread(save_copy, Path(tempfile.mkdtemp(prefix="gateway-report-")) / name, content)
    text = f"opened {visible(str(path))}"
    if typer.launch(str(path)) != 0:
        text = f"This machine has no program to show it: it is saved as {visible(str(path))}."
    return Answer({"saved": path}, text)


@app.query("save", "partition")
async def save(session: OperatorSession, number: ReportArgument, target: TargetArgument = Path()) -> Answer:
    """Save a copy of a report. An existing file is never overwritten."""
    return await saved_copy(target, *await operations.open_report(session, number))


@app.action("delete", "partition")
async def delete(session: OperatorSession, number: ReportArgument) -> Answer:
    """Remove a report from your inbox; the document can be printed again."""
    name = await operations.delete_report(session, number)
    return Answer({"report": number, "name": name}, f"{visible(name)} is removed from your inbox.")
