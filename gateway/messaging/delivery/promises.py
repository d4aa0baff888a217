"""Outbound work in the queue: claim files to send, promise what is staged, record what is published."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from asyncpg import Connection

from gateway.db.open import Store
from gateway.db.slices import cooperative_map
from gateway.db.sql import Queries
from gateway.kernel.errors import LeaseLost
from gateway.kernel.ids import Fence, MessageKey, PortName
from gateway.messaging.queue.exceptions import Entry, insert_exceptions
from gateway.messaging.queue.leases import CLAIM_BYTES, draw_fence, drop_lease, hold_lease, take_lease
from gateway.messaging.rules.message import Claimed, Sending
from gateway.messaging.rules.states import LoggingMode, Stage
from gateway.messaging.statements import inbound_sql, outbound_sql
from gateway.messaging.statements.outbound_sql import SendingRow


@dataclass(slots=True, kw_only=True)
class SendResult:
    """What became of a claimed chunk; every item stands in exactly one of the lists.

    `later` are items with the seconds to wait and the reason in words; `failed` likewise without a time. `logging`
    says what is kept of those that are sent.
    """

    sent: list[Sending] = field(default_factory=list)
    later: list[tuple[Sending, float, str]] = field(default_factory=list)
    failed: list[tuple[Sending, str]] = field(default_factory=list)
    logging: LoggingMode = LoggingMode.ORIGINAL


async def claim_outbound(
    store: Store, incarnation: int, port: PortName, limit: int, staging: UUID | None = None
) -> Claimed[Sending] | None:
    """Lease up to *limit* responses of a port, oldest first; None when there is nothing to send.

    Rule: of those that are promised only those that lie in the folder *staging*: nobody else can publish them.
    """
    async with store.transaction() as connection:
        fence = await draw_fence(connection)
        taken = await outbound_sql.claim_outbound(connection, port, fence, limit, CLAIM_BYTES, staging)
        if not taken:
            return None
        await take_lease(connection, fence, incarnation, Stage.SEND, port, len(taken))
        rows = await outbound_sql.read_sending(connection, fence)
    return Claimed(fence=fence, items=await cooperative_map(_sending, rows))


def _sending(row: SendingRow) -> Sending:
    key, port, file_name, is_fault, attempts, staged_name, staged_in, content = row
    return Sending(
        key=MessageKey(key), port=PortName(port), file_name=file_name, is_fault=is_fault, attempts=attempts,
        staged_name=staged_name, staged_in=staged_in, content=content,
    )  # fmt: skip


async def promise_staged(store: Store, fence: Fence, staged: Sequence[tuple[MessageKey, str]], staging: UUID) -> None:
    """Promise files that are durable in the folder *staging*: from the commit on, only publication may remove them.

    Raises: LeaseLost; the staged files are the caller's to remove.
    """
    async with store.transaction() as connection:
        if len(staged) > 1:  # rows of others are locked in another order
            await hold_lease(connection, fence)
        promised = await outbound_sql.promise_staged(
            connection, [key for key, _ in staged], [name for _, name in staged], fence, staging
        )
        if len(promised) < len(staged):
            raise LeaseLost(f"the lease {fence} ended before its files were promised", fence=fence)


async def record_sent(connection: Connection, sql: Queries, keys: Sequence[MessageKey], logging: LoggingMode) -> None:
    """Let published answers leave the queue, inside the caller's transaction; *logging* says what is kept of them."""
    if logging is LoggingMode.OFF:
        await inbound_sql.forget_finished(connection, keys)
    else:
        await outbound_sql.finish_outbound(connection, keys)
    if logging is LoggingMode.HEADER:
        await inbound_sql.forget_documents(connection, keys)


async def record_outbound(store: Store, fence: Fence, result: SendResult) -> None:
    """Record a chunk: what is published leaves the queue.

    Raises: LeaseLost; whoever has the work now finds the promised files published and records the same.
    """
    sql = store.queries
    async with store.transaction() as connection:
        await drop_lease(store, connection, fence)
        if result.sent:
            await record_sent(connection, sql, [item.key for item in result.sent], result.logging)
        if result.later:
            await outbound_sql.postpone_outbound(connection, [item.key for item, _, _ in result.later],
                [text[:2000] for _, _, text in result.later], [delay for _, delay, _ in result.later],
            )  # fmt: skip
        if result.failed:
            await outbound_sql.fail_outbound(
                connection,
                [item.key for item, _ in result.failed],
                [text[:2000] for _, text in result.failed],
            )
            await insert_exceptions(
                connection,
                [
                    Entry(code="send.failed", text=text, port=item.port, message_key=item.key, file=item.file_name)
                    for item, text in result.failed
                ],
            )
