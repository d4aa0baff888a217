"""Ends that come together are recorded together, and none is lost for another."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from gateway.batch.engine import recording
from gateway.batch.engine.recording import Recorder
from gateway.batch.rules.job import TaskStatus
from gateway.batch.rules.transitions import Attempt
from gateway.batch.store.ending import Ended, Result, TaskEnd
from gateway.batch.store.run_log import Line
from gateway.batch.store.tasks import ClaimedTask
from gateway.kernel.errors import StoreUnavailable
from gateway.kernel.ids import Fence
from tests.fakes import FakeClock

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENDED = Ended(status=TaskStatus.ENDED, led_on=False)


def end(number: int, *, lines: int = 0) -> TaskEnd:
    task = cast("ClaimedTask", SimpleNamespace(fence=Fence(number)))
    line = Line(AT, "info", "so far")
    return TaskEnd(task=task, result=Result(attempt=Attempt.ENDED), lines=[line] * lines)


class Ends:
    """Stands in for the store: `groups` are the fences that were recorded together."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.groups: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.trouble: Callable[[list[int]], Exception | None] = lambda _: None
        self.lost: set[int] = set()
        self.available = True
        monkeypatch.setattr(recording, "end_tasks", self.end_tasks)
        store: Any = SimpleNamespace(wait_until_available=self.wait_until_available)
        self.recorder = Recorder(store, FakeClock(AT))
        self.stopping = asyncio.Event()

    async def end_tasks(self, _: object, ends: Sequence[TaskEnd], now: datetime) -> Sequence[Ended | None]:
        fences = [int(each.task.fence) for each in ends]
        self.groups.append(fences)
        await self.gate.wait()
        if (error := self.trouble(fences)) is not None:
            raise error
        return [None if fence in self.lost else ENDED for fence in fences]

    async def wait_until_available(self, stopping: asyncio.Event) -> bool:
        return self.available

    def record(self, number: int, *, lines: int = 0) -> asyncio.Task[Ended | None]:
        return asyncio.create_task(self.recorder.record(end(number, lines=lines), self.stopping))


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Ends:
    return Ends(monkeypatch)


async def begun(ends: Ends, groups: int) -> None:
    async with asyncio.timeout(60):
        while len(ends.groups) < groups:
            await asyncio.sleep(0)


async def test_who_comes_back_while_a_recording_is_under_way_goes_into_the_next_one(ends: Ends) -> None:
    ends.gate.clear()
    first = ends.record(1)
    await begun(ends, 1)
    others = [ends.record(number) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    ends.gate.set()
    assert await asyncio.gather(first, *others) == [ENDED] * 4
    assert ends.groups == [[1], [2, 3, 4]]


async def test_who_comes_back_in_the_same_moment_goes_along(ends: Ends) -> None:
    await asyncio.gather(*(ends.record(number) for number in range(8)))
    assert ends.groups == [list(range(8))]


async def test_a_group_holds_so_many_lines_as_one_task_may_write(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_LINES", 10)
    await asyncio.gather(*(ends.record(number, lines=6) for number in range(5)))
    assert ends.groups == [[0, 1], [2, 3], [4]]


async def test_a_defect_with_one_end_costs_the_others_nothing(ends: Ends) -> None:
    ends.trouble = lambda fences: ValueError("cannot be written") if 2 in fences else None
    with capture_logs() as told:
        results = await asyncio.gather(*(ends.record(number) for number in (1, 2, 3)))
    assert results == [ENDED, None, ENDED]
    assert ends.groups == [[1, 2, 3], [1], [2], [3]]
    assert [(each["event"], each["fence"]) for each in told] == [("task.not_recorded", 2)]


async def test_an_end_that_comes_too_late_is_told_and_the_others_count(ends: Ends) -> None:
    ends.lost = {3}
    with capture_logs() as told:
        assert await asyncio.gather(*(ends.record(number) for number in (1, 3))) == [ENDED, None]
    assert [(each["event"], each["fence"]) for each in told] == [("lease.lost", 3)]


async def test_a_database_that_is_away_is_waited_for(ends: Ends) -> None:
    ends.trouble = lambda _: StoreUnavailable("away") if len(ends.groups) < 3 else None
    assert await ends.record(1) is ENDED
    assert ends.groups == [[1], [1], [1]]


async def test_a_stop_ends_the_wait_for_the_database(ends: Ends) -> None:
    ends.trouble, ends.available = lambda _: StoreUnavailable("away"), False
    with capture_logs() as told:
        assert await asyncio.gather(ends.record(1, lines=2), ends.record(2)) == [None, None]
    assert [each["event"] for each in told] == ["store.unavailable", "run.log_incomplete"]
