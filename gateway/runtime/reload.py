"""Take a changed configuration into use while running: only the changed ports, or nothing at all.

Rule: following the file is a convenience. Whatever happens to it or to its folder, the gateway goes on as it is.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from gateway.config.changes import compare
from gateway.config.load import load
from gateway.config.models import Settings
from gateway.domain.errors import ConfigError, GatewayError, StoreUnavailable
from gateway.runtime.jobs import runnables_to_check
from gateway.store.waiting import wait_or_stop

log = structlog.get_logger()

POLL_SECONDS: Final = 0.5

Apply = Callable[[Settings, Settings], Awaitable[None]]
"""Take the second configuration into use in place of the first; when it cannot, raise and change nothing."""


class ConfigFollower:
    """Applies every valid change of a file; an invalid one is refused whole, and the configuration in use goes on.

    The file is looked at, not watched: one look costs less than a watch does, and needs nothing that can run out.
    """

    def __init__(self, path: Path, settings: Settings, apply: Apply) -> None:
        self._path = path
        self._current = settings
        self._apply = apply
        self._seen: object = None  # at the last poll
        self._done: object = None  # what was dealt with; None: also a change made before the first poll is found
        self._waits = False  # for the database

    async def run(self, stopping: asyncio.Event) -> None:
        """Poll until *stopping* is set."""
        while not stopping.is_set():
            await self.poll()
            await wait_or_stop(stopping, POLL_SECONDS)

    async def poll(self) -> None:
        """Look at the file once; what two polls in a row see the same is taken up, so nothing half written is."""
        found = await asyncio.to_thread(_signature, self._path)
        settled, self._seen = found == self._seen, found
        if not settled or found == self._done:
            return
        if isinstance(found, str):
            log.warning("config.unreadable", path=str(self._path), error=found)
            self._done = found
            return
        try:
            await self._take_up()
        except StoreUnavailable as error:  # tried again at the next poll
            if not self._waits:
                log.warning("store.unavailable", part="configuration", error=error.message)
            self._waits = True
            return
        except ConfigError as error:
            self._refuse([str(problem) for problem in error.problems])
        except GatewayError as error:
            self._refuse([error.message])
        except Exception as error:  # this task's end would be the end of the gateway
            log.exception("config.failed", path=str(self._path))
            self._refuse([f"{type(error).__name__}: {error}"])
        self._done, self._waits = found, False

    async def _take_up(self) -> None:
        runnables = runnables_to_check(self._path)
        changed = await asyncio.to_thread(load, self._path, os.environ, runnables=runnables)
        changes = compare(self._current, changed)
        if not changes:
            return
        await self._apply(self._current, changed)
        self._current = changed
        if changes.restart_needed:
            log.warning("config.restart_needed", path=str(self._path), options=list(changes.restart_needed))
        log.info(
            "config.reloaded", path=str(self._path), added=list(changes.added), removed=list(changes.removed),
            changed=list(changes.changed), at_once=list(changes.at_once),
        )  # fmt: skip

    def _refuse(self, problems: list[str]) -> None:
        log.error("config.refused", path=str(self._path), problems=problems)


def _signature(path: Path) -> tuple[int, int, int] | str:
    """Return what differs when a file was written or replaced, or why it cannot be looked at."""
    try:
        status = path.stat()
    except OSError as error:
        return error.strerror or str(error)
    return status.st_ino, status.st_mtime_ns, status.st_size
