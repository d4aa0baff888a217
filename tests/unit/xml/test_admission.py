"""Who reads next, without readers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from random import Random

import pytest

from gateway.kernel.ids import PortName
from gateway.xml.admission import MOST_RESTING, TURN_SECONDS, Admission, ReaderTurn


class Files:
    """Files that are read, or wait for it."""

    def __init__(self, readers: int) -> None:
        self.admission = Admission(readers)
        self.reading: dict[str, ReaderTurn] = {}
        self.order: list[str] = []
        self._seconds: dict[str, asyncio.Queue[float | None]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def drop(self, *files: str, weight: int = 1) -> None:
        """Let files come: a port, upper case for a large one, and anything that makes its name one of its own."""
        for file in files:
            self._seconds[file] = asyncio.Queue()
            self._tasks[file] = asyncio.create_task(self._read(file, weight))
            await settle()

    async def end(self, file: str) -> None:
        self._seconds[file].put_nowait(None)
        await self._tasks[file]
        await settle()

    async def cancel(self, file: str) -> None:
        self._tasks[file].cancel()
        await settle()

    async def work(self, file: str, seconds: float) -> None:
        """Let a file be read for a while; it gives way then if it must."""
        self._seconds[file].put_nowait(seconds)
        await settle()

    @property
    def at_work(self) -> set[str]:
        return {file for file, place in self.reading.items() if place.granted.is_set()}

    async def _read(self, file: str, weight: int) -> None:
        port = PortName(file[0].lower())
        try:
            async with self.admission.place(port, weight, large=file[0].isupper()) as place:
                self.reading[file] = place
                self.order.append(file)
                while (seconds := await self._seconds[file].get()) is not None:
                    place.spent(seconds)
                    await place.give_way()
        finally:
            self.reading.pop(file, None)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


def files_for(stack: AsyncExitStack, readers: int) -> Files:
    files = Files(readers)
    stack.push_async_callback(files.close)
    return files


@pytest.mark.parametrize("readers", [2, 3, 8])
async def test_one_reader_is_kept_for_small_files(stack: AsyncExitStack, readers: int) -> None:
    files = files_for(stack, readers)
    large = [chr(ord("A") + n) for n in range(10)]
    await files.drop(*large)
    assert files.at_work == set(large[: readers - 1])
    await files.drop("z1", "z2")
    assert files.at_work == {*large[: readers - 1], "z1"}
    await files.end("z1")
    assert "z2" in files.at_work


async def test_large_files_take_the_only_reader_in_turn_with_small_ones(stack: AsyncExitStack) -> None:
    files = files_for(stack, 1)
    await files.drop("A", "B", "z")
    await files.work("A", 1.0)
    await files.end("A")
    await files.end("B")
    await files.end("z")
    assert files.order == ["A", "B", "z"]


async def test_a_port_has_one_large_file_at_a_time(stack: AsyncExitStack) -> None:
    files = files_for(stack, 4)
    await files.drop("A1", "A2", "A3", "a4", "B1")
    assert files.at_work == {"A1", "a4", "B1"}
    await files.end("A1")
    assert files.at_work == {"A2", "a4", "B1"}


async def test_port_that_had_least_for_its_weight_is_next(stack: AsyncExitStack) -> None:
    files = files_for(stack, 1)
    await files.drop("a1", "a2", "a3", "b1", "b2", "b3")
    for _ in range(6):
        (file,) = files.at_work
        files.reading[file].spent(1.0)
        await files.end(file)
    assert files.order == ["a1", "b1", "a2", "b2", "a3", "b3"]


async def test_one_that_comes_new_is_next(stack: AsyncExitStack) -> None:
    files = files_for(stack, 1)
    await files.drop("a1", *(f"a{n}" for n in range(2, 9)))
    files.reading["a1"].spent(5.0)
    await files.drop("b1")
    await files.end("a1")
    assert files.at_work == {"b1"}


async def test_large_file_rests_after_its_turn_and_goes_on_later(stack: AsyncExitStack) -> None:
    files = files_for(stack, 2)
    await files.drop("A")
    await files.work("A", 10 * TURN_SECONDS)
    assert files.at_work == {"A"}, "nobody else waits"
    await files.drop("B", "A2")
    await files.work("A", 0.9 * TURN_SECONDS)
    assert files.at_work == {"B"}, "it has had its turn before"
    await files.work("B", TURN_SECONDS)
    assert files.at_work == {"B"}, "which has had less"
    await files.end("B")
    assert files.at_work == {"A"}
    await files.end("A")
    assert files.at_work == {"A2"}


async def test_nothing_rests_for_a_file_that_could_not_begin(stack: AsyncExitStack) -> None:
    files = files_for(stack, 2)
    await files.drop("A1", "A2")
    await files.work("A1", TURN_SECONDS)
    assert files.at_work == {"A1"}


async def test_only_a_few_rest_at_a_time(stack: AsyncExitStack) -> None:
    files = files_for(stack, 2)
    large = [chr(ord("A") + n) for n in range(MOST_RESTING + 3)]
    await files.drop(*large)
    for _ in large:
        (file,) = files.at_work
        await files.work(file, TURN_SECONDS)
    assert files.admission.resting == MOST_RESTING
    assert len(files.order) == MOST_RESTING + 1
    for _ in large:
        (file,) = files.at_work
        await files.end(file)
    assert sorted(files.order) == large
    assert files.admission.resting == 0


async def test_probe_finds_a_reader_only_when_nobody_wants_it(stack: AsyncExitStack) -> None:
    files = files_for(stack, 2)
    port = PortName("p")
    assert files.admission.is_idle(port)
    await files.drop("a")
    assert files.admission.is_idle(port)
    await files.drop("b")
    assert not files.admission.is_idle(port)
    await files.end("b")
    await files.drop("P")
    assert not files.admission.is_idle(port)


async def test_whatever_is_cancelled_leaves_nothing_behind(stack: AsyncExitStack) -> None:
    """Waiting, at work or resting; afterwards all places are free again."""
    random = Random(1)
    for readers in (1, 2, 3):
        files = files_for(stack, readers)
        names = [f"{random.choice('AbCdEf')}{n}" for n in range(60)]
        for name in names:
            await files.drop(name)
            for file in random.sample(sorted(files.at_work), min(1, len(files.at_work))):
                await files.work(file, random.choice([0.1, TURN_SECONDS]))
            assert len(files.at_work) <= readers
            if random.random() < 0.5:
                await files.cancel(random.choice(names[: names.index(name) + 1]))
        for name in names:
            await files.cancel(name)
        await files.drop(*(f"z{n}" for n in range(readers)))
        assert files.at_work == {f"z{n}" for n in range(readers)}
        assert files.admission.resting == 0
        assert files.admission.is_idle(PortName("y")) is False
