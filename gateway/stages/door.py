"""Who may run beside whom."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
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
        self._turn = asyncio.Lock()
        self._empty = asyncio.Event()
        self._empty.set()
        self._inside = 0

    @asynccontextmanager
    async def enter(self, *, alone: bool) -> AsyncIterator[None]:
        """Be inside for the length of the block; those who come while a suspect is or wants to be alone wait."""
        await self._turn.acquire()
        others = _Once(self._turn.release)
        try:
            if alone:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._alone_seconds):
                        await self._empty.wait()
                asyncio.get_running_loop().call_later(self._alone_seconds, others)
            else:
                others()
            self._inside += 1
            self._empty.clear()
            try:
                yield
            finally:
                self._inside -= 1
                if self._inside == 0:
                    self._empty.set()
        finally:
            others()


class _Once:
    """Calls a function at the first call only."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function: Callable[[], None] | None = function

    def __call__(self) -> None:
        function, self._function = self._function, None
        if function is not None:
            function()
