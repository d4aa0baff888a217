"""What operators ask about single messages: queue, history, exceptions, answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from gateway.db.open import Store
from gateway.messaging.rules.states import SetStatus, set_status
from gateway.operations.reads.selection import MessageFilter, choose_queued, pattern
from gateway.operations.statements import admin_sql, selection_sql
from gateway.operations.statements.admin_sql import (
    AnswerRow,
    Correlated,
    ExceptionCauseRow,
    Found,
    HistoryRow,
    OutcomeRow,
    SetRow,
    StoredException,
    StoredMessage,
    VersionRow,
)
from gateway.operations.statements.selection_sql import CauseRow, QueuedRow

_ALL = MessageFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """An unfinished message. `since` is when it came to its status; `not_before` is when it is tried again;
    `set_status` is what it is within its message set.
    """

    key: int
    port: str
    message_id: UUID
    direction: str
    status: str
    reason: str
    company: str | None
    service: str | None
    operation: str | None
    error: str | None
    file: str | None
    position: int
    attempts: int
    since: datetime
    not_before: datetime | None
    set_key: int | None
    set_status: SetStatus
    lane: str | None


class Ended(StrEnum):
    """How a message ended, as people ask for it."""

    PROCESSED = "processed"
    SENT = "sent"
    FAULT = "fault"  # sent, and it is a fault
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionRow:
    """One entry of the exception log."""

    id: int
    at: datetime
    severity: str
    code: str
    text: str
    port: str | None
    claim_id: UUID | None
    set_key: int | None
    message_key: int | None
    message_id: UUID | None
    file: str | None
    line: int | None
    col: int | None
    path: str | None
    details: Sequence[Mapping[str, object]]
    traceback: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow:
    """The header of a message with its place in the queue; the last eight are None for a finished one."""

    key: int
    direction: str
    port: str
    position: int
    message_id: UUID
    message_id_sent: str | None
    namespace: str
    action: str | None
    service: str | None
    operation: str | None
    company: str | None
    partition_key: str | None
    conversation_id: str | None
    logon_as_user: str | None
    submitter: str | None
    parts: Sequence[str]
    problems: Sequence[Mapping[str, object]]
    size_bytes: int
    is_fault: bool
    file: str | None
    entity_keys: Sequence[str] | None
    created_at: datetime
    outcome: str | None
    finished_at: datetime | None
    request_key: int | None
    claim_id: UUID | None
    set_key: int | None
    set_status: SetStatus
    status: str | None
    reason: str | None
    lane: str | None
    attempts: int | None
    crashes: int | None
    not_before: datetime | None
    error: str | None
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReport:
    """Everything about one message; `document` is the version that counts now, as bytes."""

    message: MessageRow
    message_set: SetRow | None
    correlated: Sequence[Correlated]
    versions: Sequence[VersionRow]
    exceptions: Sequence[ExceptionRow]
    document: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProgress:
    """How far a file is. `stuck` messages wait for an operator; `answers_open` are made but not yet delivered."""

    messages: int
    finished: int
    stuck: int
    answers_open: int

    @property
    def settled(self) -> bool:
        """True when nothing more will happen by itself."""
        return self.messages > 0 and self.finished + self.stuck >= self.messages and self.answers_open == 0


async def list_queue(store: Store, wanted: MessageFilter, *, limit: int) -> tuple[Sequence[QueueRow], int]:
    """Return the first unfinished messages that fit, in order of arrival, and how many fit in all."""
    async with store.transaction() as connection:
        keys, total = await choose_queued(connection, wanted, limit)
        rows = await selection_sql.list_queued(connection, keys)
    return [QueueRow(**row._asdict(), set_status=_set_status(row, outcome=None)) for row in rows], total


async def count_causes(store: Store, wanted: MessageFilter) -> list[CauseRow]:
    """Return the unfinished messages that fit by status and cause, most of one kind first."""
    async with store.transaction() as connection:
        keys, _ = await choose_queued(connection, wanted)
        return await selection_sql.group_queued(connection, keys)


async def list_history(
    store: Store, wanted: MessageFilter, outcomes: Sequence[Ended] | None, *, before: int | None, limit: int
) -> Sequence[HistoryRow]:
    """Return finished messages, the newest first; *before* is a message key to go on from.

    Shape: of the filter statuses and reasons say nothing here; its times are those of the end, its code is that of any
    failure on the way.
    """
    async with store.transaction() as connection:
        return await admin_sql.list_history(
            connection, wanted.port, wanted.direction, before, limit, outcomes, wanted.since,
            wanted.until, pattern(wanted.file), wanted.user, pattern(wanted.code),
        )  # fmt: skip


async def count_outcomes(store: Store, wanted: MessageFilter, outcomes: Sequence[Ended] | None) -> Sequence[OutcomeRow]:
    """Return the finished messages that fit by port, operation and outcome, most of one kind first."""
    async with store.transaction() as connection:
        return await admin_sql.group_history(
            connection, wanted.port, wanted.direction, outcomes, wanted.since, wanted.until,
            pattern(wanted.file), wanted.user, pattern(wanted.code),
        )  # fmt: skip


async def list_exceptions(
    store: Store, wanted: MessageFilter = _ALL, *, message_key: int | None = None, severity: str | None = None,
    before: int | None = None, limit: int,
) -> Sequence[ExceptionRow]:  # fmt: skip
    """Return entries of the exception log, the newest first; *before* is the number of an entry to go on from.

    Shape: of the filter port, code, file and times count.
    """
    async with store.transaction() as connection:
        rows = await admin_sql.list_exceptions(
            connection, wanted.port, message_key, before, limit, severity, wanted.since,
            wanted.until, pattern(wanted.file), pattern(wanted.code),
        )  # fmt: skip
    return [_exception(row) for row in rows]


async def count_exceptions(
    store: Store, wanted: MessageFilter, *, severity: str | None, limit: int
) -> Sequence[ExceptionCauseRow]:
    """Return the entries of the exception log that fit by cause, most of one kind first."""
    async with store.transaction() as connection:
        return await admin_sql.group_exceptions(
            connection, wanted.port, severity, wanted.since, wanted.until, pattern(wanted.file),
            pattern(wanted.code), limit,
        )  # fmt: skip


async def read_exception(store: Store, number: int) -> ExceptionRow | None:
    """Return one entry of the exception log, None when there is none of this number."""
    async with store.transaction() as connection:
        row = await admin_sql.read_exception(connection, number)
    return None if row is None else _exception(row)


async def find_messages(store: Store, *, key: int | None, message_id: UUID | None) -> Sequence[Found]:
    """Return the messages of this number or MessageId, the newest first."""
    async with store.transaction() as connection:
        return await admin_sql.find_messages(connection, key, message_id)


async def known_message_ids(store: Store, message_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of the ids some message already has."""
    async with store.transaction() as connection:
        rows = await admin_sql.known_message_ids(connection, list(message_ids))
    return set(rows)


