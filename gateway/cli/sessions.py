"""Commands on data exchange: sessions, their status messages, and the stores that these come from."""

from dataclasses import dataclass
from typing import Annotated, Final

import typer

from gateway.cli.commands import Answer, Commands, older
from gateway.cli.options import BeforeOption, LimitOption
from gateway.cli.render import Fields, Rows
from gateway.exchange import SessionDirection, SessionFilter, SessionRow, SessionStatus
from gateway.operations import sessions as operations
from gateway.operations.principal import OperatorSession

app = Commands("Data-exchange sessions: how far stations and deliveries are.")
messages_app = Commands("Status messages of data exchange, and the stores they come from.")
SessionArgument = Annotated[
    str, typer.Argument(metavar="SESSION", help="The number of a session, or station/number such as STORE-12/7.")
]
StoreOption = Annotated[str | None, typer.Option("--store", help="Only this message store.")]
_PROBLEMS: Final = {"unknown_session": "its session is not known", "future": "its time is still to come"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen(SessionFilter):
    store: StoreOption = None
    station: Annotated[str | None, typer.Option("--station", help="Only this station.")] = None
    direction: Annotated[SessionDirection | None, typer.Option("--direction", help="Only uploads or downloads.")] = None
    statuses: Annotated[
        list[SessionStatus] | None, typer.Option("--status", "-s", help="Only sessions in this status; repeatable.")
    ] = None
    job: Annotated[str | None, typer.Option("--job", "-j", help="Only sessions of this job.")] = None
    everything: Annotated[bool, typer.Option("--all", "-a", help="Also downloads that had no data.")] = False


@app.query("list")
async def list_sessions(
    session: OperatorSession, chosen: _Chosen, before: BeforeOption = None, limit: LimitOption = 50
) -> Answer:
    """List sessions, newest first. Downloads that had no data are shown only with --all."""
    page = await operations.sessions(session, chosen, before=before, limit=limit)
    columns = (
        "session", "station", "number", "direction", "status", "at", "job", "group", "rows", "requested", "transferred",
        "applied", "failures", "message",
    )  # fmt: skip
    rows = [
        (s.id, s.station, s.number, s.direction, _words(s.status), s.status_at, s.job, s.data_group, s.rows,
         s.requested_at, s.transferred_at, s.applied_at, s.failures or None, s.text)
        for s in page.rows
    ]  # fmt: skip
    narrow = ("session", "station", "number", "status", "at")
    table = Rows(columns, rows, "There are no such sessions.", narrow=narrow, cut=("message",))
    return Answer({"sessions": page.rows, "before": page.before}, table, *older(page))


@app.query("show")
async def show(session: OperatorSession, number: SessionArgument) -> Answer:
    """Show everything about one session, with its status messages."""
    found = await operations.show_session(session, number)
    rows = [(m.id, _words(m.status), m.at, m.uploaded_at, m.rows, m.text) for m in found.messages]
    columns = ("number", "status", "at", "uploaded", "rows", "message")
    return Answer(
        {"session": found.session, "messages": found.messages},
        _fields(found.session),
        Rows(columns, rows, "Its messages are purged.", title="Status messages"),
    )


@app.action("rerun")
async def rerun(session: OperatorSession, number: SessionArgument) -> Answer:
    """Start the job of a session again, or let the message of a failed delivery go."""
    done = await operations.rerun_session(session, number)
    result = f"run {done.run} of {done.session.job} started" if done.run else f"message {done.message} released"
    return Answer(
        {"session": done.session.id, "run": done.run, "message": done.message},
        Rows(("session", "result"), [(done.session.id, result)]),
    )


@app.action("cancel")
async def cancel(session: OperatorSession, number: SessionArgument) -> Answer:
    """Cancel a session: status messages do not change it any more."""
    found = await operations.cancel_session(session, number)
    row = (found.id, found.station, _words(found.status))
    return Answer({"session": found}, Rows(("session", "station", "status"), [row]))


@messages_app.query("list")
async def list_messages(
    session: OperatorSession,
    store: StoreOption = None,
    of_session: Annotated[str | None, typer.Option("--session", help="Only messages of this session.")] = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", "-w", help="Only messages that have not moved a session yet, with the reason.")
    ] = False,
    before: BeforeOption = None,
    limit: LimitOption = 50,
) -> Answer:
    """List uploaded status messages, newest first."""
    page = await operations.status_messages(
        session, name=store, of_session=of_session, waiting=waiting, before=before, limit=limit
    )
    columns = ("number", "station", "session", "direction", "status", "at", "uploaded", "waits because", "message")
    rows = [
        (m.id, m.station, m.number, m.direction, _words(m.status), m.at, m.uploaded_at,
         _PROBLEMS.get(m.problem or ""), m.text)
        for m in page.rows
    ]  # fmt: skip
    narrow = ("number", "station", "session", "status", "at", "waits because")
    table = Rows(columns, rows, "There are no such messages.", narrow=narrow, cut=("message",))
    return Answer({"messages": page.rows, "before": page.before}, table, *older(page))


