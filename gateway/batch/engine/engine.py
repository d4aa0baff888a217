"""The batch engine of one server: starts what is due, claims what is ready, carries it out, ends in good order.

It sleeps until something is due, until a hint (a task ended here, somebody notified), or for the time of a slow look
that makes up for hints that got lost. It writes only when something happens. Source: batch reference, sections 13, 14.
"""

import asyncio
import random
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from gateway.batch.alerts.outbox import raise_overdue
from gateway.batch.engine.clock import Clock
from gateway.batch.engine.executor import GRACE_SECONDS, Execution, Executor
from gateway.batch.rules.capacity import next_change, reserved_of, threads_at
from gateway.batch.rules.job import Priority
from gateway.batch.rules.throttle import Throttle
from gateway.batch.store.servers import Server, list_servers
from gateway.batch.store.starting import next_moment, replan, start_due
from gateway.batch.store.tasks import claim_tasks, tasks_to_cancel
from gateway.db.open import Store
from gateway.kernel.errors import StoreUnavailable
from gateway.kernel.ids import Fence
from gateway.queues import next_entry_moment, start_entries

log = structlog.get_logger()

LOOK_SECONDS: Final = 10.0
"""The slow look: nothing depends on it but what a lost hint would have told, and that a clock was set."""
BUSY_LOOK_SECONDS: Final = 1.0
"""Between two looks at everything while there is always something to do: what is due must not wait for a rest."""


