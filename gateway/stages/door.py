"""Who may run beside whom."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Door:
    """Lets chunks in side by side, and a chunk with a suspect alone.

    A suspect is a message that was at work when the process ended. When it runs alone and the process ends again,
    nobody else can be blamed.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._empty = asyncio.Event()
        self._empty.set()
        self._inside = 0

    @asynccontextmanager
    async def enter(self, *, alone: bool) -> AsyncIterator[None]:
        """Be inside for the length of the block; those who come while somebody is or wants to be alone wait."""
        if alone:
            async with self._turn:
                await self._empty.wait()
                yield
            return
        async with self._turn:
            self._inside += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if self._inside == 0:
                self._empty.set()
