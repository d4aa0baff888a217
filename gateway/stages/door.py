"""Who may run beside whom."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Final

ALONE_SECONDS: Final = 10.0
"""How long a suspect waits for the others to be out, and the others for a suspect that is in. Nothing may stand still
for as long as a slow operation takes."""


class Door:
    """Lets chunks in side by side, and a chunk with a suspect alone.

    A suspect is a message that was at work when the process ended. When it runs alone and the process ends again,
    nobody else can be blamed.
    """

    def __init__(self, alone_seconds: float = ALONE_SECONDS) -> None:
        self._alone_seconds = alone_seconds
        self._suspects = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._empty = asyncio.Event()
        self._empty.set()
        self._inside = 0

    @asynccontextmanager
    async def enter(self, *, alone: bool) -> AsyncIterator[None]:
        """Be inside for the length of the block; those who come while a suspect is or wants to be alone wait.

        Rule: between two suspects everybody else who waits goes in, so that nobody waits for more than one of them.
        """
        with ExitStack() as mine:
            for lock in (self._suspects, self._turn) if alone else (self._turn,):
                await lock.acquire()
                mine.callback(lock.release)
            if alone:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._alone_seconds):
                        await self._empty.wait()
                asyncio.get_running_loop().call_later(self._alone_seconds, mine.close)
            else:
                mine.close()
            self._inside += 1
            self._empty.clear()
            try:
                yield
            finally:
                self._inside -= 1
                if self._inside == 0:
                    self._empty.set()
