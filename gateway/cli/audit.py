"""The command that shows what operators did."""

from dataclasses import dataclass
from typing import Annotated

import typer

from gateway.cli.commands import Answer, older, query
from gateway.cli.options import BeforeOption, LimitOption, SinceOption, UntilOption
from gateway.cli.render import Rows
from gateway.operations import audit as operations
from gateway.operations.audit import AskedActions
from gateway.operations.principal import OperatorSession
from gateway.operations.statements.audit_sql import ActionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class _Actions(AskedActions):
    actor: Annotated[str | None, typer.Option("--who", help="Only what this account did.")] = None
    action: Annotated[
        str | None,
        typer.Option("--action", help="Only this action, such as queue.release; job.* for all actions on jobs."),
    ] = None
    subject: Annotated[
        str | None, typer.Option("--subject", help="Only what was done to this job, lane, server…; * for anything.")
    ] = None
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="Only what was done to this message: number or id.")
    ] = None
    since: SinceOption = None
    until: UntilOption = None


@query(shared=True)
async def audit(
    session: OperatorSession, asked: _Actions, before: BeforeOption = None, limit: LimitOption = 50
) -> Answer:
    """Show what operators did, newest first: who, when, what, why, and the outcome."""
    page = await operations.actions(session, asked, before=before, limit=limit)
    columns = ("number", "at", "who", "action", "to", "reason", "outcome", "what came of it")
    rows = [
        (one.id, one.at, one.actor, one.action, _subject(one), one.reason, one.outcome or "unknown", one.text)
        for one in page.rows
    ]
    narrow = ("at", "who", "action", "to", "reason", "outcome")
    table = Rows(columns, rows, "No such action.", narrow=narrow, cut=("to",))
    return Answer({"actions": page.rows, "before": page.before}, table, *older(page))


def _subject(one: ActionRow) -> str | None:
    if not one.messages:
        return one.subject
    named = list(one.first_messages or ())[:5]
    more = "" if one.messages <= len(named) else f" and {one.messages - len(named)} more"
    return f"{', '.join(map(str, named))}{more}"