async def read_message(store: Store, key: int, *, exceptions: int = 100) -> MessageReport | None:
    """Return everything about one message, None when there is none of this number."""
    async with store.transaction() as connection:
        row = await admin_sql.read_message(connection, key)
        if row is None:
            return None
        message = MessageRow(
            **{
                **row._asdict(),
                "problems": json.loads(row.problems or "[]"),
                "set_status": _set_status(row, outcome=row.outcome),
            }
        )
        found_set = None if message.set_key is None else await admin_sql.read_set(connection, message.set_key)
        correlated = await admin_sql.read_answers(connection, key, message.request_key)
        versions = await admin_sql.list_versions(connection, key)
        noted = await admin_sql.list_exceptions(connection, None, key, None, exceptions, None, None, None, None, None)
        document: bytes | None = None
        if versions:
            document = await admin_sql.read_document(connection, key, versions[-1].version)
    return MessageReport(
        message=message,
        message_set=found_set,
        correlated=correlated,
        versions=versions,
        exceptions=[_exception(entry) for entry in noted],
        document=document,
    )


async def progress_of_file(store: Store, claim_id: UUID) -> FileProgress:
    """Return how far the messages of a received file are."""
    async with store.transaction() as connection:
        row = await admin_sql.progress_of_file(connection, claim_id)
    return FileProgress(**row._asdict())


async def answers_to_file(store: Store, claim_id: UUID, *, limit: int) -> Sequence[AnswerRow]:
    """Return the responses and faults to the requests of a file, in the order of its envelopes."""
    async with store.transaction() as connection:
        return await admin_sql.answers_to_file(connection, claim_id, limit)


def _set_status(row: StoredMessage | QueuedRow, *, outcome: str | None) -> SetStatus:
    """Answers know the set of their request, but are no members of it."""
    member = row.set_key is not None and row.direction == "in"
    return set_status(member=member, reason=row.reason, outcome=outcome)


def _exception(row: StoredException) -> ExceptionRow:
    return ExceptionRow(**row._asdict() | {"details": json.loads(row.details or "[]")})
