"""Commands on the status messages of data exchange: what was copied, what was not, and the stores they come from."""

from typing import Annotated

import typer

from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, LimitOption, perform
from gateway.cli.desk import ReasonOption, open_session
from gateway.cli.filters import BeforeOption, tell_older
from gateway.cli.render import print_json, print_rows
from gateway.cli.sessions import StoreOption
from gateway.exchange import StatusMessageRow, TroubleRow
from gateway.operations import sessions as operations
from gateway.operations.messages import Page
from gateway.operations.sessions import RetentionRow, StoreReport

app = typer.Typer(no_args_is_help=True, help="Status messages of data exchange, and the stores they come from.")
_PROBLEMS = {"unknown_session": "its session is not known", "future": "its time is still to come"}


@app.command("list")
def list_messages(
    store: StoreOption = None,
    session: Annotated[str | None, typer.Option("--session", help="Only messages of this session.")] = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", "-w", help="Only messages that have not moved a session yet, with the reason.")
    ] = False,
    before: BeforeOption = None,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List uploaded status messages, newest first."""

    async def work() -> Page[StatusMessageRow]:
        async with open_session(config) as desk:
            return await operations.status_messages(
                desk.store, desk.settings, name=store, session=session, waiting=waiting, before=before, limit=limit
            )

    page = perform(work())
    if as_json:
        print_json({"messages": page.rows, "before": page.before})
        return
    columns = ("number", "station", "session", "direction", "status", "at", "uploaded", "waits because", "message")
    rows = [
        (m.id, m.station, m.number, m.direction, m.status.replace("_", " "), m.at, m.uploaded_at,
         _PROBLEMS.get(m.problem or ""), m.text)
        for m in page.rows
    ]  # fmt: skip
    narrow = ("number", "station", "session", "status", "at", "waits because")
    print_rows(columns, rows, nothing="There are no such messages.", narrow=narrow, cut=("message",))
    tell_older(len(rows), page.before)


@app.command("refused")
def refused(
    store: StoreOption = None,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List messages that could not be uploaded, and why: refused for good, or tried again."""

    async def work() -> list[TroubleRow]:
        async with open_session(config) as desk:
            return await operations.refused_messages(desk.store, desk.settings, name=store, limit=limit)

    found = perform(work())
    if as_json:
        print_json({"messages": found})
        return
    rows = [
        (one.store, one.name, "refused" if one.refused else "tried again", one.tries, one.last_at, one.text)
        for one in found
    ]
    print_rows(("store", "file or row", "result", "tries", "at", "reason"), rows, nothing="None was refused.")


@app.command("stores")
def stores(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the message stores, when their messages were last copied, and what is wrong."""

    async def work() -> list[StoreReport]:
        async with open_session(config) as desk:
            return await operations.message_stores(desk.store, desk.settings, desk.who)

    found = perform(work())
    if as_json:
        print_json({"stores": found})
        return
    columns = ("store", "kind", "jobs", "last copied", "waiting", "refused", "problem")
    rows = [
        (one.name, one.kind, one.jobs or "none", one.passed_at, one.waiting, one.refused, one.error) for one in found
    ]
    nothing = "There are none; name one under data_exchange.stores."
    print_rows(columns, rows, nothing=nothing, narrow=("store", "jobs", "last copied", "refused", "problem"))


@app.command("retention")
def retention(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show how long messages and ended sessions are kept."""

    async def work() -> list[RetentionRow]:
        async with open_session(config) as desk:
            return operations.retention(desk.settings)

    found = perform(work())
    if as_json:
        print_json({"retention": found})
        return
    print_rows(("sessions", "days", "meaning"), [(one.direction, one.days, one.meaning) for one in found], nothing="")


@app.command("run")
def run(
    store: Annotated[str | None, typer.Option("--store", help="Only this message store. Default: all.")] = None,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Start the job that copies status messages now; its planned starts do not change."""

    async def work() -> tuple[str, int]:
        async with open_session(config, reason=reason) as desk:
            return await operations.start_pass(desk.store, desk.settings, desk.who, name=store, now=desk.now)

    job, number = perform(work())
    if as_json:
        print_json({"job": job, "run": number})
    else:
        print_rows(("run", "job", "status"), [(number, job, "executing")], nothing="")
