"""Data-exchange sessions and their status messages: what people may ask of them, and do."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.config.models import Settings
from gateway.config.models_ports import STATUS_MESSAGES
from gateway.config.suggest import did_you_mean
from gateway.db.open import Store
from gateway.exchange import (
    FAILED,
    FINAL,
    MessageStoreRow,
    SessionFilter,
    SessionRow,
    SessionStatus,
    StatusMessageRow,
    TroubleRow,
    records,
)
from gateway.exchange.rules.retention import in_words
from gateway.kernel.errors import IllegalTransition, NoSuchJob
from gateway.kernel.ids import MessageKey, RunId
from gateway.kernel.remedy import Action, do
from gateway.messaging.rules.states import Status
from gateway.operations.audit import recorded
from gateway.operations.jobs import find_job, start_job, visible_jobs
from gateway.operations.messages import Page, page_of
from gateway.operations.operate import QueueAction, carry_out, plan_named
from gateway.operations.principal import OperatorSession
from gateway.operations.references import NotFound

_MOST_MESSAGES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """A session with its status messages, the newest first; those that were purged are not there any more."""

    session: SessionRow
    messages: Sequence[StatusMessageRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """What was done to have a session done again: a run of its job, or its message let go; the other is None."""

    session: SessionRow
    run: RunId | None = None
    message: MessageKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRow:
    """How long messages and ended sessions of one direction are kept: days, and that in words."""

    direction: str
    days: int
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReport:
    """A message store as it is configured, and what passes have made of it; `jobs` copy its messages."""

    name: str
    kind: str
    passed_at: datetime | None
    tried_at: datetime | None
    error: str | None
    waiting: int
    refused: int
    jobs: Sequence[str]


async def sessions(
    session: OperatorSession, wanted: SessionFilter, *, before: int | None = None, limit: int = 50
) -> Page[SessionRow]:
    """Return sessions, the newest first. Raises: NotFound for an unknown store."""
    _known_store(session.settings, wanted.store)
    return page_of(
        await records.list_sessions(session.store, wanted, before=before, limit=limit + 1), limit, lambda row: row.id
    )


async def find_session(session: OperatorSession, text: str) -> SessionRow:
    """Return the session that *text* means: its number here, or station/number. Raises: NotFound."""
    station, slash, number = text.strip().rpartition("/")
    if not (number.isascii() and number.isdecimal() and 0 < int(number) < 2**63) or (slash and not station):
        raise NotFound(f"{text!a} is no session: give its number, or station/number such as STORE-12/7")
    if slash:
        found = await records.find_sessions(session.store, station, int(number))
        if len(found) > 1:
            numbers = ", ".join(f"{one.id} ({one.direction}, {one.store})" for one in found)
            raise NotFound(f"there are several sessions {text}: give one of the numbers {numbers}")
    else:
        one = await records.read_session(session.store, int(number))
        found = [] if one is None else [one]
    if not found:
        raise NotFound(f"there is no session {text}").remedied(do(Action.LIST_SESSIONS, then="It shows all."))
    return found[0]


async def show_session(session: OperatorSession, text: str) -> SessionReport:
    """Return everything about a session. Raises: NotFound."""
    row = await find_session(session, text)
    return SessionReport(
        session=row, messages=await records.list_messages(session.store, session=row.id, limit=_MOST_MESSAGES)
    )


async def rerun_session(session: OperatorSession, text: str) -> Rerun:
    """Have a session done again: start the job that makes it, or let the message of a delivery of ours go.

    Raises: NotFound; IllegalTransition saying what is possible, when it cannot be done again from here.
    """
    async with recorded(session, "session.rerun", text):
        row = await find_session(session, text)
        if row.status not in FAILED | FINAL:
            raise IllegalTransition(
                f"the session {row.id} is under way ({_words(row.status)}): wait for its end, or cancel it",
                code="session.under-way",
            )
        if row.message is not None:
            done = Rerun(session=row, message=await _release(session, row))
        else:
            done = Rerun(session=row, run=await _start(session, row))
        await records.note_rerun(session.store, row.id, session.actor)
    return done


async def cancel_session(session: OperatorSession, text: str) -> SessionRow:
    """Cancel a session: no message changes it any more, and its station can read so. Returns it.

    Raises: NotFound; IllegalTransition when it has ended, or when its file is still to be sent.
    """
    async with recorded(session, "session.cancel", text):
        row = await find_session(session, text)
        if row.message is not None and await _queued(session.store, row.message) is not None:
            raise IllegalTransition(
                f"the session {row.id} is the delivery of the message {row.message}, which is not sent yet",
                code="session.not-sent",
            ).remedied(
                do(Action.HOLD_MESSAGE, row.message, then="It is not sent."),
                do(Action.DELETE_MESSAGE, row.message, then="Then this cancels both."),
            )
        said = f"Canceled by {session.actor}" + (f": {session.principal.reason}" if session.principal.reason else ".")
        if not await records.cancel_session(session.store, row.id, said, but=FINAL):
            raise IllegalTransition(
                f"the session {row.id} has ended ({_words(row.status)}): there is nothing to cancel",
                code="session.ended",
            )
        return await find_session(session, str(row.id))


async def status_messages(
    session: OperatorSession, *, name: str | None = None, of_session: str | None = None, waiting: bool = False,
    before: int | None = None, limit: int = 50,
) -> Page[StatusMessageRow]:  # fmt: skip
    """Return status messages, the newest first: *waiting* are those that have not moved a session. Raises: NotFound."""
    _known_store(session.settings, name)
    number = None if of_session is None else (await find_session(session, of_session)).id
    rows = await records.list_messages(
        session.store, name=name, session=number, waiting=waiting, before=before, limit=limit + 1
    )
    return page_of(rows, limit, lambda row: row.id)


async def refused_messages(session: OperatorSession, *, name: str | None = None, limit: int = 50) -> list[TroubleRow]:
    """Return messages that could not be uploaded, the latest first. Raises: NotFound."""
    _known_store(session.settings, name)
    return await records.list_troubles(session.store, name=name, limit=limit)


async def message_stores(session: OperatorSession) -> list[StoreReport]:
    """Return the message stores of the configuration, each with what passes have made of it."""
    known = {row.store: row for row in await records.read_stores(session.store)}
    jobs = await copying_jobs(session)
    return [
        _report(name, "database" if of_store.folder is None else "folder", known.get(name), jobs.get(name, jobs[None]))
        for name, of_store in session.settings.data_exchange.stores.items()
    ]


def retention(session: OperatorSession) -> list[RetentionRow]:
    """Return how long messages and ended sessions are kept."""
    exchange = session.settings.data_exchange
    return [
        RetentionRow(direction=direction, days=days, meaning=in_words(days))
        for direction, days in (
            ("upload", exchange.upload_session_days), ("download", exchange.download_session_days),
        )
    ]  # fmt: skip


async def start_pass(session: OperatorSession, *, name: str | None) -> tuple[str, RunId]:
    """Start the job that copies the messages of a store, or of all; returns its name and the run.

    Raises: NotFound for an unknown store, and when there is no such job; IllegalTransition when it runs already.
    """
    _known_store(session.settings, name)
    jobs = await copying_jobs(session)
    found = jobs[None] or jobs.get(name, []) if name is None else jobs.get(name, jobs[None])
    if not found:
        raise NotFound(
            f"no job copies the messages of {name or 'all stores'}: write one with a task `run: {STATUS_MESSAGES}`, "
            "as docs/status-messages.md shows"
        )
    return found[0], await start_job(session, found[0])


async def copying_jobs(session: OperatorSession) -> dict[str | None, list[str]]:
    """Return which jobs copy the messages of which store; None: those that copy all of them."""
    found: dict[str | None, list[str]] = {None: []}
    for job in await visible_jobs(session):
        for task in job.definition.tasks:
            if task.handler != STATUS_MESSAGES:
                continue
            named = task.parameters.get("stores")
            for name in named if isinstance(named, list | tuple) and named else [None]:
                found.setdefault(name, []).append(job.definition.name)
    return found


def _report(name: str, kind: str, row: MessageStoreRow | None, jobs: Sequence[str]) -> StoreReport:
    return StoreReport(
        name=name,
        kind=kind,
        passed_at=None if row is None else row.passed_at,
        tried_at=None if row is None else row.tried_at,
        error=None if row is None else row.error,
        waiting=0 if row is None else row.waiting,
        refused=0 if row is None else row.refused,
        jobs=jobs,
    )


async def _start(session: OperatorSession, row: SessionRow) -> RunId:
    here = "It is made by nothing that runs here: its station has to do it again"
    if row.job is None:
        raise IllegalTransition(f"the session {row.id} names no job. {here}.", code="session.no-job")
    try:
        await find_job(session, row.job)
    except (NotFound, NoSuchJob):
        raise IllegalTransition(
            f"the job {row.job} of the session {row.id} is no job of this gateway. {here}.",
            code="session.no-job",
        ) from None
    return await start_job(session, row.job)


async def _release(session: OperatorSession, row: SessionRow) -> MessageKey:
    """Let the message of a failed delivery go. Raises: IllegalTransition when it has left the queue."""
    key = MessageKey(row.message or 0)
    if await _queued(session.store, key) not in (Status.ERROR, Status.HOLD):
        raise IllegalTransition(
            f"the message {key} of the session {row.id} has left the queue ({_words(row.status)}): send its "
            "document anew, as a session of its own",
            code="session.sent",
        ).remedied(do(Action.SEND, then="It sends a document."))
    await carry_out(session, await plan_named(session, QueueAction.RELEASE, [str(key)]))
    return key


async def _queued(store: Store, key: MessageKey) -> Status | None:
    """Return the status of a message in the queue, None when it is in none."""
    status = await records.queue_status(store, key)
    return None if status is None else Status(status)


def _known_store(settings: Settings, name: str | None) -> None:
    stores = settings.data_exchange.stores
    if name is not None and name not in stores:
        known = f"; there are {', '.join(stores)}" if stores else "; none is configured"
        raise NotFound(f"there is no message store {name!a}{did_you_mean(name, stores) or known}")


def _words(status: SessionStatus) -> str:
    return status.replace("_", " ")
