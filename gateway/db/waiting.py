"""Waiting well: never in vain, never for ever, and to the end where stopping half-way would be wrong."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterator
from itertools import count
from typing import TypeVar

from gateway.kernel.retry import CONNECT

Result = TypeVar("Result")


async def uninterrupted(work: Awaitable[Result], on_cancel: Callable[[], None] | None = None) -> Result:
    """Wait for *work* to end even when we are cancelled meanwhile; the cancellation is raised afterwards.

    `on_cancel` is called at each cancellation and may make the work end sooner.
    """
    task = asyncio.ensure_future(work)
    interruption: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            interruption = error
            if on_cancel is not None:
                on_cancel()
    if interruption is not None:
        if not task.cancelled():
            task.exception()  # seen; being cancelled outweighs it
        raise interruption
    return task.result()


async def wait_for_all(tasks: Collection[asyncio.Task[Result]]) -> None:
    """Wait for all of *tasks* to end; when we are cancelled meanwhile they are, too, and that is raised afterwards."""
    if not tasks:
        return
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise


def back_off() -> Iterator[float]:
    """Yield the waits of `CONNECT` in seconds, one for each failure."""
    return (CONNECT.delay(failures, random.random()) for failures in count(1))  # noqa: S311 (not a secret)


async def wait_or_stop(stopping: asyncio.Event, seconds: float) -> None:
    """Return after *seconds*, or as soon as *stopping* is set."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass


async def wait_for_any(seconds: float, *events: asyncio.Event) -> None:
    """Return after *seconds*, or as soon as one of *events* is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)
