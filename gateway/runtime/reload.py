"""Take a changed configuration, or changed code of services, into use while running: all of it, or nothing at all.

Rule: following the file is a convenience. Whatever happens to it or to its folder, the gateway goes on as it is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog
from watchfiles import awatch

from gateway.config.changes import compare
from gateway.config.load import read
from gateway.config.models import Settings
from gateway.db.waiting import wait_for_any, wait_or_stop
from gateway.kernel.errors import ConfigError, GatewayError, StoreUnavailable
from gateway.runtime.code_files import Signature, signature
from gateway.runtime.in_use import KeptConfig

log = structlog.get_logger()

POLL_SECONDS: Final = 2.0
_SETTLE_SECONDS: Final = 0.1
"""After a hint: what two polls see the same is taken up."""
_WATCH_AGAIN_SECONDS: Final = 30.0

Parse = Callable[[bytes], Awaitable[Settings]]
"""Return the settings that the content of the file describes. Raises: ConfigError."""
Apply = Callable[[Settings, Settings, bool], Awaitable[None]]
"""Take the second configuration into use in place of the first, and load the code of services anew where that has
changed; when it cannot, raise and change nothing."""
Loaded = Callable[[], Mapping[str, Signature]]
"""Return the files with code of services that is in use, as they were when they were loaded."""
Report = Callable[[Sequence[str]], Awaitable[None]]
"""Tell operators why a changed configuration was refused. Raises: StoreUnavailable; it is then told again."""


class ConfigFollower:
    """Applies every valid change of a file; an invalid one is refused whole, and the configuration in use goes on.
    The files with the code that it names belong to it.

    Its folder is watched, because editors replace files by rename. That only shortens the wait: the files are polled
    whatever becomes of the watch.
    """

    def __init__(
        self, path: Path, settings: Settings, *, parse: Parse, apply: Apply, report: Report, kept: KeptConfig,
        loaded: Loaded = dict,
    ) -> None:  # fmt: skip
        self._path = path
        self._parse = parse
        self._current = settings
        self._apply = apply
        self._report = report
        self._kept = kept
        self._loaded = loaded
        self._seen: object = None  # at the last poll
        self._done: object = None  # what was dealt with; None: also a change made before the first poll is found
        self._refused = False
        self._unreported: Sequence[str] = ()
        self._waits = False  # for the database

    async def run(self, stopping: asyncio.Event) -> None:
        """Poll until *stopping* is set."""
        changed = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(_watch(self._path, changed, stopping), name="config:watch")
            while not stopping.is_set():
                soon = changed.is_set()
                changed.clear()
                await self.poll()
                await wait_for_any(_SETTLE_SECONDS if soon else POLL_SECONDS, stopping, changed)

    async def poll(self) -> None:
        """Look at the files once; what two polls in a row see the same is taken up, so nothing half written is."""
        found = await asyncio.to_thread(_look, self._path, dict(self._loaded()))
        settled, self._seen = found == self._seen, found
        try:
            if settled and found != self._done:
                is_used = await self._take_up(found)
                self._done = replace(found, code=frozenset()) if is_used else found
            if self._unreported:
                await self._report(self._unreported)
                self._unreported = ()
        except StoreUnavailable as error:  # tried again at the next poll
            if not self._waits:
                log.warning("store.unavailable", part="configuration", error=error.message)
            self._waits = True
        else:
            self._waits = False

    async def _take_up(self, found: "_Found") -> bool:
        """Take what was found into use; returns whether it is. Raises: StoreUnavailable."""
        if isinstance(found.file, str):
            log.warning("config.unreadable", path=str(self._path), error=found.file)
            await asyncio.to_thread(self._kept.refused, [f"{self._path}: cannot be read: {found.file}"])
            return False
        try:
            await self._use(sorted(path for path, _ in found.code))
        except StoreUnavailable:
            raise
        except ConfigError as error:
            await self._refuse([str(problem) for problem in error.problems])
        except GatewayError as error:
            await self._refuse([error.message])
        except Exception as error:  # the end of this task would be the end of the gateway
            log.exception("config.failed", path=str(self._path))
            await self._refuse([f"{type(error).__name__}: {error}"])
        else:
            return True
        return False

    async def _use(self, code: Sequence[str]) -> None:
        content = await asyncio.to_thread(read, self._path)
        changed = await self._parse(content)
        changes = compare(self._current, changed)
        if changes or code:
            await self._apply(self._current, changed, bool(code))
            self._current = changed
        await asyncio.to_thread(self._kept.used, content)
        mended, self._refused, self._unreported = self._refused, False, ()
        if changes.restart_needed:
            log.warning("config.restart_needed", path=str(self._path), options=list(changes.restart_needed))
        if changes or code or mended:
            log.info(
                "config.reloaded", path=str(self._path), added=list(changes.added), removed=list(changes.removed),
                changed=list(changes.changed), at_once=list(changes.at_once), code=list(code),
            )  # fmt: skip

    async def _refuse(self, problems: Sequence[str]) -> None:
        log.error("config.refused", path=str(self._path), problems=list(problems))
        await asyncio.to_thread(self._kept.refused, problems)
        self._refused, self._unreported = True, problems


async def _watch(path: Path, changed: asyncio.Event, stopping: asyncio.Event) -> None:
    """Set *changed* whenever the file may have; trouble with watching is told once per reason, and tried again."""
    told = ""
    while not stopping.is_set():
        try:
            async for _ in awatch(
                path.parent, watch_filter=lambda _, name: Path(name).name == path.name, recursive=False,
                stop_event=stopping, debounce=200, step=50,
            ):  # fmt: skip
                changed.set()
        except Exception as error:  # a name beside the file that is not UTF-8, no watches left, no folder: anything
            reason = _reason(error)
            if reason != told:
                log.warning("config.watch_failed", path=str(path), error=reason)
            told = reason
            await wait_or_stop(stopping, _WATCH_AGAIN_SECONDS)


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look saw: the file, and of the code in use the files that are not any more as they were loaded."""

    file: Signature
    code: frozenset[tuple[str, Signature]]


def _look(path: Path, loaded: Mapping[str, Signature]) -> _Found:
    now = ((file, signature(Path(file))) for file in loaded)
    return _Found(signature(path), frozenset((file, seen) for file, seen in now if seen != loaded[file]))
