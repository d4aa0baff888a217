"""Numbers that are drawn ahead, and whose turn it is at those without gaps."""

import asyncio

import pytest

from gateway.db import shared as shared_numbers
from gateway.db.shared import Gate, SharedNumbers
from gateway.kernel.ids import PortName


class Sequence:
    """A sequence in a database that notes how many are drawn each time."""

    def __init__(self) -> None:
        self.next = 1
        self.drawn: list[int] = []
        self.refuses = False

    async def draw(self, number: int) -> int:
        await asyncio.sleep(0)
        if self.refuses:
            raise OSError("away")
        self.drawn.append(number)
        self.next += 10 * number
        return self.next - 10 * number


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the time, to be set."""
    times = [0.0]
    monkeypatch.setattr(shared_numbers.time, "monotonic", lambda: times[0])
    return times


async def test_numbers_come_in_order_and_are_drawn_seldom(now: list[float]) -> None:
    sequence, numbers = Sequence(), SharedNumbers()
    taken = await asyncio.gather(*(numbers.ahead("n", 1, 10, sequence.draw) for _ in range(10)))
    assert [number for (number,) in taken] == [1 + 10 * index for index in range(10)]
    assert sequence.drawn == [10]


@pytest.mark.parametrize(("seconds", "size"), [(1000.0, 10), (5.0, 20), (0.01, 1000)])
async def test_a_block_is_what_ten_seconds_use(now: list[float], seconds: float, size: int) -> None:
    sequence, numbers = Sequence(), SharedNumbers()
    for _ in range(10):
        await numbers.ahead("n", 1, 10, sequence.draw)
    now[0] = seconds
    await numbers.ahead("n", 1, 10, sequence.draw)
    assert sequence.drawn == [10, size]


async def test_more_than_a_block_is_drawn_at_once(now: list[float]) -> None:
    sequence, numbers = Sequence(), SharedNumbers()
    assert len(await numbers.ahead("n", 1500, 10, sequence.draw)) == 1500
    assert sequence.drawn == [1500]


async def test_draw_that_fails_gives_nothing_away(now: list[float]) -> None:
    sequence, numbers = Sequence(), SharedNumbers()
    sequence.refuses = True
    with pytest.raises(OSError, match="away"):
        await numbers.ahead("n", 1, 10, sequence.draw)
    sequence.refuses = False
    assert await numbers.ahead("n", 2, 10, sequence.draw) == [1, 11]


class Passing:
    """Units that go through a gate, and hold it for some seconds."""

    def __init__(self, now: list[float]) -> None:
        self.gate = Gate()
        self.order: list[str] = []
        self.go_on = asyncio.Event()
        self._now = now
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self, port: str, seconds: float, weight: int = 1) -> asyncio.Task[None]:
        self._tasks.append(asyncio.create_task(self._pass(PortName(port), seconds, weight)))
        await asyncio.sleep(0)
        return self._tasks[-1]

    async def all(self) -> list[str]:
        self.go_on.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return self.order

    async def _pass(self, port: PortName, seconds: float, weight: int) -> None:
        async with self.gate.turn(port, weight):
            self.order.append(port)
            await self.go_on.wait()
            self._now[0] += seconds


async def test_next_through_the_gate_is_the_port_that_has_held_it_least(now: list[float]) -> None:
    passing = Passing(now)
    for port in ("a", "a", "a", "b", "b", "c"):
        await passing.come(port, {"a": 3.0, "b": 2.0, "c": 0.1}[port])
    await passing.come("c", 0.1)
    assert await passing.all() == ["a", "b", "c", "c", "b", "a", "a"]


async def test_port_of_greater_weight_holds_the_gate_for_longer(now: list[float]) -> None:
    passing = Passing(now)
    for port, weight in (("a", 1), ("b", 3)):
        for _ in range(8):
            await passing.come(port, 1.0, weight)
    assert (await passing.all())[:8].count("b") == 6


async def test_who_is_given_up_lets_others_through_the_gate(now: list[float]) -> None:
    """While it waits, and when it has just been let in."""
    passing = Passing(now)
    passing.go_on.set()
    async with passing.gate.turn(PortName("a")):
        second, third, _ = [await passing.come(port, 1.0) for port in "bcd"]
        third.cancel()
    second.cancel()
    assert await passing.all() == ["d"]
