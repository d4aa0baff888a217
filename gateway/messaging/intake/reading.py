"""Read claimed files to their ends, small ones many at a time; what is read of them goes into spools."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog

from gateway.contracts.adapter import Opener
from gateway.kernel.errors import FileRefused
from gateway.kernel.ids import ClaimId, PortName
from gateway.messaging.flow.port import OpenInbound
from gateway.messaging.intake.spool import Spool, Spools
from gateway.messaging.rules.delivery import Claim
from gateway.messaging.rules.envelope import FileEnd, FileHead
from gateway.xml.pool import SMALL_BYTES, Piece, ReaderDied, XmlPool

log = structlog.get_logger()
T = TypeVar("T")

_MOST_FILES = 50
"""So many small files are read by one call of a reader."""
_TRIES = (False, True, True)
"""How often a file is read while its readers die, and whether alone."""


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
    claims: Sequence[Claim], port: OpenInbound, pool: XmlPool, spools: Spools, keep: ExitStack, readers: int
) -> list[WholeFile | BadFile]:
    """Read a large file, or small ones by as many readers as there are; one entry each, in order.

    Their spools are closed with *keep*.
    Raises: ReadersUnavailable, SpoolFull, LeaseLost, AdapterUnavailable; nothing goes on behind them.
    """
    if claims[0].size > SMALL_BYTES:
        return [await _read_one(claims[0], port, pool, spools, keep, tries=_TRIES)]
    most = min(_MOST_FILES, -(-len(claims) // readers))
    tasks = [
        asyncio.create_task(
            _read_small(claims[start : start + most], port, pool, spools, keep), name=f"read:{claims[start].display}"
        )
        for start in range(0, len(claims), most)
    ]
    try:
        return [file for task in tasks for file in await task]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # before their spools are closed


async def until_read(
    read: Callable[[bool], Awaitable[T]],
    *,
    port: PortName,
    file: str,
    claim_id: ClaimId | None,
    tries: Sequence[bool] = _TRIES,
) -> T:
    """Return what *read* returns; it is told whether it must read the file alone. A released message is of a
    file that was settled long ago, without claim. *tries* are those that are left, the last two alone.

    Rule: a reader that dies proves nothing against its file, it may have been ended or spoiled by something else. A
    file whose readers die twice although it is alone with them is poison.
    Raises: FileRefused, then, or when *read* does; ReadersUnavailable.
    """
    for alone in tries:
        try:
            return await read(alone)
        except ReaderDied as error:
            _tell(error, port, file, claim_id, alone=alone)
            last = error
    raise FileRefused(
        f"Three readers ended while they read the file, two of them new and with nothing else to do. "
        f"The last one: {last.message}",
        code="worker.crashed",
    ) from last


def _tell(error: ReaderDied, port: PortName, file: str, claim_id: ClaimId | None, *, alone: bool) -> None:
    log.warning("reader.died", port=port, file=file, claim_id=claim_id and str(claim_id), alone=alone,
                error=error.message)  # fmt: skip


async def _read_small(
    claims: Sequence[Claim], port: OpenInbound, pool: XmlPool, spools: Spools, keep: ExitStack
) -> list[WholeFile | BadFile]:
    """Read small files by one call; when its reader dies, the file in hand is read alone, those behind it by another.

    So nobody is refused for a neighbour, and what was read before the death counts.
    """
    found: list[WholeFile | BadFile] = []
    while left := claims[len(found) :]:
        try:
            with port.receive.open() as opener:
                files = [_opened(claim, opener) for claim in left]
                reading = pool.read_each(files, port.rules, port=port.name, weight=port.weight)
                async with aclosing(reading) as pieces:
                    await _collect(pieces, claims, found, spools, keep)
        except ReaderDied as error:
            in_hand = claims[len(found)]
            _tell(error, port.name, in_hand.display, in_hand.id, alone=False)
            found.append(await _read_one(in_hand, port, pool, spools, keep, tries=_TRIES[1:]))
    return found


async def _read_one(
    claim: Claim, port: OpenInbound, pool: XmlPool, spools: Spools, keep: ExitStack, *, tries: Sequence[bool]
) -> WholeFile | BadFile:
    async def read(alone: bool) -> WholeFile | BadFile:
        await asyncio.to_thread(spools.require_room, claim.size)
        found: list[WholeFile | BadFile] = []
        async with aclosing(read_file(claim, port, pool, alone=alone)) as pieces:
            await _collect(pieces, [claim], found, spools, keep)
        return found[0]

    try:
        return await until_read(read, port=claim.port, file=claim.display, claim_id=claim.id, tries=tries)
    except FileRefused as error:
        return BadFile(claim, error)


async def _collect(
    pieces: AsyncIterable[Piece | FileRefused],
    claims: Sequence[Claim],
    found: list[WholeFile | BadFile],
    spools: Spools,
    keep: ExitStack,
) -> None:
    """Add to *found* the files of *claims* that it lacks, as they end; of one that does not end nothing is kept."""
    head: FileHead | None = None
    with ExitStack() as dropped:
        async for piece in pieces:
            match piece:
                case FileHead():
                    head, spool = piece, dropped.enter_context(spools.open())
                case FileEnd():
                    assert head is not None
                    found.append(WholeFile(claims[len(found)], head, spool, piece))
                    keep.enter_context(dropped.pop_all())
                case FileRefused():
                    found.append(BadFile(claims[len(found)], piece))
                    dropped.close()
                case _:
                    await spool.add(piece)


async def read_file(claim: Claim, port: OpenInbound, pool: XmlPool, *, alone: bool) -> AsyncGenerator[Piece, None]:
    """Read one claimed file, once.

    Raises: FileRefused; ReaderDied when its reader ended, ReadersUnavailable when there is none.
    """
    with port.receive.open() as opener, _opened(claim, opener) as descriptor:
        reading = pool.read(descriptor, port.rules, port=port.name, weight=port.weight, alone=alone)
        async with aclosing(reading) as pieces:
            async for piece in pieces:
                yield piece


@contextmanager
def _opened(claim: Claim, opener: Opener) -> Iterator[int]:
    """Open a claimed file. Raises: FileRefused; LeaseLost, AdapterUnavailable."""
    try:
        with opener(claim) as descriptor:
            yield descriptor
    except OSError as error:
        raise FileRefused(f"The claimed file cannot be read: {error.strerror}.", code="file.unreadable") from error
