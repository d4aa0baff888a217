"""Commands on the gateway queue: what is not finished, and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

import typer
from rich.text import Text

from gateway.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    LimitOption,
    PortOption,
    YesOption,
    consent,
    open_site,
    perform,
)
from gateway.cli.desk import ReasonOption, open_shared_desk
from gateway.cli.filters import (
    ByCauseOption,
    CodeOption,
    DirectionOption,
    FileOption,
    SinceOption,
    StatusOption,
    UntilOption,
    UserOption,
    tell_cut,
)
from gateway.cli.message import MessageArgument, XmlOption, show_message
from gateway.cli.render import age, console, operation_of, print_json, print_rows
from gateway.kernel.ids import MessageKey
from gateway.messaging.queue.operate import Changed
from gateway.operations import messages as operations
from gateway.operations.messages import Asked, meant
from gateway.operations.operate import Action, Plan, carry_out, plan_chosen, plan_named
from gateway.operations.reads.messages import QueueRow
from gateway.operations.reads.selection import CauseRow
from gateway.operations.restage import Lost, lost_with
from gateway.operations.restage import restage as admin_restage

_MOST_TOLD: Final = 20
"""Changes that are told one by one."""

app = typer.Typer(no_args_is_help=True, help="Messages that are not finished: waiting, running, held, failed.")


@app.command("list")
def list_messages(
    port: PortOption = None,
    status: StatusOption = None,
    direction: DirectionOption = None,
    code: CodeOption = None,
    file: FileOption = None,
    user: UserOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    by_cause: ByCauseOption = False,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List unfinished messages in order of arrival, each with the reason why it is where it is."""
    asked = Asked(
        port=port, statuses=status, direction=direction, code=code, file=file, user=user, since=since, until=until
    )
    if by_cause:
        causes, now = perform(_causes(config, asked))
        if as_json:
            print_json({"causes": causes})
        else:
            _print_causes(causes, now, nothing=_nothing(asked))
        return
    found, total, now = perform(_list(config, asked, limit))
    if as_json:
        print_json({"messages": found, "total": total})
        return
    columns = (
        "number", "port", "message id", "direction", "status", "reason", "set", "company", "operation", "error", "file",
        "position", "attempts", "since",
    )  # fmt: skip
    rows = [
        (m.key, m.port, m.message_id, m.direction, m.status, m.reason, m.set_status, m.company,
         operation_of(m.service, m.operation), m.error, m.file, m.position, m.attempts, age(m.since, now))
        for m in found
    ]  # fmt: skip
    narrow = ("number", "port", "reason", "error", "file", "since")
    print_rows(columns, rows, nothing=_nothing(asked), narrow=narrow, cut=("error",))
    tell_cut(len(rows), total)


@app.command("show")
def show(
    message: MessageArgument, xml: XmlOption = False, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False
) -> None:
    """Show everything about one unfinished message: header, set, lane, versions, document, exceptions, answer."""
    show_message(message, queued=True, xml=xml, config=config, as_json=as_json)


MessagesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="MESSAGE", help="Numbers or MessageIds; or use the options to choose.")
]


