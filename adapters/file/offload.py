"""Blocking folder work of one port in the shared threads: one call at a time, and never more than one that hangs."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TypeVar

from adapters.file.errors import PortFolder
from gateway.kernel.errors import AdapterUnavailable

T = TypeVar("T")


class OneAtATime:
    """Runs calls for one folder after another in the executor and gives up waiting for one that hangs.

    A thread in a dead network mount cannot be stopped. While it hangs every further call is refused at once, so
    a dead share costs one thread and the other ports go on. Work given up or cancelled may still take effect
    later: the callers keep their results where the next call finds them.
    """

    def __init__(self, executor: Executor, place: PortFolder, seconds: float) -> None:
        self._executor = executor
        self._place = place
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._running: Future[object] | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """Return what *work* returns in a thread, after the calls before it.

        Raises: AdapterUnavailable when it, or a call before it, does not come back in time.
        """
        async with self._turn:
            if self._running is not None and not self._running.done():
                raise self._hanging()
            future = self._executor.submit(work)
            self._running = future  # type: ignore[assignment]  # only asked whether it is done
            try:
                async with asyncio.timeout(self._seconds):
                    return await asyncio.wrap_future(future)
            except TimeoutError:
                # TimeoutError is also ETIMEDOUT, which *work* itself may have met
                if future.done() and not future.cancelled():
                    return future.result()
                raise self._hanging() from None

    def _hanging(self) -> AdapterUnavailable:
        where = f"The folder {self._place.path} ({self._place.setting})"
        return self._place.unavailable(
            "address.away",
            f"{where} has not answered for {self._seconds:g} seconds. Look at its disk, its server and its mount.",
        )
