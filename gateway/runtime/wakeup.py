"""What wakes those who look for work: file events, due times, hints from other processes, and the sweep.

Everything here only shortens waiting; a look that comes too often or too late changes nothing but latency.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from gateway.batch.engine.engine import Engine
from gateway.batch.events.event_jobs import EventJobs
from gateway.db.open import Store
from gateway.kernel.errors import StoreUnavailable
from gateway.messaging.flow.port import OpenInbound
from gateway.messaging.queue.leases import wake_due
from gateway.messaging.rules.states import Stage

log = structlog.get_logger()

_POLL_SECONDS = 5.0
_NEARLY = 0.01


class Wakeup:
    """Wakes the event-driven jobs and the engine, once they are there; before that, their first look finds all.

    `due` is set when something may have begun to wait: the next due time is then asked for at once.
    """

    def __init__(self) -> None:
        self.due = asyncio.Event()
        self._jobs: EventJobs | None = None
        self._engine: Engine | None = None

    def begin(self, jobs: EventJobs, engine: Engine) -> None:
        """Wake these from now on."""
        self._jobs, self._engine = jobs, engine

    def stage(self, stage: Stage) -> None:
        """Hint that a stage may have input."""
        if self._jobs is not None:
            self._jobs.wake(stage)

    def stages(self) -> None:
        """Hint that every stage may have input."""
        for stage in Stage:
            self.stage(stage)

    def jobs(self) -> None:
        """Hint that a job, a run, a group or a server may have changed."""
        if self._jobs is not None and self._engine is not None:
            self._jobs.look_again()
            self._engine.wake()

    def produced(self, handler: str) -> None:
        """Hint those who go on with what a task of a job has made, by the name of its handler."""
        if self._jobs is not None and handler in set(Stage):
            self._jobs.produced(Stage(handler))


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
        waiting = port.receive.next_poll_seconds()
        until_sweep = next_sweep - loop.time()
        # a waiting file is looked at when it is due; the short poll notices one that began to wait meanwhile
        await asyncio.sleep(max(_NEARLY, min(until_sweep, 0.5 if waiting is None else waiting)))
        if loop.time() >= next_sweep:
            next_sweep = loop.time() + port.settings.receive.sweep_seconds
            wake()
        elif waiting is not None and (port.receive.next_poll_seconds() or 0.0) <= _NEARLY:
            wake()


async def follow_due_times(store: Store, wakeup: Wakeup) -> None:
    """Wake messages whose waiting time is over; the database's clock decides."""
    while True:
        pause = _POLL_SECONDS
        try:
            woken, seconds = await wake_due(store)
        except StoreUnavailable:
            log.debug("store.unavailable", part="due times")
        else:
            for stage in woken:
                wakeup.stage(stage)
            if seconds is not None:
                pause = min(max(seconds, 0.1), 1.0)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await wakeup.due.wait()
        wakeup.due.clear()
