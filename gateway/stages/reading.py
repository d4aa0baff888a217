"""Read claimed files to their ends, a few side by side; what is read of them goes into spools."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from typing import TypeVar

import structlog

from gateway.domain.delivery import Claim
from gateway.domain.envelope import FileEnd, FileHead, ReadEnvelope
from gateway.domain.errors import FileRefused
from gateway.domain.ids import ClaimId, PortName
from gateway.stages.port import OpenInbound
from gateway.stages.spool import Spool, Spools
from gateway.xml.pool import WorkerDied, XmlPool

log = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A file, read to its end and good."""

    claim: Claim
    head: FileHead
    spool: Spool
    end: FileEnd


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that cannot be taken."""

    claim: Claim
    error: FileRefused


async def read_whole(
    claims: Sequence[Claim], port: OpenInbound, pool: XmlPool, spools: Spools, keep: ExitStack, side_by_side: int
) -> list[WholeFile | BadFile]:
    """Read files, a few at a time; one entry each, in order. Their spools are closed with *keep*.

    Raises: ReadersUnavailable, SpoolFull, LeaseLost, AdapterUnavailable; nothing goes on behind them.
    """
    limit = asyncio.Semaphore(side_by_side)

    async def one(claim: Claim) -> WholeFile | BadFile:
        async with limit:
            return await _read_whole(claim, port, pool, spools, keep)

    tasks = [asyncio.create_task(one(claim), name=f"read:{claim.display}") for claim in claims]
    try:
        return [await task for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # before their spools are closed


async def until_read(read: Callable[[bool], Awaitable[T]], *, port: PortName, file: str, claim_id: ClaimId | None) -> T:
    """Return what *read* returns; it is told whether it must read the file alone. A released message is of a
    file that was settled long ago, without claim.

    Rule: a reader that dies proves nothing against its file, it may have been ended or spoiled by something else. A
    file whose readers die twice although it is alone with them is poison.
    Raises: FileRefused, then, or when *read* does; ReadersUnavailable.
    """
    for alone in (False, True, True):
        try:
            return await read(alone)
        except WorkerDied as error:
            log.warning("reader.died", port=port, file=file, claim_id=claim_id and str(claim_id), alone=alone,
                        error=error.message)  # fmt: skip
            last = error
    raise FileRefused(
        f"Three readers ended while they read the file, two of them new and with nothing else to do. "
        f"The last one: {last.message}",
        code="worker.crashed",
    ) from last


async def _read_whole(
    claim: Claim, port: OpenInbound, pool: XmlPool, spools: Spools, keep: ExitStack
) -> WholeFile | BadFile:
    async def read(alone: bool) -> WholeFile:
        head: FileHead | None = None
        end: FileEnd | None = None
        await asyncio.to_thread(spools.require_room, claim.size)
        with ExitStack() as dropped:  # with a reader that dies, and with a file that is refused
            spool = dropped.enter_context(spools.open())
            async with aclosing(read_file(claim, port, pool, alone=alone)) as pieces:
                async for piece in pieces:
                    match piece:
                        case FileHead():
                            head = piece
                        case FileEnd():
                            end = piece
                        case _:
                            await spool.add(piece)
            keep.enter_context(dropped.pop_all())
        assert head is not None and end is not None
        return WholeFile(claim, head, spool, end)

    try:
        return await until_read(read, port=claim.port, file=claim.display, claim_id=claim.id)
    except FileRefused as error:
        return BadFile(claim, error)


async def read_file(
    claim: Claim, port: OpenInbound, pool: XmlPool, *, alone: bool
) -> AsyncGenerator[FileHead | Sequence[ReadEnvelope] | FileEnd, None]:
    """Read one claimed file, once.

    Raises: FileRefused; WorkerDied when its reader ended, ReadersUnavailable when there is none.
    """
    if claim.hard_linked:
        raise FileRefused(
            "The file has a second name (hard link), so its owner need not be its sender. Copy it instead.",
            code="entry.hardlink",
        )
    try:
        with port.receive.open(claim) as descriptor:
            reading = pool.read(descriptor, port.rules, port=port.name, weight=port.weight, alone=alone)
            async with aclosing(reading) as pieces:
                async for piece in pieces:
                    yield piece
    except OSError as error:
        raise FileRefused(f"The claimed file cannot be read: {error.strerror}.", code="file.unreadable") from error
