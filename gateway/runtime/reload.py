"""Take a changed configuration into use while running: only the changed ports, or nothing at all."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import structlog
from watchfiles import awatch

from gateway.config.changes import compare
from gateway.config.load import load
from gateway.config.models import Settings
from gateway.domain.errors import ConfigError, GatewayError
from gateway.runtime.jobs import runnables_to_check

log = structlog.get_logger()

_LOOK_MILLISECONDS = 2000

Apply = Callable[[Settings, Settings], Awaitable[None]]
"""Take the second configuration into use in place of the first; when it cannot, raise and change nothing."""


async def follow_configuration(path: Path, settings: Settings, apply: Apply, stopping: asyncio.Event) -> None:
    """Apply every valid change of the file; an invalid one is refused whole, and the old configuration goes on."""
    current = settings
    async for _ in _changes(path, stopping):
        try:
            changed = await asyncio.to_thread(load, path, os.environ, runnables=runnables_to_check(path))
        except ConfigError as error:
            log.error("config.refused", path=str(path), problems=[str(problem) for problem in error.problems])
            continue
        changes = compare(current, changed)
        if not changes:
            continue
        if changes.restart_needed:
            log.warning("config.restart_needed", path=str(path), options=list(changes.restart_needed))
        try:
            await apply(current, changed)
        except GatewayError as error:
            log.error("config.refused", path=str(path), problems=[error.message])
            continue
        current = changed
        log.info(
            "config.reloaded", path=str(path), added=list(changes.added), removed=list(changes.removed),
            changed=list(changes.changed), at_once=list(changes.at_once),
        )  # fmt: skip


async def _changes(path: Path, stopping: asyncio.Event) -> AsyncIterator[None]:
    """Yield when the file may have changed; its folder is watched, because editors replace files by rename.

    Events only shorten the wait: the file is looked at every few seconds, and at once when watching begins, since
    nobody told of what changed between its first reading and now.
    """
    name, seen = path.name, None
    async for _ in awatch(
        path.parent, watch_filter=lambda _, changed: Path(changed).name == name, recursive=False, stop_event=stopping,
        debounce=200, step=50, rust_timeout=_LOOK_MILLISECONDS, yield_on_timeout=True,
    ):  # fmt: skip
        found = await asyncio.to_thread(_signature, path)
        if found != seen:
            seen = found
            yield


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Return what differs when a file was written or replaced, None while there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
