"""Addresses without a folder: a post box in memory that partners fill and empty, as an AS2 or queue server has them.

What a post box holds outlives its adapters, as a server does; an adapter that is made anew is one after a crash.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

from gateway.kernel.errors import AdapterUnavailable, FileRefused, GatewayError, LeaseLost
from gateway.kernel.ids import ClaimId, PortName
from gateway.messaging.rules.delivery import (
    Claim,
    OutgoingFile,
    Promise,
    Settled,
    Settlement,
    SkippedFile,
    StagingPlace,
)

RECEIVED_AT = datetime(2031, 2, 3, tzinfo=UTC)
MOST_BYTES = 1_000_000


@dataclass
class InBox:
    """What a partner sent to us, what we claimed of it, and what we keep of that."""

    port: PortName
    sender: str | None = "PARTNER-AS2"
    waiting: dict[bytes, bytes] = field(default_factory=dict)
    claimed: dict[ClaimId, tuple[Claim, bytes]] = field(default_factory=dict)
    archived: dict[ClaimId, date] = field(default_factory=dict)
    refused: dict[bytes, str | None] = field(default_factory=dict)
    closed: bool = False
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000_000)))
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def deliver(self, name: bytes, content: bytes) -> None:
        """Let the partner send something."""
        self.waiting[name] = content
        self.arrived.set()


class PostBoxReceiver:
    """Claims what lies in a post box (`gateway.contracts.adapter.ReceiveAdapter`)."""

    def __init__(self, box: InBox) -> None:
        self._box = box
        self._skipped: list[SkippedFile] = []

    def _require(self) -> None:
        if self._box.closed:
            raise AdapterUnavailable("The server of the post box does not answer.", port=self._box.port)

    async def poll(self, limit: int) -> Sequence[Claim]:
        self._require()
        box, self._skipped = self._box, []
        claims: list[Claim] = []
        for name in sorted(box.waiting):
            if not name.endswith(b".xml"):
                self._skipped.append(
                    SkippedFile(name=name, display=ascii(name)[2:-1], code="not-matched", text="It is no document.",
                                since=RECEIVED_AT)
                )  # fmt: skip
            elif len(claims) < limit:
                content = box.waiting.pop(name)
                number = next(box.numbers)
                claim = Claim(
                    id=ClaimId(UUID(int=number)), port=box.port, name=name, display=ascii(name)[2:-1],
                    handle=b"%d" % number, size=len(content), modified_at=RECEIVED_AT, owner=box.sender,
                )  # fmt: skip
                box.claimed[claim.id] = claim, content
                claims.append(claim)
        return claims

    @contextmanager
    def open(self) -> Iterator[Callable[[Claim], AbstractContextManager[int]]]:
        self._require()
        yield self._opened

    @contextmanager
    def _opened(self, claim: Claim) -> Iterator[int]:
        if claim.id not in self._box.claimed:
            raise LeaseLost(f"{claim.display} is gone.", code="claim.gone")
        content = self._box.claimed[claim.id][1]
        if len(content) > MOST_BYTES:
            raise FileRefused("The server cut it off.", code="entry.cut-off")
        fd = os.memfd_create("post")
        try:
            os.write(fd, content)
            os.lseek(fd, 0, os.SEEK_SET)
            yield fd
        finally:
            os.close(fd)

    async def settle(self, settled: Sequence[Settled]) -> None:
        for item in settled:
            if self._box.claimed.pop(item.claim.id, None) is None:
                continue
            if item.settlement is Settlement.ARCHIVE:
                self._box.archived[item.claim.id] = RECEIVED_AT.date()
            elif item.settlement is Settlement.QUARANTINE:
                self._box.refused[item.claim.name] = item.reason

    async def recover(self) -> Sequence[Claim]:
        self._require()
        return [claim for _, (claim, _) in sorted(self._box.claimed.items())]

    async def purge(self, before: date, keep: Set[ClaimId]) -> int:
        gone = [one for one, day in self._box.archived.items() if day < before and one not in keep]
        for one in gone:
            del self._box.archived[one]
        return len(gone)

    async def claimed(self) -> Set[ClaimId]:
        return set(self._box.claimed)

    async def may_find(self) -> bool:
        self._require()
        return bool(self._box.waiting or self._skipped)

    def skipped(self) -> Sequence[SkippedFile]:
        return self._skipped

    def next_poll_seconds(self) -> float | None:
        return None

    async def hints(self) -> AsyncIterator[None]:
        while True:
            await self._box.arrived.wait()
            self._box.arrived.clear()
            yield None


@dataclass
class OutBox:
    """What we prepared for a partner, and what he sees."""

    port: PortName
    identity: UUID = field(default_factory=uuid4)
    staged: dict[str, bytes] = field(default_factory=dict)
    delivered: dict[str, bytes] = field(default_factory=dict)
    closed: bool = False


class PostBoxSender:
    """Delivers to a post box (`gateway.contracts.adapter.SendAdapter`)."""

    def __init__(self, box: OutBox) -> None:
        self._box = box

    async def stage(self, files: Sequence[OutgoingFile]) -> Sequence[GatewayError | None]:
        self._box.staged |= {file.staged_name: file.content for file in files}
        return [None] * len(files)

    async def publish(self, promises: Sequence[Promise]) -> Sequence[GatewayError | None]:
        return [self._publish(promise) for promise in promises]

    def _publish(self, promise: Promise) -> GatewayError | None:
        box = self._box
        if box.closed:
            return AdapterUnavailable("The partner's server does not answer.", port=box.port)
        if promise.staged_name in box.staged:
            box.delivered[promise.final_name] = box.staged.pop(promise.staged_name)
        elif promise.staging not in (None, box.identity):
            return AdapterUnavailable("It was prepared in another post box.", port=box.port)
        return None

    async def recover(self) -> Sequence[str]:
        return sorted(self._box.staged)

    async def discard(self, staged_names: Sequence[str]) -> None:
        for name in staged_names:
            self._box.staged.pop(name, None)

    async def place(self) -> StagingPlace:
        return StagingPlace(id=self._box.identity, where=f"the post box of {self._box.port}")

    async def probe(self) -> None:
        if self._box.closed:
            raise AdapterUnavailable("The partner's server does not answer.", port=self._box.port)
