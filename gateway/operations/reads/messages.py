"""What operators ask about single messages: queue, history, exceptions, answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from asyncpg import Record

from gateway.db.open import Store
from gateway.messaging.rules.states import SetStatus, set_status
from gateway.operations.reads.selection import CauseRow, MessageFilter, choose_queued, group_queued, pattern

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


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """A finished message. `other_key` and `other_message_id` name its answer, or the request it answers."""

    key: int
    port: str
    message_id: UUID
    direction: str
    company: str | None
    service: str | None
    operation: str | None
    outcome: str | None
    is_fault: bool
    file: str | None
    position: int
    set_key: int | None
    created_at: datetime
    finished_at: datetime | None
    other_key: int | None
    other_message_id: UUID | None


class Ended(StrEnum):
    """How a message ended, as people ask for it."""

    PROCESSED = "processed"
    SENT = "sent"
    FAULT = "fault"  # sent, and it is a fault
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRow:
    """Finished messages of one kind; `last` is the newest of them."""

    port: str
    direction: str
    service: str | None
    operation: str | None
    outcome: str | None
    messages: int
    files: int
    oldest: datetime | None
    newest: datetime | None
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionCauseRow:
    """Entries of the exception log of one kind; `last` is the newest of them, with its text."""

    port: str | None
    severity: str
    code: str
    exceptions: int
    files: int
    oldest: datetime
    newest: datetime
    last: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A message that a reference means; `queued` while it is unfinished."""

    key: int
    message_id: UUID
    direction: str
    port: str
    queued: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRow:
    """The message set a message belongs to."""

    key: int
    port: str
    batch_id: str
    conversation_id: str | None
    policy: str
    members: int
    processed: int
    failed: int
    deleted: int
    max_failed: int | None
    status: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlated:
    """The other side of an exchange: a response or fault of a request, or the request of a response."""

    key: int
    direction: str
    message_id: UUID
    is_fault: bool
    outcome: str | None
    file_name: str | None
    status: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """One kept version of a document; number 0 is as received or first produced."""

    version: int
    step: str
    size_bytes: int


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """A response or fault to one request of a file; `position` and the ids are those of the request.

    `content` is None when the port keeps no documents of what is finished.
    """

    key: int
    message_id: UUID
    is_fault: bool
    outcome: str | None
    file_name: str | None
    position: int
    request_message_id: UUID
    message_id_sent: str | None
    content: bytes | None


async def list_queue(store: Store, wanted: MessageFilter, *, limit: int) -> tuple[Sequence[QueueRow], int]:
    """Return the first unfinished messages that fit, in order of arrival, and how many fit in all."""
    async with store.transaction() as connection:
        keys, total = await choose_queued(store, connection, wanted, limit)
        rows = await connection.fetch(store.queries.list_queued, keys)
    return [QueueRow(**row, set_status=_set_status(row, outcome=None)) for row in rows], total


async def count_causes(store: Store, wanted: MessageFilter) -> list[CauseRow]:
    """Return the unfinished messages that fit by status and cause, most of one kind first."""
    async with store.transaction() as connection:
        keys, _ = await choose_queued(store, connection, wanted)
        return await group_queued(store, connection, keys)


async def list_history(
    store: Store, wanted: MessageFilter, outcomes: Sequence[Ended] | None, *, before: int | None, limit: int
) -> Sequence[HistoryRow]:
    """Return finished messages, the newest first; *before* is a message key to go on from.

    Shape: of the filter statuses and reasons say nothing here; its times are those of the end, its code is that of any
    failure on the way.
    """
    async with store.transaction() as connection:
        rows = await connection.fetch(
            store.queries.list_history, wanted.port, wanted.direction, before, limit, outcomes, wanted.since,
            wanted.until, pattern(wanted.file), wanted.user, pattern(wanted.code),
        )  # fmt: skip
    return [HistoryRow(**row) for row in rows]


async def count_outcomes(store: Store, wanted: MessageFilter, outcomes: Sequence[Ended] | None) -> Sequence[OutcomeRow]:
    """Return the finished messages that fit by port, operation and outcome, most of one kind first."""
    async with store.transaction() as connection:
        rows = await connection.fetch(
            store.queries.group_history, wanted.port, wanted.direction, outcomes, wanted.since, wanted.until,
            pattern(wanted.file), wanted.user, pattern(wanted.code),
        )  # fmt: skip
    return [OutcomeRow(**row) for row in rows]


