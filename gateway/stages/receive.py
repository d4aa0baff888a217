"""Receive: files become queued messages.

Order: claim (rename, durable), read to the last byte, ingest (one commit), settle (archive, delete or quarantine).
A crash between any two leaves a claimed file in the work folder; `_recover` finds it and goes on from what the
store knows of it.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from time import monotonic
from uuid import uuid4

import structlog

from gateway.contracts.task import TaskContext
from gateway.domain.delivery import Claim, Settled, Settlement
from gateway.domain.envelope import FileEnd, FileHead, Root
from gateway.domain.errors import AdapterUnavailable, FileRefused, LeaseLost, StoreUnavailable
from gateway.domain.faultpoints import reach
from gateway.domain.ids import PortName, SetKey
from gateway.domain.message import NewFile, RefusedFile
from gateway.domain.message_set import most_failures
from gateway.stages.intake import new_messages, set_warnings, submitter_of
from gateway.stages.port import OpenInbound, Ports
from gateway.stages.reading import SMALL_BYTES, BadFile, WholeFile, read_file, read_whole
from gateway.stages.room import Room
from gateway.stages.trouble import Trouble
from gateway.stages.turns import Turns
from gateway.store.ingest import (
    AlreadyIngested,
    Ingestion,
    earlier_batches,
    ingestion,
    known_deliveries,
    same_content,
)
from gateway.store.open import Store
from gateway.xml.pool import XmlPool

log = structlog.get_logger()

_WAVE_FILES = 200
_ALL_FILES = 1_000_000
"""An occurrence that takes only what is there at its start takes it in one look."""
_GROUP_FILES = 100


class ReceiveStage:
    """The task that takes files from the inbound folders of all open ports."""

    def __init__(
        self, *, store: Store, incarnation: int, ports: Ports, pool: XmlPool, readers: int, trouble: Trouble
    ) -> None:
        self._store = store
        self._ports = ports
        self._pool = pool
        self._readers = readers
        self._trouble = trouble
        self._room = Room(store, monotonic)
        self._turns = Turns(store, incarnation)
        self._looks: defaultdict[PortName, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._recovered: set[PortName] = set()  # ports whose work folder holds nothing that waits to be read

    def forget(self, port: PortName) -> None:
        """Look into the work folder of the port again: its folders may have changed."""
        self._recovered.discard(port)

    async def run(self, context: TaskContext) -> None:
        """Take files until no folder has one that is ready and no hint comes, or a stop is asked for.

        Each port is looked at by itself: a large file or a hanging folder of one does not keep the others waiting.
        """
        async with self._turns.occurrence():
            await self._sweep_all(context)

    async def _sweep_all(self, context: TaskContext) -> None:
        sweeps: dict[PortName, asyncio.Task[bool]] = {}
        unseen = set(self._ports.inbound)
        try:
            while not context.stopping.is_set() and not context.feed.enough():
                for name in sorted(unseen - set(sweeps)):
                    unseen.discard(name)
                    if (port := self._ports.inbound.get(name)) is not None:
                        sweeps[name] = asyncio.create_task(self._sweep(port, context), name=f"receive:{name}")
                if sweeps:
                    unseen |= await self._wait(sweeps, context)
                elif await context.feed.more():
                    unseen = set(self._ports.inbound)
                else:
                    return
        except asyncio.CancelledError:
            for sweep in sweeps.values():
                sweep.cancel()
            raise
        finally:
            if sweeps:
                await asyncio.wait(sweeps.values())
                for sweep in sweeps.values():
                    _result_of(sweep)

    async def _wait(self, sweeps: dict[PortName, asyncio.Task[bool]], context: TaskContext) -> set[PortName]:
        """Wait for a look to end or for a hint; returns the ports to look at again."""
        hint = asyncio.create_task(context.feed.hinted(), name="receive:hint")
        try:
            done, _ = await asyncio.wait({*sweeps.values(), hint}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hint.cancel()
        again = set(self._ports.inbound) if hint in done else set()
        for name in [name for name, sweep in sweeps.items() if sweep in done]:
            outcome = _result_of(sweeps.pop(name))
            if isinstance(outcome, StoreUnavailable):
                log.warning("store.unavailable", stage="receive", port=name, error=outcome.message)
                await self._store.wait_until_available(context.stopping)
            if outcome:
                again.add(name)
        return again

    async def _sweep(self, port: OpenInbound, context: TaskContext) -> bool:
        """Look at one port once; True when another look may find more.

        One look at a time, also where several jobs receive: what one has claimed would look forgotten to another.
        """
        async with self._looks[port.name]:
            return await self._look(port, context)

    async def _look(self, port: OpenInbound, context: TaskContext) -> bool:
        try:
            held = bool(await port.receive.held())
            found = held or await port.receive.may_find()
            if found:
                if not await self._is_our_turn(port, asking=held):
                    return False
                if port.name not in self._recovered:
                    await self._recover(port, context)
                    self._recovered.add(port.name)
            if await self._must_wait(port):
                return False
            claims = await port.receive.claim(_ALL_FILES if context.feed.once else _WAVE_FILES) if found else ()
        except AdapterUnavailable as error:
            await self._trouble.left_in_place(port.name, port.receive.left_in_place())
            await self._trouble.degraded(port.name, error.message, "receive")
            await self._turns.end(port.name)  # it may be there for another node
            return False
        except (AlreadyIngested, LeaseLost) as known:
            log.info("file.known", port=port.name, reason=known.message)  # to a node that shares the work folder
            self.forget(port.name)
            return True
        await self._trouble.working(port.name, "receive")
        await self._trouble.left_in_place(port.name, port.receive.left_in_place())
        if claims:
            self.forget(port.name)  # until all is settled, what was claimed lies in the work folder
            try:
                await self._take(claims, port, context)
            except AdapterUnavailable as error:
                await self._trouble.degraded(port.name, error.message, "receive")
                return False
            except (AlreadyIngested, LeaseLost) as known:
                log.info("file.known", port=port.name, reason=known.message)  # the next look settles it
            else:
                if self._ports.inbound.get(port.name) is port:  # a changed port has other folders to look into
                    self._recovered.add(port.name)
        return bool(claims) and not context.feed.once

    async def _is_our_turn(self, port: OpenInbound, *, asking: bool) -> bool:
        """Tell whether this node takes the files of the port now; a new turn begins with what lies claimed."""
        if not self._turns.has(port.name):
            self._recovered.discard(port.name)
        return await self._turns.take(port.name, asking=asking)

    def _ingestion(self, port: PortName) -> AbstractAsyncContextManager[Ingestion]:
        """Open the transaction that takes files in; it fails when it is another node's turn by now."""
        return ingestion(self._store, lambda connection: self._turns.hold(connection, port))

    async def _must_wait(self, port: OpenInbound) -> bool:
        """Tell whether intake waits: too many unfinished messages, or too little space."""
        queue = self._ports.settings.queue
        waiting = await self._room.waiting(queue.max_ready)
        reason: str | None = None
        if waiting >= queue.max_ready:
            reason = f"{waiting} messages wait in the queue, no more files are taken until some are done."
        else:
            free = await asyncio.to_thread(_free_bytes, self._ports.settings.data)
            if free < queue.min_free_bytes:
                reason = f"Only {free / 1e6:.0f} MB are free on the disk of {self._ports.settings.data}; files wait."
        await self._trouble.paused(port.name, reason)
        return reason is not None

    async def _recover(self, port: OpenInbound, context: TaskContext) -> None:
        """Go on with what lies claimed in the work folder: settle what the store knows, ingest the rest."""
        claims = await port.receive.claimed()
        if not claims:
            return
        known = await known_deliveries(self._store, [claim.id for claim in claims])
        await port.receive.settle([
            Settled(claim=claim, settlement=known[claim.id][0], reason=known[claim.id][1])
            for claim in claims
            if claim.id in known
        ])  # fmt: skip
        unknown = [claim for claim in claims if claim.id not in known]
        log.info("files.recovered", port=port.name, settled=len(claims) - len(unknown), taken=len(unknown))
        if unknown:
            await self._take(unknown, port, context)

    async def _take(self, claims: Sequence[Claim], port: OpenInbound, context: TaskContext) -> None:
        """Ingest claimed files, in order: groups of small ones share a commit, a large one has its own."""
        for group in _groups(claims):
            if context.stopping.is_set():
                self._recovered.discard(port.name)
                return
            if len(group) == 1 and group[0].size > SMALL_BYTES:
                settled, messages = await self._ingest_large(group[0], port)
            else:
                settled, messages = await self._ingest_small(group, port)
            reach("ingest.after_commit")
            context.tally.add("files", len(group))
            context.tally.add("refused", sum(one.settlement is Settlement.QUARANTINE for one in settled))
            context.tally.add("received", messages)
            self._room.took(messages)
            context.feed.produced()
            await port.receive.settle(settled)
            reach("ingest.after_settle")

    async def _ingest_small(self, group: Sequence[Claim], port: OpenInbound) -> tuple[list[Settled], int]:
        files = await read_whole(group, port, self._pool, self._readers * 2)
        good = [file for file in files if isinstance(file, WholeFile)]
        twins = await same_content(self._store, port.name, [f.end.sha256 for f in good], [f.claim.id for f in good])
        batch_ids = [file.head.batch_id for file in good if file.head.batch_id]
        seen = await earlier_batches(self._store, port.name, batch_ids) if batch_ids else set()
        settled: list[Settled] = []
        messages = 0
        async with self._ingestion(port.name) as ingesting:
            for file in files:
                if isinstance(file, WholeFile) and port.settings.process.unique_batch_id and file.head.batch_id in seen:
                    file = BadFile(file.claim, _batch_seen(file.head.batch_id))  # noqa: PLW2901 the file changed its kind
                if isinstance(file, BadFile):
                    settled.append(await self._refuse(ingesting, file, port))
                    continue
                if file.head.batch_id and port.settings.process.unique_batch_id:
                    seen.add(file.head.batch_id)
                set_key = await _begin_set(ingesting, file.head)
                submitter = submitter_of(file.claim, port, self._ports.settings)
                new = await new_messages(file.envelopes, file.head, set_key, port)
                await ingesting.add_messages(port.name, file.claim.id, submitter, set_key, port.policy, new)
                warnings = [
                    *set_warnings(new, file.head),
                    *_file_warnings(file.claim, file.end, twins.get(file.end.sha256)),
                ]
                warnings += _batch_warning(file.head, seen)
                settled.append(
                    await self._end_file(ingesting, file.claim, file.head, file.end, set_key, warnings, port)
                )
                messages += len(new)
            reach("ingest.before_commit")
        return settled, messages

    async def _ingest_large(self, claim: Claim, port: OpenInbound) -> tuple[list[Settled], int]:
        """Stream one large file into an open transaction; a bad end rolls all of it back."""
        try:
            return await self._stream(claim, port)
        except FileRefused as error:
            async with self._ingestion(port.name) as ingesting:
                settled = await self._refuse(ingesting, BadFile(claim, error), port)
            return [settled], 0

    async def _stream(self, claim: Claim, port: OpenInbound) -> tuple[list[Settled], int]:
        submitter = submitter_of(claim, port, self._ports.settings)
        async with self._ingestion(port.name) as ingesting, aclosing(read_file(claim, port, self._pool)) as pieces:
            head, set_key, warnings, messages = None, None, list[tuple[str, str]](), 0
            async for piece in pieces:
                match piece:
                    case FileHead():
                        if head is not None:
                            raise FileRefused("The reader ended in the middle of the file.", code="worker.crashed")
                        head = piece
                        seen = (
                            await earlier_batches(self._store, port.name, [head.batch_id]) if head.batch_id else set()
                        )
                        if seen and port.settings.process.unique_batch_id:
                            raise _batch_seen(head.batch_id)
                        warnings += _batch_warning(head, seen)
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


