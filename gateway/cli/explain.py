"""The commands that say why something is where it is, and whether everything is in order."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Final

import typer
from rich.text import Text

from gateway.cli.commands import Answer, query
from gateway.cli.remedies import command, worded
from gateway.cli.render import Part, plain, record
from gateway.explanations.facts import Explanation, at
from gateway.explanations.finding import Finding, Severity
from gateway.operations import explain as operations
from gateway.operations.doctor import examine
from gateway.operations.principal import OperatorSession
from gateway.runtime.folders import finder, folders_of
from gateway.runtime.plugins import key_lengths
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
_STYLES: Final = {Severity.WRONG: "bold red", Severity.STUCK: "yellow", Severity.ATTENTION: "yellow"}


@query("partition", shared=True)
async def explain(
    session: OperatorSession,
    what: WhatArgument,
    partition: str | None,
) -> Answer:
    """Say why something is where it is, and what moves it on. Exit code 1 when something is wrong with it."""
    found = await operations.explain(session, what, finder(session.settings), partition=partition)
    return Answer(
        {"explanations": [_explanation_record(one) for one in found]},
        *[part for one in found for part in _explained(one)],
        failed=any(one.wrong for one in found),
    )


@query(shared=True)
async def doctor(session: OperatorSession) -> Answer:
    """Check that everything is in order: nothing lost, nothing twice, nothing stuck, every partner answered.

    Exit code 1 when something is not in order.
    """
    with ThreadPoolExecutor(1) as threads:
        folders = folders_of(lambda: session.settings, lambda _: threads)
        found = await examine(
            session.store, session.settings, folders, longest_key=key_lengths(session.settings),
            config_problems=session.config_problems,
        )  # fmt: skip
    parts = [part for one in found for part in _found(one)]
    return Answer(
        {"findings": [finding_record(one) for one in found]},
        *(parts or [Text("Everything is in order.", style="green")]),
        failed=bool(found),
    )


def finding_record(finding: Finding) -> dict[str, object]:
    """Return a finding as `--json` shows it; `docs/json.md` describes the fields."""
    rule = finding.rule
    return {"severity": rule.severity.value, **record(finding, text=rule.text, **_way_out(finding))}


def _explanation_record(one: Explanation) -> dict[str, object]:
    fields = record(one, **_way_out(one), wrong=one.wrong)
    del fields["remedies"]
    return fields


def _way_out(found: Explanation | Finding) -> dict[str, object]:
    """Return what to do in words, and for programs the first of it that can be done here."""
    first = next((one for one in found.remedies if command(one) is not None), found.remedies[0])
    return {"way_out": worded(*found.remedies), "remedy": plain(first)}


def _explained(explanation: Explanation) -> Iterator[Part]:
    yield Text.assemble((visible(explanation.subject), "bold"), f"  {explanation.code}")
    yield f"  why:  {visible(explanation.why)}"
    yield f"  then: {visible(worded(*explanation.remedies))}"


def _found(finding: Finding) -> Iterator[Part]:
    rule = finding.rule
    more = f" and {finding.count - len(finding.what)} more" if finding.count > len(finding.what) else ""
    known = [f"port {finding.port}" if finding.port else "", f"since {at(finding.since)}" if finding.since else ""]
    head = Text.assemble((rule.severity.value, _STYLES[rule.severity]), f"  {finding.code}")
    if where := ", ".join(filter(None, known)):
        head.append(f"  ({visible(where)})")
    yield head
    yield f"  {visible(', '.join(finding.what))}{more}: {rule.text}."
    yield f"  {visible(worded(*finding.remedies))}"
