"""Busy periods: tasks stream, end in order, and an idle job does nothing."""

import asyncio
from collections.abc import Awaitable, Callable

from structlog.testing import capture_logs

from gateway.contracts.task import TaskContext
from gateway.scheduler.busy import Bounds, EventJob, Occurrence

Behaviour = Callable[[TaskContext], Awaitable[None]]
DEADLINE = 10.0


class Task:
    """A task whose behaviour is a function; notes in which order tasks end."""

    def __init__(self, name: str, behaviour: Behaviour, ended: list[str]) -> None:
        self.name = name
        self._behaviour = behaviour
        self._ended = ended

    async def run(self, context: TaskContext) -> None:
        await self._behaviour(context)
        self._ended.append(self.name)


class Runs:
    """Collects finished occurrences and lets a test wait for the n-th."""

    def __init__(self) -> None:
        self.seen: list[Occurrence] = []
        self.arrived = asyncio.Condition()

    async def record(self, occurrence: Occurrence) -> int:
        async with self.arrived:
            self.seen.append(occurrence)
            self.arrived.notify_all()
        return 40 + len(self.seen)

    async def wait(self, number: int) -> None:
        async with asyncio.timeout(DEADLINE), self.arrived:
            await self.arrived.wait_for(lambda: len(self.seen) >= number)


async def consume(context: TaskContext) -> None:
    """Take what is hinted until nothing can come."""
    while await context.feed.more():
        context.tally.add("taken")


def job_of(*behaviours: Behaviour, bounds: Bounds | None = None) -> tuple[EventJob, Runs, list[str], asyncio.Event]:
    ended: list[str] = []
    runs, stopping = Runs(), asyncio.Event()
    tasks = [(f"t{n}", Task(f"t{n}", behaviour, ended)) for n, behaviour in enumerate(behaviours)]
    job = EventJob(
        name="test", tasks=tasks, bounds=bounds or Bounds(messages=10**9, seconds=3600), record=runs.record,
        stopping=stopping,
    )  # fmt: skip
    return job, runs, ended, stopping


async def finish(job: EventJob, running: asyncio.Task[None], stopping: asyncio.Event) -> None:
    stopping.set()
    job.stop()
    async with asyncio.timeout(DEADLINE):
        await running


async def test_tasks_end_in_their_order_once_input_is_empty() -> None:
    async def produce(context: TaskContext) -> None:
        context.tally.add("files")
        context.feed.produced()
        assert not await context.feed.more()

    job, runs, ended, stopping = job_of(produce, consume, consume)
    running = asyncio.create_task(job.run())
    job.wake()
    await runs.wait(1)
    assert ended == ["t0", "t1", "t2"]
    assert runs.seen[0].counts == {"files": 1, "taken": 2}
    await finish(job, running, stopping)


async def test_idle_occurrence_is_not_recorded() -> None:
    looked = asyncio.Event()

    async def look(context: TaskContext) -> None:
        assert not await context.feed.more()
        looked.set()

    job, runs, _, stopping = job_of(look, consume)
    running = asyncio.create_task(job.run())
    job.wake()
    async with asyncio.timeout(DEADLINE):
        await looked.wait()
    await finish(job, running, stopping)
    assert runs.seen == []


async def test_first_task_gets_hints_while_later_ones_still_work() -> None:
    release, hinted = asyncio.Event(), asyncio.Event()

    async def first(context: TaskContext) -> None:
        context.tally.add("files")
        context.feed.produced()
        while await context.feed.more():
            hinted.set()

    async def slow(context: TaskContext) -> None:
        while await context.feed.more():
            await release.wait()

    job, runs, _, stopping = job_of(first, slow)
    running = asyncio.create_task(job.run())
    job.wake()
    await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    job.wake()
    async with asyncio.timeout(DEADLINE):
        await hinted.wait()
    assert runs.seen == []
    release.set()
    await runs.wait(1)
    await finish(job, running, stopping)


async def test_hint_that_comes_while_closing_starts_another_occurrence() -> None:
    job_box: list[EventJob] = []
    occurrences = 0

    async def first(context: TaskContext) -> None:
        nonlocal occurrences
        occurrences += 1
        context.tally.add("files")

    async def last(context: TaskContext) -> None:
        assert not await context.feed.more()
        if occurrences == 1:
            job_box[0].wake(0)  # the first task has ended already

    job, runs, _, stopping = job_of(first, last)
    job_box.append(job)
    running = asyncio.create_task(job.run())
    job.wake()
    await runs.wait(2)
    await finish(job, running, stopping)


async def test_bound_closes_an_occurrence_and_the_next_starts() -> None:
    async def first(context: TaskContext) -> None:
        while not context.feed.enough():
            context.tally.add("received", 10)

    job, runs, _, stopping = job_of(first, consume, bounds=Bounds(messages=20, seconds=3600))
    running = asyncio.create_task(job.run())
    job.wake()
    await runs.wait(3)
    assert {run.counts["received"] for run in runs.seen} == {20}
    await finish(job, running, stopping)


async def test_end_of_a_run_is_told_with_its_number_in_history() -> None:
    async def work(context: TaskContext) -> None:
        context.tally.add("files")

    job, runs, _, stopping = job_of(work)
    with capture_logs() as events:
        running = asyncio.create_task(job.run())
        job.wake()
        await runs.wait(1)
        await finish(job, running, stopping)
    assert [event["run_id"] for event in events if event["event"] == "run.ended"] == [41]


async def test_bug_in_a_task_ends_the_occurrence_but_not_the_job() -> None:
    calls = 0

    async def broken_once(context: TaskContext) -> None:
        nonlocal calls
        calls += 1
        context.tally.add("files")
        if calls == 1:
            raise ZeroDivisionError("a bug")

    job, runs, _, stopping = job_of(broken_once, consume)
    running = asyncio.create_task(job.run())
    job.wake()
    await runs.wait(1)
    assert runs.seen[0].error == "ZeroDivisionError: a bug"
    job.wake()
    await runs.wait(2)
    assert runs.seen[1].error is None
    await finish(job, running, stopping)
