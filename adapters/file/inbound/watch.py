"""Hints that a poll of an inbound folder may be worth it; they may be lost, a sweep decides.

The kernel tells what happens within one folder. It tells neither that the folder came back nor what other machines
change, so the folder's identity is checked from time to time and a missing folder is waited for.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack, aclosing, suppress
from pathlib import Path
from typing import TypeVar

import structlog

from adapters.file import linux
from adapters.file.linux import FOLDER_GONE, GONE, WHOLE, Event, Happened
from gateway.kernel.retry import Backoff

log = structlog.get_logger()
T = TypeVar("T")

_GROUP_SECONDS = 0.01  # what happens within it gives one hint, unless a file is there as a whole before
_IDENTITY_SECONDS = 2.0
_TRY_AGAIN = Backoff(first_seconds=0.25, most_seconds=5.0)


async def watch_folder(
    path: Path,
    *,
    executor: Executor,
    renamed: set[bytes],
    force_polling: bool = False,
    poll_seconds: float = 1.0,
) -> AsyncIterator[None]:
    """Yield whenever files appear or change in *path*, and whenever the folder (re)appears, for ever.

    Shape: our own renames out of the folder give no hint. *renamed* holds, as far as is known, the names of the
    files that came into the folder by a rename and were not written to since. *poll_seconds* counts with
    *force_polling* only, and where there are no events. The folder is asked in *executor*: one that hangs keeps a
    thread of it, and nobody else.
    """
    failures, reported = 0, ""
    while True:
        try:
            watching = (
                _changes(path, executor, renamed)
                if linux.EVENTS_AVAILABLE and not force_polling
                else _differences(path, executor, poll_seconds)
            )
            async with aclosing(watching):
                async for _ in watching:
                    failures, reported = 0, ""
                    yield None
        except FileNotFoundError:
            pass  # waited for; the port says that it is missing
        except OSError as error:
            if reported != str(error):
                reported = str(error)
                log.warning("folder.watch_failed", folder=str(path), reason=reported)
            yield None
        finally:
            renamed.clear()
        failures += 1
        await asyncio.sleep(_TRY_AGAIN.delay(failures))


async def _changes(path: Path, executor: Executor, renamed: set[bytes]) -> AsyncGenerator[None, None]:
    """Yield at the beginning and per group of changes; return when the folder is no longer the one we began with."""
    happened, whole = asyncio.Event(), asyncio.Event()
    group: list[Event] = []
    loop = asyncio.get_running_loop()

    def read() -> None:  # at once: for as long as something is unread the loop turns and turns
        new = list(linux.events(fd))
        group.extend(new)
        happened.set()
        if any(event.what & (WHOLE | FOLDER_GONE) for event in new):
            whole.set()

    before = await _in_thread(executor, lambda: _identity(path))
    with ExitStack() as stack:
        fd = await _in_thread(executor, lambda: stack.enter_context(linux.watched(path)))
        loop.add_reader(fd, read)
        try:
            yield None
            while True:
                await _wait(happened, _IDENTITY_SECONDS)
                if not happened.is_set():
                    if await _in_thread(executor, lambda: _identity(path)) != before:
                        return
                    continue
                await _wait(whole, _GROUP_SECONDS)
                happened.clear()
                whole.clear()
                # a folder made anew often gets the number of the old one: the event says more than the identity
                if any(event.what & FOLDER_GONE for event in group):
                    return
                worth_a_poll = _note(group, renamed)
                group.clear()
                if worth_a_poll:
                    yield None
        finally:
            loop.remove_reader(fd)


def _note(group: Iterable[Event], renamed: set[bytes]) -> bool:
    """Follow which files were renamed in and left alone since; tell whether a poll may find something."""
    worth_a_poll = False
    for event in group:
        if event.what & Happened.LOST:
            renamed.clear()
        elif event.what & Happened.RENAMED_IN:
            renamed.add(event.name)
        elif not event.what & Happened.CHANGED:
            renamed.discard(event.name)
        worth_a_poll |= not event.what & GONE
    return worth_a_poll


async def _differences(path: Path, executor: Executor, poll_seconds: float) -> AsyncGenerator[None, None]:
    """Yield at the beginning and whenever a listing shows what the one before did not; for folders without events."""
    seen = await _in_thread(executor, lambda: _listing(path))
    yield None
    while True:
        await asyncio.sleep(poll_seconds)
        before, seen = seen, await _in_thread(executor, lambda: _listing(path))
        if not seen.items() <= before.items():
            yield None


def _listing(path: Path) -> Mapping[bytes, tuple[int, int, int]]:
    found = {}
    with os.scandir(os.fsencode(path)) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            found[entry.name] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


async def _in_thread(executor: Executor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(executor, work)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells this folder from another of the same path, None when there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
