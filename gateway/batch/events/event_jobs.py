"""The event-driven jobs of one server: each runs while its status is Waiting and this server serves its groups.

Changes that operators or a new configuration make take effect as soon as they are heard of; a slow look makes up for
what was not heard. Source: batch reference, section 21.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from gateway.batch.engine.clock import Clock
from gateway.batch.engine.engine import LOOK_SECONDS
from gateway.batch.events.event_run import Bounds, EventJob, EventRun
from gateway.batch.rules.job import JobStatus
from gateway.batch.store.event_jobs import (
    EventJobRow,
    begin_event_run,
    close_lost_event_runs,
    end_event_run,
    hint_others,
    list_event_jobs,
)
from gateway.batch.store.servers import list_servers
from gateway.contracts.task import TaskHandler
from gateway.db.clock import database_clock
from gateway.db.open import Store
from gateway.db.waiting import wait_for_any
from gateway.kernel.errors import StoreUnavailable
from gateway.kernel.ids import RunId
from gateway.messaging.rules.states import Stage

log = structlog.get_logger()

_TELL_SECONDS = 0.05


@dataclass(slots=True)
class _Running:
    row: EventJobRow
    job: EventJob
    stages: tuple[Stage, ...]
    task: asyncio.Task[None]
    obeys: JobStatus | None = None


class EventJobs:
    """Keeps one `EventJob` per event-driven job of the store. `rested` is called when one has done something."""

    def __init__(
        self,
        *,
        store: Store,
        server: str,
        incarnation: int,
        clock: Clock,
        stages: Mapping[Stage, TaskHandler],
        bounds: Callable[[str], Bounds],
        rested: Callable[[], None],
        stopping: asyncio.Event,
    ) -> None:
        self._store = store
        self._server = server
        self._incarnation = incarnation
        self._clock = clock
        self._stages = stages
        self._bounds = bounds
        self._rested = rested
        self._stopping = stopping
        self._running: dict[str, _Running] = {}
        self._hint = asyncio.Event()
        self._others = asyncio.Event()

    def wake(self, stage: Stage) -> None:
        """Hint that a stage may have input."""
        for running in self._running.values():
            if stage in running.stages:
                running.job.wake(running.stages.index(stage))

    def produced(self, stage: Stage, by: EventJob | None = None) -> None:
        """Hint those who work on what *stage* makes, but for the job that did: here, and on other servers."""
        behind = list(Stage)[list(Stage).index(stage) + 1 :]
        for running in self._running.values():
            if running.job is not by:
                for later in set(behind) & set(running.stages):
                    running.job.wake(running.stages.index(later))
        if set(behind) - {mine for running in self._running.values() for mine in running.stages}:
            self._others.set()

    def look_again(self) -> None:
        """Hint that a job, a group or the server may have changed."""
        self._hint.set()

    async def run(self) -> None:
        """Run the jobs until a stop is asked for, then let them end."""
        async with asyncio.TaskGroup() as group:
            first = True
            telling = group.create_task(self._tell_others(), name="hints to others")
            while not self._stopping.is_set():
                looked_for = not self._hint.is_set()
                self._hint.clear()
                try:
                    if first:
                        await close_lost_event_runs(self._store, await database_clock(self._store))
                        first = False
                    await self._follow(group)
                    if looked_for:
                        self._look_for_work()
                except StoreUnavailable as error:
                    log.warning("store.unavailable", part="event jobs", error=error.message)
                    await self._store.wait_until_available(self._stopping)
                    continue
                await wait_for_any(LOOK_SECONDS, self._hint, self._stopping)
            telling.cancel()
            for running in self._running.values():
                running.job.stop()

    def _look_for_work(self) -> None:
        """Look for what other servers have made, in case their hints got lost; folders have sweeps of their own."""
        for stage in Stage:
            if stage is not Stage.RECEIVE:
                self.wake(stage)

    async def _tell_others(self) -> None:
        """Notify other servers of work for services that this one does not run; many times are told as one."""
        while True:
            await self._others.wait()
            self._others.clear()
            with suppress(StoreUnavailable):  # their slow look finds it
                await hint_others(self._store)
            await asyncio.sleep(_TELL_SECONDS)

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        """Start, park, arm and end jobs as the store says."""
        servers = await list_servers(self._store, self._server)
        serves = [
            name for server in servers if server.definition.is_batch and not server.draining for name in server.takes
        ]
        rows = {row.name: row for row in await list_event_jobs(self._store, serves)}
        for name, running in list(self._running.items()):
            row = rows.get(name)
            if row is None or (row.id, row.tasks) != (running.row.id, running.row.tasks):
                running.job.retire()  # what is queued is done, then it is made anew
                if running.task.done():
                    del self._running[name]
        for name, row in rows.items():
            if name not in self._running and row.tasks:
                self._running[name] = self._start(row, group)
            if name in self._running and self._running[name].row.tasks == row.tasks:
                self._running[name].job.bounds = self._bounds(name)
                self._obey(self._running[name], row.status)

    def _start(self, row: EventJobRow, group: asyncio.TaskGroup) -> _Running:
        stages = tuple(Stage(handler) for _, handler in row.tasks)
        job = EventJob(
            name=row.name,
            tasks=[(name, self._stages[stage]) for (name, _), stage in zip(row.tasks, stages, strict=True)],
            bounds=self._bounds(row.name),
            record=partial(self._record, row),
            clock=self._clock,
            begin=partial(self._begin, row),
            produced=lambda place: self.produced(stages[place], job),
            rested=self._rested,
        )
        task = group.create_task(job.run(), name=f"job:{row.name}")
        task.add_done_callback(lambda _: self.look_again())
        return _Running(row, job, stages, task)

    def _obey(self, running: _Running, status: JobStatus) -> None:
        if running.obeys is status:
            return
        running.obeys = status
        if status is JobStatus.WAITING:
            running.job.arm()
            log.info("job.armed", job=running.row.name)
        else:
            if status is JobStatus.CANCELED:
                running.job.cancel()
            else:
                running.job.park()
            log.info("job.parked", job=running.row.name, status=status)

    async def _begin(self, row: EventJobRow, started_at: datetime) -> RunId | None:
        return await begin_event_run(self._store, row.id, started_at, self._incarnation)

    async def _record(self, row: EventJobRow, run: EventRun) -> int | None:
        return await end_event_run(
            self._store, row.id, run=None if run.run_id is None else RunId(run.run_id),
            server=self._server, incarnation=self._incarnation, started_at=run.started_at, ended_at=run.ended_at,
            tasks=run.tasks, errors=run.errors, counts=run.counts, canceled=run.canceled,
        )  # fmt: skip
