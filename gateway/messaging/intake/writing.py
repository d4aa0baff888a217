"""Put files into the store: one transaction, visible at once or not at all."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any
from uuid import UUID, uuid4

from asyncpg import Connection, UniqueViolationError

from gateway.db.open import Store
from gateway.db.slices import SLICE
from gateway.db.statements import session_sql
from gateway.kernel.errors import GatewayError
from gateway.kernel.ids import ClaimId, MessageKey, PortName, SetKey
from gateway.kernel.namespaces import kept_of
from gateway.kernel.problem import Problem
from gateway.kernel.text import clean
from gateway.messaging.queue import leases
from gateway.messaging.queue.exceptions import Entry, insert_exceptions
from gateway.messaging.queue.lanes import join_lanes
from gateway.messaging.rules.delivery import Claim, Settlement
from gateway.messaging.rules.envelope import FileEnd, FileHead, Root
from gateway.messaging.rules.message import NewFile, NewMessage, RefusedFile
from gateway.messaging.rules.states import Direction, Policy, Reason, Status
from gateway.messaging.statements import ingest_sql

Guard = Callable[[Connection], Awaitable[None]]
"""Raises when the transaction must not be committed any more."""

_FLUSH_ROWS = 500
_FLUSH_BYTES = 4_000_000

_MESSAGE_COLUMNS = (
    "id", "direction", "port", "claim_id", "set_id", "position", "message_id", "message_id_sent", "namespace", "action",
    "service", "operation", "company", "partition_key", "conversation_id", "logon_as_user", "submitter", "parts",
    "checked", "problems", "size_bytes",
)  # fmt: skip
_DOCUMENT_COLUMNS = ("message_id", "version", "step", "content")
_SET_COLUMNS = ("id", "claim_id", "port", "batch_id", "conversation_id", "policy", "members", "max_failed")
_QUEUE_COLUMNS = ("message_id", "port", "direction", "status", "reason", "lane", "set_id", "policy", "error")


def problems_json(problems: Sequence[Problem]) -> str | None:
    """Write problems for the store; None when there are none."""
    return json.dumps([asdict(problem) for problem in problems], ensure_ascii=True) if problems else None


class Ingestion:
    """One open transaction that takes in files.

    Messages of a file may be added before the file itself is known to be good; nothing is visible before the
    transaction commits, and a file that turns out bad rolls all of it back. Memory stays bounded: rows are
    copied into the tables whenever five hundred, or four megabytes, have come together.
    """

    def __init__(self, connection: Connection, numbers: int) -> None:
        self._connection = connection
        self._numbers = numbers
        self._keys: deque[int] = deque()
        self._messages: list[tuple[object, ...]] = []
        self._documents: list[tuple[object, ...]] = []
        self._queue: list[tuple[object, ...]] = []
        self._bytes = 0
        self._sets: list[tuple[object, ...]] = []
        self._deliveries: list[tuple[Any, ...]] = []
        self._exceptions: list[Entry] = []
        self._lanes: dict[tuple[str, str], int] = {}
        self.only_in_file: set[ClaimId] = set()
        """Files with a message that was too large to be stored: nothing else holds it, so they are never deleted."""

    async def _take_keys(self, count: int) -> list[int]:
        """Take numbers, as many at a time as the files will need."""
        if (lacking := count - len(self._keys)) > 0:
            taken = await ingest_sql.take_keys(self._connection, max(lacking, min(self._numbers, _FLUSH_ROWS)))
            self._keys.extend(taken)
            self._numbers -= len(taken)
        return [self._keys.popleft() for _ in range(count)]

    async def new_set(self) -> SetKey:
        """Number the message set of a batch file; its row is written when the file ends."""
        return SetKey((await self._take_keys(1))[0])

    async def add_messages(
        self,
        port: PortName,
        claim_id: ClaimId,
        submitter: str | None,
        set_key: SetKey | None,
        policy: Policy,
        messages: Sequence[NewMessage],
    ) -> None:
        """Add messages of one file, in document order.

        Rule: a message in a lane starts behind it; which one is the head, the lane says when the transaction ends.
        """
        keys = await self._take_keys(len(messages))
        set_policy = None if set_key is None else policy
        for key, message in zip(keys, messages, strict=True):
            header = message.header
            self._messages.append((
                key, Direction.IN, port, claim_id, set_key, message.position, message.message_id,
                message.message_id_sent,
                kept_of(message.namespace), header.action, message.service, message.operation, header.company,
                header.partition_key, message.conversation_id, header.logon_as_user, submitter, message.parts,
                message.checked, problems_json(message.problems), len(message.content),
            ))  # fmt: skip
            self._documents.append((key, 0, "received", message.content))
            if not message.content:
                self.only_in_file.add(claim_id)
            reason = Reason.READY if message.lane is None else Reason.BEHIND_IN_LANE
            self._queue.append((key, port, Direction.IN, Status.READY, reason, message.lane, set_key, set_policy, None))
            if message.lane is not None:
                self._lanes.setdefault((port, message.lane), key)
            self._bytes += len(message.content)
            if len(self._messages) % SLICE == 0:
                await asyncio.sleep(0)
            if len(self._messages) >= _FLUSH_ROWS or self._bytes >= _FLUSH_BYTES:
                await self._copy()

    async def end_file(self, file: NewFile, set_key: SetKey | None, warnings: Sequence[tuple[str, str]]) -> None:
        """Record a good file; *warnings* are pairs of code and text for the exception log."""
        if file.batch_id is not None and set_key is not None:
            self._sets.append((
                set_key, file.claim.id, file.claim.port, file.batch_id, file.head.conversation_id, file.policy,
                file.end.envelopes, file.max_failed,
            ))  # fmt: skip
        self._deliveries.append(_delivery_row(file.claim, file.head, file.end, file.submitter, file.settlement))
        self._exceptions += [
            Entry(severity="warning", code=code, text=text, port=file.claim.port, claim_id=file.claim.id,
                  set_key=set_key, file=file.claim.display)
            for code, text in warnings
        ]  # fmt: skip

    async def refuse_file(self, refused: RefusedFile) -> None:
        """Record a file that nothing is taken from: delivery, exception and a `malformed` row for the operator."""
        claim = refused.claim
        (key,) = await self._take_keys(1)
        guid = uuid4()
        self._messages.append((
            key, Direction.IN, claim.port, claim.id, None, 0, guid, None, "", None, None, None, None, None, None, None,
            refused.submitter, (), None, None, 0,
        ))  # fmt: skip
        self._documents.append((key, 0, "refused", b""))
        self._queue.append(
            (key, claim.port, Direction.IN, Status.MALFORMED, Reason.MALFORMED, None, None, None, clean(refused.text))
        )
        self._deliveries.append(_refused_row(refused))
        self._exceptions.append(
            Entry(code=refused.code, text=refused.text, port=claim.port, claim_id=claim.id, message_key=MessageKey(key),
                  message_id=guid, file=claim.display, line=refused.line, column=refused.column)
        )  # fmt: skip

    async def _copy(self) -> None:
        copy = self._connection.copy_records_to_table
        if self._messages:
            await copy("message", records=self._messages, columns=_MESSAGE_COLUMNS)
            await copy("document", records=self._documents, columns=_DOCUMENT_COLUMNS)
            await copy("queue", records=self._queue, columns=_QUEUE_COLUMNS)
        self._messages, self._documents, self._queue, self._bytes = [], [], [], 0

    async def finish(self) -> None:
        """Write what is left; called once, before the commit."""
        await self._copy()
        if self._sets:
            await self._connection.copy_records_to_table("message_set", records=self._sets, columns=_SET_COLUMNS)
        if self._deliveries:
            columns: list[list[Any]] = [list(column) for column in zip(*self._deliveries, strict=True)]
            await ingest_sql.insert_deliveries(self._connection, *columns)
        await insert_exceptions(self._connection, self._exceptions)
        if self._lanes:  # who works on them waits for us now: frozen we may not keep them
            await session_sql.set_idle_timeout(self._connection, leases.IDLE_TIMEOUT)
            await join_lanes(self._connection, self._lanes)


class AlreadyIngested(GatewayError):
    """A claimed file of this transaction is known to the store: somebody else was faster, or our own last commit."""

    code = "file.already-ingested"


@asynccontextmanager
async def ingestion(store: Store, guard: Guard | None = None, *, numbers: int = 0) -> AsyncIterator[Ingestion]:
    """Open the transaction that takes in one large file or a group of small ones; *guard* is asked before its commit.

    *numbers* says how many messages and sets will come, so that their numbers are not asked for file by file.
    Raises: AlreadyIngested when a claim id is known, nothing is written then; StoreUnavailable.
    """
    async with store.transaction(long=True) as connection:
        ingesting = Ingestion(connection, numbers)
        yield ingesting
        try:
            await ingesting.finish()
        except UniqueViolationError as error:
            if error.constraint_name != "delivery_pkey":
                raise
            raise AlreadyIngested("a claimed file was taken by somebody else meanwhile") from error
        if guard is not None:
            await guard(connection)


async def known_deliveries(store: Store, claims: Sequence[ClaimId]) -> dict[UUID, tuple[Settlement, str | None]]:
    """Return what was already decided about claimed files: their settlement and, when refused, the reason."""
    async with store.reading() as connection:
        rows = await ingest_sql.known_deliveries(connection, list(claims))
    return {row.claim_id: (Settlement(row.settlement), row.reason) for row in rows}


async def same_content(
    store: Store, port: PortName, digests: Sequence[bytes], claims: Sequence[ClaimId]
) -> dict[bytes, str]:
    """Return for each digest that the port received before the earlier file's display name."""
    async with store.reading() as connection:
        rows = await ingest_sql.same_content(connection, port, list(digests), list(claims))
    return {row.sha256: row.display for row in rows}


