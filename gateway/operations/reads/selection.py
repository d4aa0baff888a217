"""Choosing messages by what they are: for lists, for counts by cause, and for what is done to many at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection

from gateway.kernel.ids import MessageKey, PortName
from gateway.messaging.rules.states import Direction, Reason, Status
from gateway.operations.reads.history import like
from gateway.operations.statements import selection_sql


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


async def choose_queued(
    connection: Connection, wanted: MessageFilter, limit: int | None = None
) -> tuple[list[MessageKey], int]:
    """Return the first unfinished messages that fit, in order of arrival, and how many fit in all."""
    rows = await selection_sql.choose_queued(
        connection, wanted.port, wanted.statuses, wanted.reasons, wanted.direction, wanted.since, wanted.until,
        pattern(wanted.file), wanted.user, pattern(wanted.code), limit,
    )  # fmt: skip
    return [row.key for row in rows], rows[0].total if rows else 0


def pattern(text: str | None) -> str | None:
    """Return what LIKE makes of a text with `*` and `?`."""
    return None if text is None else like(text, wildcards=True)
