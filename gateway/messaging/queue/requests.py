"""Send requests: put them, claim a chunk, turn it into messages of the queue."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from asyncpg import Connection

from gateway.db.listen import CHANNEL
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.ids import Fence, MessageKey, PortName
from gateway.messaging.queue.exceptions import Entry, insert_exceptions
from gateway.messaging.queue.leases import draw_fence, drop_lease, take_lease
from gateway.messaging.rules.message import Claimed, Retry
from gateway.messaging.rules.outbound import NewSending, NewSendRequest, RecordKey, RequestFailure, SendRequest
from gateway.messaging.rules.poison import MOST_CRASHES
from gateway.messaging.rules.states import Direction, Outcome, Reason, Stage, Status
from gateway.messaging.statements import ingest_sql, requests_sql
from gateway.messaging.statements.requests_sql import ClaimedRequest


@dataclass(slots=True, kw_only=True)
class RequestResult:
    """What became of a claimed chunk; every request stands in exactly one of the lists."""

    done: list[NewSending] = field(default_factory=list)
    failed: list[RequestFailure] = field(default_factory=list)
    again: list[Retry[SendRequest]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestProgress:
    """Where a request is: `status` of the request or of its message in the queue, `outcome` when that is finished."""

    key: MessageKey
    port: PortName
    status: Status | None
    error: str | None
    outcome: Outcome | None
    file_name: str | None


async def put_send_requests(store: Store, requests: Sequence[NewSendRequest]) -> list[MessageKey]:
    """Put requests into their queue, all or none, and hint running gateways; returns their numbers, in order."""
    async with store.transaction() as connection:
        return await add_send_requests(connection, requests)


async def add_send_requests(connection: Connection, requests: Sequence[NewSendRequest]) -> list[MessageKey]:
    """Put requests into their queue with the transaction of the caller; returns their numbers, in order."""
    if not requests:
        return []
    keys = await ingest_sql.take_keys(connection, len(requests))
    await requests_sql.put_send_requests(
        connection, keys, [r.port for r in requests], [r.service for r in requests],
        [r.operation for r in requests], [json.dumps(r.keys) for r in requests], [r.company for r in requests],
        [r.partition_key for r in requests], [r.conversation_id for r in requests], [r.submitter for r in requests],
        [r.message_id for r in requests],
    )  # fmt: skip
    await session_sql.hint(connection, CHANNEL, Stage.OUTBOUND)
    return keys


async def claim_requests(store: Store, incarnation: int, port: PortName, limit: int) -> Claimed[SendRequest] | None:
    """Lease up to *limit* requests of a port, oldest first; None when there is nothing to do."""
    async with store.transaction() as connection:
        fence = await draw_fence(connection)
        rows = await requests_sql.claim_requests(connection, port, fence, limit)
        if not rows:
            return None
        await take_lease(connection, fence, incarnation, Stage.OUTBOUND, port, len(rows))
    return Claimed(fence=fence, items=sorted((_request(row) for row in rows), key=lambda request: request.key))


async def record_requests(store: Store, connection: Connection, fence: Fence, result: RequestResult) -> None:
    """Record a chunk inside the transaction in which the documents were read.

    Rule: a request that is done leaves its queue and its message enters the other, at once.
    Raises: LeaseLost when the claim was taken back meanwhile; the caller's transaction rolls everything back.
    """
    await drop_lease(store, connection, fence)
    if result.done:
        await requests_sql.finish_requests(connection, [sending.request.key for sending in result.done])
        await _put(connection, result.done)
    if result.failed:
        await requests_sql.fail_requests(
            connection,
            [f.request.key for f in result.failed],
            [f.text[:2000] for f in result.failed],
            MOST_CRASHES,
        )
        await insert_exceptions(connection, [_entry(failure) for failure in result.failed])
    if result.again:
        await requests_sql.retry_requests(connection, [retry.item.key for retry in result.again],
            [retry.text[:2000] for retry in result.again], [retry.delay_seconds for retry in result.again],
            [retry.is_free for retry in result.again],
        )  # fmt: skip


async def progress_of_requests(store: Store, keys: Sequence[MessageKey]) -> list[RequestProgress]:
    """Return where requests are, in order of their numbers; those that are not known are missing."""
    async with store.transaction() as connection:
        rows = await requests_sql.progress_of_requests(connection, list(keys))
    return [
        RequestProgress(
            key=MessageKey(row.key), port=PortName(row.port),
            status=None if row.status is None else Status(row.status), error=row.error,
            outcome=None if row.outcome is None else Outcome(row.outcome), file_name=row.file_name,
        )
        for row in rows
    ]  # fmt: skip


async def _put(connection: Connection, sendings: Sequence[NewSending]) -> None:
    await connection.copy_records_to_table(
        "message",
        columns=("id", "direction", "port", "position", "message_id", "action", "service", "operation", "company",
                 "partition_key", "conversation_id", "submitter", "size_bytes", "file_name", "entity_keys"),
        records=[
            (r.key, Direction.OUT, r.port, 1, r.message_id, s.action, r.service, r.operation, r.company,
             r.partition_key, r.conversation_id, r.submitter, len(s.content), s.file_name, _key_texts(s.entity_keys))
            for s in sendings
            for r in (s.request,)
        ],
    )  # fmt: skip
    await connection.copy_records_to_table(
        "document",
        columns=("message_id", "version", "step", "content"),
        records=[(s.request.key, 0, "sent", s.content) for s in sendings],
    )
    await connection.copy_records_to_table(
        "queue",
        columns=("message_id", "port", "direction", "status", "reason"),
        records=[(s.request.key, s.request.port, Direction.OUT, Status.READY, Reason.READY) for s in sendings],
    )


def _key_texts(keys: Sequence[RecordKey]) -> list[str]:
    return [f"{field}={value}" for key in keys for field, value in key]


def _entry(failure: RequestFailure) -> Entry:
    return Entry(
        code=failure.code, text=failure.text, port=failure.request.port, message_key=failure.request.key,
        message_id=failure.request.message_id, details=failure.problems, traceback=failure.traceback,
    )  # fmt: skip


def _request(row: ClaimedRequest) -> SendRequest:
    (key, message_id, port, service, operation, keys, company, partition_key, conversation_id, submitter, attempts,
     crashes, held_loop, store_waits, requested_at) = row  # fmt: skip
    return SendRequest(
        key=MessageKey(key), message_id=message_id, port=PortName(port), service=service, operation=operation,
        keys=[[(name, value) for name, value in entity] for entity in json.loads(keys)], company=company,
        partition_key=partition_key, conversation_id=conversation_id, submitter=submitter, attempts=attempts,
        crashes=crashes, held_loop=held_loop, store_waits=store_waits, requested_at=requested_at,
    )  # fmt: skip
