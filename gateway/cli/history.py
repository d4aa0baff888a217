"""Commands on the history: what is finished, in both directions."""

from dataclasses import dataclass
from typing import Annotated

import typer

from gateway.cli.commands import Answer, Commands, older
from gateway.cli.message import MessageOptions, XmlOption, show_message
from gateway.cli.options import BeforeOption, ByCauseOption, LimitOption, MessageArgument, PortOption
from gateway.cli.render import Part, Rows, dim, operation_of
from gateway.operations import messages as operations
from gateway.operations.principal import OperatorSession
from gateway.operations.reads.messages import Ended

app = Commands("Messages that are finished, requests and answers, and received files.", shared=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finished(MessageOptions):
    code: Annotated[
        str | None,
        typer.Option("--code", help="Only messages that failed with this code before they finished; * for any text."),
    ] = None


@app.query("list")
async def list_messages(
    session: OperatorSession,
    chosen: _Finished,
    outcomes: Annotated[
        list[Ended] | None, typer.Option("--status", "-s", help="Only messages with this outcome; repeatable.")
    ] = None,
    by_cause: ByCauseOption = False,
    before: BeforeOption = None,
    limit: LimitOption = 50,
) -> Answer:
    """List finished messages, newest first. Column `other`: the answer of a request, or the request of an answer."""
    if by_cause:
        return await _by_outcome(session, chosen, outcomes)
    page = await operations.history(session, chosen, outcomes=outcomes, before=before, limit=limit)
    columns = (
        "number", "port", "message id", "direction", "company", "operation", "outcome", "file", "position", "created",
        "finished", "other", "other id",
    )  # fmt: skip
    rows = [
        (m.key, m.port, m.message_id, m.direction, m.company, operation_of(m.service, m.operation),
         "fault" if m.is_fault else m.outcome, m.file, m.position, m.created_at, m.finished_at, m.other_key,
         m.other_message_id)
        for m in page.rows
    ]  # fmt: skip
    narrow = ("number", "port", "outcome", "file", "finished")
    nothing = "No message has been finished yet." if chosen.everything and not outcomes else "No such message."
    table = Rows(columns, rows, nothing, narrow=narrow, cut=("file",))
    return Answer({"messages": page.rows, "before": page.before}, table, *older(page))


@app.query("show")
async def show(session: OperatorSession, message: MessageArgument, xml: XmlOption = False) -> Answer | None:
    """Show everything about one finished message: header, set, document, exceptions, and its answer or request."""
    return await show_message(session, message, queued=False, xml=xml)


@app.query("files")
async def files(session: OperatorSession, port: PortOption = None, limit: LimitOption = 50) -> Answer:
    """List received files, newest first, and what happened to each."""
    found = await operations.received_files(session, port=port, limit=limit + 1)
    more, found = len(found) > limit, found[:limit]
    columns = ("port", "file", "received", "bytes", "owner", "submitter", "messages", "outcome", "then", "code",
               "reason")  # fmt: skip
    rows = [
        (d.port, d.file, d.received_at, d.size_bytes, d.owner, d.submitter, d.envelopes, d.outcome, d.settlement,
         d.code, d.reason)
        for d in found
    ]  # fmt: skip
    narrow = ("port", "file", "received", "messages", "reason")
    parts: list[Part] = [Rows(columns, rows, "No file has been received yet.", narrow=narrow, cut=("reason",))]
    if more:
        parts.append(dim(f"The newest {limit} are shown; --limit shows more."))
    return Answer({"files": found}, *parts)


async def _by_outcome(session: OperatorSession, chosen: _Finished, outcomes: list[Ended] | None) -> Answer:
    found = await operations.history_by_outcome(session, chosen, outcomes=outcomes)
    columns = ("messages", "files", "port", "direction", "operation", "outcome", "oldest", "newest", "last")
    rows = [
        (one.messages, one.files, one.port, one.direction, operation_of(one.service, one.operation), one.outcome,
         one.oldest, one.newest, one.last)
        for one in found
    ]  # fmt: skip
    narrow = ("messages", "port", "operation", "outcome", "newest")
    return Answer({"outcomes": found}, Rows(columns, rows, "No such message.", narrow=narrow))
