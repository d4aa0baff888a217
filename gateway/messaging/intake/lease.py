"""Which process takes the files of a port: one at a time, the one that holds the lease of its intake.

So files are read, and their messages numbered, in the order of their names. The others stand by: they take over when
it stops, is lost, or cannot use the address. Source: decision 21.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from asyncpg import Connection

from gateway.db.listen import CHANNEL
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.errors import LeaseLost, StoreUnavailable
from gateway.kernel.ids import PortName
from gateway.messaging.rules.states import Stage
from gateway.messaging.statements import intake_sql

_GRACE_SECONDS = 1.0


class IntakeLease:
    """The leases of this process, by port. A node that is idle holds none, so that any other may begin at once."""

    def __init__(self, store: Store, incarnation: int) -> None:
        self._store = store
        self._incarnation = incarnation
        self._ours: set[PortName] = set()
        self._runs = 0

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Be at work; with the last run that ends all leases end."""
        self._runs += 1
        try:
            yield
        finally:
            self._runs -= 1
            if self._runs == 0:
                for port in sorted(self._ours):
                    await self.end(port)

    def is_ours(self, port: PortName) -> bool:
        """Tell whether we held the lease of a port when we last claimed it."""
        return port in self._ours

    async def claim(self, port: PortName, *, request: bool) -> bool:
        """Claim or keep the lease of a port; *request* it when claimed files wait that perhaps only we can read.

        A lease that ended because another node requested it is not claimed again before that one had time to begin.
        """
        had = port in self._ours
        self._ours.discard(port)
        ours = await claim_intake(self._store, self._incarnation, port, request=request)
        if had and not ours:
            await _let_others_begin()
            ours = await claim_intake(self._store, self._incarnation, port, request=request)
        if ours:
            self._ours.add(port)
        return ours

    async def end(self, port: PortName) -> None:
        """Let another node take the files of a port."""
        if port in self._ours:
            with suppress(StoreUnavailable):  # it stays ours, and the next run ends it
                await end_intake(self._store, self._incarnation, port)
                self._ours.discard(port)

    async def guard(self, connection: Connection, port: PortName) -> None:
        """Guard an ingestion before its commit. Raises: LeaseLost when the lease is another node's by now."""
        await guard_intake(connection, self._incarnation, port)


async def _let_others_begin() -> None:
    await asyncio.sleep(_GRACE_SECONDS)


async def claim_intake(store: Store, incarnation: int, port: PortName, *, request: bool = False) -> bool:
    """Tell whether this process takes the files of a port now.

    Rule: with *request* it has claimed files that nobody else may be able to read; the owner then ends its lease, after
    what it has in hand.
    """
    async with store.transaction() as connection:
        seen = await intake_sql.read_intake(connection, port)
        if seen is None:
            return await intake_sql.begin_intake(connection, port, incarnation) is not None
        if seen.owner == incarnation:
            if seen.asking in (None, incarnation):
                return True
            await intake_sql.end_intake(connection, port, incarnation)
            await session_sql.hint(connection, CHANNEL, Stage.RECEIVE)
            return False
        if not seen.owner_lives:
            # of several heirs that saw the same dead owner one succeeds
            return await intake_sql.inherit_intake(connection, port, seen.owner, incarnation) is not None
        if request and seen.asking is None:
            await intake_sql.request_intake(connection, port, incarnation)
            await session_sql.hint(connection, CHANNEL, Stage.RECEIVE)
        return False


async def end_intake(store: Store, incarnation: int, port: PortName) -> None:
    """Let another process take the files of a port: this one cannot, or shall not any more."""
    async with store.transaction() as connection:
        await intake_sql.end_intake(connection, port, incarnation)


async def guard_intake(connection: Connection, incarnation: int, port: PortName) -> None:
    """Guard an ingestion, just before its commit: whoever wants to take over waits for that.

    Raises: LeaseLost when another process takes the files of the port by now; the transaction must be rolled back.
    """
    if await intake_sql.guard_intake(connection, port, incarnation) is None:
        raise LeaseLost(f"another node takes the files of the port '{port}' by now", port=port)
