"""Fakes: a clock that a test moves, and a small world of servers on it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from asyncpg import Record
from pydantic import BaseModel, ConfigDict

from gateway.batch.engine.engine import Engine
from gateway.batch.engine.executor import Executor
from gateway.batch.rules.definition import (
    ConditionDefinition,
    GroupDefinition,
    HoursDefinition,
    JobDefinition,
    ServerDefinition,
    TaskDefinition,
)
from gateway.batch.rules.job import JobStatus, Wanted
from gateway.batch.rules.throttle import Throttle
from gateway.batch.store.jobs import Job, create_job, read_job_by_id
from gateway.batch.store.servers import put_group, put_server, register_server
from gateway.contracts.task import Prepared, Runnable, SpawnedTask, TaskContext
from gateway.db.open import Store
from gateway.db.waiting import wait_for_any
from gateway.kernel.errors import TaskRefused
from gateway.kernel.ids import JobId

DEADLINE_SECONDS = 60.0
NEVER = 10.0**9


class FakeClock:
    """Stands still until a test moves it (`gateway.batch.engine.clock.Clock`)."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._timers: list[_Timer] = []
        self._elapsed = 0.0
        self.step = 0.0

    def now(self) -> datetime:
        return self._now

    def elapsed(self) -> float:
        return self._elapsed

    async def look(self) -> float:
        step, self.step = self.step, 0.0
        return step

    async def wait(self, seconds: float | None, *events: asyncio.Event) -> None:
        if seconds is not None and seconds <= 0:
            await asyncio.sleep(0)
            return
        timer = _Timer(self._now + timedelta(seconds=min(seconds or NEVER, NEVER)), events)
        self._timers.append(timer)
        try:
            await wait_for_any(NEVER, timer.over, *events)
        finally:
            self._timers.remove(timer)

    def is_waited_for(self, event: asyncio.Event) -> bool:
        """Whether somebody waits for an event that has not come."""
        return not event.is_set() and any(event in timer.events for timer in self._timers)

    def next_timer(self) -> datetime | None:
        """When somebody wants to be woken next."""
        return min((timer.due for timer in self._timers if not timer.over.is_set()), default=None)

    def move_to(self, moment: datetime) -> None:
        """Let it be *moment*, and wake whoever waits for that or earlier."""
        self._elapsed += (moment - self._now).total_seconds()
        self._now = moment
        for timer in self._timers:
            if timer.due <= moment:
                timer.over.set()

    def jump(self, seconds: float) -> None:
        """Set the clock ahead, or back with a negative number, as a time server does; no time passes."""
        self._now += timedelta(seconds=seconds)
        for timer in self._timers:
            timer.due += timedelta(seconds=seconds)
        self.step += seconds


