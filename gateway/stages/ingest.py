"""Ingest claimed files: read to the last byte, then made visible whole, by one commit, or refused with a reason."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from uuid import uuid4

import structlog

from gateway.domain.delivery import Claim, Settled, Settlement
from gateway.domain.envelope import FileEnd, FileHead, Root
from gateway.domain.errors import FileRefused
from gateway.domain.faultpoints import reach
from gateway.domain.ids import PortName, SetKey
from gateway.domain.message import NewFile, RefusedFile
from gateway.domain.message_set import most_failures
from gateway.stages.intake import new_messages, set_warnings, submitter_of
from gateway.stages.port import OpenInbound, Ports
from gateway.stages.reading import SMALL_BYTES, BadFile, WholeFile, read_file, read_whole, until_read
from gateway.stages.turns import Turns
from gateway.store.ingest import Ingestion, earlier_batches, ingestion, same_content
from gateway.store.open import Store
from gateway.xml.pool import XmlPool

log = structlog.get_logger()

_GROUP_FILES = 100


def groups(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    """Cut a wave into groups that share a commit, in order; a large file stands alone."""
    group: list[Claim] = []
    size = 0
    for claim in claims:
        if claim.size > SMALL_BYTES:
            if group:
                yield group
            yield [claim]
            group, size = [], 0
            continue
        if group and (len(group) >= _GROUP_FILES or size + claim.size > 4 * SMALL_BYTES):
            yield group
            group, size = [], 0
        group.append(claim)
        size += claim.size
    if group:
        yield group


class Ingester:
    """Reads files in worker processes and puts what they hold into the queue."""

    def __init__(self, *, store: Store, ports: Ports, pool: XmlPool, readers: int, turns: Turns) -> None:
        self._store = store
        self._ports = ports
        self._pool = pool
        self._readers = readers
        self._turns = turns

    async def ingest(self, group: Sequence[Claim], port: OpenInbound) -> tuple[list[Settled], int]:
        """Take a group in; returns where each file is to go, and how many messages came of them.

        Raises: AlreadyIngested, LeaseLost when the files are another node's by now; ReadersUnavailable when nothing can
        be read now; StoreUnavailable.
        """
        if len(group) == 1 and group[0].size > SMALL_BYTES:
            return await self._large(group[0], port)
        return await self._small(group, port)

    def _open(self, port: PortName) -> AbstractAsyncContextManager[Ingestion]:
        """Open the transaction that takes files in; it fails when it is another node's turn by now."""
        return ingestion(self._store, lambda connection: self._turns.hold(connection, port))

    async def _small(self, group: Sequence[Claim], port: OpenInbound) -> tuple[list[Settled], int]:
        files = await read_whole(group, port, self._pool, self._readers * 2)
        good = [file for file in files if isinstance(file, WholeFile)]
        twins = await same_content(self._store, port.name, [f.end.sha256 for f in good], [f.claim.id for f in good])
        batch_ids = [file.head.batch_id for file in good if file.head.batch_id]
        seen = await earlier_batches(self._store, port.name, batch_ids) if batch_ids else set()
        settled: list[Settled] = []
        messages = 0
        async with self._open(port.name) as ingesting:
            for file in files:
                repeated = isinstance(file, WholeFile) and file.head.batch_id in seen
                if isinstance(file, WholeFile) and repeated and port.settings.process.unique_batch_id:
                    file = BadFile(file.claim, _batch_seen(file.head.batch_id))  # noqa: PLW2901 the file changed its kind
                if isinstance(file, BadFile):
                    settled.append(await self._refuse(ingesting, file, port))
                    continue
                if file.head.batch_id:
                    seen.add(file.head.batch_id)
                set_key = await _begin_set(ingesting, file.head)
                submitter = submitter_of(file.claim, port, self._ports.settings)
                new = await new_messages(file.envelopes, file.head, set_key, port)
                await ingesting.add_messages(port.name, file.claim.id, submitter, set_key, port.policy, new)
                warnings = [
                    *set_warnings(new, file.head),
                    *_file_warnings(file.claim, file.end, twins.get(file.end.sha256)),
                ]
                if repeated:
                    warnings.append(_batch_warning(file.head))
                settled.append(
                    await self._end_file(ingesting, file.claim, file.head, file.end, set_key, warnings, port)
                )
                messages += len(new)
            reach("ingest.before_commit")
        return settled, messages

    async def _large(self, claim: Claim, port: OpenInbound) -> tuple[list[Settled], int]:
        """Stream one large file into an open transaction; a bad end, or a reader that dies, rolls all of it back."""

        async def stream(alone: bool) -> tuple[list[Settled], int]:
            return await self._stream(claim, port, alone=alone)

        try:
            return await until_read(stream, port=port.name, file=claim.display, claim_id=claim.id)
        except FileRefused as error:
            async with self._open(port.name) as ingesting:
                settled = await self._refuse(ingesting, BadFile(claim, error), port)
            return [settled], 0

    async def _stream(self, claim: Claim, port: OpenInbound, *, alone: bool) -> tuple[list[Settled], int]:
        submitter = submitter_of(claim, port, self._ports.settings)
        reading = read_file(claim, port, self._pool, alone=alone)
        async with self._open(port.name) as ingesting, aclosing(reading) as pieces:
            head, set_key, warnings, messages = None, None, list[tuple[str, str]](), 0
            async for piece in pieces:
                match piece:
                    case FileHead():
                        head = piece
                        seen = (
                            await earlier_batches(self._store, port.name, [head.batch_id]) if head.batch_id else set()
                        )
                        if seen and port.settings.process.unique_batch_id:
                            raise _batch_seen(head.batch_id)
                        if seen:
                            warnings.append(_batch_warning(head))
                        set_key = await _begin_set(ingesting, head)
                    case FileEnd():
                        assert head is not None
                        twins = await same_content(self._store, port.name, [piece.sha256], [claim.id])
                        warnings += _file_warnings(claim, piece, twins.get(piece.sha256))
                        settled = await self._end_file(ingesting, claim, head, piece, set_key, warnings, port)
                        messages = piece.envelopes
                    case _:
                        assert head is not None
                        new = await new_messages(piece, head, set_key, port)
                        if not warnings:
                            warnings += set_warnings(new, head)
                        await ingesting.add_messages(port.name, claim.id, submitter, set_key, port.policy, new)
            reach("ingest.before_commit")
        return [settled], messages

    async def _end_file(
        self,
        ingesting: Ingestion,
        claim: Claim,
        head: FileHead,
        end: FileEnd,
        set_key: SetKey | None,
        warnings: Sequence[tuple[str, str]],
        port: OpenInbound,
    ) -> Settled:
        settlement = Settlement(port.settings.receive.after.value)
        if claim.id in ingesting.only_in_file:
            settlement = Settlement.ARCHIVE
        batch_id = (head.batch_id or str(uuid4())) if head.root is Root.BATCH else None
        submitter = submitter_of(claim, port, self._ports.settings)
        await ingesting.end_file(
            NewFile(claim=claim, head=head, end=end, submitter=submitter, settlement=settlement, batch_id=batch_id,
                    policy=port.policy,
                    max_failed=most_failures(port.settings.process.max_failed, end.envelopes)),
            set_key,
            warnings,
        )  # fmt: skip
        for code, text in warnings:
            log.warning("file.warned", port=port.name, file=claim.display, code=code, text=text)
        log.info("file.received", port=port.name, stage="receive", file=claim.display, claim_id=str(claim.id),
                 messages=end.envelopes, size_bytes=end.size)  # fmt: skip
        return Settled(claim=claim, settlement=settlement)

    async def _refuse(self, ingesting: Ingestion, file: BadFile, port: OpenInbound) -> Settled:
        claim, error = file.claim, file.error
        submitter = submitter_of(claim, port, self._ports.settings)
        await ingesting.refuse_file(
            RefusedFile(claim=claim, submitter=submitter, code=error.code, text=error.message, line=error.line,
                        column=error.column, size=error.size, sha256=error.sha256)
        )  # fmt: skip
        log.warning("file.refused", port=port.name, stage="receive", file=claim.display, claim_id=str(claim.id),
                    code=error.code, error=error.message, line=error.line, column=error.column)  # fmt: skip
        return Settled(claim=claim, settlement=Settlement.QUARANTINE, reason=_reason(claim, error))


