"""The feed of a task that runs by itself: it handles what it finds."""

import asyncio
from collections.abc import Callable


class OneShotFeed:
    """Nothing comes while the task runs (`gateway.contracts.task.Feed`). `told` hears that it has made something."""

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        self._told = told

    async def more(self) -> bool:
        """Return False: what there is, is there."""
        return False

    async def hinted(self) -> None:
        """Wait for ever: nobody hints."""
        await asyncio.Event().wait()

    def produced(self) -> None:
        """Tell those who work on what comes."""
        self._told()

    @property
    def closed(self) -> bool:
        """Return False: a run that has begun goes on to its end, unless it is stopped."""
        return False

    @property
    def once(self) -> bool:
        """Return True: what comes later belongs to the next occurrence. Source: batch reference, section 21."""
        return True
