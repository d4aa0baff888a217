"""Commands on batch groups."""

from typing import Annotated

import typer

from gateway.batch.rules.job import Priority
from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, perform
from gateway.cli.desk import ReasonOption, open_session
from gateway.cli.render import print_json, print_rows
from gateway.operations import groups as operations

app = typer.Typer(no_args_is_help=True, help="Batch groups: which servers may run a task, and how soon.")
GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="The name of a group; `default` always exists.")]


@app.command("list")
def list_groups(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the batch groups with the servers that serve them."""
    _tell(perform(_list(config)), as_json=as_json)


@app.command("set")
def set_group(
    group: GroupArgument,
    description: Annotated[str | None, typer.Option("--description", help="What the group is for.")] = None,
    priority: Annotated[
        Priority | None, typer.Option("--priority", help="How often its tasks are picked, relative to other groups.")
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", min=-1, help="Tasks of each job at once; 0: no limit; -1: the group is paused."),
    ] = None,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Create or change a group. If the configuration names it too, its values return at the next reload."""
    _tell([perform(_set(config, reason, group, description, priority, concurrency))], as_json=as_json)


@app.command("delete")
def delete_group(
    group: GroupArgument,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Remove a group that no job, task or server names."""
    perform(_delete(config, reason, group))
    if as_json:
        print_json({"deleted": group})
    else:
        print_rows(("group", "result"), [(group, "deleted")], nothing="")


def _tell(found: list[operations.GroupRow], *, as_json: bool) -> None:
    if as_json:
        print_json({"groups": found})
        return
    columns = ("group", "description", "priority", "each job", "servers", "from")
    rows = [
        (one.name, one.description, one.priority, _concurrency(one.concurrency), one.servers or "none", one.source)
        for one in found
    ]
    print_rows(columns, rows, nothing="", narrow=("group", "priority", "each job", "servers"))


def _concurrency(number: int) -> str:
    if number < 0:
        return "paused"
    return f"at most {number}" if number else "no limit"


async def _list(config: ConfigOption) -> list[operations.GroupRow]:
    async with open_session(config) as desk:
        return await operations.list_groups(desk.store)


async def _set(
    config: ConfigOption,
    reason: str | None,
    group: str,
    description: str | None,
    priority: Priority | None,
    concurrency: int | None,
) -> operations.GroupRow:  # fmt: skip
    async with open_session(config, reason=reason) as desk:
        return await operations.set_group(
            desk.store,
            desk.who,
            group,
            description=description,
            priority=priority,
            concurrency=concurrency,
            now=desk.now,
        )


async def _delete(config: ConfigOption, reason: str | None, group: str) -> None:
    async with open_session(config, reason=reason) as desk:
        await operations.delete_group(desk.store, desk.who, group)
