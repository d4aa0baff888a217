"""Commands on the gateway queue: what is not finished, and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

import typer

from gateway.cli.commands import Answer, Commands, Question
from gateway.cli.message import MessageOptions, XmlOption, show_message
from gateway.cli.options import ByCauseOption, LimitOption, MessageArgument
from gateway.cli.render import Notice, Part, Rows, age, counted, dim, operation_of
from gateway.messaging.queue.operate import Changed
from gateway.messaging.rules.states import Status
from gateway.operations import messages as operations
from gateway.operations.operate import Plan, QueueAction, carry_out, lost_with, plan_chosen, plan_named
from gateway.operations.operate import restage as restage_lost
from gateway.operations.principal import OperatorSession
from gateway.operations.statements.selection_sql import CauseRow

_MOST_TOLD: Final = 20
"""Changes that are told one by one."""

app = Commands("Messages that are not finished: waiting, running, held, failed.", shared=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen(MessageOptions):
    statuses: Annotated[
        list[Status] | None, typer.Option("--status", "-s", help="Only messages with this status; repeatable.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Selected(_Chosen):
    messages: Annotated[
        list[str] | None, typer.Argument(metavar="MESSAGE", help="Numbers or MessageIds; or use the options to choose.")
    ] = None

    def __post_init__(self) -> None:
        if bool(self.messages) != self.everything:
            raise typer.BadParameter("name messages, or choose them: --port, --status, --code, --file, --user, --since")


@app.query("list")
async def list_messages(
    session: OperatorSession, chosen: _Chosen, by_cause: ByCauseOption = False, limit: LimitOption = 50
) -> Answer:
    """List unfinished messages in order of arrival, each with the reason why it is where it is."""
    nothing = f"No {'message' if chosen.everything else 'such message'} waits in the queue."
    if by_cause:
        causes = await operations.queue_by_cause(session, chosen)
        return Answer({"causes": causes}, _causes(causes, session.now, nothing=nothing))
    found, total = await operations.queue(session, chosen, limit=limit)
    columns = (
        "number", "port", "message id", "direction", "status", "reason", "set", "company", "operation", "error", "file",
        "position", "attempts", "since",
    )  # fmt: skip
    rows = [
        (m.key, m.port, m.message_id, m.direction, m.status, m.reason, m.set_status, m.company,
         operation_of(m.service, m.operation), m.error, m.file, m.position, m.attempts, age(m.since, session.now))
        for m in found
    ]  # fmt: skip
    narrow = ("number", "port", "reason", "error", "file", "since")
    parts: list[Part] = [Rows(columns, rows, nothing, narrow=narrow, cut=("error",))]
    if len(rows) < total:
        parts.append(dim(f"{len(rows)} of {total} are shown; --limit shows more, --by-cause counts them."))
    return Answer({"messages": found, "total": total}, *parts)


@app.query("show")
async def show(session: OperatorSession, message: MessageArgument, xml: XmlOption = False) -> Answer | None:
    """Show everything about one unfinished message: header, set, lane, versions, document, exceptions, answer."""
    return await show_message(session, message, queued=True, xml=xml)


@app.action("hold", "yes")
async def hold(session: OperatorSession, selected: _Selected) -> Answer | Question:
    """Hold messages that have not started. Under halt and rollback this also holds the rest of their file."""
    return await _act(session, QueueAction.HOLD, selected)


@app.action("release", "yes")
async def release(session: OperatorSession, selected: _Selected) -> Answer | Question:
    """Let held or failed messages run again, checked again. Under halt and rollback the rest of their file too."""
    return await _act(session, QueueAction.RELEASE, selected)


@app.action("retry", "yes")
async def retry(session: OperatorSession, selected: _Selected) -> Answer | Question:
    """Try now the messages that wait for another try: requests, and answers whose folder is back."""
    return await _act(session, QueueAction.RETRY, selected)


@app.action("delete", "yes")
async def delete(session: OperatorSession, selected: _Selected) -> Answer | Question:
    """Remove failed, held and malformed messages permanently. The partner gets no answer; the rest of a set stays."""
    return await _act(session, QueueAction.DELETE, selected)


@app.action("restage", "yes")
async def restage(
    session: OperatorSession,
    messages: Annotated[list[str], typer.Argument(help="Numbers or MessageIds of queued messages.")],
) -> Question:
    """Re-create responses whose staging folder is permanently lost, with all others prepared in that folder.

    Until then they wait for the folder. The partner may get some a second time: those that were published already.
    """
    lost = await lost_with(session, messages)
    rows = [
        (one.prepared.key, one.prepared.port, one.prepared.file,
         "lies in the outbound folder: counts as sent" if one.published else "is prepared anew")
        for one in lost
    ]  # fmt: skip
    wheres = dict.fromkeys(one.prepared.where for one in lost)
    seen = [f"Prepared {where}, a folder that no gateway that runs uses:" for where in wheres]
    table = Rows(("number", "port", "file", "what becomes of it"), rows)

    async def give_up(session: OperatorSession) -> Answer:
        changed = await restage_lost(session, lost)
        return Answer(
            {
                "restaged": [o.prepared.key for o in lost if o.prepared.key in changed and not o.published],
                "sent": [o.prepared.key for o in lost if o.prepared.key in changed and o.published],
            },
            f"{len(changed)} of {len(lost)} promises were given up.",
        )

    return Question(text="Prepare them anew?", parts=(*seen, table, Notice(_TWICE, style="")), then=give_up)


_TWICE = (
    "Nobody can tell which of these answers were published before the folder was lost. Those that were, and that the "
    "partner took, the partner gets a second time, with the same name, MessageId and content. Do this only when the "
    "folder is permanently lost: a gateway that finds it again publishes what lies in it, or knows that it was "
    "published."
)
_ASKED: Final[Mapping[QueueAction, str]] = {
    QueueAction.HOLD: "Hold",
    QueueAction.RELEASE: "Release",
    QueueAction.RETRY: "Try now",
    QueueAction.DELETE: "Delete for good, without an answer,",
}
_DONE: Final[Mapping[QueueAction, str]] = {
    QueueAction.HOLD: "held",
    QueueAction.RELEASE: "released",
    QueueAction.RETRY: "retried",
    QueueAction.DELETE: "deleted",
}


async def _act(session: OperatorSession, action: QueueAction, selected: _Selected) -> Answer | Question:
    """Do something to messages; what is more than was named, or cannot be undone, is shown first."""
    if selected.messages:
        plan = await plan_named(session, action, selected.messages)
    else:
        plan = await plan_chosen(session, action, selected)

    async def then(session: OperatorSession) -> Answer:
        return changed_answer(_DONE[action], await carry_out(session, plan))

    if not (plan.needs_consent and plan.keys):
        return await then(session)
    parts: list[Part] = [_causes(plan.causes, session.now)]
    if plan.bound:
        together = counted(len(plan.bound), "message")
        parts.append(Notice(f"Under the `on_error` of the port, {together} of the same files go with it.", style=""))
    return Question(text=f"{_ASKED[action]} {_counted(plan)}?", parts=parts, then=then)


def changed_answer(done: str, outcome: Changed) -> Answer:
    """Say which messages an operation changed, and which it left alone; of many how many."""
    left = [{"number": key, "status": status} for key, status in outcome.left]
    data = {done: list(outcome.changed), "left": left}
    rows: list[tuple[object, object]]
    if len(outcome.changed) + len(outcome.left) > _MOST_TOLD:
        kept = Counter(status for _, status in outcome.left)
        rows = [(done, len(outcome.changed))] if outcome.changed else []
        rows += [(f"unchanged: {status}", number) for status, number in sorted(kept.items())]
        return Answer(data, Rows(("result", "messages"), rows))
    rows = [(key, done) for key in outcome.changed]
    rows += [(key, f"unchanged: {status}") for key, status in outcome.left]
    return Answer(data, Rows(("number", "result"), rows, "Nothing was changed."))


def _causes(causes: Sequence[CauseRow], now: datetime, *, nothing: str = "") -> Rows:
    columns = ("messages", "files", "port", "direction", "status", "reason", "code", "oldest", "first", "error")
    rows = [
        (one.messages, one.files, one.port, one.direction, one.status, one.reason, one.code, age(one.oldest, now),
         one.first, one.error)
        for one in causes
    ]  # fmt: skip
    narrow = ("messages", "port", "reason", "code", "first", "error")
    return Rows(columns, rows, nothing, narrow=narrow, cut=("error",))


def _counted(plan: Plan) -> str:
    return counted(len(plan.keys) + len(plan.bound), "message")
