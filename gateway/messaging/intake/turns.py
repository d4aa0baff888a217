"""Whose turn it is to take the files of a port: ours while an occurrence has something to do there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from asyncpg import Connection

from gateway.db.open import Store
from gateway.kernel.errors import StoreUnavailable
from gateway.kernel.ids import PortName
from gateway.messaging.intake.ownership import end_intake, hold_intake, take_intake

_GRACE_SECONDS = 1.0


class Turns:
    """The turns of this process. A node that is idle has none, so that any other may begin at once."""

    def __init__(self, store: Store, incarnation: int) -> None:
        self._store = store
        self._incarnation = incarnation
        self._ours: set[PortName] = set()
        self._occurrences = 0

    @asynccontextmanager
    async def occurrence(self) -> AsyncIterator[None]:
        """Be at work; with the last occurrence that ends all turns end."""
        self._occurrences += 1
        try:
            yield
        finally:
            self._occurrences -= 1
            if self._occurrences == 0:
                for port in sorted(self._ours):
                    await self.end(port)

    def has(self, port: PortName) -> bool:
        """Tell whether it was our turn when we last asked."""
        return port in self._ours

    async def take(self, port: PortName, *, asking: bool) -> bool:
        """Take or keep the turn for a port; *asking* when claimed files wait that perhaps only we can read.

        A turn that ended because another node asked for it is not taken again before that one had time to begin.
        """
        had = port in self._ours
        self._ours.discard(port)
        ours = await take_intake(self._store, self._incarnation, port, asking=asking)
        if had and not ours:
            await asyncio.sleep(_GRACE_SECONDS)
            ours = await take_intake(self._store, self._incarnation, port, asking=asking)
        if ours:
            self._ours.add(port)
        return ours

    async def end(self, port: PortName) -> None:
        """Let another node take the files of a port."""
        if port in self._ours:
            with suppress(StoreUnavailable):  # it stays ours, and the next occurrence ends it
                await end_intake(self._store, self._incarnation, port)
                self._ours.discard(port)

    async def hold(self, connection: Connection, port: PortName) -> None:
        """Guard an ingestion before its commit. Raises: LeaseLost when it is another node's turn by now."""
        await hold_intake(self._store, connection, self._incarnation, port)
