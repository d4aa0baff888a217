"""Numbers that are drawn ahead."""

import asyncio

import pytest

from gateway.store import shared_numbers
from gateway.store.shared_numbers import SharedNumbers


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
