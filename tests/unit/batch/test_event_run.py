"""Event-driven jobs: tasks stream, runs are only their record, and an idle job does nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from gateway.batch.events.event_run import REST_SECONDS, SHOWN_SECONDS, Bounds, EventJob, EventRun
from gateway.contracts.task import TaskContext
from tests.fakes import FakeClock

Behaviour = Callable[[TaskContext], Awaitable[None]]
DEADLINE = 60.0
NOW = datetime(2031, 5, 6, 12, tzinfo=UTC)


class Task:
    """A task whose behaviour is a function; notes how often it has ended."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self.ended = 0

    async def run(self, context: TaskContext) -> None:
        try:
            await self._behaviour(context)
        finally:
            self.ended += 1


class Bench:
    """A job with one task per behaviour, on a clock that stands still, and what history gets."""

    def __init__(self, *behaviours: Behaviour, messages: int = 10**9, seconds: float = 10**9) -> None:
        self.clock = FakeClock(NOW)
        self.runs: list[EventRun] = []
        self.begun: list[datetime] = []
        self.rested = 0
        self.tasks = [Task(behaviour) for behaviour in behaviours]
        self.job = EventJob(
            name="test", tasks=[(f"t{n}", task) for n, task in enumerate(self.tasks)],
            bounds=Bounds(messages=messages, seconds=seconds), record=self.record, clock=self.clock, begin=self.begin,
            rested=self.rest,
        )  # fmt: skip

    async def __aenter__(self) -> "Bench":
        self._running = asyncio.create_task(self.job.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.job.stop()
        async with asyncio.timeout(DEADLINE):
            await self._running

    async def record(self, run: EventRun) -> int:
        self.runs.append(run)
        return 40 + len(self.runs)

    async def begin(self, started_at: datetime) -> int:
        self.begun.append(started_at)
        return 7

    def rest(self) -> None:
        self.rested += 1

    def pass_(self, seconds: float) -> None:
        self.clock.move_to(self.clock.now() + timedelta(seconds=seconds))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds; the clock stands still."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                await asyncio.sleep(0)

    async def until_runs(self, number: int) -> None:
        """Let time pass until so many runs have ended."""
        async with asyncio.timeout(DEADLINE):
            while len(self.runs) < number:
                self.pass_(REST_SECONDS)
                await settle()


async def settle() -> None:
    """Let everything go on that can without time."""
    for _ in range(30):
        await asyncio.sleep(0)


async def receive(context: TaskContext) -> None:
    """Take one file per hint."""
    while True:
        context.tally.add("received")
        context.feed.produced()
        if not await context.feed.more():
            return


async def consume(context: TaskContext) -> None:
    """Do what is there, and what is hinted, until nothing has come for a while."""
    while True:
        context.tally.add("taken")
        if not await context.feed.more():
            return


async def idle(context: TaskContext) -> None:
    """Find nothing."""
    assert not await context.feed.more()


async def test_a_run_ends_when_every_task_has_rested_a_while() -> None:
    async with Bench(receive, consume) as bench:
        bench.job.arm()
        await settle()
        bench.pass_(0.9 * REST_SECONDS)
        await settle()
        bench.job.wake()
        await settle()
        bench.pass_(0.9 * REST_SECONDS)
        await settle()
        assert bench.runs == [], "a hint came before the rest was over"
        bench.pass_(REST_SECONDS)
        await bench.until(lambda: len(bench.runs) == 1)
        (run,) = bench.runs
        assert run.tasks == {"t0": {"received": 2}, "t1": {"taken": 2}}
        assert run.counts == {"received": 2, "taken": 2}
        assert run.started_at == NOW
        assert run.ended_at == NOW + timedelta(seconds=0.9 * REST_SECONDS), "when the last work was done"


async def test_hints_that_lead_to_nothing_do_not_put_off_the_rest() -> None:
    async def take_one(context: TaskContext) -> None:
        if not bench.tasks[0].ended and not bench.runs:
            context.tally.add("files")
        while await context.feed.more():
            pass

    async with Bench(take_one) as bench:
        bench.job.arm()
        for _ in range(4):
            await settle()
            bench.pass_(REST_SECONDS / 4)
            bench.job.wake()
        await bench.until(lambda: len(bench.runs) == 1)
        assert bench.runs[0].ended_at == NOW


async def test_tasks_rest_until_the_next_hint_and_what_does_nothing_is_not_recorded() -> None:
    async with Bench(idle, idle) as bench:
        bench.job.arm()
        await bench.until(lambda: [task.ended for task in bench.tasks] == [1, 1])
        bench.job.wake()
        await bench.until(lambda: bench.tasks[0].ended == 2)
        await settle()
        assert bench.tasks[1].ended == 1
        assert bench.clock.next_timer() is None, "nobody waits for a time"
    assert (bench.runs, bench.rested) == ([], 0)


async def test_a_bound_ends_the_record_while_tasks_go_on() -> None:
    """Neither intake nor the slow work of another waits for it."""
    release = asyncio.Event()

    async def slow(context: TaskContext) -> None:
        await release.wait()
        context.tally.add("messages")
        while await context.feed.more():
            pass

    async with Bench(receive, slow, messages=3, seconds=60) as bench:
        bench.job.arm()
        for _ in range(5):
            await settle()
            bench.job.wake()
        await settle()
        assert [run.counts for run in bench.runs] == [{"received": 3}, {"received": 3}]
        bench.job.wake()
        await settle()
        bench.pass_(60)
        await bench.until(lambda: len(bench.runs) == 3)
        assert bench.runs[2].counts == {"received": 1}
        assert [task.ended for task in bench.tasks][1] == 0, "it is still at the first message"
        bench.job.wake()
        await settle()
        release.set()
        await bench.until_runs(4)
        assert bench.runs[3].tasks == {"t0": {"received": 1}, "t1": {"messages": 1}}
        assert {run.error for run in bench.runs} == {None}


async def test_a_run_shows_while_it_is_under_way_only_when_work_takes_long() -> None:
    release = asyncio.Event()

    async def slow(context: TaskContext) -> None:
        context.tally.add("messages")
        await release.wait()
        assert not await context.feed.more()

    async with Bench(slow) as bench:
        release.set()
        bench.job.arm()
        await bench.until_runs(1)
        assert (bench.begun, bench.runs[0].run_id) == ([], None)
        release.clear()
        bench.job.wake()
        await settle()
        bench.pass_(SHOWN_SECONDS)
        await bench.until(lambda: len(bench.begun) == 1)
        release.set()
        await bench.until_runs(2)
        assert bench.runs[1].run_id == 7


async def test_a_hint_that_comes_while_a_task_ends_runs_it_again() -> None:
    box: list[Bench] = []

    async def first(context: TaskContext) -> None:
        context.tally.add("files")
        if not box[0].tasks[0].ended:
            box[0].job.wake()

    async with Bench(first) as bench:
        box.append(bench)
        bench.job.arm()
        await bench.until(lambda: bench.tasks[0].ended == 2)


async def test_end_of_a_run_is_told_with_its_number_in_history() -> None:
    with capture_logs() as events:
        async with Bench(receive) as bench:
            bench.job.arm()
            await bench.until_runs(1)
    assert [event["run_id"] for event in events if event["event"] == "run.ended"] == [41]


async def test_bug_in_a_task_ends_the_run_but_neither_the_job_nor_the_other_tasks() -> None:
    async def broken_once(context: TaskContext) -> None:
        context.tally.add("files")
        if not bench.tasks[0].ended:
            raise ZeroDivisionError("a bug")
        await context.feed.more()

    async def slow(context: TaskContext) -> None:
        await context.stopping.wait()

    async with Bench(broken_once, slow) as bench:
        bench.job.arm()
        await bench.until(lambda: len(bench.runs) == 1)
        assert bench.runs[0].errors == {"t0": "ZeroDivisionError: a bug"}
        bench.job.wake()
        await bench.until(lambda: bench.tasks[0].ended == 1)
        bench.job.bounds = Bounds(messages=10**9, seconds=1)
        await bench.until_runs(2)
        assert bench.runs[1].error is None
        assert bench.tasks[1].ended == 0


async def test_a_parked_job_starts_nothing_until_it_is_armed() -> None:
    async with Bench(receive) as bench:
        bench.job.wake()
        await settle()
        assert bench.tasks[0].ended == 0
        bench.job.arm()
        await bench.until_runs(1)
        bench.job.park()
        bench.job.wake()
        await settle()
        assert bench.tasks[0].ended == 1
        bench.job.arm()
        await bench.until_runs(2)


async def test_a_job_that_is_parked_in_the_middle_takes_no_new_input_and_finishes_what_is_queued() -> None:
    begun, taking, release = (asyncio.Event() for _ in range(3))
    taken = 0
    queued: list[int] = []

    async def take(context: TaskContext) -> None:
        context.tally.add("files")
        begun.set()
        await taking.wait()
        queued.append(1)
        context.feed.produced()
        while not context.feed.closed and await context.feed.more():
            context.tally.add("files")

    async def process(context: TaskContext) -> None:
        nonlocal taken
        while queued:
            await release.wait()
            taken += queued.pop()

    async with Bench(take, process) as bench:
        bench.job.arm()
        await bench.until(begun.is_set)
        bench.job.park()
        await bench.until(lambda: bench.tasks[1].ended == 1)
        bench.job.wake()
        taking.set()  # the file that was begun still becomes a message
        await bench.until(lambda: bench.tasks[0].ended == 1)
        release.set()
        await bench.until_runs(1)
        assert (bench.runs[0].counts, taken) == ({"files": 1}, 1)


@pytest.mark.parametrize("arms", [False, True])
async def test_a_cancelled_job_ends_at_its_next_safe_point_and_can_be_armed_again(arms: bool) -> None:
    async def work(context: TaskContext) -> None:
        context.tally.add("files")
        hint = asyncio.create_task(context.feed.hinted())
        await context.stopping.wait()
        await settle()
        assert not hint.done(), "a hint that comes now is for the next"
        hint.cancel()

    async with Bench(work, idle) as bench:
        bench.job.arm()
        await settle()
        bench.job.cancel()
        if not arms:
            await bench.until(lambda: len(bench.runs) == 1)
            assert bench.runs[0].canceled
        bench.job.arm()
        await bench.until(lambda: bench.tasks[0].ended == 1)
        await settle()
        assert bench.tasks[0].ended == 1, "it is at work again"
    assert [run.error for run in bench.runs if run.error] == []


async def test_a_cancelled_job_that_rests_has_no_cancelled_run() -> None:
    async with Bench(receive) as bench:
        bench.job.arm()
        await settle()
        bench.job.cancel()
        await bench.until(lambda: len(bench.runs) == 1)
        assert not bench.runs[0].canceled


async def test_a_retired_job_finishes_what_it_has_begun() -> None:
    release = asyncio.Event()

    async def slow(context: TaskContext) -> None:
        await release.wait()
        context.tally.add("messages")

    bench = Bench(receive, slow)
    running = asyncio.create_task(bench.job.run())
    bench.job.arm()
    await settle()
    bench.job.retire()
    await settle()
    bench.job.arm()
    assert not running.done() and not bench.job.is_armed
    release.set()
    async with asyncio.timeout(DEADLINE):
        await running
    assert bench.runs[0].counts == {"received": 1, "messages": 1}


async def test_it_is_told_once_that_all_is_done() -> None:
    async with Bench(receive, consume) as bench:
        bench.job.arm()
        await settle()
        assert bench.rested == 1
        bench.pass_(REST_SECONDS)
        await settle()
        assert bench.rested == 1
