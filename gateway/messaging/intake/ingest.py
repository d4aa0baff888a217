"""Ingest claimed files: read to the last byte, then made visible whole, by one commit, or refused with a reason.

No transaction is open while a file is read, and what has been read is not read again when the database is away.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing
from functools import partial
from uuid import uuid4

import structlog

from gateway.db.open import Store
from gateway.db.waiting import uninterrupted
from gateway.kernel.errors import FileRefused
from gateway.kernel.faultpoints import reach
from gateway.messaging.flow.port import OpenInbound, Ports
from gateway.messaging.intake.debatch import Ignored, new_messages, submitter_of
from gateway.messaging.intake.lease import IntakeLease
from gateway.messaging.intake.reading import BadFile, WholeFile, read_whole
from gateway.messaging.intake.spool import Spools
from gateway.messaging.intake.writing import Ingestion, earlier_batches, ingestion, same_content
from gateway.messaging.rules.delivery import Claim, Settled, Settlement
from gateway.messaging.rules.envelope import FileEnd, Root
from gateway.messaging.rules.message import NewFile, RefusedFile
from gateway.messaging.rules.message_set import most_failures
from gateway.xml.pool import SMALL_BYTES, XmlPool

log = structlog.get_logger()

_GROUP_FILES = 100
_SHORT_WRITES, _LONG_WRITES = 2, 2
"""So many ports write at once: what was kept in memory, and what came from the disk and takes a while. Others wait
here, not for a connection: for that there is a time limit, and then the database would seem to be away."""


def groups(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    """Cut a batch of files into groups that share a commit, in order; a large file stands alone."""
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


class Reading:
    """A group of files that is read by a task of its own; what was read is there until `close`."""

    def __init__(self, read: Callable[[ExitStack], Coroutine[None, None, Sequence[WholeFile | BadFile]]]) -> None:
        self._keep = ExitStack()
        self._task = asyncio.create_task(read(self._keep), name="read a group of files")

    async def files(self) -> Sequence[WholeFile | BadFile]:
        """Return the files of the group, in order, when all are read to their ends.

        Raises: ReadersUnavailable when nothing can be read now; SpoolFull; LeaseLost when a file is another node's by
        now; AdapterUnavailable.
        """
        return await self._task

    async def close(self) -> None:
        """Drop what was read, and do not read on."""
        self._task.cancel()
        try:
            await uninterrupted(asyncio.gather(self._task, return_exceptions=True))
        finally:
            self._keep.close()


class Ingester:
    """Reads files in worker processes and puts what they hold into the queue."""

    def __init__(
        self, *, store: Store, ports: Ports, pool: XmlPool, readers: int, lease: IntakeLease, spools: Spools
    ) -> None:
        self._store = store
        self._ports = ports
        self._pool = pool
        self._readers = readers
        self._lease = lease
        self._spools = spools
        self._short, self._long = asyncio.Semaphore(_SHORT_WRITES), asyncio.Semaphore(_LONG_WRITES)

    def read(self, group: Sequence[Claim], port: OpenInbound) -> "Reading":
        """Begin to read a group; the caller closes it."""
        return Reading(lambda keep: read_whole(group, port, self._pool, self._spools, keep, self._readers))

    async def write(self, files: Sequence[WholeFile | BadFile], port: OpenInbound) -> tuple[list[Settled], int]:
        """Put what was read of a group into the queue, by one commit; may be tried again.

        Returns where each file is to go, and how many messages came of them.
        Raises: AlreadyIngested, LeaseLost when the files are another node's by now; StoreUnavailable.
        """
        good = [file for file in files if isinstance(file, WholeFile)]
        async with self._long if any(file.spool.on_disk for file in good) else self._short:
            twins = await same_content(self._store, port.name, [f.end.sha256 for f in good], [f.claim.id for f in good])
            batch_ids = [file.head.batch_id for file in good if file.head.batch_id]
            seen = await earlier_batches(self._store, port.name, batch_ids) if batch_ids else set()
            numbers = sum(1 if isinstance(f, BadFile) else f.end.envelopes + (f.head.root is Root.BATCH) for f in files)
            # asked just before the commit: who takes the lease over waits for that; its messages get later numbers
            guard = partial(self._lease.guard, port=port.name)
            async with ingestion(self._store, guard, numbers=numbers) as ingesting:
                settled = [await self._write(ingesting, file, port, seen, twins) for file in files]
                reach("ingest.before_commit")
        taken = {one.claim.id for one in settled if one.settlement is not Settlement.QUARANTINE}
        return settled, sum(file.end.envelopes for file in good if file.claim.id in taken)

    async def _write(
        self,
        ingesting: Ingestion,
        file: WholeFile | BadFile,
        port: OpenInbound,
        seen: set[str],
        twins: Mapping[bytes, str],
    ) -> Settled:
        """Write one file; *seen* are the batch ids that the port had before, and becomes more."""
        if isinstance(file, BadFile):
            return await self._refuse(ingesting, file, port)
        claim, head, end = file.claim, file.head, file.end
        repeated = head.batch_id in seen
        if repeated and port.settings.process.unique_batch_id:
            text = f"The BatchId '{head.batch_id}' was received before; this port takes each one once."
            return await self._refuse(ingesting, BadFile(claim, FileRefused(text, code="batch.duplicate")), port)
        if head.batch_id:
            seen.add(head.batch_id)
        set_key = await ingesting.new_set() if head.root is Root.BATCH else None
        submitter = submitter_of(claim, port, self._ports.settings)
        ignored = Ignored(head)
        async with aclosing(file.spool.pieces()) as pieces:
            async for envelopes in pieces:
                new = await new_messages(envelopes, head, set_key, port)
                ignored.count(new)
                await ingesting.add_messages(port.name, claim.id, submitter, set_key, port.policy, new)
        warnings = [*ignored.warnings(), *_file_warnings(claim, end, twins.get(end.sha256))]
        if repeated:
            text = f"The BatchId '{head.batch_id}' was received before; this file is a set of its own."
            warnings.append(("batch.repeated", text))
        only_copy = claim.id in ingesting.only_in_file
        new_file = NewFile(
            claim=claim, head=head, end=end, submitter=submitter,
            settlement=Settlement.ARCHIVE if only_copy else Settlement(port.settings.receive.after.value),
            batch_id=(head.batch_id or str(uuid4())) if head.root is Root.BATCH else None,
            policy=port.policy, max_failed=most_failures(port.settings.process.max_failed, end.envelopes),
        )  # fmt: skip
        await ingesting.end_file(new_file, set_key, warnings)
        for code, text in warnings:
            log.warning("file.warned", port=port.name, file=claim.display, code=code, text=text)
        log.info("file.received", port=port.name, stage="receive", file=claim.display, claim_id=str(claim.id),
                 messages=end.envelopes, size_bytes=end.size)  # fmt: skip
        return Settled(claim=claim, settlement=new_file.settlement)

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