@messages_app.query("refused")
async def refused(session: OperatorSession, store: StoreOption = None, limit: LimitOption = 50) -> Answer:
    """List messages that could not be uploaded, and why: refused for good, or tried again."""
    found = await operations.refused_messages(session, name=store, limit=limit)
    rows = [
        (one.store, one.name, "refused" if one.refused else "tried again", one.tries, one.last_at, one.text)
        for one in found
    ]
    columns = ("store", "file or row", "result", "tries", "at", "reason")
    return Answer({"messages": found}, Rows(columns, rows, "No message was refused."))


@messages_app.query("stores")
async def stores(session: OperatorSession) -> Answer:
    """List the message stores, when their messages were last copied, and what is wrong."""
    found = await operations.message_stores(session)
    columns = ("store", "kind", "jobs", "last copied", "waiting", "refused", "problem")
    rows = [
        (one.name, one.kind, one.jobs or "none", one.passed_at, one.waiting, one.refused, one.error) for one in found
    ]
    nothing = "No message store is configured. Name one under data_exchange.stores."
    narrow = ("store", "jobs", "last copied", "refused", "problem")
    return Answer({"stores": found}, Rows(columns, rows, nothing, narrow=narrow))


@messages_app.query("retention")
async def retention(session: OperatorSession) -> Answer:
    """Show how long messages and ended sessions are kept."""
    found = operations.retention(session)
    rows = [(one.direction, one.days, one.meaning) for one in found]
    return Answer({"retention": found}, Rows(("sessions", "days", "meaning"), rows))


@messages_app.action("run")
async def run(
    session: OperatorSession,
    store: Annotated[str | None, typer.Option("--store", help="Only this message store. Default: all.")] = None,
) -> Answer:
    """Start the job that copies status messages now; its planned starts do not change."""
    job, number = await operations.start_pass(session, name=store)
    return Answer({"job": job, "run": number}, Rows(("run", "job", "status"), [(number, job, "executing")]))


def _fields(its: SessionRow) -> Fields:
    reruns = f"{its.rerun_at:%Y-%m-%d %H:%M} UTC by {its.rerun_by}" if its.rerun_at else None
    return Fields(
        [
            ("station", its.station), ("number", its.number), ("direction", its.direction), ("store", its.store),
            ("job", its.job), ("data group", its.data_group), ("message", its.text), ("since", its.status_at),
            ("requested", its.requested_at), ("transferred", its.transferred_at), ("applied", its.applied_at),
            ("rows", its.rows), ("path", its.path), ("failures", its.failures or None),
            ("delivers message", its.message), ("rerun", reruns), ("created", its.created_at),
            ("changed", its.changed_at),
        ],
        title=f"Session {its.id}: {_words(its.status)}",
    )  # fmt: skip


def _words(status: str) -> str:
    return status.replace("_", " ")
