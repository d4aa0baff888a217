"""Busy periods: tasks stream, end in order, and an idle job does nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from structlog.testing import capture_logs

from gateway.contracts.task import TaskContext
from gateway.scheduler.busy import Bounds, EventJob, Occurrence

Behaviour = Callable[[TaskContext], Awaitable[None]]
DEADLINE = 10.0
NOW = datetime(2031, 5, 6, 12, tzinfo=UTC)


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


def job_of(*behaviours: Behaviour, bounds: Bounds | None = None) -> tuple[EventJob, Runs, list[str]]:
    ended: list[str] = []
    runs = Runs()
    tasks = [(f"t{n}", Task(f"t{n}", behaviour, ended)) for n, behaviour in enumerate(behaviours)]
    job = EventJob(
        name="test", tasks=tasks, bounds=bounds or Bounds(messages=10**9, seconds=3600), record=runs.record,
        now=lambda: NOW,
    )  # fmt: skip
    return job, runs, ended


async def finish(job: EventJob, running: asyncio.Task[None]) -> None:
    job.stop()
    async with asyncio.timeout(DEADLINE):
        await running


async def test_tasks_end_in_their_order_once_input_is_empty() -> None:
    async def produce(context: TaskContext) -> None:
        context.tally.add("files")
        context.feed.produced()
        assert not await context.feed.more()

    job, runs, ended = job_of(produce, consume, consume)
    running = asyncio.create_task(job.run())
    job.wake()
    await runs.wait(1)
    assert ended == ["t0", "t1", "t2"]
    assert runs.seen[0].counts == {"files": 1, "taken": 2}
    await finish(job, running)


async def test_idle_occurrence_is_not_recorded() -> None:
    looked = asyncio.Event()

    async def look(context: TaskContext) -> None:
        assert not await context.feed.more()
        looked.set()

    job, runs, _ = job_of(look, consume)
    running = asyncio.create_task(job.run())
    job.wake()
    async with asyncio.timeout(DEADLINE):
        await looked.wait()
    await finish(job, running)
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

    job, runs, _ = job_of(first, slow)
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
    await finish(job, running)


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

    job, runs, _ = job_of(first, last)
    job_box.append(job)
    running = asyncio.create_task(job.run())
    job.wake()
    await runs.wait(2)
    await finish(job, running)


async def test_bound_closes_an_occurrence_and_the_next_starts() -> None:
    async def first(context: TaskContext) -> None:
        while not context.feed.enough():
            context.tally.add("received", 10)

    job, runs, _ = job_of(first, consume, bounds=Bounds(messages=20, seconds=3600))
    running = asyncio.create_task(job.run())
    job.wake()
    await runs.wait(3)
    assert {run.counts["received"] for run in runs.seen} == {20}
    await finish(job, running)


async def test_end_of_a_run_is_told_with_its_number_in_history() -> None:
    async def work(context: TaskContext) -> None:
        context.tally.add("files")

    job, runs, _ = job_of(work)
    with capture_logs() as events:
        running = asyncio.create_task(job.run())
        job.wake()
        await runs.wait(1)
        await finish(job, running)
    assert [event["run_id"] for event in events if event["event"] == "run.ended"] == [41]


async def test_bug_in_a_task_ends_the_occurrence_but_not_the_job() -> None:
    calls = 0

    async def broken_once(context: TaskContext) -> None:
        nonlocal calls
        calls += 1
        context.tally.add("files")
        if calls == 1:
            raise ZeroDivisionError("a bug")

    job, runs, _ = job_of(broken_once, consume)
    running = asyncio.create_task(job.run())
    job.wake()
    await runs.wait(1)
    assert runs.seen[0].error == "ZeroDivisionError: a bug"
    job.wake()
    await runs.wait(2)
    assert runs.seen[1].error is None
    await finish(job, running)


async def test_a_parked_job_starts_nothing_until_it_is_armed() -> None:
    async def work(context: TaskContext) -> None:
        context.tally.add("files")

    job, runs, _ = job_of(work)
    running = asyncio.create_task(job.run())
    job.park()
    job.wake()
    for _ in range(20):
        await asyncio.sleep(0)
    assert runs.seen == []
    job.arm()
    await runs.wait(1)
    await finish(job, running)


async def test_a_job_that_is_parked_in_the_middle_takes_no_new_input_and_drains() -> None:
    begun, release = asyncio.Event(), asyncio.Event()
    taken = 0

    async def receive(context: TaskContext) -> None:
        context.tally.add("files")
        context.feed.produced()
        begun.set()
        while not context.feed.enough() and await context.feed.more():
            context.tally.add("files")

    async def process(context: TaskContext) -> None:
        nonlocal taken
        while await context.feed.more():
            await release.wait()
            taken += 1

    job, runs, ended = job_of(receive, process)
    running = asyncio.create_task(job.run())
    job.wake()
    async with asyncio.timeout(DEADLINE):
        await begun.wait()
    job.park()
    release.set()
    await runs.wait(1)
    assert (runs.seen[0].counts, taken, ended) == ({"files": 1}, 1, ["t0", "t1"])
    await finish(job, running)


async def test_a_cancelled_job_ends_at_its_next_safe_point() -> None:
    begun = asyncio.Event()

    async def work(context: TaskContext) -> None:
        context.tally.add("files")
        begun.set()
        await context.stopping.wait()

    job, runs, _ = job_of(work)
    running = asyncio.create_task(job.run())
    job.wake()
    async with asyncio.timeout(DEADLINE):
        await begun.wait()
    job.cancel()
    await runs.wait(1)
    assert runs.seen[0].canceled
    await finish(job, running)


async def test_counts_are_told_for_each_task() -> None:
    async def receive(context: TaskContext) -> None:
        context.tally.add("files", 2)

    async def send(context: TaskContext) -> None:
        context.tally.add("responses", 3)

    job, runs, _ = job_of(receive, send)
    running = asyncio.create_task(job.run())
    job.wake()
    await runs.wait(1)
    assert runs.seen[0].tasks == {"t0": {"files": 2}, "t1": {"responses": 3}}
    await finish(job, running)
