"""What moves bytes between a port's address and us. An adapter knows transport, never content.

A receive adapter polls, opens, settles and recovers; a send adapter stages, publishes and recovers. Whatever else is
asked of one says what it sees or when to come again, and changes nothing. An address may be a folder, a server or a
mailbox: nothing here says which. `tests/contract` holds each adapter to what is written here.
"""

from collections.abc import AsyncIterator, Callable, Sequence, Set
from contextlib import AbstractContextManager
from datetime import date
from typing import Protocol

from gateway.kernel.errors import GatewayError
from gateway.kernel.ids import ClaimId
from gateway.messaging.rules.delivery import Claim, OutgoingFile, Promise, Settled, SkippedFile, StagingPlace

Opener = Callable[[Claim], AbstractContextManager[int]]
"""Opens what was claimed for reading, from its beginning to an end that comes.

It is a descriptor because another process reads it; what is no file of its own goes into one without a name.
Raises: LeaseLost when it is gone, because another node settled it; FileRefused when it must not be read;
AdapterUnavailable.
"""


class ReceiveAdapter(Protocol):
    """Claims files at one inbound address, each exactly once.

    A crash leaves every file either at the address or claimed under its id, never both and never neither. `recover`
    finds what is claimed, so nothing needs to be remembered.
    """

    async def poll(self, limit: int) -> Sequence[Claim]:
        """Claim up to *limit* complete files, in file-name order; when this returns, every claim is durable.

        Raises: AdapterUnavailable when the address cannot be used; files stay where they are.
        """
        ...

    def open(self) -> AbstractContextManager[Opener]:
        """Get ready, once, for all claimed files that are opened in the block. Raises: AdapterUnavailable."""
        ...

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Archive, delete or quarantine claimed files; one durable flush for all. A file already gone is fine."""
        ...

    async def recover(self) -> Sequence[Claim]:
        """Return everything that is claimed, in claim order: what a crash left behind."""
        ...

    async def purge(self, before: date, keep: Set[ClaimId]) -> int:
        """Remove what was archived before that day (UTC), but none of *keep*; returns how many went."""
        ...

    async def claimed(self) -> Set[ClaimId]:
        """Return the ids of everything that is claimed now."""
        ...

    async def may_find(self) -> bool:
        """Tell whether a poll may find something: False when nothing is at the address and nothing waited there.

        Raises: AdapterUnavailable.
        """
        ...

    def skipped(self) -> Sequence[SkippedFile]:
        """Return what the last poll saw and did not claim, with the reason."""
        ...

    def next_poll_seconds(self) -> float | None:
        """Return in how many seconds a skipped file may have become complete, None when none can."""
        ...

    def hints(self) -> AsyncIterator[None]:
        """Yield when a poll may be worth it. Hints may be lost; the gateway polls from time to time anyway."""
        ...


class SendAdapter(Protocol):
    """Delivers files to one outbound address: staged, promised by the store, then published in one step.

    A crash between the calls leaves either the staged file or the published one. The absence of a promised
    staged file is the proof of publication, in the very place where it was staged; nothing but `publish` may remove it.
    """

    async def stage(self, files: Sequence[OutgoingFile]) -> Sequence[GatewayError | None]:
        """Write files where the partner cannot see them and make them durable, one flush for all.

        Before: `place` was asked; files are staged there or, when that is another place by now, nowhere.
        Returns one entry per file, in order: None when durable, else the error. A failed file is removed.
        """
        ...

    async def publish(self, promises: Sequence[Promise]) -> Sequence[GatewayError | None]:
        """Show promised files to the partner under their final names, for good; one entry per promise, in order.

        A staged file that is gone was published before: that counts as done, where it was staged.
        """
        ...

    async def recover(self) -> Sequence[str]:
        """Return the names of everything that is staged: what a crash left behind, and what is on its way."""
        ...

    async def discard(self, staged_names: Sequence[str]) -> None:
        """Remove staged files that no promise names (their lease was lost before the promise)."""
        ...

    async def place(self) -> StagingPlace:
        """Return where files are staged; a new place gets its identity. Promises made there hold only there.

        Raises: AdapterUnavailable.
        """
        ...

    async def probe(self) -> None:
        """See whether files can be delivered now; changes nothing. Raises: AdapterUnavailable."""
        ...