@app.command("hold")
def hold(
    messages: MessagesArgument = None,
    port: PortOption = None,
    status: StatusOption = None,
    direction: DirectionOption = None,
    code: CodeOption = None,
    file: FileOption = None,
    user: UserOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    yes: YesOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Hold messages that have not started. Under halt and rollback this also holds the rest of their file."""
    asked = Asked(
        port=port, statuses=status, direction=direction, code=code, file=file, user=user, since=since, until=until
    )
    _act(config, Action.HOLD, messages, asked, reason, yes=yes, as_json=as_json)


@app.command("release")
def release(
    messages: MessagesArgument = None,
    port: PortOption = None,
    status: StatusOption = None,
    direction: DirectionOption = None,
    code: CodeOption = None,
    file: FileOption = None,
    user: UserOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    yes: YesOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let held or failed messages run again, checked again. Under halt and rollback the rest of their file too."""
    asked = Asked(
        port=port, statuses=status, direction=direction, code=code, file=file, user=user, since=since, until=until
    )
    _act(config, Action.RELEASE, messages, asked, reason, yes=yes, as_json=as_json)


@app.command("retry")
def retry(
    messages: MessagesArgument = None,
    port: PortOption = None,
    status: StatusOption = None,
    direction: DirectionOption = None,
    code: CodeOption = None,
    file: FileOption = None,
    user: UserOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    yes: YesOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Try now the messages that wait for another try: requests, and answers whose folder is back."""
    asked = Asked(
        port=port, statuses=status, direction=direction, code=code, file=file, user=user, since=since, until=until
    )
    _act(config, Action.RETRY, messages, asked, reason, yes=yes, as_json=as_json)


@app.command("delete")
def delete(
    messages: MessagesArgument = None,
    port: PortOption = None,
    status: StatusOption = None,
    direction: DirectionOption = None,
    code: CodeOption = None,
    file: FileOption = None,
    user: UserOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    yes: YesOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Remove failed, held and malformed messages permanently. The partner gets no answer; the rest of a set stays."""
    asked = Asked(
        port=port, statuses=status, direction=direction, code=code, file=file, user=user, since=since, until=until
    )
    _act(config, Action.DELETE, messages, asked, reason, yes=yes, as_json=as_json)


@app.command("restage")
def restage(
    messages: Annotated[list[str], typer.Argument(help="Numbers or MessageIds of queued messages.")],
    yes: YesOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Re-create responses whose staging folder is permanently lost, with all others prepared in that folder.

    Until then they wait for the folder. The partner may get some a second time: those that were published already.
    """
    lost = perform(_lost(config, messages))
    if not as_json:
        rows = [
            (one.prepared.key, one.prepared.port, one.prepared.file,
             "lies in the outbound folder: counts as sent" if one.published else "is prepared anew")
            for one in lost
        ]  # fmt: skip
        for where in dict.fromkeys(one.prepared.where for one in lost):
            console().print(Text(f"Prepared {where}, a folder that no gateway that runs uses:"))
        print_rows(("number", "port", "file", "what becomes of it"), rows, nothing="")
    if not yes:
        console(error=True).print(Text(_TWICE), soft_wrap=True)
        consent("Prepare them anew?")
    changed = perform(_restage(config, lost, reason))
    if as_json:
        print_json({
            "restaged": [one.prepared.key for one in lost if one.prepared.key in changed and not one.published],
            "sent": [one.prepared.key for one in lost if one.prepared.key in changed and one.published],
        })  # fmt: skip
    else:
        console().print(Text(f"{len(changed)} of {len(lost)} promises were given up."))


_TWICE = (
    "Nobody can tell which of these answers were published before the folder was lost. Those that were, and that the "
    "partner took, the partner gets a second time, with the same name, MessageId and content. Do this only when the "
    "folder is permanently lost: a gateway that finds it again publishes what lies in it, or knows that it was "
    "published."
)


async def _lost(config: ConfigOption, messages: list[str]) -> list[Lost]:
    async with open_site(config) as site:
        return await lost_with(site.store, site.settings, messages)


async def _restage(config: ConfigOption, lost: Sequence[Lost], reason: str | None) -> list[MessageKey]:
    async with open_shared_desk(config, reason) as desk:
        return await admin_restage(desk.store, desk.settings, desk.who, lost)


@dataclass(frozen=True, slots=True)
class _Words:
    """How an action is told: as a question, and what became of a message."""

    ask: str
    done: str


_WORDS: Final[Mapping[Action, _Words]] = {
    Action.HOLD: _Words("Hold", "held"),
    Action.RELEASE: _Words("Release", "released"),
    Action.RETRY: _Words("Try now", "retried"),
    Action.DELETE: _Words("Delete for good, without an answer,", "deleted"),
}


def _act(
    config: ConfigOption, action: Action, messages: list[str] | None, asked: Asked, reason: str | None, *, yes: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Do something to messages; what is more than was named, or cannot be undone, is shown first."""
    if bool(messages) == (asked != Asked()):
        raise typer.BadParameter("name messages, or choose them: --port, --status, --code, --file, --user, --since")
    words = _WORDS[action]
    plan, changed, now = perform(_plan(config, action, messages, asked, reason, yes=yes))
    if changed is None:
        if not as_json:
            _print_causes(plan.causes, now, nothing="")
        if plan.bound:
            text = f"Under the `on_error` of the port {_counted(len(plan.bound))} of the same files must go along."
            console(error=True).print(Text(text), soft_wrap=True)
        consent(f"{words.ask} {_counted(len(plan.keys) + len(plan.bound))}?")
        changed = perform(_carry_out(config, plan, reason))
    tell_changed(words.done, changed, as_json=as_json)


async def _plan(
    config: ConfigOption, action: Action, messages: list[str] | None, asked: Asked, reason: str | None, *, yes: bool
) -> tuple[Plan, Changed | None, datetime]:
    """Return what would be changed, and what was changed where nobody needs to be asked."""
    async with open_shared_desk(config, reason) as desk:
        if messages:
            plan = await plan_named(desk.store, action, messages)
        else:
            plan = await plan_chosen(desk.store, desk.settings, action, asked, zone=desk.zone, now=desk.now)
        if plan.needs_consent and plan.keys and not yes:
            return plan, None, desk.now
        return plan, await carry_out(desk.store, desk.who, plan), desk.now


async def _carry_out(config: ConfigOption, plan: Plan, reason: str | None) -> Changed:
    async with open_shared_desk(config, reason) as desk:
        return await carry_out(desk.store, desk.who, plan)


def tell_changed(what: str, outcome: Changed, *, as_json: bool) -> None:
    """Print which messages an operation changed, and which it left alone; of many how many."""
    if as_json:
        print_json({what: list(outcome.changed), "left": [{"number": k, "status": s} for k, s in outcome.left]})
        return
    if len(outcome.changed) + len(outcome.left) > _MOST_TOLD:
        counted = Counter(status for _, status in outcome.left)
        many = [(what, len(outcome.changed))] if outcome.changed else []
        many += [(f"unchanged: {status}", number) for status, number in sorted(counted.items())]
        print_rows(("result", "messages"), many, nothing="")
        return
    rows = [(key, what) for key in outcome.changed]
    rows += [(key, f"unchanged: {status}") for key, status in outcome.left]
    print_rows(("number", "result"), rows, nothing="Nothing was changed.")


def _print_causes(causes: Sequence[CauseRow], now: datetime, *, nothing: str) -> None:
    columns = ("messages", "files", "port", "direction", "status", "reason", "code", "oldest", "first", "error")
    rows = [
        (one.messages, one.files, one.port, one.direction, one.status, one.reason, one.code, age(one.oldest, now),
         one.first, one.error)
        for one in causes
    ]  # fmt: skip
    narrow = ("messages", "port", "reason", "code", "first", "error")
    print_rows(columns, rows, nothing=nothing, narrow=narrow, cut=("error",))


def _nothing(asked: Asked) -> str:
    return "No message waits in the queue." if asked == Asked() else "No such message waits in the queue."


def _counted(number: int) -> str:
    return f"{number} message{'' if number == 1 else 's'}"


async def _list(config: ConfigOption, asked: Asked, limit: int) -> tuple[list[QueueRow], int, datetime]:
    async with open_shared_desk(config) as desk:
        wanted = meant(desk.settings, asked, zone=desk.zone, now=desk.now)
        found, total = await operations.queue(desk.store, wanted, limit=limit)
        return list(found), total, desk.now


async def _causes(config: ConfigOption, asked: Asked) -> tuple[list[CauseRow], datetime]:
    async with open_shared_desk(config) as desk:
        wanted = meant(desk.settings, asked, zone=desk.zone, now=desk.now)
        return list(await operations.queue_by_cause(desk.store, wanted)), desk.now
