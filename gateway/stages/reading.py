"""Read claimed files: small ones whole and side by side, large ones as a stream."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

import structlog

from gateway.domain.delivery import Claim
from gateway.domain.envelope import FileEnd, FileHead, ReadEnvelope
from gateway.domain.errors import FileRefused
from gateway.domain.ids import ClaimId, PortName
from gateway.stages.port import OpenInbound
from gateway.xml.pool import WorkerDied, XmlPool

log = structlog.get_logger()
T = TypeVar("T")

SMALL_BYTES = 1_000_000
"""Up to this size a file is read whole before its transaction opens; several share one."""


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A small file, read to its end and good."""

    claim: Claim
    head: FileHead
    envelopes: Sequence[ReadEnvelope]
    end: FileEnd


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that cannot be taken."""

    claim: Claim
    error: FileRefused


async def read_whole(
    claims: Sequence[Claim], port: OpenInbound, pool: XmlPool, side_by_side: int
) -> list[WholeFile | BadFile]:
    """Read small files, a few at a time; one entry each, in order."""
    limit = asyncio.Semaphore(side_by_side)

    async def one(claim: Claim) -> WholeFile | BadFile:
        async with limit:
            return await _read_whole(claim, port, pool)

    return list(await asyncio.gather(*(one(claim) for claim in claims)))


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


async def _read_whole(claim: Claim, port: OpenInbound, pool: XmlPool) -> WholeFile | BadFile:
    async def read(alone: bool) -> WholeFile:
        envelopes: list[ReadEnvelope] = []
        head: FileHead | None = None
        end: FileEnd | None = None
        async with aclosing(read_file(claim, port, pool, alone=alone)) as pieces:
            async for piece in pieces:
                match piece:
                    case FileHead():
                        head = piece
                    case FileEnd():
                        end = piece
                    case _:
                        envelopes += piece
        assert head is not None and end is not None
        return WholeFile(claim, head, envelopes, end)

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
            async with aclosing(pool.read(descriptor, port.rules, alone=alone)) as pieces:
                async for piece in pieces:
                    yield piece
    except OSError as error:
        raise FileRefused(f"The claimed file cannot be read: {error.strerror}.", code="file.unreadable") from error
