"""The gateway queue, the history and the exception log, as people ask for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

from gateway.kernel.window import beginning, end
from gateway.messaging.rules.states import Direction, Status
from gateway.operations.principal import OperatorSession
from gateway.operations.reads import messages as reports
from gateway.operations.reads.gateway import list_deliveries
from gateway.operations.reads.messages import Ended, ExceptionRow, MessageReport, QueueRow
from gateway.operations.reads.selection import MessageFilter
from gateway.operations.references import NotFound, known_port, resolve
from gateway.operations.statements.admin_sql import DeliveryRow, ExceptionCauseRow, HistoryRow, OutcomeRow
from gateway.operations.statements.selection_sql import CauseRow
from gateway.xml.encoding import PREFIX_BYTES, detect

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which messages or exceptions a person means, as it was typed; None does not narrow.

    See `gateway.operations.reads.selection.MessageFilter`.
    """

    port: str | None = None
    statuses: Sequence[Status] | None = None
    direction: Direction | None = None
    code: str | None = None
    file: str | None = None
    user: str | None = None
    since: str | None = None
    until: str | None = None

    @property
    def everything(self) -> bool:
        """True when nothing narrows it."""
        return all(getattr(self, one.name) == one.default for one in fields(Asked))


def meant(session: OperatorSession, asked: Asked) -> MessageFilter:
    """Return the filter for what was asked. Raises: NotFound for an unknown port; NoMoment."""
    now, zone = session.now, session.zone
    return MessageFilter(
        port=known_port(session.settings, asked.port),
        statuses=asked.statuses or None,
        direction=asked.direction,
        code=asked.code,
        file=asked.file,
        user=asked.user,
        since=None if asked.since is None else beginning(asked.since, now=now, zone=zone),
        until=None if asked.until is None else end(asked.until, now=now, zone=zone),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """A part of a list that begins with the newest; `before` is the number to go on from, None at its end."""

    rows: Sequence[T]
    before: int | None


async def queue(session: OperatorSession, asked: Asked, *, limit: int = 50) -> tuple[Sequence[QueueRow], int]:
    """Return unfinished messages in order of arrival, and how many there are in all."""
    return await reports.list_queue(session.store, meant(session, asked), limit=limit)


async def queue_by_cause(session: OperatorSession, asked: Asked) -> Sequence[CauseRow]:
    """Return unfinished messages by status and cause, most of one kind first."""
    return await reports.count_causes(session.store, meant(session, asked))


async def history(
    session: OperatorSession, asked: Asked, *, outcomes: Sequence[Ended] | None = None, before: int | None = None,
    limit: int = 50,
) -> Page[HistoryRow]:  # fmt: skip
    """Return finished messages, the newest first; *before* is the number to go on from."""
    wanted = meant(session, asked)
    rows = await reports.list_history(session.store, wanted, outcomes, before=before, limit=limit + 1)
    return page_of(rows, limit, lambda row: row.key)


async def history_by_outcome(
    session: OperatorSession, asked: Asked, *, outcomes: Sequence[Ended] | None = None
) -> Sequence[OutcomeRow]:
    """Return finished messages by what became of them, most of one kind first."""
    return await reports.count_outcomes(session.store, meant(session, asked), outcomes)


async def received_files(
    session: OperatorSession, *, port: str | None = None, limit: int = 50
) -> Sequence[DeliveryRow]:
    """Return received files, the newest first. Raises: NotFound for an unknown port."""
    return list(await list_deliveries(session.store, port=known_port(session.settings, port), limit=limit))


async def exceptions(
    session: OperatorSession, asked: Asked, *, message: str | None = None, severity: str | None = None,
    before: int | None = None, limit: int = 50,
) -> Page[ExceptionRow]:  # fmt: skip
    """Return entries of the exception log, the newest first; *message* is a number or a MessageId.

    Raises: NotFound for an unknown message; Ambiguous.
    """
    key = None if message is None else (await resolve(session.store, message, queued=True, either=True)).key
    wanted = meant(session, asked)
    rows = await reports.list_exceptions(
        session.store, wanted, message_key=key, severity=severity, before=before, limit=limit + 1
    )
    return page_of(rows, limit, lambda row: row.id)


async def exceptions_by_cause(
    session: OperatorSession, asked: Asked, *, severity: str | None = None, limit: int = 50
) -> Sequence[ExceptionCauseRow]:
    """Return entries of the exception log by cause, most of one kind first."""
    return await reports.count_exceptions(session.store, meant(session, asked), severity=severity, limit=limit)


def page_of(rows: Sequence[T], limit: int, number: Callable[[T], int]) -> Page[T]:
    """Return the first rows of those that were read, one more than asked for when there are more."""
    shown = rows[:limit]
    return Page(rows=shown, before=number(shown[-1]) if len(rows) > limit else None)


async def exception(session: OperatorSession, number: int) -> ExceptionRow:
    """Return one entry of the exception log.

    Raises: NotFound.
    """
    found = await reports.read_exception(session.store, number)
    if found is None:
        raise NotFound(f"there is no exception {number}")
    return found


async def message(session: OperatorSession, text: str, *, queued: bool) -> MessageReport:
    """Return everything about one message: of the queue, or of the history.

    Raises: NotFound, Ambiguous.
    """
    found = await resolve(session.store, text, queued=queued)
    report = await reports.read_message(session.store, found.key)
    if report is None:
        raise NotFound(f"there is no message {text} any more")
    return report


def document_text(content: bytes | None) -> str | None:
    """Return a document as text, decoded as its first bytes say; None when there is no content."""
    if not content:
        return None
    encoding = detect(content[:PREFIX_BYTES])
    return content[encoding.mark :].decode(encoding.codec, errors="replace")
