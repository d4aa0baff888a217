"""Watches for what waits although nothing is in its way, and tells it once: a bug, or a port that nobody serves."""

import asyncio
from collections.abc import Callable

import structlog

from gateway.config.models import Settings
from gateway.db.open import Store
from gateway.db.waiting import wait_or_stop
from gateway.explanations.finding import RULES, Place
from gateway.kernel.errors import StoreUnavailable
from gateway.operations.doctor import Folders, find_stuck
from gateway.operations.reads.doctor import note_stuck

log = structlog.get_logger()

LOOK_SECONDS = 30.0
"""Between two looks; what is there at two looks in a row is told: within two minutes, all waiting included."""


class StuckWatch:
    """Looks at intervals. Reads little, and writes nothing while all is well."""

    def __init__(self, store: Store, settings: Callable[[], Settings], folders: Folders) -> None:
        self._store = store
        self._settings = settings
        self._folders = folders
        self._before: set[Place] = set()
        self._told: set[Place] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Look until a stop is asked for. A database that is away is somebody else's to tell."""
        while not stopping.is_set():
            await wait_or_stop(stopping, LOOK_SECONDS)
            if stopping.is_set():
                return
            try:
                await self.look()
            except StoreUnavailable:
                log.debug("store.unavailable", part="stuck")
                self._before = set()

    async def look(self) -> list[Place]:
        """Look once; returns what was told now: there for the second time in a row, and not told yet.

        What goes and comes back is told again.
        """
        found = set(await find_stuck(self._store, self._settings(), self._folders))
        staying = found & self._before
        new = sorted(staying - self._told, key=lambda place: (place.code, place.port or "", place.what))
        if new:
            await note_stuck(self._store, new)
        self._before, self._told = found, (self._told | staying) & found
        for place in new:
            rule = RULES[place.code]
            log.warning("stuck.found", code=place.code, port=place.port, what=place.what, text=rule.text)
        return new
