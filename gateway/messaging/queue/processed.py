"""MessageIds and contents that were processed before, and what was answered then.

An entry is made before its message runs, and belongs to it: with its outcome the message keeps it or gives it up. What
is left by a message that did not come to an outcome is its own when it runs again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from uuid import UUID

from asyncpg import Connection

from gateway.db.open import Store
from gateway.kernel.ids import MessageKey, PortName
from gateway.messaging.rules.message import Work
from gateway.messaging.statements import duplicates_sql
from gateway.messaging.statements.duplicates_sql import FirstByContent, FirstById


class Holder(StrEnum):
    """What becomes of the message that has an id or a content."""

    PROCESSED = "processed"  # it was processed; what comes after it is a duplicate
    AT_WORK = "at_work"  # it runs, or runs next
    GIVEN_UP = "given_up"  # it began once and stands still now: somebody else may have it


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The request that was first: its file, and its response when that was asked for and is kept."""

    key: MessageKey
    holder: Holder
    at: datetime
    file: str | None
    entity_keys: Sequence[tuple[str, str]] = ()
    answer: bytes | None = None


async def take_processed_ids(store: Store, connection: Connection, works: Sequence[Work]) -> set[MessageKey]:
    """Take MessageIds for messages that are about to run; returns the keys of the messages that were first.

    All works are of one port, service and operation. A concurrent transaction with the same id is waited for.
    """
    taken = await duplicates_sql.take_processed_ids(connection, [w.port for w in works], [w.service for w in works],
        [w.operation for w in works], [w.message_id for w in works], [w.key for w in works],
    )  # fmt: skip
    return set(taken)


async def take_processed_contents(
    store: Store, connection: Connection, works: Sequence[Work], seconds: float
) -> set[MessageKey]:
    """As `take_processed_ids`, for requests without MessageId; what is older than *seconds* does not count."""
    first = works[0]
    taken = await duplicates_sql.take_processed_contents(connection, first.port, first.service, first.operation,
        [_digest(work) for work in works], [work.key for work in works], seconds,
    )  # fmt: skip
    return set(taken)


async def read_earlier(
    connection: Connection, repeated: Sequence[Work], *, with_answers: bool
) -> Mapping[MessageKey, Earlier]:
    """Return the first request of each repeated one, by its key; all are of one port, service and operation.

    Rule: what is said of its holder stays true until the end of the transaction, unless a holder at work ends. None
    when that gave it up just now.
    """
    first = repeated[0]
    place = first.port, first.service, first.operation
    ids = {work.key: work.message_id for work in repeated if work.message_id_sent is not None}
    contents = {work.key: _digest(work) for work in repeated if work.message_id_sent is None}
    if ids:
        await duplicates_sql.lock_processed_ids(connection, *place, list(ids.values()))
    rows: dict[UUID | bytes, FirstById | FirstByContent] = {
        row.message_id: row for row in await duplicates_sql.first_processed(connection, *place, list(ids.values()))
    }
    if contents:
        same = await duplicates_sql.first_processed_content(connection, *place, list(contents.values()))
        rows |= {row.digest: row for row in same}
    answers: dict[MessageKey, tuple[Sequence[str] | None, bytes | None]] = {}
    if with_answers:
        keys = [row.request_id for row in rows.values()]
        for answer in await duplicates_sql.answers_given(connection, keys):
            answers[answer.request_id] = (answer.entity_keys, answer.content)
    earlier: dict[MessageKey, Earlier] = {}
    asked: dict[MessageKey, UUID | bytes] = {**ids, **contents}
    for key, what in asked.items():
        if (row := rows.get(what)) is not None:
            entity_keys, content = answers.get(row.request_id, (None, None))
            earlier[key] = Earlier(
                key=row.request_id, holder=Holder(row.holder), at=row.at, file=row.display,
                entity_keys=[_pair(text) for text in entity_keys or ()], answer=content,
            )  # fmt: skip
    return earlier


async def take_over(store: Store, connection: Connection, work: Work, earlier: Earlier) -> bool:
    """Let a message have what the one that had it has given up; False when another one was quicker.

    Before: `read_earlier` in the same transaction.
    """
    place = work.port, work.service, work.operation
    if work.message_id_sent is not None:
        taken = await duplicates_sql.take_over_id(connection, *place, work.message_id, earlier.key, work.key)
    else:
        taken = await duplicates_sql.take_over_content(connection, *place, _digest(work), earlier.key, work.key)
    return taken is not None


async def give_up_processed(connection: Connection, works: Sequence[Work]) -> None:
    """Let others have the ids and contents of messages that did not succeed."""
    named = [work for work in works if work.message_id_sent is not None]
    unnamed = [work for work in works if work.message_id_sent is None]
    if named:
        await duplicates_sql.give_up_ids(
            connection, *_places(named), [w.message_id for w in named], [w.key for w in named]
        )
    if unnamed:
        await duplicates_sql.give_up_contents(
            connection, *_places(unnamed), [_digest(w) for w in unnamed], [w.key for w in unnamed]
        )


def _places(works: Sequence[Work]) -> tuple[list[PortName], list[str | None], list[str | None]]:
    return [work.port for work in works], [work.service for work in works], [work.operation for work in works]


def _digest(work: Work) -> bytes:
    """Return the SHA-256 of an envelope as it was received."""
    return sha256(work.content).digest()


def _pair(text: str) -> tuple[str, str]:
    field, _, value = text.partition("=")
    return field, value
