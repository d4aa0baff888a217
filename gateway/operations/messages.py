"""The gateway queue, the history and the exception log, as people ask for them."""

from collections.abc import Sequence

from gateway.config.models import Settings
from gateway.domain.states import Direction, Status
from gateway.operations.references import NotFound, known_port, resolve
from gateway.store import message_reports as reports
from gateway.store.message_reports import ExceptionRow, HistoryRow, MessageReport, QueueRow
from gateway.store.open import Store
from gateway.xml.encoding import PREFIX_BYTES, detect


async def queue(
    store: Store,
    settings: Settings,
    *,
    port: str | None = None,
    status: Status | None = None,
    direction: Direction | None = None,
    limit: int = 50,
) -> Sequence[QueueRow]:
    """Return unfinished messages in order of arrival.

    Raises: NotFound for an unknown port.
    """
    name = known_port(settings, port)
    return await reports.list_queue(store, port=name, status=status, direction=direction, limit=limit)


async def history(
    store: Store,
    settings: Settings,
    *,
    port: str | None = None,
    direction: Direction | None = None,
    before: int | None = None,
    limit: int = 50,
) -> Sequence[HistoryRow]:
    """Return finished messages, the newest first; *before* is the number to go on from.

    Raises: NotFound for an unknown port.
    """
    name = known_port(settings, port)
    return await reports.list_history(store, port=name, direction=direction, before=before, limit=limit)


async def exceptions(
    store: Store,
    settings: Settings,
    *,
    port: str | None = None,
    message: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> Sequence[ExceptionRow]:
    """Return entries of the exception log, the newest first; *message* is a number or a MessageId.

    Raises: NotFound for an unknown port or message; Ambiguous.
    """
    name = known_port(settings, port)
    key = None if message is None else (await resolve(store, message, queued=True, either=True)).key
    return await reports.list_exceptions(store, port=name, message_key=key, before=before, limit=limit)


async def exception(store: Store, number: int) -> ExceptionRow:
    """Return one entry of the exception log.

    Raises: NotFound.
    """
    found = await reports.read_exception(store, number)
    if found is None:
        raise NotFound(f"there is no exception {number}")
    return found


async def message(store: Store, text: str, *, queued: bool) -> MessageReport:
    """Return everything about one message: of the queue, or of the history.

    Raises: NotFound, Ambiguous.
    """
    found = await resolve(store, text, queued=queued)
    report = await reports.read_message(store, found.key)
    if report is None:
        raise NotFound(f"there is no message {text} any more")
    return report


def document_text(content: bytes | None) -> str | None:
    """Return a document as text, decoded as its first bytes say; None when there is no content."""
    if not content:
        return None
    encoding = detect(content[:PREFIX_BYTES])
    return content[encoding.mark :].decode(encoding.codec, errors="replace")
