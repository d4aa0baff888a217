"""One run of a stage in all workers: it goes on while one works or input comes, whoever of them ends or comes."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from gateway.contracts.task import Tally, TaskContext
from gateway.messaging.rules.states import Stage
from gateway.runtime.processing.stages import Run, Runs, StageFailed


class Hand:
    """A worker that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def tell(self, kind: str, *_: object) -> None:
        self.told.append(kind)


class Feed:
    """Input that comes when the test says so (`gateway.contracts.task.Feed`)."""

    closed = False
    once = False

    def __init__(self) -> None:
        self.answers: asyncio.Queue[bool] = asyncio.Queue()
        self.asked = 0

    async def more(self) -> bool:
        self.asked += 1
        return await self.answers.get()

    async def hinted(self) -> None:
        await asyncio.Event().wait()

    def produced(self) -> None:
        return


class Stand:
    """A run under way, its workers and its feed."""

    def __init__(self, hands: Iterable[Hand]) -> None:
        self.feed, self.stopping, self.runs = Feed(), asyncio.Event(), Runs()
        context = TaskContext(task="inbound", feed=self.feed, stopping=self.stopping, tally=Tally(), job="gateway")
        self.ends = asyncio.create_task(self.runs.run(Stage.INBOUND, context, hands))

    @property
    def run(self) -> Run:
        (run,) = self.runs.all()
        return run

    async def comes(self, hand: Hand, kind: str, times: int = 1) -> None:
        """Wait until a worker was told something so often."""
        async with asyncio.timeout(60):
            while hand.told.count(kind) < times:
                await asyncio.sleep(0)


@asynccontextmanager
async def stand(*hands: Hand) -> AsyncIterator[Stand]:
    """Begin a run in these workers."""
    made = Stand(hands)
    await asyncio.sleep(0)
    try:
        yield made
    finally:
        made.ends.cancel()
        for hand in hands:  # otherwise they are waited for
            made.runs.left(hand)
        await asyncio.gather(made.ends, return_exceptions=True)


async def test_it_ends_when_all_rest_and_nothing_comes() -> None:
    first, second = Hand(), Hand()
    async with stand(first, second) as it:
        it.run.rests(first)
        await asyncio.sleep(0)
        assert it.feed.asked == 0, "the second is at work"
        it.run.rests(second)
        it.feed.answers.put_nowait(True)
        for hand in (first, second):
            await it.comes(hand, "hint")
            it.run.rests(hand)
        it.feed.answers.put_nowait(False)
        for hand in (first, second):
            await it.comes(hand, "over")
            it.run.left(hand)
        await it.ends


async def test_all_look_once_more_when_one_comes_to_rest_after_work() -> None:
    first, second = Hand(), Hand()
    async with stand(first, second) as it:
        it.run.rests(second)
        it.run.counted("messages", 1)
        it.run.rests(first)
        assert first.told.count("hint") == second.told.count("hint") == 1
        it.run.rests(first)
        it.run.rests(second)
        assert first.told.count("hint") == second.told.count("hint") == 1, "nothing was done since"


async def test_one_that_dies_is_not_waited_for_and_one_that_comes_takes_part() -> None:
    first, second = Hand(), Hand()
    async with stand(first) as it:
        it.runs.left(first)
        it.runs.open(second)
        assert second.told == ["run"]
        it.run.rests(second)
        it.feed.answers.put_nowait(False)
        await it.comes(second, "over")
        it.run.left(second)
        await it.ends


async def test_one_that_comes_while_the_run_ends_is_not_waited_for() -> None:
    first, second = Hand(), Hand()
    async with stand(first) as it:
        it.stopping.set()
        await it.comes(first, "stop")
        it.runs.open(second)
        assert second.told == []
        it.run.left(first)
        await it.ends


async def test_one_that_ends_with_a_defect_ends_the_run_for_all() -> None:
    first, second = Hand(), Hand()
    async with stand(first, second) as it:
        it.run.left(first, "ValueError: a bug")
        await it.comes(second, "over")
        it.run.left(second)
        with pytest.raises(StageFailed, match="a bug"):
            await it.ends


async def test_a_stop_lets_them_end_what_they_have_begun_and_a_cancel_does_not() -> None:
    hand = Hand()
    async with stand(hand) as it:
        it.stopping.set()
        await it.comes(hand, "stop")
        assert not it.ends.done()
        it.ends.cancel()
        await it.comes(hand, "cancel")
        it.run.left(hand)
        with pytest.raises(asyncio.CancelledError):
            await it.ends