async def earlier_batches(store: Store, port: PortName, batch_ids: Sequence[str]) -> set[str]:
    """Return which of the batch ids the port has seen before."""
    async with store.reading() as connection:
        rows = await ingest_sql.earlier_batches(connection, port, list(batch_ids))
    return set(rows)


async def unfinished_inbound(store: Store, ports: Sequence[PortName], limit: int) -> dict[PortName, int]:
    """Count the unfinished inbound messages of each port that can still run, what waits up to *limit*."""
    async with store.reading() as connection:
        rows = await ingest_sql.unfinished_inbound(connection, list(ports), limit)
    return {row.port: row.unfinished for row in rows}


def _delivery_row(
    claim: Claim, head: FileHead, end: FileEnd, submitter: str | None, settlement: Settlement
) -> tuple[Any, ...]:
    root = "batch" if head.root is Root.BATCH else "envelope"
    return (
        claim.id, claim.port, claim.name, claim.display, end.size, end.sha256, claim.owner_uid, claim.owner, submitter,
        claim.modified_at, root, head.encoding, end.envelopes, "ingested", settlement, None, None,
    )  # fmt: skip


def _refused_row(refused: RefusedFile) -> tuple[Any, ...]:
    claim = refused.claim
    size = claim.size if refused.size is None else refused.size
    return (
        claim.id, claim.port, claim.name, claim.display, size, refused.sha256, claim.owner_uid, claim.owner,
        refused.submitter, claim.modified_at, None, None, 0, "refused", Settlement.QUARANTINE,
        refused.code, refused.text,
    )  # fmt: skip
