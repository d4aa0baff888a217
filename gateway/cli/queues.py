"""Commands on job queues: look at them, start and stop them."""

from datetime import datetime
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.common import perform
from gateway.cli.desk import open_session
from gateway.cli.entry_views import print_entries
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, PartitionOption, ReasonOption
from gateway.cli.render import print_fields, print_json, print_rows
from gateway.operations import entries as operations
from gateway.operations.entries import QueueReport, QueueRow

app = typer.Typer(no_args_is_help=True, help="Job queues: which entries may run, and where.")
QueueArgument = Annotated[str, typer.Argument(metavar="QUEUE", help="The name of a job queue.")]


@app.command("list")
def list_queues(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the job queues: started or stopped, what waits, what runs, what has failed."""

    async def work() -> list[QueueRow]:
        async with open_session(config) as desk:
            return await operations.list_queues(desk.store)

    found = perform(work())
    if as_json:
        print_json({"queues": found})
    else:
        _print(found)


@app.command("show")
def show_queue(
    queue: QueueArgument,
    partition: PartitionOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show a job queue with its categories and its entries."""

    async def work() -> tuple[QueueReport, datetime]:
        async with open_session(config, partition) as desk:
            return await operations.show_queue(desk.store, desk.who, queue), desk.now

    found, now = perform(work())
    if as_json:
        print_json(found)
        return
    row = found.queue
    print_fields(
        [
            ("description", row.description if row.description != row.name else None),
            ("status", _state(row)),
            ("changed by", row.changed_by),
            ("starts automatically", "yes" if row.starts_automatically else "no"),
            ("takes", list(row.categories) if row.categories is not None else "all entries"),
            ("group", row.group),
        ],
        title=row.name,
    )
    print_rows(
        ("category", "width", "in process", "waiting"),
        [(one.name, one.width, list(one.held_by), one.waiting) for one in found.categories],
        nothing="It has no categories.", title="\nCategories",
    )  # fmt: skip
    print_entries(found.entries, now, title="\nEntries", nothing="There are no entries in it.")


@app.command("start")
def start_queue(
    queue: QueueArgument,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Start a job queue: its entries run when they are due."""
    _switch(queue, True, reason, config, as_json=as_json)


@app.command("stop")
def stop_queue(
    queue: QueueArgument,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Stop a job queue: no further entry of it starts. What runs goes on."""
    _switch(queue, False, reason, config, as_json=as_json)


def _switch(queue: str, started: bool, reason: str | None, config: ConfigOption, *, as_json: bool) -> None:
    async def work() -> QueueRow:
        async with open_session(config, reason=reason) as desk:
            return await operations.start_queue(desk.store, desk.who, queue, started, now=desk.now)

    row = perform(work())
    if as_json:
        print_json({"queue": row})
    else:
        _print([row])


def _print(rows: list[QueueRow]) -> None:
    print_rows(
        ("queue", "status", "categories", "group", "in queue", "in process", "failed"),
        [
            (row.name, _state(row), "all" if row.categories is None else list(row.categories), row.group, row.in_queue,
             row.in_process, row.failed)
            for row in rows
        ],
        nothing="There are no job queues. Write them into `job_queues.queues` of the configuration.",
    )  # fmt: skip


def _state(row: QueueRow) -> Text:
    return Text("started", style="green") if row.started else Text("stopped", style="yellow")