class Engine:
    """One server's share of the batch framework. `wake` may be called from anywhere on the event loop."""

    def __init__(
        self,
        *,
        store: Store,
        server: str,
        incarnation: int,
        clock: Clock,
        executor: Executor,
        stopping: asyncio.Event,
        chance: Callable[[], float] = random.random,
        look_seconds: float = LOOK_SECONDS,
        throttle: Callable[[], Throttle] = Throttle,
    ) -> None:
        self._store = store
        self._server = server
        self._incarnation = incarnation
        self._clock = clock
        self._stopping = stopping
        self._chance = chance
        self._look_seconds = look_seconds
        self._throttle = throttle
        self._executor = executor
        self._running: dict[Fence, Execution] = {}
        self._hint = asyncio.Event()
        self._look_at: float | None = None  # by the steady clock: look at everything then; None: at once
        self._freed = False
        self._facts: Server | None = None
        self._told: set[str] = set()
        self._told_at = -BUSY_LOOK_SECONDS

    @property
    def running(self) -> int:
        """Return how many tasks are in work here."""
        return len(self._running)

    def wake(self) -> None:
        """Hint that something may have become due, ready, or is to be stopped."""
        self._look_at = None
        self._hint.set()

    async def run(self) -> None:
        """Work until a stop is asked for, then let what runs end."""
        await self._begin()
        async with asyncio.TaskGroup() as group:
            while not self._stopping.is_set():
                self._hint.clear()
                try:
                    if await self._round(group):
                        continue
                    seconds = self._seconds_to_look()
                except StoreUnavailable as error:
                    self._look_at = None
                    log.warning("store.unavailable", stage="engine", error=error.message)
                    await self._store.wait_until_available(self._stopping)
                    continue
                except Exception:  # a defect in here must not stop the messages
                    self._look_at = None
                    log.exception("engine.failed")
                    seconds = self._look_seconds
                    self._hint.clear()
                await self._clock.wait(seconds, self._hint, self._stopping)
                if not self._hint.is_set():
                    self._look_at = None
            for execution in self._running.values():
                execution.stopping.set()  # taking nothing new; what runs may end

    async def _begin(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._clock.look()
                await replan(self._store, self._clock.now())
            except StoreUnavailable as error:
                log.warning("store.unavailable", stage="engine", error=error.message)
                await self._store.wait_until_available(self._stopping)
            else:
                return

    async def _round(self, group: asyncio.TaskGroup) -> bool:
        """Do what can be done now; True when there may be more at once.

        Threads that became free are filled first; while nothing else has happened that is all.
        """
        if self._freed:
            self._freed = False
            await self._claim(group, self._clock.now())
        began = self._clock.elapsed()
        if self._look_at is not None and began < self._look_at:
            return False
        self._look_at = began + BUSY_LOOK_SECONDS  # unless a hint comes, or it is known better below
        await self._look_at_clock()
        now = self._clock.now()
        due = await start_due(self._store, now)
        for started in due.started:
            log.info(
                "run.started", job=started.job, run_id=started.run_id, planned_at=started.planned_at.isoformat(),
                late_seconds=(now - started.planned_at).total_seconds(),
            )  # fmt: skip
        entries = await start_entries(self._store, now)
        for entry in entries.started:
            log.info(
                "run.started", job=entry.name, run_id=entry.run_id, planned_at=entry.planned_at.isoformat(),
                late_seconds=(now - entry.planned_at).total_seconds(),
            )  # fmt: skip
        await self._pass_on_cancels()
        found = await list_servers(self._store, self._server)
        self._facts = found[0] if found else None
        await self._claim(group, now)
        if due.more or entries.more:
            self._look_at = None
            return True
        if self._hint.is_set() and began < self._told_at + BUSY_LOOK_SECONDS:
            return False  # it will not rest: there is something to do
        self._told_at = began
        self._told = await raise_overdue(self._store, now, self._told)
        seconds = await self._pause()
        if self._look_at is not None:  # no hint came meanwhile
            self._look_at = self._clock.elapsed() + seconds
        return False

    def _seconds_to_look(self) -> float:
        return 0.0 if self._look_at is None else max(0.0, self._look_at - self._clock.elapsed())

    async def _look_at_clock(self) -> None:
        step = await self._clock.look()
        if step:
            planned = await replan(self._store, self._clock.now())
            log.warning("clock.set", step_seconds=round(step, 3), planned_anew=planned)

    async def _claim(self, group: asyncio.TaskGroup, now: datetime) -> None:
        """Claim as much as there is room for, and set to work on it."""
        server = self._facts
        if server is None or not server.definition.is_batch or server.draining:
            return
        facts = server.definition
        threads = threads_at(facts, now)
        free = threads - len(self._running)
        if free <= 0:
            return
        running = [execution.task.priority for execution in self._running.values()]
        reserved = reserved_of(facts, threads, running_reserved=running.count(Priority.RESERVED))
        tasks = await claim_tasks(
            self._store, server=self._server, incarnation=self._incarnation, groups=server.takes, free=free,
            reserved=reserved, idempotent=self._executor.idempotent(),
            chance=self._chance, now=now, throttle=self._throttle(),
        )  # fmt: skip
        for task in tasks:
            self._store.held.add(task.fence)
            self._running[task.fence] = execution = Execution(task=task)
            execution.work = group.create_task(self._execute(execution), name=f"execute:{task.job}:{task.name}")

    async def _execute(self, execution: Execution) -> None:
        fence = execution.task.fence
        led_on = True
        try:
            led_on = await self._executor.carry_out(execution, self._stopping)
        finally:
            self._store.held.discard(fence)
            self._running.pop(fence, None)
            self._freed = True
            if led_on:
                self.wake()
            else:
                self._hint.set()

    async def _pass_on_cancels(self) -> None:
        waiting = {fence for fence, execution in self._running.items() if not execution.cancelled.is_set()}
        if not waiting:
            return
        for fence in await tasks_to_cancel(self._store, waiting):
            if fence in self._running:
                self._running[fence].cancelled.set()

    async def _pause(self) -> float:
        """Return how long nothing has to be done. Units: seconds."""
        now = self._clock.now()
        moments = [await next_moment(self._store, now), await next_entry_moment(self._store)]
        if self._facts is not None:
            moments.append(next_change(self._facts.definition, now))
        known = [(moment - now).total_seconds() for moment in moments if moment is not None]
        return max(0.0, min([*known, self._look_seconds]))

    async def interrupt(self) -> None:
        """Stop what runs although it has not ended; each task runs again where it has retries left."""
        executions = list(self._running.values())
        for execution in executions:
            execution.interrupted.set()
        if executions:
            log.warning("engine.interrupted", tasks=len(executions))
            await asyncio.wait([execution.work for execution in executions if execution.work], timeout=GRACE_SECONDS)
