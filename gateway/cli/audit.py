"""The command that shows what operators did."""

from typing import Annotated

import typer

from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, LimitOption, perform
from gateway.cli.desk import open_shared_desk
from gateway.cli.filters import BeforeOption, SinceOption, UntilOption, tell_older
from gateway.cli.render import print_json, print_rows
from gateway.operations import audit as operations
from gateway.operations.messages import Page
from gateway.operations.reads.audit import ActionRow


def audit(
    who: Annotated[str | None, typer.Option("--who", help="Only what this account did.")] = None,
    action: Annotated[
        str | None,
        typer.Option("--action", help="Only this action, such as queue.release; job.* for all actions on jobs."),
    ] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", help="Only what was done to this job, lane, server…; * for anything.")
    ] = None,
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="Only what was done to this message: number or id.")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    before: BeforeOption = None,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show what operators did, newest first: who, when, what, why, and the outcome."""

    async def work() -> Page[ActionRow]:
        async with open_shared_desk(config) as desk:
            return await operations.actions(
                desk.store, actor=who, action=action, subject=subject, message=message, since=since, until=until,
                zone=desk.zone, now=desk.now, before=before, limit=limit,
            )  # fmt: skip

    page = perform(work())
    if as_json:
        print_json({"actions": page.rows, "before": page.before})
        return
    columns = ("number", "at", "who", "action", "to", "reason", "outcome", "what came of it")
    rows = [
        (one.id, one.at, one.actor, one.action, _subject(one), one.reason, one.outcome or "unknown", one.text)
        for one in page.rows
    ]
    narrow = ("at", "who", "action", "to", "reason", "outcome")
    print_rows(columns, rows, nothing="No operator did anything of that kind.", narrow=narrow, cut=("to",))
    tell_older(len(rows), page.before)


def _subject(one: ActionRow) -> str | None:
    if not one.messages:
        return one.subject
    named = list(one.first_messages or ())[:5]
    more = "" if one.messages <= len(named) else f" and {one.messages - len(named)} more"
    return f"{', '.join(map(str, named))}{more}"
