"""Event-driven jobs: their tasks stream for as long as the job is armed; an event run is only a record of it.

Each task runs whenever there is a hint for it, and rests when it has done nothing for a while. A run begins with the
first thing that is counted, and ends when every task rests or at a bound; the next begins with the next counted
thing, and nothing waits for either. An idle job runs nothing and writes nothing. One that is parked takes in nothing
new and finishes what is queued.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from gateway.batch.engine.clock import Clock
from gateway.contracts.task import Tally, TaskContext, TaskHandler
from gateway.kernel.errors import StoreUnavailable

_BEAT_SECONDS = 0.01


class LagMeter:
    """Beats every ten milliseconds and keeps the longest delay. Units: seconds."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _BEAT_SECONDS
            await asyncio.sleep(_BEAT_SECONDS)
            self.longest = max(self.longest, loop.time() - due)


log = structlog.get_logger()

REST_SECONDS: Final = 1.0
"""A task that counted nothing for so long ends until the next hint: then a run can end, and another node take files."""
SHOWN_SECONDS: Final = 1.0
"""A run in which work takes longer shows in history while it is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """When a run ends for the history although work goes on; the next one begins with the next counted thing."""

    messages: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRun:
    """What an event-driven job did in a while, for history. Times are aware UTC.

    `tasks` are counts by task, `errors` what ended some. `run_id` is its number where history has its beginning.
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


Record = Callable[[EventRun], Awaitable[int | None]]
"""Write a run into history; returns its number there, None when its job keeps none of it."""
Begin = Callable[[datetime], Awaitable[int | None]]
"""Write that a run is under way since a moment; returns its number in history."""


class _Counts(Tally):
    """A tally that tells when something is counted."""

    def __init__(self, counted: Callable[[], None]) -> None:
        super().__init__()
        self._counted = counted

    def add(self, what: str, number: int = 1) -> None:
        super().add(what, number)
        if number:
            self._counted()

    def take(self) -> dict[str, int]:
        """Return what was counted, and count anew."""
        counts, self.counts = self.counts, {}
        return counts


class _Stream:
    """One task of an event-driven job, and its feed (`gateway.contracts.task.Feed`)."""

    def __init__(self, job: "EventJob", place: int, name: str, handler: TaskHandler, clock: Clock) -> None:
        self._job = job
        self._place = place
        self._clock = clock
        self.name = name
        self.handler = handler
        self.tally = _Counts(self._count)
        self.stopping = asyncio.Event()  # that of its present execution
        self.changed = asyncio.Event()  # only the one that waits for it clears it
        self.is_hinted = False
        self.is_running = False
        self._is_resting = False
        self._counted_at = -REST_SECONDS  # elapsed time of the clock

    @property
    def is_at_work(self) -> bool:
        """Tell whether it has something to do, and does not only wait for a hint."""
        return self.is_hinted or (self.is_running and not self._is_resting)

    def hint(self) -> None:
        """Say that there may be input."""
        self.is_hinted = True
        self.changed.set()

    async def more(self) -> bool:
        """Wait for a hint; False when nothing was done for a while, or the job was parked or stopped.

        Hints that lead to nothing, such as the looks into folders of every second, do not put off the rest.
        """
        left = self._counted_at + REST_SECONDS - self._clock.elapsed()
        if left > 0 and not self.is_hinted and not self.stopping.is_set():
            self._is_resting = True
            self._job.moved()
            self.changed.clear()
            try:
                await self._clock.wait(left, self.changed)
            finally:
                self._is_resting = False
            self._job.moved()
        return self._take_hint()

    async def hinted(self) -> None:
        """Wait for the next hint while work is under way; for ever once a stop was asked for."""
        while not self._take_hint():
            self.changed.clear()
            await self.changed.wait()

    def produced(self) -> None:
        """Hint the tasks behind, and whoever runs such tasks elsewhere."""
        self._job.produced(self._place)

    @property
    def closed(self) -> bool:
        """Tell whether the job was parked."""
        return not self._job.is_armed

    @property
    def once(self) -> bool:
        """Return False: what comes while it runs is taken too."""
        return False

    def _count(self) -> None:
        self._counted_at = self._clock.elapsed()
        self._job.counted()

    def _take_hint(self) -> bool:
        """Tell whether there was a hint; one that comes to an execution that stops is for the next."""
        taken = self.is_hinted and not self.stopping.is_set()
        self.is_hinted = self.is_hinted and not taken
        return taken


