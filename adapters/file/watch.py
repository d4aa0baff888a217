"""Hints that a look at an inbound folder may be worth it; they may be lost, a sweep decides.

watchfiles tells what happened within one folder. It notices neither that the folder came back nor changes made
by other machines, so the folder's identity is checked from time to time and a missing folder is waited for.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import anyio.to_thread
import structlog
from watchfiles import Change, awatch

log = structlog.get_logger()

_STEP_MS = 10  # quiet time that ends a group of events; the thread wakes this often, at under 1 % of a core
_DEBOUNCE_MS = 50
_IDENTITY_SECONDS = 2.0
_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


async def watch_folder(
    path: Path, *, stop: asyncio.Event, force_polling: bool = False, poll_seconds: float = 1.0
) -> AsyncIterator[None]:
    """Yield whenever files appear or change in *path*, and whenever the folder (re)appears; end when *stop* is set.

    Shape: our own renames out of the folder give no hint. *poll_seconds* counts with *force_polling* only.
    """
    failures = 0
    while not stop.is_set():
        before = await _identity(path)
        try:
            if before is not None:
                yield None
                async for _ in _changes(path, before, stop, force_polling=force_polling, poll_seconds=poll_seconds):
                    failures = 0
                    yield None
        # in a group: RuntimeError for a name it cannot decode; by itself: OSError when the watches are used up
        except* (OSError, RuntimeError) as errors:
            reason = "; ".join(str(error) for error in errors.exceptions)
            log.warning("folder.watch_failed", folder=str(path), reason=reason)
        if stop.is_set():
            return
        pause = _BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)]
        failures += 1
        await _wait(stop, pause)


async def _changes(
    path: Path, before: tuple[int, int], stop: asyncio.Event, *, force_polling: bool, poll_seconds: float
) -> AsyncIterator[None]:
    """Yield per group of changes; return when the folder is no longer the one we began with."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    # a watch keeps a thread for as long as it lasts: give it one of its own, not one of the forty that are shared
    limiter.total_tokens += 1
    watch = awatch(
        path,
        watch_filter=_worth_a_look,
        debounce=_DEBOUNCE_MS,
        step=_STEP_MS,
        stop_event=stop,
        rust_timeout=int(_IDENTITY_SECONDS * 1000),
        yield_on_timeout=True,
        force_polling=force_polling,
        poll_delay_ms=max(1, int(poll_seconds * 1000)),
        recursive=False,
    )
    try:
        async for changes in watch:
            # a folder made anew often gets the number of the old one: the event says more than the identity
            if (Change.deleted, str(path)) in changes or (not changes and await _identity(path) != before):
                return
            if any(kind is not Change.deleted for kind, _ in changes):
                yield None
    finally:
        await watch.aclose()
        limiter.total_tokens -= 1


def _worth_a_look(_: Change, __: str) -> bool:
    return True


async def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells this folder from another of the same path, None when there is none."""
    try:
        status = await anyio.to_thread.run_sync(path.stat)
    except OSError:
        return None
    return status.st_dev, status.st_ino


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
