"""What the units of a process share of number sequences: whose turn it is, and numbers that are drawn ahead."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from weakref import WeakValueDictionary

_AHEAD_SECONDS: Final = 10.0
_FEWEST: Final = 10
_MOST: Final = 1000


class SharedNumbers:
    """Number sequences of one store, by name."""

    def __init__(self) -> None:
        self._gates: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._blocks: defaultdict[tuple[str, int], _Block] = defaultdict(_Block)

    def gate(self, name: str) -> asyncio.Lock:
        """Return what lets one unit at a time wait in the database for a sequence without gaps."""
        return self._gates.setdefault(name, asyncio.Lock())

    async def ahead(
        self, name: str, count: int, step: int, draw: Callable[[int], Awaitable[int]]
    ) -> Sequence[int]:  # fmt: skip
        """Return numbers of a sequence that may have gaps, in order; when none are left *draw* a block.

        Shape: *draw* takes how many, and returns the first; they are ours when it returns.
        Rule: a block is what ten seconds use. What is undone does not come back, nor what is left when the process
        ends: those are the gaps.
        """
        block = self._blocks[name, step]
        async with block.drawing:
            if (missing := count - len(block.left)) > 0:
                number = max(missing, block.next_size())
                start = await draw(number)
                block.left.extend(start + index * step for index in range(number))
            return block.give(count)


class _Block:
    """What is left of the numbers drawn last, and what tells how many are used."""

    def __init__(self) -> None:
        self.left: deque[int] = deque()
        self.drawing = asyncio.Lock()
        self._taken = 0
        self._since = time.monotonic()

    def next_size(self) -> int:
        """Return how many to draw."""
        now = time.monotonic()
        size = int(self._taken / max(now - self._since, 0.001) * _AHEAD_SECONDS)
        self._taken, self._since = 0, now
        return min(max(size, _FEWEST), _MOST)

    def give(self, count: int) -> Sequence[int]:
        """Give the next numbers away."""
        self._taken += count
        return [self.left.popleft() for _ in range(count)]
