"""Read claimed files: small ones whole and side by side, large ones as a stream; a dying worker gets a second try."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from gateway.domain.delivery import Claim
from gateway.domain.envelope import FileEnd, FileHead, ReadEnvelope
from gateway.domain.errors import FileRefused
from gateway.stages.port import OpenInbound
from gateway.xml.pool import WorkerDied, XmlPool

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


async def _read_whole(claim: Claim, port: OpenInbound, pool: XmlPool) -> WholeFile | BadFile:
    try:
        envelopes: list[ReadEnvelope] = []
        head: FileHead | None = None
        end: FileEnd | None = None
        async with aclosing(read_file(claim, port, pool)) as pieces:
            async for piece in pieces:
                match piece:
                    case FileHead():
                        head, envelopes = piece, []
                    case FileEnd():
                        end = piece
                    case _:
                        envelopes += piece
    except FileRefused as error:
        return BadFile(claim, error)
    assert head is not None and end is not None
    return WholeFile(claim, head, envelopes, end)


async def read_file(
    claim: Claim, port: OpenInbound, pool: XmlPool
) -> AsyncGenerator[FileHead | Sequence[ReadEnvelope] | FileEnd, None]:
    """Read one claimed file; a new FileHead after the first means that it was begun again.

    Raises: FileRefused, also when the file ends its worker twice.
    """
    if claim.hard_linked:
        raise FileRefused(
            "The file has a second name (hard link), so its owner need not be its sender. Copy it instead.",
            code="entry.hardlink",
        )
    for last_try in (False, True):
        try:
            with port.receive.open(claim) as descriptor:
                async with aclosing(pool.read(descriptor, port.rules)) as pieces:
                    async for piece in pieces:
                        yield piece
            return
        except WorkerDied as error:
            if last_try:
                raise FileRefused(
                    f"Reading the file ended the reader twice: {error.message}", code="worker.crashed"
                ) from error
        except OSError as error:
            raise FileRefused(f"The claimed file cannot be read: {error.strerror}.", code="file.unreadable") from error
