"""MessageIds and contents that were processed before, and what was answered then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from asyncpg import Connection

from gateway.domain.ids import MessageKey
from gateway.domain.message import Work
from gateway.store.open import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The request that was first: its file, and its response when that was asked for and is kept."""

    key: MessageKey
    at: datetime
    file: str | None
    entity_keys: Sequence[tuple[str, str]] = ()
    answer: bytes | None = None


async def take_processed_ids(store: Store, connection: Connection, works: Sequence[Work]) -> set[MessageKey]:
    """Mark MessageIds as processed by this transaction; returns the keys of the messages that were first.

    All works are of one port, service and operation. A concurrent transaction with the same id is waited for.
    """
    rows = await connection.fetch(
        store.queries.take_processed_ids, [w.port for w in works], [w.service for w in works],
        [w.operation for w in works], [w.message_id for w in works], [w.key for w in works],
    )  # fmt: skip
    return {MessageKey(row["request_id"]) for row in rows}


async def take_processed_contents(
    store: Store, connection: Connection, works: Sequence[Work], seconds: float
) -> set[MessageKey]:
    """As `take_processed_ids`, for requests without MessageId; what is older than *seconds* does not count."""
    first = works[0]
    rows = await connection.fetch(
        store.queries.take_processed_contents, first.port, first.service, first.operation,
        [_digest(work) for work in works], [work.key for work in works], seconds,
    )  # fmt: skip
    return {MessageKey(row["request_id"]) for row in rows}


async def read_earlier(
    store: Store, connection: Connection, repeated: Sequence[Work], *, with_answers: bool
) -> Mapping[MessageKey, Earlier]:
    """Return the first request of each repeated one, by its key; all are of one port, service and operation."""
    first, queries = repeated[0], store.queries
    place = first.port, first.service, first.operation
    ids = {work.key: work.message_id for work in repeated if work.message_id_sent is not None}
    contents = {work.key: _digest(work) for work in repeated if work.message_id_sent is None}
    rows = {
        row["message_id"]: row for row in await connection.fetch(queries.first_processed, *place, list(ids.values()))
    }
    if contents:
        same = await connection.fetch(queries.first_processed_content, *place, list(contents.values()))
        rows |= {row["digest"]: row for row in same}
    answers: dict[int, tuple[Sequence[str] | None, bytes | None]] = {}
    if with_answers:
        keys = [row["request_id"] for row in rows.values()]
        for answer in await connection.fetch(queries.answers_given, keys):
            answers[answer["request_id"]] = (answer["entity_keys"], answer["content"])
    earlier: dict[MessageKey, Earlier] = {}
    for key, what in (*ids.items(), *contents.items()):
        if (row := rows.get(what)) is not None:
            entity_keys, content = answers.get(row["request_id"], (None, None))
            earlier[key] = Earlier(
                key=MessageKey(row["request_id"]), at=row["at"], file=row["display"],
                entity_keys=[_pair(text) for text in entity_keys or ()], answer=content,
            )  # fmt: skip
    return earlier


def _digest(work: Work) -> bytes:
    """Return the SHA-256 of an envelope as it was received."""
    return sha256(work.content).digest()


def _pair(text: str) -> tuple[str, str]:
    field, _, value = text.partition("=")
    return field, value