_NOT_ITS_FAULT = ("worker.crashed", "file.unreadable")


def _reason(claim: Claim, error: FileRefused) -> str:
    place = (
        ""
        if error.line is None
        else f"Place:   line {error.line}" + (f", column {error.column}\n" if error.column else "\n")
    )
    return (
        f"The gateway could not take this file; nothing of it took effect.\n\n"
        f"File:    {claim.display}\nPort:    {claim.port}\nCode:    {error.code}\n{place}Reason:  {error.message}\n\n"
        f"{_remedy(error.code)}\n"
    )


def _remedy(code: str) -> str:
    if code in _NOT_ITS_FAULT:
        return (
            "The file may be good. Find the cause on the gateway's machine, then put it into the inbound folder again."
        )
    return "Mend the file and put it into the inbound folder again."


def _batch_seen(batch_id: str | None) -> FileRefused:
    return FileRefused(
        f"The BatchId '{batch_id}' was received before; this port takes each one once.", code="batch.duplicate"
    )


def _batch_warning(head: FileHead) -> tuple[str, str]:
    return "batch.repeated", f"The BatchId '{head.batch_id}' was received before; this file is a set of its own."


def _file_warnings(claim: Claim, end: FileEnd, twin: str | None) -> list[tuple[str, str]]:
    warnings: list[tuple[str, str]] = []
    if twin is not None:
        warnings.append(("file.repeated", f"The file has the same content (SHA-256) as '{twin}' received before."))
    if end.size != claim.size:
        warnings.append((
            "file.changed",
            f"The file changed while it was read: {claim.size} bytes when claimed, {end.size} when read. "
            "Write under another name and rename when complete.",
        ))  # fmt: skip
    return warnings


async def _begin_set(ingesting: Ingestion, head: FileHead) -> SetKey | None:
    return await ingesting.new_set() if head.root is Root.BATCH else None
