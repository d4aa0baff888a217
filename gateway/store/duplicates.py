"""MessageIds that were processed before, and what was answered then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

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


async def read_earlier(
    store: Store, connection: Connection, repeated: Sequence[Work], *, with_answers: bool
) -> Mapping[UUID, Earlier]:
    """Return the first request of each repeated MessageId; all are of one port, service and operation."""
    first, ids = repeated[0], [work.message_id for work in repeated]
    rows = await connection.fetch(store.queries.first_processed, first.port, first.service, first.operation, ids)
    answers: dict[int, tuple[Sequence[str] | None, bytes | None]] = {}
    if with_answers:
        keys = [row["request_id"] for row in rows]
        for answer in await connection.fetch(store.queries.answers_given, keys):
            answers[answer["request_id"]] = (answer["entity_keys"], answer["content"])
    earlier: dict[UUID, Earlier] = {}
    for row in rows:
        entity_keys, content = answers.get(row["request_id"], (None, None))
        earlier[row["message_id"]] = Earlier(
            key=MessageKey(row["request_id"]), at=row["at"], file=row["display"],
            entity_keys=[_pair(text) for text in entity_keys or ()], answer=content,
        )  # fmt: skip
    return earlier


def _pair(text: str) -> tuple[str, str]:
    field, _, value = text.partition("=")
    return field, value