@dataclass(slots=True, eq=False)
class _Timer:
    due: datetime
    events: tuple[asyncio.Event, ...]
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Work(BaseModel):
    """What a fake task does: it takes some time, then fails in these attempts (-1: in all)."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = 60.0
    fails_in: tuple[int, ...] = ()
    spawns: int = 0
    failing_child: int | None = None


@dataclass(slots=True)
class World:
    """Servers in this process on one store and one clock; every change is seen by all of them at once."""

    store: Store
    clock: FakeClock
    chance: Callable[[], float] = lambda: 0.5
    parked: int = 0
    log: list[tuple[str, str]] = field(default_factory=list)
    disabled: set[str] = field(default_factory=set)
    throttle: Throttle = field(default_factory=Throttle)
    more_runnables: dict[str, Runnable] = field(default_factory=dict)
    _engines: dict[str, tuple[Engine, asyncio.Task[None], asyncio.Event]] = field(default_factory=dict)

    # --- what can be run

    def find(self, name: str) -> Runnable:
        runnables = {
            "work": Runnable(name="work", description="", parameters=Work, make=lambda p: _Worker(self, p), version=2),
            "stubborn": Runnable(
                name="stubborn", description="", parameters=Work, make=lambda p: _Worker(self, p), version=2,
                cancellable=False,
            ),
            "idempotent": Runnable(
                name="idempotent", description="", parameters=Work, make=lambda p: _Worker(self, p), version=2,
                idempotent=True,
            ),
            **self.more_runnables,
        }  # fmt: skip
        if name not in runnables:
            raise TaskRefused(f"nothing is called {name}", code="task.unknown")
        return runnables[name]

    @asynccontextmanager
    async def prepare(
        self, name: str, parameters: Mapping[str, object], version: int | None
    ) -> AsyncIterator[Prepared]:
        runnable = self.find(name)
        yield Prepared(runnable, runnable.make(runnable.check(parameters, version)))

    async def version_of(self, name: str) -> int:
        return self.find(name).version

    def known(self) -> Sequence[Runnable]:
        return [self.find(name) for name in ("work", "stubborn", "idempotent")]

    # --- servers

    async def server(
        self, name: str, *, threads: int = 1, groups: Sequence[str] | None = None,
        hours: Sequence[HoursDefinition] = (), reserved_percent: int = 0,
    ) -> Engine:  # fmt: skip
        """Start a server; named groups are made when they are missing."""
        for group in groups or ():
            if group:
                await put_group(self.store, GroupDefinition(name=group), now=self.clock.now())
        definition = ServerDefinition(
            name=name, threads=threads, groups=None if groups is None else tuple(groups), hours=tuple(hours),
            reserved_percent=reserved_percent,
        )  # fmt: skip
        await put_server(self.store, definition, now=self.clock.now())
        stopping = asyncio.Event()
        incarnation = 1_000 + len(self._engines)
        await register_server(self.store, name, incarnation, self.clock.now())
        engine = Engine(
            store=self.store, server=name, incarnation=incarnation, clock=self.clock,
            stopping=stopping, chance=self.chance,
            look_seconds=NEVER, throttle=lambda: self.throttle,
            executor=Executor(self.store, self.clock, self, identity=self._identity, grace_seconds=10.0),
        )  # fmt: skip
        self._engines[name] = (engine, asyncio.create_task(engine.run(), name=f"engine:{name}"), stopping)
        return engine

    async def stop(self, name: str) -> None:
        """End a server in good order; what it runs is interrupted."""
        engine, task, stopping = self._engines.pop(name)
        stopping.set()
        await engine.interrupt()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await task

    async def close(self) -> None:
        for name in list(self._engines):
            await self.stop(name)

    def _identity(self, task: Any) -> str | None:
        return f"the account {task.user} is disabled" if task.user in self.disabled else None

    # --- time

    async def to(self, moment: datetime) -> None:
        """Let time pass until *moment*; everything that becomes due on the way happens when it is due."""
        await self.settle()
        while (due := self.clock.next_timer()) is not None and due <= moment:
            self.clock.move_to(max(due, self.clock.now()))
            await self.settle()
        self.clock.move_to(moment)
        await self.settle()

    async def pass_(self, **elapsed: float) -> None:
        """Let so much time pass."""
        await self.to(self.clock.now() + timedelta(**elapsed))

    async def settle(self) -> None:
        """Wait until nothing more happens without time passing; for long only while something does."""
        async with asyncio.timeout(DEADLINE_SECONDS) as deadline:
            before: object = None
            while True:
                for engine, task, _ in self._engines.values():
                    if task.done():
                        task.result()
                    engine.wake()
                said = len(self.log)
                while not self._at_rest():
                    await asyncio.sleep(0.001)
                    if len(self.log) != said:
                        said = len(self.log)
                        deadline.reschedule(asyncio.get_running_loop().time() + DEADLINE_SECONDS)
                after = await self._fingerprint()
                if after == before:
                    return
                before = after

    def _at_rest(self) -> bool:
        engines = [engine for engine, _, _ in self._engines.values()]
        return (
            all(self.clock.is_waited_for(engine._hint) for engine in engines)
            and sum(e.running for e in engines) == self.parked
        )

    async def _fingerprint(self) -> object:
        rows = await self.rows(
            """SELECT (SELECT count(*) FROM run) runs, (SELECT count(ended_at) FROM run) ended,
                      (SELECT count(*) FROM attempt) attempts, (SELECT count(ended_at) FROM attempt) attempts_ended,
                      (SELECT sum(hashtext(status)) FROM run_task) tasks,
                      (SELECT sum(hashtext(status || next_start::text)) FROM job) jobs,
                      (SELECT sum(hashtext(id || status || earliest::text)) FROM queue_entry) entries"""
        )
        return tuple(rows[0].values())

    # --- jobs

    async def job(
        self, name: str, tasks: Sequence[TaskDefinition] = (), *, status: JobStatus = JobStatus.WAITING,
        by: str = "ann", **options: Any,
    ) -> JobId:  # fmt: skip
        """Save a job, armed unless said otherwise."""
        definition = JobDefinition(name=name, tasks=tuple(tasks), **options)
        return await create_job(self.store, definition, by=by, now=self.clock.now(), status=status)

    async def read(self, job: JobId) -> Job:
        return await read_job_by_id(self.store, job)

    async def tasks(self, job: JobId) -> Mapping[str, str]:
        """The statuses of the tasks of a job's latest run, by name."""
        rows = await self.rows(
            "SELECT name, status FROM run_task WHERE run_id = (SELECT max(id) FROM run WHERE job_id = $1)", job
        )
        return {row["name"]: row["status"] for row in rows}

    async def executing(self) -> Mapping[str, str]:
        """Where each task runs that is in work, by its name."""
        rows = await self.rows("SELECT name, server FROM run_task WHERE fence IS NOT NULL")
        return {row["name"]: row["server"] for row in rows}

    async def runs(self, job: JobId) -> list[Record]:
        """The runs of a job in their order."""
        return await self.rows("SELECT * FROM run WHERE job_id = $1 ORDER BY id", job)

    async def rows(self, statement: str, *values: object) -> list[Record]:
        async with self.store.transaction() as connection:
            return await connection.fetch(statement, *values)


