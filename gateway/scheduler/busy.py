"""Busy periods: an occurrence of an event-driven job, its tasks streaming side by side.

Each task ends when the one before it has ended and its own input is empty; the first ends when every other one
waits and no hint has come, or at a bound. An idle job runs nothing and writes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from gateway.contracts.task import Tally, TaskContext, TaskHandler
from gateway.domain.errors import StoreUnavailable
from gateway.scheduler.lag import LagMeter

log = structlog.get_logger()


class _Stream:
    """The feed of one task in a busy period."""

    def __init__(self, period: "_Period", place: int) -> None:
        self._period = period
        self._place = place
        self.hint = asyncio.Event()
        self.waiting = False
        self.ended = False

    async def more(self) -> bool:
        """Wait for input; False when none can come any more."""
        self.waiting = True
        self._period.changed.set()
        try:
            await self._period.until(lambda: self.hint.is_set() or self._period.finished_before(self._place))
        finally:
            self.waiting = False
        if self.hint.is_set() and not self._period.stopping.is_set():
            self.hint.clear()
            return True
        return False

    async def hinted(self) -> None:
        """Wait for the next hint while work is under way."""
        await self.hint.wait()
        self.hint.clear()

    def produced(self) -> None:
        """Hint the tasks behind."""
        self._period.hint_after(self._place)

    def enough(self) -> bool:
        """Tell whether the occurrence has reached its bound."""
        return self._period.over()


class _Period:
    """What the tasks of one occurrence know of one another."""

    def __init__(self, count: int, stopping: asyncio.Event, over: Callable[[], bool]) -> None:
        self.changed = asyncio.Event()
        self.stopping = stopping
        self.over = over
        self.streams = [_Stream(self, place) for place in range(count)]

    def finished_before(self, place: int) -> bool:
        """Tell whether no input can come to the task at *place* any more."""
        if self.stopping.is_set():
            return True
        if place > 0:
            return self.streams[place - 1].ended
        others = self.streams[1:]
        return self.over() or all(s.ended or (s.waiting and not s.hint.is_set()) for s in others)

    def hint_after(self, place: int) -> None:
        """Wake the tasks behind *place*."""
        for stream in self.streams[place + 1 :]:
            stream.hint.set()
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds; it is looked at whenever something changed."""
        while not condition():
            self.changed.clear()
            if condition():
                return
            await self.changed.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """When an occurrence is closed although work goes on; the next one starts at once."""

    messages: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One execution of a job, for history. Times are aware UTC."""

    job: str
    started_at: datetime
    ended_at: datetime
    counts: Mapping[str, int]
    error: str | None


Record = Callable[[Occurrence], Awaitable[int]]
"""Write an occurrence into history; returns its number there."""


class EventJob:
    """A job that runs whenever something hints that there is work.

    `wake` may be called from anywhere on the event loop, any number of times; `place` says which task the hint
    is for (the tasks behind it are hinted by the one that produces).
    """

    def __init__(
        self,
        *,
        name: str,
        tasks: Sequence[tuple[str, TaskHandler]],
        bounds: Bounds,
        record: Record,
        stopping: asyncio.Event,
    ) -> None:
        self._name = name
        self._tasks = tasks
        self._bounds = bounds
        self._record = record
        self._stopping = stopping
        self._work = asyncio.Event()
        self._period: _Period | None = None
        self.tally = Tally()

    def wake(self, place: int = 0) -> None:
        """Hint that the task at *place* may have input."""
        period = self._period
        if period is not None and not period.streams[place].ended:
            period.streams[place].hint.set()
            period.changed.set()
        else:
            self._work.set()

    def stop(self) -> None:
        """Let waiting tasks notice that a stop was asked for."""
        self._work.set()
        if self._period is not None:
            self._period.changed.set()

    async def run(self) -> None:
        """Run one occurrence after another, each started by a hint, until a stop is asked for."""
        while not self._stopping.is_set():
            await self._work.wait()
            self._work.clear()
            if self._stopping.is_set():
                return
            await self._occur()

    async def _occur(self) -> None:
        started, began = datetime.now(UTC), asyncio.get_running_loop().time()
        tally = self.tally = Tally()

        def over() -> bool:
            elapsed = asyncio.get_running_loop().time() - began
            return elapsed > self._bounds.seconds or tally.counts.get("received", 0) >= self._bounds.messages

        period = self._period = _Period(len(self._tasks), self._stopping, over)
        error: str | None = None
        lag = LagMeter()
        meter = asyncio.create_task(lag.run(), name=f"{self._name}:lag")
        try:
            async with asyncio.TaskGroup() as group:
                for place, (name, handler) in enumerate(self._tasks):
                    context = TaskContext(task=name, feed=period.streams[place], stopping=self._stopping, tally=tally)
                    group.create_task(self._task(handler, context, period, place), name=f"{self._name}:{name}")
        except* Exception as errors:  # a task's bug ends the occurrence, not the job
            error = "; ".join(f"{type(e).__name__}: {e}" for e in errors.exceptions)
            log.exception("run.failed", job=self._name)
        finally:
            self._period = None
            meter.cancel()
        if any(stream.hint.is_set() for stream in period.streams) or over():
            self._work.set()  # hinted while closing: look again
        if not tally.idle or error:
            await self._tell(started, tally, error, lag)

    async def _task(self, handler: TaskHandler, context: TaskContext, period: _Period, place: int) -> None:
        try:
            await handler.run(context)
        finally:
            period.streams[place].ended = True
            period.changed.set()

    async def _tell(self, started: datetime, tally: Tally, error: str | None, lag: LagMeter) -> None:
        occurrence = Occurrence(
            job=self._name, started_at=started, ended_at=datetime.now(UTC), counts=dict(tally.counts), error=error
        )
        run_id: int | None = None
        try:
            run_id = await self._record(occurrence)
        except StoreUnavailable as trouble:
            log.warning("run.not_recorded", job=self._name, error=trouble.message)
        log.info(
            "run.ended", job=self._name, run_id=run_id, counts=occurrence.counts,
            duration_ms=round((occurrence.ended_at - started).total_seconds() * 1000),
            loop_lag_ms=round(lag.longest * 1000),
        )  # fmt: skip
