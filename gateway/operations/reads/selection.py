"""Choosing messages by what they are: for lists, for counts by cause, and for what is done to many at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection

from gateway.db.open import Store
from gateway.kernel.ids import MessageKey, PortName
from gateway.messaging.rules.states import Direction, Reason, Status
from gateway.operations.reads.history import like


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages are meant; None does not narrow.

    `code` is that of the last failure and `file` the name of the file, in both `*` and `?` stand for anything;
    `user` submitted it; `since` and `until` are about when it came to its status.
    """

    port: PortName | None = None
    statuses: Sequence[Status] | None = None
    reasons: Sequence[Reason] | None = None
    direction: Direction | None = None
    code: str | None = None
    file: str | None = None
    user: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseRow:
    """Unfinished messages of one kind: `first` is one of them, `error` what one of them says."""

    port: str
    direction: str
    status: str
    reason: str
    code: str | None
    messages: int
    files: int
    oldest: datetime
    newest: datetime
    first: int
    error: str | None


async def choose_queued(
    store: Store, connection: Connection, wanted: MessageFilter, limit: int | None = None
) -> tuple[list[MessageKey], int]:
    """Return the first unfinished messages that fit, in order of arrival, and how many fit in all."""
    rows = await connection.fetch(
        store.queries.choose_queued, wanted.port, wanted.statuses, wanted.reasons, wanted.direction, wanted.since,
        wanted.until, pattern(wanted.file), wanted.user, pattern(wanted.code), limit,
    )  # fmt: skip
    return [MessageKey(row["key"]) for row in rows], rows[0]["total"] if rows else 0


async def group_queued(store: Store, connection: Connection, keys: Sequence[MessageKey]) -> list[CauseRow]:
    """Return the messages of these numbers by status and cause, most of one kind first."""
    return [CauseRow(**row) for row in await connection.fetch(store.queries.group_queued, list(keys))]


def pattern(text: str | None) -> str | None:
    """Return what LIKE makes of a text with `*` and `?`."""
    return None if text is None else like(text, wildcards=True)
