"""Busy periods: an occurrence of an event-driven job, its tasks streaming side by side.

Each task ends when the one before it has ended and its own input is empty; the first ends when every other one
waits and no hint has come, or at a bound. An idle job runs nothing and writes nothing; one that is parked lets its
occurrence end without new input, and starts no other.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from gateway.contracts.task import Tally, TaskContext, TaskHandler
from gateway.domain.errors import StoreUnavailable
from gateway.scheduler.lag import LagMeter
from gateway.store.waiting import uninterrupted

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
        """Hint the tasks behind, and whoever runs such tasks elsewhere."""
        self._period.hint_after(self._place)
        self._period.produced(self._place)

    def enough(self) -> bool:
        """Tell whether the occurrence has reached its bound."""
        return self._period.over()

    @property
    def once(self) -> bool:
        """Return False: what comes while it runs is taken too."""
        return False


class _Period:
    """What the tasks of one occurrence know of one another."""

    def __init__(
        self, count: int, stopping: asyncio.Event, over: Callable[[], bool], produced: Callable[[int], None]
    ) -> None:
        self.changed = asyncio.Event()
        self.stopping = stopping
        self.over = over
        self.produced = produced
        self.run_id: int | None = None
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
    """One execution of a job, for history. Times are aware UTC; `tasks` are counts by task, `errors` what ended some.

    `run_id` is its number where history has its beginning already.
    """

    job: str
    started_at: datetime
    ended_at: datetime
    counts: Mapping[str, int]
    error: str | None
    tasks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    run_id: int | None = None
    canceled: bool = False


Record = Callable[[Occurrence], Awaitable[int | None]]
"""Write an occurrence into history; returns its number there, None when its job keeps none of it."""
Begin = Callable[[datetime], Awaitable[int]]
"""Write that an occurrence is under way since a moment; returns its number in history."""

SHOWN_SECONDS: Final = 1.0
"""An occurrence that takes longer shows in history while it runs."""


class EventJob:
    """A job that runs whenever something hints that there is work.

    `wake` may be called from anywhere on the event loop, any number of times; `place` says which task the hint
    is for (the tasks behind it are hinted by the one that produces). `produced` is told the place of one that made
    input for others. `bounds` may be replaced at any time. `now` tells the times that history gets.
    """

    def __init__(
        self,
        *,
        name: str,
        tasks: Sequence[tuple[str, TaskHandler]],
        bounds: Bounds,
        record: Record,
        now: Callable[[], datetime],
        begin: Begin | None = None,
        produced: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._name = name
        self._tasks = tasks
        self.bounds = bounds
        self._record = record
        self._now = now
        self._begin = begin
        self._produced = produced
        self._work = asyncio.Event()
        self._armed = asyncio.Event()
        self._armed.set()
        self._stopping = asyncio.Event()
        self._halt = asyncio.Event()
        self._canceled = False
        self._period: _Period | None = None

    def wake(self, place: int = 0) -> None:
        """Hint that the task at *place* may have input."""
        period = self._period
        if period is not None and not period.streams[place].ended:
            period.streams[place].hint.set()
            period.changed.set()
        else:
            self._work.set()

    def arm(self) -> None:
        """Let work that appears start occurrences again; what appeared meanwhile does so now."""
        if not self._armed.is_set():
            self._armed.set()
            self._work.set()

    def park(self) -> None:
        """Start no further occurrence; the one under way takes no new input, and drains."""
        self._armed.clear()
        self._look_again()

    def cancel(self) -> None:
        """Start no further occurrence; the one under way ends at its next safe point."""
        self._canceled = self._period is not None
        self._halt.set()
        self.park()

    def stop(self) -> None:
        """End for good, at the next safe point."""
        self._halt.set()
        self.retire()

    def retire(self) -> None:
        """End for good when the occurrence under way has drained."""
        self._stopping.set()
        self._armed.set()
        self._work.set()
        self._look_again()

    async def run(self) -> None:
        """Run one occurrence after another, each started by a hint, until `stop` is called."""
        while not self._stopping.is_set():
            await self._armed.wait()
            await self._work.wait()
            if self._stopping.is_set():
                return
            if not self._armed.is_set():
                continue
            self._work.clear()
            await self._occur()

    def _look_again(self) -> None:
        if self._period is not None:
            self._period.changed.set()

    async def _occur(self) -> None:
        started, began = self._now(), asyncio.get_running_loop().time()
        tallies = {name: Tally() for name, _ in self._tasks}
        halt = self._halt = asyncio.Event()
        self._canceled = False

        def over() -> bool:
            elapsed = asyncio.get_running_loop().time() - began
            received = sum(tally.counts.get("received", 0) for tally in tallies.values())
            closed = self._stopping.is_set() or not self._armed.is_set()
            return closed or elapsed > self.bounds.seconds or received >= self.bounds.messages

        period = self._period = _Period(len(self._tasks), halt, over, self._produced)
        errors: dict[str, str] = {}
        lag = LagMeter()
        meter = asyncio.create_task(lag.run(), name=f"{self._name}:lag")
        shown = asyncio.create_task(self._show(period, started), name=f"{self._name}:shown")
        try:
            async with asyncio.TaskGroup() as group:
                for place, (name, handler) in enumerate(self._tasks):
                    context = TaskContext(
                        task=name, feed=period.streams[place], stopping=halt, tally=tallies[name], job=self._name
                    )
                    group.create_task(self._task(handler, context, period, place, errors), name=f"{self._name}:{name}")
        except* Exception:  # a task's bug ends the occurrence, not the job
            log.exception("run.failed", job=self._name)
        finally:
            self._period = None
            meter.cancel()
            shown.cancel()
            await asyncio.wait([shown])
        if any(stream.hint.is_set() for stream in period.streams) or over():
            self._work.set()  # hinted while closing: look again
        counts: Counter[str] = Counter()
        for tally in tallies.values():
            counts.update(tally.counts)
        if counts or errors or period.run_id is not None:
            occurrence = Occurrence(
                job=self._name, started_at=started, ended_at=self._now(), counts=dict(counts),
                error="; ".join(errors.values()) or None,
                tasks={name: dict(tally.counts) for name, tally in tallies.items()}, errors=errors,
                run_id=period.run_id, canceled=self._canceled,
            )  # fmt: skip
            await self._tell(occurrence, lag)

    async def _task(
        self, handler: TaskHandler, context: TaskContext, period: _Period, place: int, errors: dict[str, str]
    ) -> None:
        try:
            await handler.run(context)
        except Exception as error:
            errors[context.task] = f"{type(error).__name__}: {error}"
            raise
        finally:
            period.streams[place].ended = True
            period.changed.set()

    async def _show(self, period: _Period, started: datetime) -> None:
        """Write that the occurrence is under way, once it has taken a while."""
        if self._begin is not None:
            await asyncio.sleep(SHOWN_SECONDS)
            with suppress(StoreUnavailable):  # then it is written when it ends
                await uninterrupted(self._begin_shown(self._begin, period, started))

    async def _begin_shown(self, begin: Begin, period: _Period, started: datetime) -> None:
        period.run_id = await begin(started)

    async def _tell(self, occurrence: Occurrence, lag: LagMeter) -> None:
        run_id: int | None = occurrence.run_id
        try:
            run_id = await self._record(occurrence)
        except StoreUnavailable as trouble:
            log.warning("run.not_recorded", job=self._name, error=trouble.message)
        log.info(
            "run.ended", job=self._name, run_id=run_id, counts=occurrence.counts,
            duration_ms=round((occurrence.ended_at - occurrence.started_at).total_seconds() * 1000),
            loop_lag_ms=round(lag.longest * 1000),
        )  # fmt: skip
