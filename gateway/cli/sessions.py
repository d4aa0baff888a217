"""Commands on data-exchange sessions."""

from typing import Annotated

import typer

from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, LimitOption, perform
from gateway.cli.desk import ReasonOption, open_session
from gateway.cli.filters import BeforeOption, tell_older
from gateway.cli.render import print_fields, print_json, print_rows
from gateway.exchange import SessionDirection, SessionFilter, SessionRow, SessionStatus
from gateway.operations import sessions as operations
from gateway.operations.messages import Page
from gateway.operations.sessions import Rerun, SessionReport

app = typer.Typer(no_args_is_help=True, help="Data-exchange sessions: how far stations and deliveries are.")
SessionArgument = Annotated[
    str, typer.Argument(metavar="SESSION", help="The number of a session, or station/number such as STORE-12/7.")
]
StoreOption = Annotated[str | None, typer.Option("--store", help="Only this message store.")]


@app.command("list")
def list_sessions(
    store: StoreOption = None,
    station: Annotated[str | None, typer.Option("--station", help="Only this station.")] = None,
    direction: Annotated[
        SessionDirection | None, typer.Option("--direction", help="Only uploads or downloads.")
    ] = None,
    status: Annotated[
        list[SessionStatus] | None, typer.Option("--status", "-s", help="Only sessions in this status; repeatable.")
    ] = None,
    job: Annotated[str | None, typer.Option("--job", "-j", help="Only sessions of this job.")] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Also downloads that had no data.")] = False,
    before: BeforeOption = None,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List sessions, newest first. Downloads that had no data are shown only with --all."""
    wanted = SessionFilter(
        store=store, station=station, direction=direction, statuses=status or None, job=job, everything=everything
    )

    async def work() -> Page[SessionRow]:
        async with open_session(config) as desk:
            return await operations.sessions(desk.store, desk.settings, wanted, before=before, limit=limit)

    page = perform(work())
    if as_json:
        print_json({"sessions": page.rows, "before": page.before})
        return
    columns = (
        "session", "station", "number", "direction", "status", "at", "job", "group", "rows", "requested", "transferred",
        "applied", "failures", "message",
    )  # fmt: skip
    rows = [
        (s.id, s.station, s.number, s.direction, _words(s), s.status_at, s.job, s.data_group, s.rows, s.requested_at,
         s.transferred_at, s.applied_at, s.failures or None, s.text)
        for s in page.rows
    ]  # fmt: skip
    narrow = ("session", "station", "number", "status", "at")
    print_rows(columns, rows, nothing="There are no such sessions.", narrow=narrow, cut=("message",))
    tell_older(len(rows), page.before)


@app.command("show")
def show(session: SessionArgument, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show everything about one session, with its status messages."""

    async def work() -> SessionReport:
        async with open_session(config) as desk:
            return await operations.show_session(desk.store, session)

    found = perform(work())
    if as_json:
        print_json({"session": found.session, "messages": found.messages})
        return
    its = found.session
    print_fields(_fields(its), title=f"Session {its.id}: {_words(its)}")
    rows = [(m.id, _word(m.status), m.at, m.uploaded_at, m.rows, m.text) for m in found.messages]
    columns = ("number", "status", "at", "uploaded", "rows", "message")
    print_rows(columns, rows, nothing="Its messages are purged.", title="Status messages")


@app.command("rerun")
def rerun(
    session: SessionArgument,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Start the job of a session again, or let the message of a failed delivery go."""

    async def work() -> Rerun:
        async with open_session(config, reason=reason) as desk:
            return await operations.rerun_session(desk.store, desk.who, session, now=desk.now)

    done = perform(work())
    if as_json:
        print_json({"session": done.session.id, "run": done.run, "message": done.message})
        return
    result = f"run {done.run} of {done.session.job} started" if done.run else f"message {done.message} released"
    print_rows(("session", "result"), [(done.session.id, result)], nothing="")


@app.command("cancel")
def cancel(
    session: SessionArgument,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Cancel a session: status messages do not change it any more."""

    async def work() -> SessionRow:
        async with open_session(config, reason=reason) as desk:
            return await operations.cancel_session(desk.store, desk.who, session)

    found = perform(work())
    if as_json:
        print_json({"session": found})
    else:
        print_rows(("session", "station", "status"), [(found.id, found.station, _words(found))], nothing="")


def _fields(its: SessionRow) -> list[tuple[str, object]]:
    reruns = f"{its.rerun_at:%Y-%m-%d %H:%M} UTC by {its.rerun_by}" if its.rerun_at else None
    return [
        ("station", its.station), ("number", its.number), ("direction", its.direction), ("store", its.store),
        ("job", its.job), ("data group", its.data_group), ("message", its.text), ("since", its.status_at),
        ("requested", its.requested_at), ("transferred", its.transferred_at), ("applied", its.applied_at),
        ("rows", its.rows), ("path", its.path), ("failures", its.failures or None), ("delivers message", its.message),
        ("rerun", reruns), ("created", its.created_at), ("changed", its.changed_at),
    ]  # fmt: skip


def _words(session: SessionRow) -> str:
    return _word(session.status)


def _word(status: SessionStatus) -> str:
    return status.replace("_", " ")