async def list_exceptions(
    store: Store, wanted: MessageFilter = _ALL, *, message_key: int | None = None, severity: str | None = None,
    before: int | None = None, limit: int,
) -> Sequence[ExceptionRow]:  # fmt: skip
    """Return entries of the exception log, the newest first; *before* is the number of an entry to go on from.

    Shape: of the filter port, code, file and times count.
    """
    async with store.transaction() as connection:
        rows = await connection.fetch(
            store.queries.list_exceptions, wanted.port, message_key, before, limit, severity, wanted.since,
            wanted.until, pattern(wanted.file), pattern(wanted.code),
        )  # fmt: skip
    return [_exception(row) for row in rows]


async def count_exceptions(
    store: Store, wanted: MessageFilter, *, severity: str | None, limit: int
) -> Sequence[ExceptionCauseRow]:
    """Return the entries of the exception log that fit by cause, most of one kind first."""
    async with store.transaction() as connection:
        rows = await connection.fetch(
            store.queries.group_exceptions, wanted.port, severity, wanted.since, wanted.until, pattern(wanted.file),
            pattern(wanted.code), limit,
        )  # fmt: skip
    return [ExceptionCauseRow(**row) for row in rows]


async def read_exception(store: Store, number: int) -> ExceptionRow | None:
    """Return one entry of the exception log, None when there is none of this number."""
    async with store.transaction() as connection:
        row = await connection.fetchrow(store.queries.read_exception, number)
    return None if row is None else _exception(row)


async def find_messages(store: Store, *, key: int | None, message_id: UUID | None) -> Sequence[Found]:
    """Return the messages of this number or MessageId, the newest first."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.find_messages, key, message_id)
    return [Found(**row) for row in rows]


async def known_message_ids(store: Store, message_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of the ids some message already has."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.known_message_ids, list(message_ids))
    return {row["message_id"] for row in rows}


async def read_message(store: Store, key: int, *, exceptions: int = 100) -> MessageReport | None:
    """Return everything about one message, None when there is none of this number."""
    sql = store.queries
    async with store.transaction() as connection:
        row = await connection.fetchrow(sql.read_message, key)
        if row is None:
            return None
        message = MessageRow(
            **{
                **row,
                "problems": json.loads(row["problems"] or "[]"),
                "set_status": _set_status(row, outcome=row["outcome"]),
            }
        )
        found_set = None if message.set_key is None else await connection.fetchrow(sql.read_set, message.set_key)
        correlated = await connection.fetch(sql.read_answers, key, message.request_key)
        versions = [VersionRow(**version) for version in await connection.fetch(sql.list_versions, key)]
        noted = await connection.fetch(sql.list_exceptions, None, key, None, exceptions, *[None] * 5)
        document: bytes | None = None
        if versions:
            document = await connection.fetchval(sql.read_document, key, versions[-1].version)
    return MessageReport(
        message=message,
        message_set=None if found_set is None else SetRow(**found_set),
        correlated=[Correlated(**other) for other in correlated],
        versions=versions,
        exceptions=[_exception(entry) for entry in noted],
        document=document,
    )


async def progress_of_file(store: Store, claim_id: UUID) -> FileProgress:
    """Return how far the messages of a received file are."""
    async with store.transaction() as connection:
        row = await connection.fetchrow(store.queries.progress_of_file, claim_id)
    assert row is not None  # counts always give a row
    return FileProgress(**row)


async def answers_to_file(store: Store, claim_id: UUID, *, limit: int) -> Sequence[AnswerRow]:
    """Return the responses and faults to the requests of a file, in the order of its envelopes."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.answers_to_file, claim_id, limit)
    return [AnswerRow(**row) for row in rows]


def _set_status(row: Record, *, outcome: str | None) -> SetStatus:
    """Answers know the set of their request, but are no members of it."""
    member = row["set_key"] is not None and row["direction"] == "in"
    return set_status(member=member, reason=row["reason"], outcome=outcome)


def _exception(row: Record) -> ExceptionRow:
    return ExceptionRow(**{**row, "details": json.loads(row["details"] or "[]")})