def _result_of(sweep: asyncio.Task[bool]) -> bool | StoreUnavailable:
    """Return whether a look took files, or that the store went away meanwhile."""
    try:
        return sweep.result()
    except StoreUnavailable as error:
        return error
    except asyncio.CancelledError:
        return False


def _reason(claim: Claim, error: FileRefused) -> str:
    place = (
        ""
        if error.line is None
        else f"Place:   line {error.line}" + (f", column {error.column}\n" if error.column else "\n")
    )
    return (
        f"The gateway could not take this file; nothing of it took effect.\n\n"
        f"File:    {claim.display}\nPort:    {claim.port}\nCode:    {error.code}\n{place}Reason:  {error.message}\n\n"
        f"Mend the file and put it into the inbound folder again.\n"
    )


def _batch_seen(batch_id: str | None) -> FileRefused:
    return FileRefused(
        f"The BatchId '{batch_id}' was received before; this port takes each one once.", code="batch.duplicate"
    )


def _batch_warning(head: FileHead, seen: set[str]) -> list[tuple[str, str]]:
    if head.batch_id is None or head.batch_id not in seen:
        return []
    return [("batch.repeated", f"The BatchId '{head.batch_id}' was received before; this file is a set of its own.")]


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


def _groups(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
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


def _free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
