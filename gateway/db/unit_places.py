"""Which port may have the next connection for its work."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from gateway.kernel.ids import PortName
from gateway.messaging.rules.shares import Places

_KEPT_FREE: Final = 3
"""Connections of the pool that units never hold: they are for claims, and for what is short."""


class UnitPlaces:
    """Connections of the pool that units may hold. One for the process.

    Rule: of those that wait, the first whose port may hold one more gets the next. So a port whose handlers keep
    their transactions open for long holds its own share, and nobody waits in the pool until that gives up.
    """

    def __init__(self, size: int) -> None:
        self._places = Places(max(1, size - _KEPT_FREE))
        self._waiting: deque[tuple[PortName, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def place(self, port: PortName) -> AsyncIterator[None]:
        """Hold one for the length of the block, as soon as the port may."""
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append((port, mine))
        self._let_in()
        try:
            await mine
            yield
        finally:
            if mine.done() and not mine.cancelled():
                self._places.back(port)
            self._let_in()

    def _let_in(self) -> None:
        still: deque[tuple[PortName, asyncio.Future[None]]] = deque()
        for port, waiting in self._waiting:
            if waiting.done():  # given up
                continue
            if self._places.room(port) > 0:
                self._places.take(port)
                waiting.set_result(None)
            else:
                still.append((port, waiting))
        self._waiting = still