@dataclass(slots=True)
class _UnderWay:
    """The run that gets what is counted now; `began` is the elapsed time of the clock."""

    started_at: datetime
    began: float
    run_id: int | None = None
    was_shown: bool = False
    rested_at: datetime | None = None  # when all that was counted until now was done


class EventJob:
    """A job whose tasks run whenever something hints that there is work. It is parked until it is armed.

    `wake` may be called from anywhere on the event loop, any number of times; `place` says which task the hint
    is for (the tasks behind it are hinted by the one that produces). `produced` is told the place of one that made
    input for others; `rested` is called when nothing is at work any more and something was done. `bounds` may be
    replaced at any time.
    """

    def __init__(
        self,
        *,
        name: str,
        tasks: Sequence[tuple[str, TaskHandler]],
        bounds: Bounds,
        record: Record,
        clock: Clock,
        begin: Begin | None = None,
        produced: Callable[[int], None] = lambda _: None,
        rested: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._streams = [_Stream(self, place, *task, clock) for place, task in enumerate(tasks)]
        self.bounds = bounds
        self._record = record
        self._clock = clock
        self._begin = begin
        self._produced = produced
        self._rested = rested
        self.is_armed = False
        self._is_retired = False
        self._halt = asyncio.Event()
        self._is_canceled = False
        self._has_counted = False  # since `rested` was called
        self._under_way: _UnderWay | None = None
        self._errors: dict[str, str] = {}
        self._noted = asyncio.Event()  # something that the history may want to know

    def wake(self, place: int = 0) -> None:
        """Hint that the task at *place* may have input; a parked job looks for itself when it is armed."""
        if self.is_armed:
            self._streams[place].hint()

    def arm(self) -> None:
        """Let the tasks run, and look for what has come meanwhile."""
        if self.is_armed or self._is_retired:
            return
        self.is_armed = True
        if self._halt.is_set():
            self._halt, self._is_canceled = asyncio.Event(), False
        for stream in self._streams:
            stream.hint()

    def park(self) -> None:
        """Take in nothing new; what is queued is done."""
        self.is_armed = False
        self._look_again()

    def cancel(self) -> None:
        """Let every task end at its next safe point."""
        self._is_canceled = self._is_at_work()
        self._stop_all()
        self.park()

    def stop(self) -> None:
        """End for good, at the next safe point."""
        self._stop_all()
        self.retire()

    def retire(self) -> None:
        """End for good when what is queued is done."""
        self._is_retired = True
        self.park()

    async def run(self) -> None:
        """Run the tasks whenever they are hinted, until the job has retired."""
        async with asyncio.TaskGroup() as group:
            for stream in self._streams:
                group.create_task(self._serve(stream), name=f"{self._name}:{stream.name}")
            group.create_task(self._keep_history(), name=f"{self._name}:history")

    def counted(self) -> None:
        """Hear from a task that it has counted something."""
        self._has_counted = True
        if self._under_way is None:
            self._open()
        elif self._is_full():
            self._noted.set()

    def produced(self, place: int) -> None:
        """Hear from the task at *place* that it has made input for those behind it."""
        if not self._halt.is_set():
            for stream in self._streams[place + 1 :]:
                stream.hint()
        self._produced(place)

    def moved(self) -> None:
        """Hear that a task began, rests, goes on or has ended."""
        self._noted.set()
        if self._has_counted and not self._is_at_work():
            self._has_counted = False
            if self._under_way is not None:
                self._under_way.rested_at = self._clock.now()
            self._rested()
        if self._is_retired:
            self._look_again()

    def _stop_all(self) -> None:  # what is hinted from now on waits until the job is armed
        self._halt.set()
        for stream in self._streams:
            stream.is_hinted = False

    def _look_again(self) -> None:
        for stream in self._streams:
            stream.changed.set()
        self._noted.set()

    def _is_at_work(self) -> bool:
        return any(stream.is_at_work for stream in self._streams)

    def _is_idle(self) -> bool:
        """Tell whether no task runs or is about to."""
        return not any(stream.is_running or stream.is_hinted for stream in self._streams)

    def _is_over(self) -> bool:
        return self._is_retired and self._is_idle()

    async def _serve(self, stream: _Stream) -> None:
        """Execute one task again and again, each time for a hint."""
        while not self._is_over():
            if stream.is_hinted:
                stream.is_hinted = False
                await self._execute(stream)
            else:
                stream.changed.clear()
                await stream.changed.wait()

    async def _execute(self, stream: _Stream) -> None:
        stream.is_running, stream.stopping = True, self._halt
        self.moved()
        context = TaskContext(
            task=stream.name, feed=stream, stopping=stream.stopping, tally=stream.tally, job=self._name
        )
        try:
            await stream.handler.run(context)
        except Exception as error:  # a task's bug ends the run, not the job nor the other tasks
            log.exception("run.failed", job=self._name)
            self._errors[stream.name] = f"{type(error).__name__}: {error}"
            if self._under_way is None:
                self._open()
        finally:
            stream.is_running = False
            self.moved()

    # --- history

    def _open(self) -> None:
        self._under_way = _UnderWay(self._clock.now(), self._clock.elapsed())
        self._noted.set()

    async def _keep_history(self) -> None:
        """Write one run after another; nothing waits for it."""
        while not (self._under_way is None and self._is_over()):
            if self._under_way is None:
                self._noted.clear()
                await self._noted.wait()
                continue
            lag = LagMeter()
            meter = asyncio.create_task(lag.run(), name=f"{self._name}:lag")
            try:
                await self._follow(self._under_way)
            finally:
                meter.cancel()
            await self._tell(self._close(self._under_way), lag)

    async def _follow(self, run: _UnderWay) -> None:
        """Wait for the end of a run; write that it is under way, once work has taken a while."""
        while not self._ends(run):
            due = run.began + self.bounds.seconds
            if self._begin is not None and not run.was_shown and self._is_at_work():
                shown_at = run.began + SHOWN_SECONDS
                if self._clock.elapsed() >= shown_at:
                    run.was_shown = True
                    with suppress(StoreUnavailable):  # then it is written when it ends
                        run.run_id = await self._begin(run.started_at)
                    continue
                due = min(due, shown_at)
            self._noted.clear()
            await self._clock.wait(due - self._clock.elapsed(), self._noted)

    def _ends(self, run: _UnderWay) -> bool:
        is_late = self._clock.elapsed() - run.began >= self.bounds.seconds
        return is_late or self._is_full() or bool(self._errors) or self._is_idle()

    def _is_full(self) -> bool:
        received = sum(stream.tally.counts.get("received", 0) for stream in self._streams)
        return received >= self.bounds.messages

    def _close(self, run: _UnderWay) -> EventRun:
        """Return what was counted since the run began; what is counted from now on belongs to the next."""
        now, self._under_way = self._clock.now(), None
        tasks = {stream.name: stream.tally.take() for stream in self._streams}
        errors, self._errors = self._errors, {}
        counts: Counter[str] = Counter()
        for done in tasks.values():
            counts.update(done)
        return EventRun(
            job=self._name, started_at=run.started_at,
            ended_at=now if run.rested_at is None or self._is_at_work() else run.rested_at, counts=dict(counts),
            error="; ".join(errors.values()) or None, tasks=tasks, errors=errors, run_id=run.run_id,
            canceled=self._is_canceled,
        )  # fmt: skip

    async def _tell(self, run: EventRun, lag: LagMeter) -> None:
        run_id: int | None = run.run_id
        try:
            run_id = await self._record(run)
        except StoreUnavailable as trouble:
            log.warning("run.not_recorded", job=self._name, error=trouble.message)
        log.info(
            "run.ended", job=self._name, run_id=run_id, counts=run.counts,
            duration_ms=round((run.ended_at - run.started_at).total_seconds() * 1000),
            loop_lag_ms=round(lag.longest * 1000),
        )  # fmt: skip
