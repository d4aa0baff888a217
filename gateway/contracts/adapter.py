"""What moves bytes between a port's address and us. An adapter knows transport, never content."""

from collections.abc import AsyncIterator, Callable, Sequence, Set
from contextlib import AbstractContextManager
from datetime import date
from typing import Protocol

from gateway.kernel.errors import GatewayError
from gateway.kernel.ids import ClaimId
from gateway.messaging.rules.delivery import Claim, LeftInPlace, Outgoing, Promise, Settled, StagingPlace

Opener = Callable[[Claim], AbstractContextManager[int]]
"""Opens a claimed file read-only, as a descriptor that was checked to be a regular file."""


class ReceiveAdapter(Protocol):
    """Takes files from one inbound address, each exactly once.

    A crash leaves every file either at the address or in the work folder under its claim id, never in both
    and never in neither. `claimed` finds the latter again, so nothing needs to be remembered.
    """

    async def claim(self, limit: int) -> Sequence[Claim]:
        """Take up to *limit* ready files, in file-name order; when this returns, every rename is durable.

        Raises: AdapterUnavailable when the address cannot be used; files stay where they are.
        """
        ...

    async def claimed(self) -> Sequence[Claim]:
        """Return the files that lie claimed in the work folder, in claim order: what a crash left behind."""
        ...

    def opener(self) -> AbstractContextManager[Opener]:
        """Open the work folder, once for all claimed files that are opened until the end of the block."""
        ...

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Archive, delete or quarantine claimed files; one durable flush for all. A file already gone is fine."""
        ...

    async def may_find(self) -> bool:
        """Tell whether a look may find something: False when nothing is at the address and nothing waited there.

        Raises: AdapterUnavailable.
        """
        ...

    async def held(self) -> Set[ClaimId]:
        """Return the ids of everything that lies claimed now; nothing is touched."""
        ...

    async def remove_archived(self, before: date, keep: Set[ClaimId]) -> int:
        """Remove what was archived before that day (UTC), but none of *keep*; returns how many went."""
        ...

    def left_in_place(self) -> Sequence[LeftInPlace]:
        """Return what the last look saw and did not take, with the reason."""
        ...

    def hints(self) -> AsyncIterator[None]:
        """Yield when a look at the address may be worth it. Hints may be lost; a sweep decides."""
        ...

    def next_look_seconds(self) -> float | None:
        """Return in how many seconds a waiting file may have become ready, None when nothing waits."""
        ...


class SendAdapter(Protocol):
    """Delivers files to one outbound address: staged, promised by the store, then published by one rename.

    A crash between the calls leaves either the staged file or the published one. The absence of a promised
    staged file is the proof of publication, in the very place where it was staged; nothing but `publish` may remove it.
    """

    async def place(self) -> StagingPlace:
        """Return where files are staged; a new place gets its identity. Promises made there hold only there.

        Raises: AdapterUnavailable.
        """
        ...

    async def probe(self) -> None:
        """Look whether files can be delivered now; changes nothing. Raises: AdapterUnavailable."""
        ...

    async def stage(self, files: Sequence[Outgoing]) -> Sequence[GatewayError | None]:
        """Write files where the partner cannot see them and make them durable, one flush for all.

        Before: `place` was asked; files are staged there or, when that is another place by now, nowhere.
        Returns one entry per file, in order: None when durable, else the error. A failed file is removed.
        """
        ...

    async def publish(self, promises: Sequence[Promise]) -> Sequence[GatewayError | None]:
        """Rename promised files to their final names and flush the folder; one entry per promise, in order.

        A staged file that is gone was published before: that counts as done, where it was staged.
        """
        ...

    async def discard(self, staged_names: Sequence[str]) -> None:
        """Remove staged files that no promise names (their lease was lost before the promise)."""
        ...

    async def staged(self) -> Sequence[str]:
        """Return the names that lie in the staging folder."""
        ...
