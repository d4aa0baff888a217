"""The long-lived parts of a gateway: started in order, each ready before the next, ended in the reverse order."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog

log = structlog.get_logger()

T = TypeVar("T")


class Services:
    """A list of services that grows downwards: the order of the calls is the order of the starts.

    A service is a context manager, which is ready when it is entered and has ended when it is left (`start`); or a
    loop that runs beside everything until its turn to end comes (`keep`); or work that is given time to end what it
    has begun (`drain`). A loop that fails ends all of them, and the failure comes out of this block.
    """

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._group)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    async def start(self, service: AbstractAsyncContextManager[T]) -> T:
        """Enter a service, and leave it when its turn comes."""
        return await self._stack.enter_async_context(service)

    def at_end(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do *work* when the services that come after this call have ended; not after a failure."""

        async def ending(kind: type[BaseException] | None, *_: object) -> None:
            if kind is None:
                await work()

        self._stack.push_async_exit(ending)

    def keep(self, name: str, loop: Coroutine[Any, Any, None]) -> None:
        """Run a loop that keeps nothing half done: it is cancelled when its turn comes."""
        task = self._group.create_task(loop, name=name)

        async def ending(*_: object) -> None:
            task.cancel()
            await asyncio.wait([task])

        self._stack.push_async_exit(ending)

    def drain(
        self, seconds: Callable[[], float], interrupt: Callable[[], Awaitable[None]],
        **loops: Coroutine[Any, Any, None],
    ) -> None:  # fmt: skip
        """Run loops that end by themselves after a stop is asked for; what is not done after *seconds* is cut off."""
        tasks = [self._group.create_task(loop, name=name.replace("_", " ")) for name, loop in loops.items()]

        async def ending(kind: type[BaseException] | None, *_: object) -> None:
            if kind is None:
                _done, unfinished = await asyncio.wait(tasks, timeout=seconds())
                if unfinished:
                    log.warning("gateway.drain_over", drain_seconds=seconds())
                    await interrupt()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

        self._stack.push_async_exit(ending)
