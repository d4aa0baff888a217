"""The command that says why something is where it is."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.common import DEFAULT_CONFIG, KNOWN_ERROR, ConfigOption, JsonOption, perform
from gateway.cli.desk import PartitionOption, open_shared_desk
from gateway.cli.remedies import worded
from gateway.cli.render import console, plain, print_json
from gateway.explanations.facts import Explanation
from gateway.operations import explain as operations
from gateway.operations.person import NotAllowed, Principal, person
from gateway.runtime.folders import finder
from gateway.runtime.visible import visible

WhatArgument = Annotated[
    str,
    typer.Argument(
        metavar="WHAT",
        help="A message (number, MessageId), a file name, a port, a lane (port/lane), a set (set:number, BatchId), a "
        "job, a job queue entry (its name, entry:number), a document (SalesOrder/1001), a run (run:number), a task "
        "(job/task, run:number/task), a session (session:number, station/number).",
    ),
]


def explain(
    what: WhatArgument, partition: PartitionOption = None, config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Say why something is where it is, and what moves it on. Exit code 1 when something is wrong with it."""
    found = perform(_explain(config, what, partition))
    if as_json:
        print_json({"explanations": [_record(explanation) for explanation in found]})
    else:
        _print(found)
    if any(explanation.wrong for explanation in found):
        raise typer.Exit(KNOWN_ERROR)


def _record(explanation: Explanation) -> dict[str, object]:
    record = plain(explanation)
    assert isinstance(record, dict)
    return {**record, "way_out": _way_out(explanation), "wrong": explanation.wrong}


def _way_out(explanation: Explanation) -> str:
    return explanation.way_out if explanation.remedy is None else worded(explanation.remedy)


def _print(found: Sequence[Explanation]) -> None:
    out = console()
    for explanation in found:
        title = Text.assemble((visible(explanation.subject), "bold"), f"  {explanation.code}")
        out.print(title, soft_wrap=True)
        out.print(Text(f"  why:  {visible(explanation.why)}"), soft_wrap=True)
        out.print(Text(f"  then: {visible(_way_out(explanation))}"), soft_wrap=True)


async def _explain(config: ConfigOption, what: str, partition: str | None) -> Sequence[Explanation]:
    async with open_shared_desk(config) as desk:
        who: Principal | None = None
        try:
            who = person(desk.settings, desk.who.name, partition=partition)
        except NotAllowed:
            if partition is not None:
                raise
        return await operations.explain(desk.store, desk.settings, who, what, finder(desk.settings), now=desk.now)