def task(
    name: str, *after: tuple[str, Wanted], seconds: float = 60.0, handler: str = "work", **options: Any
) -> TaskDefinition:
    """A task that works for some time, after the ends of others. `fails_in` names the attempts that fail, -1: all."""
    parameters: dict[str, object] = {"seconds": seconds}
    for key in ("fails_in", "spawns", "failing_child"):
        if key in options:
            parameters[key] = options.pop(key)
    conditions = tuple(ConditionDefinition(parent=parent, wanted=wanted) for parent, wanted in after)
    options.setdefault("parameters_version", 2)
    return TaskDefinition(name=name, handler=handler, parameters=parameters, conditions=conditions, **options)


class _Worker:
    """Takes its time by the fake clock."""

    def __init__(self, world: World, work: Work) -> None:
        self._world = world
        self._work = work

    async def run(self, context: TaskContext) -> None:
        world, work = self._world, self._work
        world.log.append((context.task, "started"))
        if work.spawns:
            await context.spawn(
                [
                    SpawnedTask(
                        name=f"{context.task} {number}", run="work",
                        parameters={"seconds": 60.0, "fails_in": [-1] if number == work.failing_child else []},
                    )
                    for number in range(1, work.spawns + 1)
                ]
            )  # fmt: skip
        context.log.info(f"{context.task}: attempt {context.attempt}")
        if work.seconds:
            world.parked += 1
            try:
                await world.clock.wait(work.seconds)
            finally:
                world.parked -= 1
        world.log.append((context.task, "returned"))
        if context.attempt in work.fails_in or -1 in work.fails_in:
            context.log.error(f"{context.task}: it went wrong")
            raise RuntimeError(f"attempt {context.attempt} goes wrong")
