"""The loop that keeps house: at once, traceless when there is nothing to do, gone as soon as a stop is asked for."""

import asyncio
from collections.abc import Callable

from structlog.testing import capture_logs

from gateway.contracts.task import TaskContext
from gateway.domain.errors import StoreUnavailable
from gateway.runtime.housekeeping import keep_house
from gateway.scheduler.busy import Occurrence

DEADLINE = 10.0


class Task:
    """A handler that does what a test says."""

    def __init__(self, behaviour: Callable[[TaskContext], None]) -> None:
        self._behaviour = behaviour
        self.ran = asyncio.Event()

    async def run(self, context: TaskContext) -> None:
        try:
            self._behaviour(context)
        finally:
            self.ran.set()


async def one_round(behaviour: Callable[[TaskContext], None]) -> list[Occurrence]:
    """Let the loop run once and stop it; returns what was recorded."""
    recorded: list[Occurrence] = []
    stopping, task = asyncio.Event(), Task(behaviour)

    async def record(occurrence: Occurrence) -> int:
        recorded.append(occurrence)
        return 7

    loop = asyncio.create_task(keep_house(task, record, stopping))
    async with asyncio.timeout(DEADLINE):
        await task.ran.wait()
        stopping.set()
        await loop
    return recorded


async def test_what_was_removed_is_recorded_and_told_with_the_number_of_the_run() -> None:
    with capture_logs() as events:
        (run,) = await one_round(lambda context: context.tally.add("messages", 3))
    assert (run.job, run.counts, run.error) == ("housekeeping", {"messages": 3}, None)
    (done,) = events
    assert (done["event"], done["run_id"], done["counts"]) == ("housekeeping.done", 7, {"messages": 3})


async def test_nothing_to_remove_leaves_no_trace() -> None:
    with capture_logs() as events:
        assert await one_round(lambda context: None) == []
    assert events == []


async def test_bug_is_recorded_and_does_not_end_the_gateway() -> None:
    def broken(context: TaskContext) -> None:
        raise ZeroDivisionError("a bug")

    (run,) = await one_round(broken)
    assert run.error == "ZeroDivisionError: a bug"


async def test_database_that_is_away_is_left_for_the_next_hour() -> None:
    def away(context: TaskContext) -> None:
        raise StoreUnavailable("away")

    assert await one_round(away) == []
