"""What wakes the gateway's job: file events, due times, hints from other processes, and the sweep.

Everything here only shortens waiting; a look that comes too often or too late changes nothing but latency.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from gateway.db.open import Store
from gateway.kernel.errors import StoreUnavailable
from gateway.kernel.ids import PortName
from gateway.messaging.flow.port import OpenInbound
from gateway.messaging.queue.leases import wake_due
from gateway.messaging.rules.states import Stage

log = structlog.get_logger()

_POLL_SECONDS = 5.0
_NEARLY = 0.01


async def follow_port(port: OpenInbound, wake: Callable[[], None]) -> None:
    """Wake at file events of a port, when a waiting file may have become ready, and at every sweep."""
    wake()
    async with asyncio.TaskGroup() as group:
        group.create_task(_follow_events(port, wake), name=f"events:{port.name}")
        group.create_task(_follow_clock(port, wake), name=f"sweep:{port.name}")


async def _follow_events(port: OpenInbound, wake: Callable[[], None]) -> None:
    async for _ in port.receive.hints():
        wake()


async def _follow_clock(port: OpenInbound, wake: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    next_sweep = loop.time() + port.settings.receive.sweep_seconds
    while True:
        waiting = port.receive.next_look_seconds()
        until_sweep = next_sweep - loop.time()
        # a waiting file is looked at when it is due; the short poll notices one that began to wait meanwhile
        await asyncio.sleep(max(_NEARLY, min(until_sweep, 0.5 if waiting is None else waiting)))
        if loop.time() >= next_sweep:
            next_sweep = loop.time() + port.settings.receive.sweep_seconds
            wake()
        elif waiting is not None and (port.receive.next_look_seconds() or 0.0) <= _NEARLY:
            wake()


async def follow_due_times(store: Store, wake: Callable[[Stage], None], look: asyncio.Event) -> None:
    """Wake messages whose waiting time is over; the database's clock decides.

    *look* is set when something may have begun to wait: the next time is then asked for at once.
    """
    while True:
        pause = _POLL_SECONDS
        try:
            woken, seconds = await wake_due(store)
        except StoreUnavailable:
            log.debug("store.unavailable", part="due times")
        else:
            for stage in woken:
                wake(stage)
            if seconds is not None:
                pause = min(max(seconds, 0.1), 1.0)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await look.wait()
        look.clear()


class Followers:
    """One follower per open inbound port; a reload starts and ends them port by port."""

    def __init__(self, group: asyncio.TaskGroup, wake: Callable[[], None]) -> None:
        self._group = group
        self._wake = wake
        self._tasks: dict[PortName, asyncio.Task[None]] = {}

    def follow(self, port: OpenInbound) -> None:
        """Start following a port, in place of what was followed under its name."""
        self.leave(port.name)
        self._tasks[port.name] = self._group.create_task(follow_port(port, self._wake), name=f"port:{port.name}")

    def leave(self, name: PortName) -> None:
        """Stop following a port."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()

    def leave_all(self) -> None:
        """Stop following."""
        for name in list(self._tasks):
            self.leave(name)
